"""Publishes what stands on its input, one JSON object a line (topic, id, body), from Python's environment with pika."""

import json
import sys

import pika

connection = pika.BlockingConnection(pika.URLParameters(sys.argv[1]))
channel = connection.channel()
for line in sys.stdin:
    message = json.loads(line)
    properties = pika.BasicProperties(
        content_type="application/json",
        content_encoding="utf-8",
        delivery_mode=2,
        message_id=message["id"],
        headers={"fedora_messaging_schema": "base.message", "fedora_messaging_severity": 20},
    )
    channel.basic_publish("amq.topic", message["topic"], json.dumps(message["body"]).encode(), properties)
connection.close()
