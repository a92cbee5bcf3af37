"""Fills a durable queue, from Python's environment with pika. Run as: preload.py URL QUEUE COUNT NOISE_SHARE typed|plain"""

import sys

import messages
import pika


def main(url, queue, count, noise_share, typed):
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    channel.queue_declare(queue, durable=True)
    channel.queue_purge(queue)
    channel.exchange_declare("amq.topic", exchange_type="topic", durable=True)
    channel.queue_bind(queue, "amq.topic", "#")
    for topic, identity, headers, body in messages.generate(int(count), float(noise_share), typed == "typed"):
        properties = pika.BasicProperties(
            content_type="application/json",
            content_encoding="utf-8",
            delivery_mode=2,
            message_id=identity,
            headers=headers,
        )
        channel.basic_publish("amq.topic", topic, body, properties)
    while channel.queue_declare(queue, durable=True, passive=True).method.message_count < int(count):
        connection.sleep(0.1)
    connection.close()


main(*sys.argv[1:])
