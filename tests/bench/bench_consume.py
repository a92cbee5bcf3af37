"""consume: messages from RabbitMQ to durable marks in the ledger, beside fedora-messaging and a bare AMQP consumer."""

import json

import measure
import servers

QUEUE = "bench"
# A third of a hundredth of what fedora-messaging needs, and half of what is possible without recording anything.
CPU_RATIO_MAX = 1 / 30
RATE_SHARE_MIN = 0.5


def main(options, tools, folder):
    with servers.RabbitMQ(folder / "rabbitmq") as broker:
        for prefetch, noise in ((100, 0.0), (10, 0.0), (100, 0.99)):
            case(options, tools, folder, broker, prefetch, noise)


def case(options, tools, folder, broker, prefetch, noise):
    """Four consumers in turn on the same messages; the peer as deployed, with schemas, and at its fastest, without."""
    ours, bare, typed, plain = [], [], [], []
    for at in range(options.rounds):
        ledger = folder / f"ledger-{prefetch}-{noise}-{at}"
        flags = ["--url", broker.url, "--queue", QUEUE, "--count", options.messages, "--prefetch", prefetch]
        preload(options, tools, broker, noise)
        ours.append(measure.run([tools.example("consume"), *flags, "--ledger", ledger]))
        preload(options, tools, broker, noise)
        bare.append(measure.run([tools.example("consume"), *flags, "--bare"]))
        preload(options, tools, broker, noise, "typed")
        typed.append(peer(options, tools, folder, broker, prefetch))
        preload(options, tools, broker, noise, "plain")
        plain.append(peer(options, tools, folder, broker, prefetch))
    report(options, prefetch, noise, ours, bare, typed, plain)


def preload(options, tools, broker, noise, kind="typed"):
    measure.run([tools.python, measure.HERE / "preload.py", broker.url, QUEUE, options.messages, noise, kind])


def peer(options, tools, folder, broker, prefetch):
    config = folder / "fedora-messaging.toml"
    config.write_text(
        f"amqp_url = {json.dumps(broker.url)}\n"
        "passive_declares = true\n"
        "[[bindings]]\n"
        f'queue = "{QUEUE}"\nexchange = "amq.topic"\nrouting_keys = ["#"]\n'
        f"[queues.{QUEUE}]\ndurable = true\nauto_delete = false\nexclusive = false\narguments = {{}}\n"
        f"[qos]\nprefetch_size = 0\nprefetch_count = {prefetch}\n"
        "[log_config]\nversion = 1\ndisable_existing_loggers = true\n"
    )
    environment = {"FEDORA_MESSAGING_CONF": str(config)}
    return measure.run([tools.python, measure.HERE / "peer_consume.py", options.messages], environment)


def report(options, prefetch, noise, ours, bare, typed, plain):
    def rate(costs):
        return measure.median([options.messages / cost.said["consume_s"] for cost in costs])

    def cpu_ms(costs):
        return measure.median([1000 * cost.cpu_s / options.messages for cost in costs])

    def peak(costs):
        return measure.median([cost.peak_mib for cost in costs])

    share = rate(ours) / rate(bare)
    goals = {
        rate: f"half of bare: {'met' if share >= RATE_SHARE_MIN else 'MISSED'} ({share:.2f})",
        cpu_ms: measure.verdict(cpu_ms(ours) / cpu_ms(typed), CPU_RATIO_MAX),
        peak: "-",
    }
    columns = [
        "",
        "flatbus",
        "bare lapin",
        "f-m, schemas",
        "f-m, none",
        "flatbus/f-m, schemas",
        "flatbus/f-m, none",
        "goal",
    ]
    rows = [
        [
            name,
            *(figure(costs) for costs in (ours, bare, typed, plain)),
            figure(ours) / figure(typed),
            figure(ours) / figure(plain),
            goals[figure],
        ]
        for name, figure in (("messages/s", rate), ("CPU ms/message", cpu_ms), ("peak MiB", peak))
    ]
    measure.table(
        f"consume: {options.messages:,} messages, prefetch {prefetch}, {noise:.0%} noise, {options.rounds} rounds",
        columns,
        rows,
    )
