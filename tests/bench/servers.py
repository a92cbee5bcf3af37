"""Servers of our own on free ports of 127.0.0.1, with data in a temporary folder; ended by their pid."""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time
import urllib.request

START_TIMEOUT_S = 60


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def find(*names):
    """The first of these programs; Debian and Fedora name some differently."""
    folders = os.environ["PATH"] + ":/usr/sbin:/sbin:/usr/lib/rabbitmq/bin"
    for name in names:
        if path := shutil.which(name, path=folders):
            return path
    raise SystemExit(f"none of {', '.join(names)} is here: tests/run --install")


class Server:
    """A child process in a group of its own, so that its helpers end with it."""

    def __init__(self, folder, arguments, environment=None):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log = open(self.folder / "server.log", "ab")
        self.process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )

    def wait_until(self, answers, what):
        deadline = time.monotonic() + START_TIMEOUT_S
        while not answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                tail = (self.folder / "server.log").read_text(errors="replace")[-2000:]
                self.stop()
                raise SystemExit(f"{what} did not start:\n{tail}")
            time.sleep(0.05)

    def stop(self):
        for how, patience_s in ((signal.SIGTERM, 20), (signal.SIGKILL, 10)):
            try:
                os.killpg(self.process.pid, how)
                self.process.wait(patience_s)
            except subprocess.TimeoutExpired:
                continue
            except ProcessLookupError:
                pass
            break
        self.log.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def answers_tcp(port):
    def ask():
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return True
        except OSError:
            return False

    return ask


class Registry(Server):
    """docker-registry on its own folder."""

    def __init__(self, folder):
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.host = f"127.0.0.1:{self.port}"
        config = folder / "config.yml"
        config.write_text(
            "version: 0.1\n"
            "log: {level: error, accesslog: {disabled: true}}\n"
            f"storage: {{filesystem: {{rootdirectory: {folder}/data}}, delete: {{enabled: true}}}}\n"
            f"http: {{addr: '{self.host}'}}\n"
        )
        super().__init__(folder, [find("docker-registry", "registry"), "serve", str(config)])
        self.wait_until(self._answers, "docker-registry")

    def _answers(self):
        try:
            with urllib.request.urlopen(f"http://{self.host}/v2/", timeout=1):
                return True
        except OSError:
            return False


class RabbitMQ(Server):
    """A broker with its own node name, data, cookie and port mapper."""

    def __init__(self, folder):
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.port, distribution, mapper = free_port(), free_port(), free_port()
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}/%2F"
        environment = {
            "HOME": str(folder),  # Erlang's cookie lies here.
            "RABBITMQ_NODENAME": f"bench{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(distribution),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(folder / "none"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "none-advanced"),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "none-env"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "ERL_EPMD_PORT": str(mapper),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }
        (folder / "plugins").write_text("[].\n")
        # A port mapper that the node started would outlive it.
        self.mapper = Server(folder / "epmd", [find("epmd"), "-port", str(mapper), "-address", "127.0.0.1"])
        self.mapper.wait_until(answers_tcp(mapper), "epmd")
        # Debian's wrapper in /usr/sbin insists on a user of its own.
        ours = pathlib.Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
        program = str(ours) if ours.exists() else find("rabbitmq-server")
        super().__init__(folder, [program], environment)
        self.wait_until(answers_tcp(self.port), "RabbitMQ")

    def stop(self):
        super().stop()
        self.mapper.stop()
