"""The messages that flatbus publishes, as classes for fedora-messaging.

The schemas are generated from flatbus' own types: nothing here says a second time what a body holds.
"""

import json
from importlib.resources import files

from fedora_messaging import message

__all__ = ["IndexPublishedV1", "KeyParkedV1", "TagMovedV1"]


def _schema(name):
    return json.loads(files(__package__).joinpath("schemas", f"{name}.json").read_text(encoding="utf-8"))


class _FlatbusMessage(message.Message):
    """What all of flatbus' messages share."""

    @property
    def app_name(self):
        return "flatbus"

    @property
    def agent_name(self):
        """No person acts here: the service itself."""
        return "flatbus"


class TagMovedV1(_FlatbusMessage):
    """A tag of a registry now names other content, or nothing."""

    topic = "flatbus.tag.moved"
    body_schema = _schema("flatbus.tag.moved.v1")

    @property
    def image(self):
        """The tag as an image reference: ``quay.io/fedora/eog:latest``."""
        return f"{self.body['registry']}/{self.body['repository']}:{self.body['tag']}"

    @property
    def summary(self):
        if self.body["digest"] is None:
            return f"{self.image} is gone"
        return f"{self.image} is now {self.body['nvr'] or self.body['digest']}"

    def __str__(self):
        lines = [self.summary]
        for label, field in (
            ("Digest", "digest"),
            ("Before", "previous_digest"),
            ("Build", "nvr"),
            ("Update", "update"),
            ("More", "url"),
        ):
            if self.body[field] is not None:
                lines.append(f"{label}: {self.body[field]}")
        return "\n".join(lines)

    @property
    def url(self):
        return self.body["url"]

    @property
    def containers(self):
        return [self.image]

    @property
    def flatpaks(self):
        return [self.body["repository"]]


class IndexPublishedV1(_FlatbusMessage):
    """The flatpak index now says something else."""

    topic = "flatbus.index.published"
    body_schema = _schema("flatbus.index.published.v1")

    @property
    def summary(self):
        return f"The flatpak index was published with {', '.join(self.body['repositories']) or 'no repository'} anew"

    def __str__(self):
        files = (f"{file['path']} is {file['digest']}" for file in self.body["files"])
        return "\n".join((self.summary, *files))

    @property
    def url(self):
        return self.body["site"]

    @property
    def flatpaks(self):
        return self.body["repositories"]


class KeyParkedV1(_FlatbusMessage):
    """A consumer could not settle something for so long that a person must look."""

    topic = "flatbus.key.parked"
    severity = message.WARNING
    body_schema = _schema("flatbus.key.parked.v1")

    @property
    def summary(self):
        return f"{self.body['consumer']} gave up on {self.body['key']}"

    def __str__(self):
        since = self.body["failing_since"]
        tried = f"Tried {self.body['attempts']} times" + (f" since {since}" if since else "")
        return f"{self.summary}\n{tried}\nLast error: {self.body['reason']}"
