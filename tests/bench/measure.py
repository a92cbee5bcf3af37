"""Runs a program and says what it cost; shows what was measured."""

import dataclasses
import json
import os
import pathlib
import statistics
import subprocess
import threading
import time

HERE = pathlib.Path(__file__).parent
RUN_TIMEOUT_S = 1800


@dataclasses.dataclass
class Cost:
    """What one run cost, and what it said of itself (a JSON object on its last line)."""

    wall_s: float
    cpu_s: float
    peak_mib: float
    said: dict


def run(arguments, environment=None, folder=None):
    """Runs to the end. A run that fails or hangs ends the bench: a figure of a failed run is no figure."""
    began = time.monotonic()
    child = subprocess.Popen(
        [str(argument) for argument in arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env={**os.environ, **(environment or {})},
        cwd=folder,
    )
    peak = Peak(child.pid)
    hung = threading.Timer(RUN_TIMEOUT_S, child.kill)
    hung.start()
    said = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    wall = time.monotonic() - began
    hung.cancel()
    if child.returncode != 0:
        raise SystemExit(f"{arguments[0]} ended with {child.returncode}")
    return Cost(wall, usage.ru_utime + usage.ru_stime, peak.mib(), last_object(said))


class Peak(threading.Thread):
    """Watches a process' greatest resident memory. (What wait4 says of it includes the parent before exec.)"""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid = pid
        self.kib = 0
        self.start()

    def run(self):
        while (now := status_kib(self.pid, "VmHWM")) is not None:
            self.kib = max(self.kib, now)
            time.sleep(0.01)

    def mib(self):
        self.join()
        return self.kib / 1024


def status_kib(pid, field):
    """A field of /proc/PID/status, or None once the process is gone."""
    try:
        with open(f"/proc/{pid}/status") as status:
            lines = dict(line.split(":", 1) for line in status)
    except OSError:
        return None
    return int(lines[field].split()[0]) if field in lines else None


def last_object(said):
    for line in reversed(said.decode(errors="replace").splitlines()):
        if line.startswith("{"):
            return json.loads(line)
    return {}


def median(values):
    return statistics.median(values)


def table(title, columns, rows):
    """Prints rows of text and numbers under their columns."""
    shown = [
        [cell if isinstance(cell, str) else f"{cell:,.3g}" if cell < 100 else f"{cell:,.0f}" for cell in row]
        for row in rows
    ]
    widths = [max(len(row[at]) for row in [columns, *shown]) for at in range(len(columns))]
    print(f"\n{title}")
    for row in [columns, *shown]:
        first = row[0].ljust(widths[0])
        print("  ".join([first, *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))]).rstrip())


def compare(title, ours, theirs, goals, names=("flatbus", "peer")):
    """Prints wall, CPU and peak memory of both, medians of all rounds, with ratios and whether each goal is met.

    `goals` maps "wall", "cpu" or "peak" to the greatest ratio ours/theirs, or ("peak_mib", limit) style absolutes.
    """
    kinds = {"wall": "wall_s", "cpu": "cpu_s", "peak": "peak_mib"}
    rows = []
    for kind, field in kinds.items():
        mine = median([getattr(cost, field) for cost in ours])
        peer = median([getattr(cost, field) for cost in theirs])
        ratio = mine / peer if peer else float("inf")
        rows.append(
            [f"{kind} ({'MiB' if kind == 'peak' else 's'})", mine, peer, ratio, verdict(ratio, goals.get(kind))]
        )
    table(title, ["", *names, "ratio", "goal"], rows)
    spread = [cost.wall_s for cost in ours], [cost.wall_s for cost in theirs]
    print(
        "  rounds, wall:",
        " ".join(f"{value:.2f}" for value in spread[0]),
        "|",
        " ".join(f"{value:.2f}" for value in spread[1]),
    )


def verdict(value, most):
    if most is None:
        return "-"
    return f"<= {most:g}: {'met' if value <= most else 'MISSED'}"
