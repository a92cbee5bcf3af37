"""Python's fedora-messaging with a callback that does nothing. Run as: peer_consume.py COUNT

Ends after COUNT messages and says on one line how long it took from the first to the last.
"""

import contextlib
import json
import sys
import time

from fedora_messaging import api, exceptions


class Counting:
    def __init__(self, count):
        self.left = count
        self.count = count
        self.began = None

    def __call__(self, _message):
        if self.began is None:
            self.began = time.monotonic()
        self.left -= 1
        if self.left == 0:
            took = time.monotonic() - self.began
            print(json.dumps({"messages": self.count, "consume_s": took}), flush=True)
            raise exceptions.HaltConsumer(exit_code=0)  # Its last message is acknowledged.


with contextlib.suppress(exceptions.HaltConsumer):
    api.consume(Counting(int(sys.argv[1])))
