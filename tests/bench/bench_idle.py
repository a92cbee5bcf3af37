"""idle: resident memory of a connected mirror with nothing to do, and the time from exec to consuming."""

import json
import os
import subprocess
import time

import doubles
import measure
import mirror
import servers

IDLE_S = 10
RESIDENT_MIB_MAX = 20
START_S_MAX = 0.2


def main(options, tools, folder):
    ours, theirs = [], []
    binary = tools.binary()
    with (
        servers.RabbitMQ(folder / "rabbitmq") as broker,
        servers.Registry(folder / "source") as source,
        servers.Registry(folder / "destination") as destination,
        doubles.Doubles() as upstream,
    ):
        for _ in range(options.rounds):
            # The first round also makes the queue and the ledger, as a first start does.
            with mirror.Mirror(binary, folder / "mirror", broker, source, destination, upstream) as running:
                ours.append(watch(running.process, running.port))
            theirs.append(peer(tools, folder, broker))
    report(options, ours, theirs)


def watch(process, port):
    """(resident MiB once idle, seconds to consuming, CPU seconds while idle for IDLE_S)"""
    start_s = mirror.wait_until_consuming(process, port)
    time.sleep(2)
    before = cpu_s(process.pid)
    time.sleep(IDLE_S)
    return measure.status_kib(process.pid, "VmRSS") / 1024, start_s, cpu_s(process.pid) - before


def cpu_s(pid):
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peer(tools, folder, broker):
    port = servers.free_port()
    config = folder / "fedora-messaging.toml"
    config.write_text(
        f"amqp_url = {json.dumps(broker.url)}\n"
        "[queues.peer]\ndurable = true\nauto_delete = false\nexclusive = false\narguments = {}\n"
        '[[bindings]]\nqueue = "peer"\nexchange = "amq.topic"\nrouting_keys = ["org.fedoraproject.prod.bodhi.#"]\n'
        f'[monitoring]\naddress = "127.0.0.1"\nport = {port}\n'
    )
    command = [
        tools.python.parent / "fedora-messaging",
        "--conf",
        config,
        "consume",
        "--callback",
        "fedora_messaging.example:printer",
    ]
    with open(folder / "peer.log", "ab") as log:
        process = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        return watch(process, port)
    finally:
        mirror.terminate(process)


def report(options, ours, theirs):
    names = ["resident MiB", "exec to consuming, s", f"CPU s in {IDLE_S} s of nothing"]
    goals = [RESIDENT_MIB_MAX, START_S_MAX, None]
    rows = []
    for name, goal, mine, peers in zip(names, goals, zip(*ours), zip(*theirs)):
        mine, peers = measure.median(mine), measure.median(peers)
        rows.append([name, mine, peers, mine / peers if peers else "-", measure.verdict(mine, goal)])
    measure.table(
        f"idle: {options.rounds} rounds", ["", "flatbus run mirror", "fedora-messaging", "ratio", "goal"], rows
    )
    print(
        "  first start:", f"{ours[0][1]:.3f} s,", "later:", " ".join(f"{start:.3f}" for _, start, _ in ours[1:]) or "-"
    )
