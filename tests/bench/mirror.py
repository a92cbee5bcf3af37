"""A mirror of our own as a child process, on a broker, registries and doubles of our own."""

import json
import subprocess
import time
import urllib.error
import urllib.request

import servers

QUEUE = "mirror"
START_TIMEOUT_S = 60

CONFIG = """\
amqp_url = "{amqp_url}"
passive_declares = false
topic_prefix = "org.fedoraproject.prod"

[queues.{queue}]
durable = true
auto_delete = false
exclusive = false
arguments = {{}}

[[bindings]]
queue = "{queue}"
exchange = "amq.topic"
routing_keys = ["org.fedoraproject.prod.buildsys.build.state.change", "org.fedoraproject.prod.bodhi.update.#"]

[qos]
prefetch_count = 100
prefetch_size = 0

[monitoring]
address = "127.0.0.1"
port = {port}

[consumer_config]
destination = "http://{destination}/fedora"
koji = "{doubles}/kojihub"
bodhi = "{doubles}/"
copies_max = 4

[[consumer_config.sources]]
pull_spec = "candidate-registry.fedoraproject.org/"
bytes_at = ["http://{source}"]

[consumer_config.runtime]
state_dir = "{folder}/state"
socket = "{folder}/mirror.sock"
"""


class Mirror(servers.Server):
    """`flatbus run mirror`, told where everything is."""

    def __init__(self, binary, folder, broker, source, destination, doubles):
        folder.mkdir(parents=True, exist_ok=True)
        self.port = servers.free_port()
        config = folder / "mirror.toml"
        config.write_text(
            CONFIG.format(
                amqp_url=broker.url,
                queue=QUEUE,
                port=self.port,
                destination=destination.host,
                doubles=doubles.base,
                source=source.host,
                folder=folder,
            )
        )
        super().__init__(folder, [str(binary), "run", "mirror", "--config", str(config)])


def asked(port, path):
    """What a monitoring port says, of our own or of fedora-messaging's; None while nobody answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        return json.load(error)
    except OSError:
        return None


def wait_until_consuming(process, port):
    """Seconds until /ready says that messages are being consumed."""
    began = time.monotonic()
    while not (asked(port, "/ready") or {}).get("consuming"):
        if process.poll() is not None or time.monotonic() - began > START_TIMEOUT_S:
            process.kill()
            raise SystemExit(f"{process.args[0]} did not begin to consume")
        time.sleep(0.002)
    return time.monotonic() - began


def terminate(process):
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
