"""A callback for `fedora-messaging consume`: writes down what it hears, and what the library makes of it."""

import json

from fedora_messaging import config


class Listener:
    def __init__(self):
        self.heard = open(config.conf["consumer_config"]["heard"], "a", encoding="utf-8")

    def __call__(self, message):
        message.validate()
        as_published_here = type(message)(body=message.body)._headers
        line = {
            "class": type(message).__name__,
            "topic": message.topic,
            "id": message.id,
            "headers": message._headers,
            "headers_missing": sorted(as_published_here.keys() - message._headers.keys()),
            "summary": message.summary,
            "body": message.body,
        }
        self.heard.write(json.dumps(line) + "\n")
        self.heard.flush()
