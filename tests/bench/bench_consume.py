"""consume: messages from RabbitMQ to durable marks in the ledger, beside fedora-messaging and a bare AMQP consumer."""

import json
import pathlib

import measure
import servers

HERE = pathlib.Path(__file__).parent
QUEUE = "bench"
# A third of a hundredth of what fedora-messaging needs, and half of what is possible without recording anything.
CPU_RATIO_MAX = 1 / 30
RATE_SHARE_MIN = 0.5


def main(options, tools, folder):
    with servers.RabbitMQ(folder / "rabbitmq") as broker:
        for prefetch, noise in ((100, 0.0), (10, 0.0), (100, 0.99)):
            case(options, tools, folder, broker, prefetch, noise)


def case(options, tools, folder, broker, prefetch, noise):
    ours, bare, theirs = [], [], []
    for at in range(options.rounds):
        ledger = folder / f"ledger-{prefetch}-{noise}-{at}"
        flags = ["--url", broker.url, "--queue", QUEUE, "--count", options.messages, "--prefetch", prefetch]
        preload(options, tools, broker, noise)
        ours.append(measure.run([tools.example("consume"), *flags, "--ledger", ledger]))
        preload(options, tools, broker, noise)
        bare.append(measure.run([tools.example("consume"), *flags, "--bare"]))
        preload(options, tools, broker, noise)
        theirs.append(peer(options, tools, folder, broker, prefetch))
    report(options, prefetch, noise, ours, bare, theirs)


def preload(options, tools, broker, noise):
    measure.run([tools.python, HERE / "preload.py", broker.url, QUEUE, options.messages, noise])


def peer(options, tools, folder, broker, prefetch):
    config = folder / "fedora-messaging.toml"
    config.write_text(
        f"amqp_url = {json.dumps(broker.url)}\n"
        "passive_declares = true\n"
        "[[bindings]]\n"
        f'queue = "{QUEUE}"\nexchange = "amq.topic"\nrouting_keys = ["#"]\n'
        f"[queues.{QUEUE}]\ndurable = true\nauto_delete = false\nexclusive = false\narguments = {{}}\n"
        f"[qos]\nprefetch_size = 0\nprefetch_count = {prefetch}\n"
        '[log_config]\nversion = 1\ndisable_existing_loggers = true\n'
    )
    environment = {"FEDORA_MESSAGING_CONF": str(config)}
    return measure.run([tools.python, HERE / "peer_consume.py", options.messages], environment)


def report(options, prefetch, noise, ours, bare, theirs):
    def rate(costs):
        return measure.median([options.messages / cost.said["consume_s"] for cost in costs])

    def cpu_ms(costs):
        return measure.median([1000 * cost.cpu_s / options.messages for cost in costs])

    def peak(costs):
        return measure.median([cost.peak_mib for cost in costs])

    share = rate(ours) / rate(bare)
    columns = ["", "flatbus", "bare lapin", "fedora-messaging", "flatbus/fedora-messaging", "goal"]
    rows = [
        ["messages/s", rate(ours), rate(bare), rate(theirs), rate(ours) / rate(theirs), f"half of bare: {'met' if share >= RATE_SHARE_MIN else 'MISSED'} ({share:.2f})"],
        ["CPU ms/message", cpu_ms(ours), cpu_ms(bare), cpu_ms(theirs), cpu_ms(ours) / cpu_ms(theirs), measure.verdict(cpu_ms(ours) / cpu_ms(theirs), CPU_RATIO_MAX)],
        ["peak MiB", peak(ours), peak(bare), peak(theirs), peak(ours) / peak(theirs), "-"],
    ]
    measure.table(f"consume: {options.messages:,} messages, prefetch {prefetch}, {noise:.0%} noise, {options.rounds} rounds", columns, rows)
