"""noise: completions of RPM builds as in a mass rebuild while Flatpaks are pushed: no Koji call, no wait."""

import datetime
import json
import subprocess
import threading
import time
import uuid

import doubles
import images
import measure
import mirror
import servers

PUSHES = 10
BUILDS = 20_000
TOPIC = "org.fedoraproject.prod."
PUSH_TIMEOUT_S = 120


def main(options, tools, folder):
    with (
        servers.RabbitMQ(folder / "rabbitmq") as broker,
        servers.Registry(folder / "source") as source,
        servers.Registry(folder / "destination") as destination,
        doubles.Doubles() as upstream,
        mirror.Mirror(tools.binary(), folder / "mirror", broker, source, destination, upstream) as running,
    ):
        mirror.wait_until_consuming(running.process, running.port)
        scene = Scene(tools, folder, broker, source, destination, upstream)
        quiet = scene.push_among(0, "quiet")
        noisy = scene.push_among(BUILDS, "noisy")
        wait_until_empty(running.port, 2 * PUSHES + BUILDS)
        report(upstream, quiet, noisy)


class Scene:
    def __init__(self, *parts):
        self.tools, self.folder, self.broker, self.source, self.destination, self.upstream = parts

    def push_among(self, builds, series):
        """Sends RPM builds with a push after each tenth of them; says how long each push took to reach its tag."""
        digests = {at: self.prepare(series, at) for at in range(PUSHES)}
        command = [self.tools.python, measure.HERE / "send.py", self.broker.url]
        sender = subprocess.Popen([str(part) for part in command], stdin=subprocess.PIPE)
        waits = {}
        watchers = []
        for at in range(PUSHES):
            for number in range(at * builds // PUSHES, (at + 1) * builds // PUSHES):
                send(sender, TOPIC + "buildsys.build.state.change", rpm_build(number))
            watchers.append(threading.Thread(target=self.push, args=(sender, series, at, digests[at], waits)))
            watchers[-1].start()
            if not builds:
                watchers[-1].join()
        for watcher in watchers:
            watcher.join()
        sender.stdin.close()
        sender.wait(60)
        return [waits[at] for at in range(PUSHES)]

    def prepare(self, series, at):
        name = f"{series}{at}"
        digest = images.push_image(self.source.host, name, "build", 64 * 1024, self.folder)
        nvr = f"{name}-flatpak-1.0-1"
        self.upstream.builds[nvr] = doubles.build(
            number(series, at), nvr, [f"candidate-registry.fedoraproject.org/{name}@{digest}"]
        )
        return digest

    def push(self, sender, series, at, digest, waits):
        name, alias = f"{series}{at}", f"FEDORA-FLATPAK-2026-{series}{at}"
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
        record = doubles.update(alias, f"{name}-flatpak-1.0-1", now)
        self.upstream.updates[alias] = record
        began = time.monotonic()
        send(sender, TOPIC + "bodhi.update.complete.stable", {"update": record, "agent": "composer"})
        while not self.tagged(name, digest):
            if time.monotonic() - began > PUSH_TIMEOUT_S:
                raise SystemExit(f"{name} was not published within {PUSH_TIMEOUT_S} s")
            time.sleep(0.02)
        waits[at] = time.monotonic() - began

    def tagged(self, name, digest):
        try:
            return images.tag_digest(self.destination.host, f"fedora/{name}", "latest") == digest
        except SystemExit:
            return False  # Not there yet.


LOCK = threading.Lock()


def send(sender, topic, body):
    line = json.dumps({"topic": topic, "id": str(uuid.uuid4()), "body": body}) + "\n"
    with LOCK:
        sender.stdin.write(line.encode())
        sender.stdin.flush()


def number(series, at):
    return {"quiet": 3_000_000, "noisy": 3_100_000}[series] + at


def rpm_build(at):
    task = {"id": 130_000_000 + at, "method": "build", "arch": "noarch", "state": 2, "parent": None, "children": []}
    return {
        "attribute": "state",
        "base_url": "https://koji.fedoraproject.org",
        "build_id": 2_800_000 + at,
        "completion_time": "2026-01-15T12:00:00+00:00",
        "creation_time": "2026-01-15T11:00:00+00:00",
        "epoch": None,
        "instance": "primary",
        "name": f"package{at}",
        "version": "1.0",
        "release": "1.fc44",
        "new": 1,
        "old": 0,
        "owner": "releng",
        "request": ["git+https://src.fedoraproject.org/rpms/package.git#0", "f44-rebuild", {}],
        "task": task,
        "task_id": task["id"],
    }


def wait_until_empty(port, messages):
    """Until the mirror has received all messages."""
    deadline = time.monotonic() + PUSH_TIMEOUT_S
    while (mirror.asked(port, "/ready") or {}).get("consumed", {}).get("received", 0) < messages:
        if time.monotonic() > deadline:
            raise SystemExit(f"not all messages were consumed: {mirror.asked(port, '/ready')}")
        time.sleep(0.1)


def report(upstream, quiet, noisy):
    strangers = sum(
        count
        for (_, wanted), count in upstream.koji_calls.items()
        if "flatpak" not in wanted and not wanted.startswith("3")
    )
    rows = [
        [
            "push to tag, median s",
            measure.median(quiet),
            measure.median(noisy),
            measure.median(noisy) / measure.median(quiet),
        ],
        ["push to tag, slowest s", max(quiet), max(noisy), max(noisy) / max(quiet)],
    ]
    measure.table(
        f"noise: {PUSHES} pushes alone, then among {BUILDS:,} completions of RPM builds",
        ["", "alone", "among", "ratio"],
        rows,
    )
    print(
        f"  Koji calls for RPM builds: {strangers} {measure.verdict(strangers, 0)}; all Koji calls: {sum(upstream.koji_calls.values())}"
    )
