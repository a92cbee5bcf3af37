"""Benches against the programs that do the same work today, on servers of their own. Standard library only."""

import argparse
import functools
import importlib
import os
import pathlib
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
BENCHES = {
    "consume": "messages into the ledger, against fedora-messaging and a bare AMQP consumer",
    "copy": "registry to registry, against skopeo copy --all --preserve-digests",
    "noise": "20,000 builds of RPMs while Flatpaks are pushed",
    "idle": "memory of a connected mirror and its time to start, against fedora-messaging",
}


class Tools:
    """The programs that are compared. Ours are built before the first is asked for, in release."""

    def __init__(self):
        self.target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
        self.python = ROOT / "target/venv/bin/python"

    def binary(self):
        return self.built("--bin", "flatbus", path="flatbus")

    def example(self, name, package="flatbus"):
        return self.built("--package", package, "--example", name, path=f"examples/{name}")

    @functools.cache
    def built(self, *which, path):
        subprocess.run(["cargo", "build", "--release", "--quiet", *which], cwd=ROOT, check=True)
        return self.target / "release" / path


def options():
    parser = argparse.ArgumentParser(prog="tests/bench/run", description=__doc__)
    names = "\n".join(f"  {name}: {what}" for name, what in BENCHES.items())
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = f"benches:\n{names}"
    parser.add_argument("name", choices=BENCHES)
    parser.add_argument("--rounds", type=positive, default=3, help="how often each side runs (3)")
    parser.add_argument(
        "--messages", type=positive, default=10_000, help="consume, noise: how many messages (10,000; noise 20,000)"
    )
    parser.add_argument("--only", help="copy: only the case of this name")
    return parser.parse_args()


def positive(text):
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def main():
    chosen = options()
    bench = importlib.import_module(f"bench_{chosen.name}")
    with tempfile.TemporaryDirectory(prefix="flatbus-bench-") as folder:
        bench.main(chosen, Tools(), pathlib.Path(folder))


main()
