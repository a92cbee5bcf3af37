"""Publishes recorded messages with fedora-messaging: a line in, its id out once the broker has confirmed it."""

import sys

from fedora_messaging import api, message

for line in sys.stdin:
    (recorded,) = message.loads(line)
    api.publish(recorded)
    print(recorded.id, flush=True)
