"""Messages like those that Bodhi sends: real bodies of the samples, each made another update's."""

import json
import pathlib
import uuid

SAMPLES = pathlib.Path(__file__).resolve().parents[2] / "schemas/samples/messages/synthetic-timeline.jsonl"
BODY_BYTES = range(4 * 1024, 10 * 1024)
PUSHES = ("bodhi.update.complete.", "bodhi.update.request.")
NOISE = ("bodhi.update.comment",)


def bodies(topics):
    """Sample bodies of these topics with a size as Bodhi's updates have."""
    found = []
    with open(SAMPLES) as lines:
        for message in map(json.loads, lines):
            topic = message["topic"].split(".", 3)[3]
            body = message["body"]
            if topic.startswith(topics) and len(json.dumps(body)) in BODY_BYTES:
                found.append((message["topic"], message["headers"], body))
    if not found:
        raise SystemExit(f"no sample of {topics} has {BODY_BYTES.start} to {BODY_BYTES.stop} bytes")
    return found


def generate(count, noise_share=0.0, typed=True):
    """`count` messages as (topic, id, headers, body bytes), all different, of which the share given marks nothing.

    Not `typed`: without the name of their schema, so that whoever validates against schemas has less to do.
    """
    pushes, noise = bodies(PUSHES), bodies(NOISE)
    every = round(1 / (1 - noise_share)) if noise_share < 1 else count + 1
    for number in range(count):
        pool = pushes if number % every == 0 else noise
        topic, headers, body = pool[number % len(pool)]
        if not typed:
            headers = {**headers, "fedora_messaging_schema": "base.message"}
        yield topic, str(uuid.UUID(int=number)), headers, json.dumps(renamed(body, number)).encode()


def renamed(body, number):
    if "update" in body:
        return {**body, "update": {**body["update"], "alias": f"FEDORA-FLATPAK-2026-{number:010x}"}}
    return {**body, "comment": {**body["comment"], "id": number}}
