"""Proves that the classes, their schemas and the installed fedora-messaging fit each other. Needs the package installed.

    pip install . && python check.py
"""

import json
import unittest

import jsonschema
from fedora_messaging import message
from flatbus_messages import IndexPublishedV1, KeyParkedV1, TagMovedV1

DIGEST = "sha256:" + "0a" * 32

MOVED = {
    "registry": "quay.io",
    "repository": "fedora/f41/flatpak-runtime",
    "tag": "latest",
    "digest": DIGEST,
    "previous_digest": None,
    "media_type": "application/vnd.oci.image.index.v1+json",
    "nvr": "flatpak-runtime-f41-1",
    "update": "FEDORA-FLATPAK-2024-0123456789",
    "url": "https://bodhi.fedoraproject.org/updates/FEDORA-FLATPAK-2024-0123456789",
}

GONE = dict(MOVED, digest=None, previous_digest=DIGEST, media_type=None, nvr=None, update=None, url=None)

PUBLISHED = {
    "serial": 7,
    "site": "https://flatpaks.example/site.json",
    "repositories": ["eog"],
    "files": [{"path": "index/flatpak-latest.json", "digest": DIGEST, "size": 1234}],
}

PARKED = {
    "consumer": "mirror",
    "key": "build eog-44.2-1",
    "reason": "candidate-registry.example: 404",
    "attempts": 12,
    "failing_since": "2025-11-17T14:42:02Z",
}


class Messages(unittest.TestCase):
    def test_each_class_is_registered_under_its_schema_and_survives_a_recording(self):
        for cls, schema, body in (
            (TagMovedV1, "flatbus.tag.moved.v1", MOVED),
            (TagMovedV1, "flatbus.tag.moved.v1", GONE),
            (IndexPublishedV1, "flatbus.index.published.v1", PUBLISHED),
            (IndexPublishedV1, "flatbus.index.published.v1", dict(PUBLISHED, site=None, files=[])),
            (KeyParkedV1, "flatbus.key.parked.v1", PARKED),
            (KeyParkedV1, "flatbus.key.parked.v1", dict(PARKED, failing_since=None)),
        ):
            with self.subTest(schema=schema, body=body):
                said = cls(body=body)
                said.validate()
                self.assertEqual(message.get_name(cls), schema)
                self.assertEqual(said.topic + ".v1", schema)
                self.assertEqual(said._headers["fedora_messaging_schema_package"], "flatbus_messages")
                (read,) = message.loads(message.dumps(said))
                self.assertIs(type(read), cls)
                self.assertEqual(read, said)
                self.assertEqual(read.id, said.id)
                for text in (said.summary, str(said), said.app_name, said.agent_name):
                    self.assertTrue(text)

    def test_what_a_body_must_hold_is_enforced(self):
        for change in ({"digest": "sha256:0"}, {"tag": "42~rc"}, {"registry": ""}, {"nvr": 1}):
            with self.subTest(change=change), self.assertRaises(jsonschema.ValidationError):
                TagMovedV1(body=dict(MOVED, **change)).validate()
        for field in MOVED:
            with self.subTest(missing=field), self.assertRaises(jsonschema.ValidationError):
                TagMovedV1(body={name: MOVED[name] for name in MOVED if name != field}).validate()
        with self.assertRaises(jsonschema.ValidationError):
            KeyParkedV1(body=dict(PARKED, attempts=-1)).validate()

    def test_what_later_versions_add_is_no_reason_to_refuse(self):
        TagMovedV1(body=dict(MOVED, signed_by=["somebody"])).validate()

    def test_messages_are_filtered_by_image_and_repository(self):
        said = TagMovedV1(body=MOVED)
        image = "quay.io/fedora/f41/flatpak-runtime:latest"
        self.assertEqual((said.containers, said.flatpaks), ([image], ["fedora/f41/flatpak-runtime"]))
        self.assertIs(said._headers["fedora_messaging_container_" + image], True)
        self.assertIs(said._headers["fedora_messaging_flatpak_fedora/f41/flatpak-runtime"], True)

    def test_people_are_told_what_happened(self):
        self.assertEqual(
            TagMovedV1(body=MOVED).summary, "quay.io/fedora/f41/flatpak-runtime:latest is now flatpak-runtime-f41-1"
        )
        self.assertEqual(TagMovedV1(body=GONE).summary, "quay.io/fedora/f41/flatpak-runtime:latest is gone")
        self.assertIn("Before: " + DIGEST, str(TagMovedV1(body=GONE)))
        self.assertEqual((TagMovedV1(body=MOVED).url, TagMovedV1(body=GONE).url), (MOVED["url"], None))
        parked = KeyParkedV1(body=PARKED)
        self.assertEqual((parked.summary, parked.severity), ("mirror gave up on build eog-44.2-1", message.WARNING))
        self.assertIn("Tried 12 times since 2025", str(parked))

    def test_schemas_are_of_a_draft_that_old_validators_know(self):
        for cls in (TagMovedV1, KeyParkedV1):
            jsonschema.Draft7Validator.check_schema(cls.body_schema)
            self.assertEqual(cls.body_schema["$schema"], "http://json-schema.org/draft-07/schema#")
            json.dumps(cls.body_schema)


if __name__ == "__main__":
    unittest.main()
