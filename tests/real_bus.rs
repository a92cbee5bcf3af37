//! The bus against a real RabbitMQ: what a broker, its administrators and the network do to a consumer, and what the
//! consumer says about it.
//!
//! Starting a node takes seconds, so the facts that leave it whole share one, each in a virtual host of its own.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[macro_use]
#[path = "support/facts.rs"]
mod facts;
#[path = "support/rabbitmq.rs"]
mod rabbitmq;

use std::{
    collections::BTreeSet,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use async_trait::async_trait;
use flatbus_base::Random;
use flatbus_bus::{
    AmqpPublisher, AmqpSource, Config, Cursor, Delivery, Outgoing, PublishError, Publisher as _, Source,
    SourceEvent, broker_request,
    conformance::{self, Expect, Item, Place},
};
use flatbus_schemas::{Announcement, Limits, Severity};
use futures::StreamExt as _;
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties,
    options::{
        BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, QueueBindOptions,
        QueueDeclareOptions, QueueDeleteOptions,
    },
    types::{AMQPValue, FieldTable},
};
use rabbitmq::{PRIVATE_VHOST, PUBLIC_VHOST, Rabbit, USER};
use serde_json::{Value, json};
use tokio::{
    runtime::{Builder, Runtime},
    time::timeout,
};

/// Longest wait for anything a broker does.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long nothing must come for it to count as nothing.
const QUIET: Duration = Duration::from_millis(400);

/// Deliveries that the source of the suite may have unacknowledged.
const WINDOW: usize = 8;

#[test]
fn facts_of_a_broker_that_stays_whole() {
    let facts = facts![
        a_client_certificate_and_external_open_the_public_broker,
        an_authority_that_did_not_sign_the_broker_is_named,
        a_client_certificate_that_the_broker_refuses_is_named,
        a_missing_certificate_file_is_named,
        a_wrong_password_and_a_missing_vhost_are_told_apart,
        a_rotated_certificate_is_used_at_the_next_connection,
        a_forced_close_brings_back_what_was_not_acknowledged,
        a_deleted_queue_is_noticed_made_anew_and_told_as_a_gap,
        a_missing_passive_queue_is_waited_for_and_told_as_a_gap,
        bindings_that_a_private_queue_may_not_make_are_gone_without,
        a_queue_with_other_settings_is_told_with_what_to_do,
        the_prefetch_count_is_obeyed_and_one_acknowledgement_covers_all_before_it,
        several_queues_are_consumed_and_acknowledged_over_one_channel,
        a_pause_hands_unacknowledged_deliveries_to_others,
        what_is_no_message_comes_with_its_bytes,
        an_announcement_is_confirmed_and_looks_like_the_librarys,
        many_announcements_at_once_are_each_confirmed,
        a_publisher_outlives_its_connection_and_a_refusal,
        what_a_broker_request_asks_for_is_enough_and_no_more,
        the_suite_that_every_source_must_pass,
    ];
    let rabbit = Rabbit::start();
    facts::all_hold(&facts, &rabbit, runtime, 3 * PATIENCE);
}

#[test]
fn a_broker_that_restarts_is_consumed_again() {
    let mut rabbit = Rabbit::start();
    let runtime = runtime();
    let mut source = runtime.block_on(async {
        let mut source = source(&config(&rabbit.url("test0"), DURABLE_QUEUE));
        assert!(connected(&mut source).await, "a queue that had to be made is a gap");
        let broker = Raw::open(&rabbit, "test0").await;
        broker.publish("a.one", b"{}").await;
        assert_eq!(topic(&delivery(&mut source).await), "a.one");
        source
    });
    rabbit.kill();
    let reason = runtime.block_on(disconnected(&mut source));
    assert!(reason.contains("was lost"), "{reason}");
    let reason = runtime.block_on(disconnected(&mut source));
    assert!(reason.contains("cannot reach the broker at 127.0.0.1"), "{reason}");
    rabbit.start_node();
    runtime.block_on(async {
        assert!(!reconnected(&mut source).await, "a durable queue keeps its messages");
        let again = delivery(&mut source).await;
        assert_eq!((topic(&again), again.redelivered), ("a.one", true));
        source.ack(again.receipt).await;
        source.close().await;
        no_thread_is_left().await;
    });
}

#[test]
fn a_peer_that_falls_silent_is_given_up_at_every_phase_and_leaves_no_thread() {
    let rabbit = Rabbit::start();
    let runtime = runtime();
    runtime.block_on(async {
        // Bytes from the broker until it falls silent: none, in its greeting, in tuning, while queues are declared.
        for (bytes, phase) in [(0, "the AMQP handshake"), (200, "the AMQP handshake"), (560, "")] {
            let proxy = stalling_proxy(rabbit.amqp_port, bytes);
            let reason = timeout(PATIENCE, first_reason(&plain(proxy, "test1"))).await.unwrap();
            assert!(
                reason.contains("did not finish") && reason.contains(phase),
                "after {bytes} bytes: {reason}"
            );
        }
        let proxy = stalling_proxy(rabbit.amqps_port, 0);
        let url = format!("amqps://localhost:{proxy}/%2Fpublic_pubsub?stack_timeout=0.5");
        let reason = timeout(PATIENCE, first_reason(&tls(&rabbit, &url))).await.unwrap();
        assert!(reason.contains("did not finish the TLS handshake within 0.5 s"), "{reason}");
        // Silent once consuming: heartbeats notice.
        let proxy = stalling_proxy(rabbit.amqp_port, 4000);
        let mut source = source(&plain(proxy, "test2"));
        reconnected(&mut source).await; // Half a second is little on a busy machine.
        let broker = Raw::open(&rabbit, "test2").await;
        broker.publish("a.large", format!("{{\"x\": {:?}}}", "x".repeat(9000)).as_bytes()).await;
        let reason = timeout(PATIENCE, disconnected(&mut source)).await.unwrap();
        assert!(reason.contains("no heartbeat"), "{reason}");
        drop(broker);
        no_thread_is_left().await;
    });
}

#[tokio::test]
async fn a_port_that_nobody_accepts_on_is_given_up() {
    // The first connection fills the backlog; the kernel drops the next ones.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut full = Vec::new();
    while let Ok(stream) = timeout(QUIET, tokio::net::TcpStream::connect(address)).await {
        full.push(stream);
    }
    let config = config(&format!("amqp://127.0.0.1:{}?socket_timeout=0.5", address.port()), "");
    let reason = timeout(PATIENCE, first_reason(&config)).await.unwrap();
    assert!(reason.contains("did not finish the TCP connection within 0.5 s"), "{reason}");
}

async fn a_client_certificate_and_external_open_the_public_broker(rabbit: &Rabbit, _: String) {
    let config = tls(rabbit, &rabbit.tls_url(PUBLIC_VHOST));
    assert!(config.external_auth());
    let mut source = source(&config);
    assert!(connected(&mut source).await, "a queue of our own begins empty");
    let publisher = AmqpPublisher::new(config, "test");
    publisher.publish(&outgoing("7b8e6d5a-0000-4000-8000-000000000001")).await.unwrap();
    let message = delivery(&mut source).await.message.unwrap();
    assert_eq!(message.id, "7b8e6d5a-0000-4000-8000-000000000001");
    source.close().await;
}

async fn an_authority_that_did_not_sign_the_broker_is_named(rabbit: &Rabbit, _: String) {
    let mut config = tls(rabbit, &rabbit.tls_url(PUBLIC_VHOST));
    config.tls.ca_cert = Some(rabbit.certificates.other_ca.clone());
    let reason = first_reason(&config).await;
    assert!(reason.contains("is not from an authority in") && reason.contains("other-ca.pem"), "{reason}");
}

async fn a_client_certificate_that_the_broker_refuses_is_named(rabbit: &Rabbit, _: String) {
    let mut config = tls(rabbit, &rabbit.tls_url(PUBLIC_VHOST));
    let client = config.tls.client.as_mut().unwrap();
    (client.certfile, client.keyfile) = rabbit.certificates.other_client.clone();
    let reason = first_reason(&config).await;
    assert!(reason.contains("does it accept our client certificate?"), "{reason}");
}

async fn a_missing_certificate_file_is_named(rabbit: &Rabbit, _: String) {
    let mut config = tls(rabbit, &rabbit.tls_url(PUBLIC_VHOST));
    config.tls.ca_cert = Some("/nowhere/ca.pem".into());
    let reason = first_reason(&config).await;
    assert!(reason.contains("cannot use /nowhere/ca.pem (tls.ca_cert): No such file"), "{reason}");
}

async fn a_wrong_password_and_a_missing_vhost_are_told_apart(rabbit: &Rabbit, _: String) {
    let url = format!("amqp://guest:hunter2@127.0.0.1:{}", rabbit.amqp_port);
    let reason = first_reason(&config(&url, "")).await;
    assert!(
        reason.contains("refuses the user guest or its password") && !reason.contains("hunter2"),
        "{reason}"
    );
    let reason = first_reason(&config(&rabbit.url("/nowhere"), "")).await;
    assert!(reason.contains("refuses the virtual host /nowhere"), "{reason}");
}

async fn a_rotated_certificate_is_used_at_the_next_connection(rabbit: &Rabbit, _: String) {
    let dir = tempfile::tempdir().unwrap();
    let (certfile, keyfile) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    let install = |pair: &(std::path::PathBuf, std::path::PathBuf)| {
        std::fs::copy(&pair.0, &certfile).unwrap();
        std::fs::copy(&pair.1, &keyfile).unwrap();
    };
    install(&rabbit.certificates.other_client);
    let mut config = tls(rabbit, &rabbit.tls_url(PUBLIC_VHOST));
    let client = config.tls.client.as_mut().unwrap();
    (client.certfile, client.keyfile) = (certfile.clone(), keyfile.clone());
    let mut source = source(&config);
    disconnected(&mut source).await;
    install(&rabbit.certificates.client);
    reconnected(&mut source).await;
}

async fn a_forced_close_brings_back_what_was_not_acknowledged(rabbit: &Rabbit, vhost: String) {
    let mut source = source(&config(&rabbit.url(&vhost), DURABLE_QUEUE));
    connected(&mut source).await;
    let broker = Raw::open(rabbit, &vhost).await;
    for topic in ["a.one", "a.two"] {
        broker.publish(topic, b"{}").await;
    }
    let one = delivery(&mut source).await;
    let two = delivery(&mut source).await;
    source.ack(one.receipt).await;
    // Acknowledgement and close travel on different connections: wait until the broker has the first.
    broker.wait_for_unacknowledged(rabbit, &vhost, 1);
    rabbit.ctl(&["close_all_connections", "--vhost", &vhost, "as a test"]);
    let reason = disconnected(&mut source).await;
    assert!(reason.contains("was lost") && reason.contains("as a test"), "{reason}");
    source.ack(two.receipt).await; // Void: of the lost connection.
    assert!(!reconnected(&mut source).await, "nothing was missed");
    let again = delivery(&mut source).await;
    assert_eq!((topic(&again), again.redelivered), ("a.two", true));
    assert!(again.receipt > two.receipt);
    source.ack(again.receipt).await;
    assert!(quiet(&mut source).await);
}

async fn a_deleted_queue_is_noticed_made_anew_and_told_as_a_gap(rabbit: &Rabbit, vhost: String) {
    let mut source = source(&config(&rabbit.url(&vhost), DURABLE_QUEUE));
    connected(&mut source).await;
    let broker = Raw::open(rabbit, &vhost).await;
    broker.channel.queue_delete("q".into(), QueueDeleteOptions::default()).await.unwrap();
    let reason = disconnected(&mut source).await;
    assert!(reason.contains("the queue q was deleted"), "{reason}");
    assert!(reconnected(&mut source).await, "what was in it is lost");
    broker.publish("a.one", b"{}").await;
    assert_eq!(topic(&delivery(&mut source).await), "a.one");
}

async fn a_missing_passive_queue_is_waited_for_and_told_as_a_gap(rabbit: &Rabbit, vhost: String) {
    let text = format!("passive_declares = true\n{DURABLE_QUEUE}");
    let mut source = source(&config(&rabbit.url(&vhost), &text));
    let reason = disconnected(&mut source).await;
    assert!(
        reason.contains("the queue q is not there") && reason.contains("flatbus broker-request"),
        "{reason}"
    );
    let broker = Raw::open(rabbit, &vhost).await;
    broker.declare("q").await;
    assert!(reconnected(&mut source).await, "it was not there to keep messages");
    // Found at the first look, it has missed nothing.
    let mut second = self::source(&config(&rabbit.url(&vhost), &text));
    assert!(!connected(&mut second).await);
}

async fn bindings_that_a_private_queue_may_not_make_are_gone_without(rabbit: &Rabbit, _: String) {
    let queue = format!("{USER}-events");
    let broker = Raw::open(rabbit, PRIVATE_VHOST).await;
    broker.declare(&queue).await;
    let bind = broker.channel.queue_bind(
        queue.as_str().into(),
        "amq.topic".into(),
        "a.#".into(),
        QueueBindOptions::default(),
        FieldTable::default(),
    );
    bind.await.unwrap();
    let text =
        DURABLE_QUEUE.replace("queues.q", &format!("queues.{queue}")).replace("'q'", &format!("'{queue}'"));
    let mut config = config(&rabbit.tls_url(PRIVATE_VHOST), &format!("passive_declares = true\n{text}"));
    config.tls = tls(rabbit, &rabbit.tls_url(PRIVATE_VHOST)).tls;
    let mut source = source(&config);
    assert!(!connected(&mut source).await);
    broker.publish("a.one", b"{}").await;
    assert_eq!(topic(&delivery(&mut source).await), "a.one");
    // Without passive_declares the operator learns what to do.
    config.queues[0].passive = false;
    config.queues[0].name.push_str("-new");
    let reason = first_reason(&config).await;
    assert!(reason.contains("set passive_declares = true"), "{reason}");
}

async fn a_queue_with_other_settings_is_told_with_what_to_do(rabbit: &Rabbit, vhost: String) {
    let broker = Raw::open(rabbit, &vhost).await;
    let options = QueueDeclareOptions { auto_delete: true, ..QueueDeclareOptions::default() };
    broker.channel.queue_declare("q".into(), options, FieldTable::default()).await.unwrap();
    let reason = first_reason(&config(&rabbit.url(&vhost), DURABLE_QUEUE)).await;
    assert!(reason.contains("it exists with other settings than [queues] says"), "{reason}");
}

async fn the_prefetch_count_is_obeyed_and_one_acknowledgement_covers_all_before_it(
    rabbit: &Rabbit,
    vhost: String,
) {
    let text = format!("{DURABLE_QUEUE}\n[qos]\nprefetch_count = 3");
    let mut source = source(&config(&rabbit.url(&vhost), &text));
    connected(&mut source).await;
    let broker = Raw::open(rabbit, &vhost).await;
    for number in 0..7 {
        broker.publish(&format!("a.{number}"), b"{}").await;
    }
    let first = [delivery(&mut source).await, delivery(&mut source).await, delivery(&mut source).await];
    assert!(quiet(&mut source).await);
    source.ack(first[2].receipt).await;
    let mut topics = Vec::new();
    for _ in 0..3 {
        topics.push(topic(&delivery(&mut source).await).to_owned());
    }
    assert_eq!(topics, ["a.3", "a.4", "a.5"]);
    assert!(quiet(&mut source).await);
    source.close().await;
    assert!(matches!(source.next().await, SourceEvent::Ended));
    broker.wait_for_ready(4).await; // Three given back, one never delivered.
}

async fn several_queues_are_consumed_and_acknowledged_over_one_channel(rabbit: &Rabbit, vhost: String) {
    let text = [
        DURABLE_QUEUE,
        &DURABLE_QUEUE.replace("queues.q", "queues.r").replace("'q'", "'r'").replace("a.#", "b.#"),
    ];
    // TOML wants both tables before the bindings.
    let (tables, bindings): (Vec<_>, Vec<_>) = text.iter().map(|text| text.split_once("[[").unwrap()).unzip();
    let text = format!("{}[[{}", tables.concat(), bindings.join("[["));
    let mut source = source(&config(&rabbit.url(&vhost), &text));
    connected(&mut source).await;
    let broker = Raw::open(rabbit, &vhost).await;
    for topic in ["a.one", "b.one", "a.two"] {
        broker.publish(topic, b"{}").await;
    }
    let mut topics = BTreeSet::new();
    let mut last = None;
    for _ in 0..3 {
        let delivery = delivery(&mut source).await;
        topics.insert(topic(&delivery).to_owned());
        last = last.max(Some(delivery.receipt));
    }
    assert_eq!(topics.iter().map(String::as_str).collect::<Vec<_>>(), ["a.one", "a.two", "b.one"]);
    source.ack(last.unwrap()).await;
    source.close().await;
    broker.wait_for_ready(0).await;
    broker.channel.queue_delete("r".into(), QueueDeleteOptions::default()).await.unwrap();
}

async fn a_pause_hands_unacknowledged_deliveries_to_others(rabbit: &Rabbit, vhost: String) {
    let config = config(&rabbit.url(&vhost), DURABLE_QUEUE);
    let mut paused = source(&config);
    connected(&mut paused).await;
    let broker = Raw::open(rabbit, &vhost).await;
    broker.publish("a.one", b"{}").await;
    delivery(&mut paused).await;
    paused.pause().await;
    let mut other = source(&config);
    connected(&mut other).await;
    let taken = delivery(&mut other).await;
    assert!(taken.redelivered);
    other.ack(taken.receipt).await;
    other.close().await;
    broker.publish("a.two", b"{}").await;
    assert!(quiet(&mut paused).await);
    paused.resume().await;
    assert!(!connected(&mut paused).await);
    assert_eq!(topic(&delivery(&mut paused).await), "a.two");
}

async fn what_is_no_message_comes_with_its_bytes(rabbit: &Rabbit, vhost: String) {
    let limits = Limits { body_bytes_max: 64, ..Limits::default() };
    let config = config(&rabbit.url(&vhost), DURABLE_QUEUE);
    let mut source = AmqpSource::new(config, Random::from_seed(1), "test", limits).unwrap();
    connected(&mut source).await;
    let broker = Raw::open(rabbit, &vhost).await;
    broker.publish("a.text", b"\xff\xfe").await;
    broker.publish("a.large", &[b'x'; 100_000]).await;
    let wrong = delivery(&mut source).await.message.unwrap_err();
    assert_eq!((wrong.topic.as_str(), &wrong.body[..]), ("a.text", &b"\xff\xfe"[..]));
    let large = delivery(&mut source).await;
    let wrong = large.message.unwrap_err();
    assert_eq!(wrong.body, [b'x'; 64]);
    assert!(wrong.reason.contains("100000 bytes"), "{}", wrong.reason);
    let mut nested = FieldTable::default();
    nested.insert("uri".into(), AMQPValue::LongString("amqps://elsewhere".into()));
    let mut headers = FieldTable::default();
    headers
        .insert("x-received-from".into(), AMQPValue::FieldArray(vec![AMQPValue::FieldTable(nested)].into()));
    broker.publish_with("a.nested", b"{}", BasicProperties::default().with_headers(headers)).await;
    let message = delivery(&mut source).await.message.unwrap();
    assert_eq!(Value::Object(message.headers), json!({"x-received-from": [{"uri": "amqps://elsewhere"}]}));
}

async fn an_announcement_is_confirmed_and_looks_like_the_librarys(rabbit: &Rabbit, vhost: String) {
    let broker = Raw::open(rabbit, &vhost).await;
    let mut consumer = broker.bound("told", "#").await;
    let text = "topic_prefix = 'org.fedoraproject.stg'\npublish_priority = 2";
    let publisher = AmqpPublisher::new(config(&rabbit.url(&vhost), text), "test");
    publisher.publish(&outgoing("7b8e6d5a-0000-4000-8000-000000000001")).await.unwrap();
    let told = timeout(PATIENCE, consumer.next()).await.unwrap().unwrap().unwrap();
    let properties = &told.properties;
    assert_eq!(told.routing_key.as_str(), "org.fedoraproject.stg.flatbus.tag.moved");
    assert_eq!(properties.content_type().as_ref().unwrap().as_str(), "application/json");
    assert_eq!(properties.content_encoding().as_ref().unwrap().as_str(), "utf-8");
    assert_eq!((*properties.delivery_mode(), *properties.priority()), (Some(2), Some(2)));
    assert_eq!(properties.message_id().as_ref().unwrap().as_str(), "7b8e6d5a-0000-4000-8000-000000000001");
    let headers = properties.headers().as_ref().unwrap().inner();
    assert_eq!(headers["fedora_messaging_severity"], AMQPValue::LongInt(20));
    assert_eq!(headers["fedora_messaging_schema"], AMQPValue::LongString("flatbus.tag.moved.v1".into()));
    assert_eq!(headers["fedora_messaging_schema_package"], AMQPValue::LongString("flatbus_messages".into()));
    assert_eq!(headers["sent-at"], AMQPValue::LongString("2025-11-17T14:42:02+00:00".into()));
    assert_eq!(headers["fedora_messaging_flatpak_fedora/eog"], AMQPValue::Boolean(true));
    assert_eq!(headers["fedora_messaging_container_quay.io/fedora/eog:latest"], AMQPValue::Boolean(true));
    assert_eq!(serde_json::from_slice::<Value>(&told.data).unwrap(), moved());
    publisher.close().await;
}

async fn many_announcements_at_once_are_each_confirmed(rabbit: &Rabbit, vhost: String) {
    let broker = Raw::open(rabbit, &vhost).await;
    let mut consumer = broker.bound("told", "#").await;
    let publisher = AmqpPublisher::new(config(&rabbit.url(&vhost), ""), "test");
    let ids: BTreeSet<String> = (0..300).map(|number| format!("id-{number}")).collect();
    let sent =
        futures::future::join_all(ids.iter().map(async |id| publisher.publish(&outgoing(id)).await)).await;
    assert!(sent.iter().all(Result::is_ok));
    let mut seen = BTreeSet::new();
    while seen.len() < ids.len() {
        let told = timeout(PATIENCE, consumer.next()).await.unwrap().unwrap().unwrap();
        seen.insert(told.properties.message_id().as_ref().unwrap().to_string());
    }
    assert_eq!(seen, ids);
}

async fn a_publisher_outlives_its_connection_and_a_refusal(rabbit: &Rabbit, vhost: String) {
    let publisher = AmqpPublisher::new(config(&rabbit.url(&vhost), ""), "test");
    publisher.publish(&outgoing("one")).await.unwrap();
    rabbit.ctl(&["close_all_connections", "--vhost", &vhost, "as a test"]);
    // The first may still meet the dying connection; its outbox would send it again.
    if publisher.publish(&outgoing("two")).await.is_err() {
        publisher.publish(&outgoing("two")).await.unwrap();
    }
    let wrong = AmqpPublisher::new(config(&rabbit.url(&vhost), "publish_exchange = 'nowhere'"), "test");
    for _ in 0..2 {
        let refused = wrong.publish(&outgoing("three")).await.unwrap_err();
        assert!(
            matches!(&refused, PublishError::Refused { reason, .. } if reason.contains("nowhere")),
            "{refused}"
        );
    }
    let long = AmqpPublisher::new(config(&rabbit.url(&vhost), ""), "test");
    let mut endless = outgoing("four");
    endless.announcement.topic = "x".repeat(300);
    assert!(matches!(long.publish(&endless).await, Err(PublishError::Refused { .. })));
    let away = AmqpPublisher::new(config("amqp://127.0.0.1:1", ""), "test");
    assert!(matches!(away.publish(&outgoing("five")).await, Err(PublishError::Unreachable(_))));
}

async fn what_a_broker_request_asks_for_is_enough_and_no_more(rabbit: &Rabbit, vhost: String) {
    let text = format!("passive_declares = true\ntopic_prefix = 'org.fedoraproject.stg'\n{DURABLE_QUEUE}");
    let mut config = config(&rabbit.tls_url(&vhost), &text);
    config.tls = tls(rabbit, &rabbit.tls_url(&vhost)).tls;
    let request = broker_request(&config, None).unwrap();
    let commands = request.lines().filter_map(|line| line.trim().strip_prefix("rabbitmqctl set_"));
    for command in commands {
        // As a shell takes it apart.
        let script = format!("printf '%s\\n' set_{command}");
        let words = std::process::Command::new("sh").args(["-c", &script]).output().unwrap().stdout;
        rabbit.ctl(&String::from_utf8(words).unwrap().lines().collect::<Vec<_>>());
    }
    let broker = Raw::open(rabbit, &vhost).await;
    drop(broker.bound("q", "a.#").await);
    let mut source = source(&config);
    assert!(!connected(&mut source).await);
    let publisher = AmqpPublisher::new(config, "test");
    publisher.publish(&outgoing("one")).await.unwrap();
    let mut foreign = outgoing("two");
    foreign.announcement.topic = "bodhi.update.edit".into();
    let refused = publisher.publish(&foreign).await.unwrap_err();
    assert!(
        matches!(&refused, PublishError::Refused { reason, .. } if reason.contains("topic")),
        "{refused}"
    );
}

async fn the_suite_that_every_source_must_pass(rabbit: &Rabbit, vhost: String) {
    let expect = Expect {
        tells_redelivered: true,
        connection: true,
        window: Some(WINDOW),
        ends: false,
        cursors: false,
    };
    let places = AtomicU32::new(0);
    let place = async || {
        let number = places.fetch_add(1, Ordering::Relaxed);
        let place = Queue { rabbit, vhost: vhost.clone(), name: format!("q{number}") };
        let broker = Raw::open(rabbit, &vhost).await;
        broker.declare(&place.name).await;
        place
    };
    conformance::all(place, expect).await;
}

/// A durable queue of its own for each check.
struct Queue<'r> {
    rabbit: &'r Rabbit,
    vhost: String,
    name: String,
}

#[async_trait]
impl Place for Queue<'_> {
    async fn source(&mut self, _: Option<&Cursor>) -> Box<dyn Source> {
        let Self { name, vhost, rabbit } = self;
        let text =
            DURABLE_QUEUE.replace("queues.q", &format!("queues.{name}")).replace("'q'", &format!("'{name}'"));
        let text = format!("{text}\n[qos]\nprefetch_count = {WINDOW}");
        Box::new(source(&config(&rabbit.url(vhost), &text.replace("a.#", name))))
    }

    async fn put(&mut self, items: &[Item]) {
        let broker = Raw::open(self.rabbit, &self.vhost).await;
        for item in items {
            let properties =
                BasicProperties::default().with_content_encoding("utf-8".into()).with_delivery_mode(2);
            let (properties, body) = match item {
                Item::Message(id) => (properties.with_message_id(id.as_str().into()), &b"{}"[..]),
                Item::Bytes(bytes) => (properties, &bytes[..]),
            };
            broker.publish_to("", &self.name, body, properties).await;
        }
    }

    /// Acknowledgements travel on another connection than the order to close it.
    async fn cut(&mut self, left: u64) {
        let known = || {
            let (ready, unacknowledged) = self.rabbit.messages(&self.vhost, &self.name);
            ready + unacknowledged == left
        };
        assert!((0..20).any(|_| known()), "the broker never knew that {left} were left");
        self.rabbit.ctl(&["close_all_connections", "--vhost", &self.vhost, "as a test"]);
    }
}

/// A durable queue `q`, bound to `a.#`.
const DURABLE_QUEUE: &str = "
[queues.q]
durable = true
auto_delete = false
exclusive = false
arguments = {}
[[bindings]]
queue = 'q'
exchange = 'amq.topic'
routing_keys = ['a.#']
";

fn config(url: &str, text: &str) -> Config {
    let separator = if url.contains('?') { '&' } else { '?' };
    let text = format!("amqp_url = '{url}{separator}retry_delay=0.2'\n{text}");
    Config::from_toml(&text, Path::new("test.toml")).unwrap().0
}

fn tls(rabbit: &Rabbit, url: &str) -> Config {
    let files = &rabbit.certificates;
    let [ca, cert, key] = [&files.ca, &files.client.0, &files.client.1].map(|path| path.display());
    config(url, &format!("[tls]\nca_cert = '{ca}'\ncertfile = '{cert}'\nkeyfile = '{key}'"))
}

fn plain(port: u16, vhost: &str) -> Config {
    config(&format!("amqp://127.0.0.1:{port}/{vhost}?stack_timeout=0.5&heartbeat=1"), DURABLE_QUEUE)
}

fn source(config: &Config) -> AmqpSource {
    AmqpSource::new(config.clone(), Random::from_seed(1), "test", Limits::default()).unwrap()
}

/// As much of an announcement as its headers follow from.
fn moved() -> Value {
    json!({"registry": "quay.io", "repository": "fedora/eog", "tag": "latest"})
}

fn outgoing(id: &str) -> Outgoing {
    Outgoing {
        id: id.into(),
        sent_at: "2025-11-17T14:42:02.5Z".parse().unwrap(),
        causes: vec!["a-cause".into()],
        announcement: Announcement {
            topic: "flatbus.tag.moved".into(),
            schema: "flatbus.tag.moved.v1".into(),
            severity: Severity::Info,
            body: moved(),
        },
    }
}

async fn event(source: &mut AmqpSource) -> SourceEvent {
    timeout(PATIENCE, source.next()).await.expect("an event in time")
}

/// Whether there was a gap.
async fn connected(source: &mut AmqpSource) -> bool {
    match event(source).await {
        SourceEvent::Connected { gap } => gap,
        other => panic!("{other:?}"),
    }
}

/// As [`connected`], after any number of attempts that failed.
async fn reconnected(source: &mut AmqpSource) -> bool {
    loop {
        match event(source).await {
            SourceEvent::Connected { gap } => return gap,
            SourceEvent::Disconnected { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

async fn disconnected(source: &mut AmqpSource) -> String {
    loop {
        match event(source).await {
            SourceEvent::Disconnected { reason } => return reason,
            SourceEvent::Delivery(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

async fn delivery(source: &mut AmqpSource) -> Delivery {
    match event(source).await {
        SourceEvent::Delivery(delivery) => delivery,
        other => panic!("{other:?}"),
    }
}

async fn first_reason(config: &Config) -> String {
    disconnected(&mut source(config)).await
}

async fn quiet(source: &mut AmqpSource) -> bool {
    timeout(QUIET, source.next()).await.is_err()
}

fn topic(delivery: &Delivery) -> &str {
    match &delivery.message {
        Ok(message) => &message.topic,
        Err(error) => &error.topic,
    }
}

/// A plain client, for what others do.
struct Raw {
    channel: Channel,
    _connection: Connection,
}

impl Raw {
    async fn open(rabbit: &Rabbit, vhost: &str) -> Self {
        let connection =
            Connection::connect(&rabbit.url(vhost), ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        Self { channel, _connection: connection }
    }

    async fn publish(&self, topic: &str, body: &[u8]) {
        let persistent =
            BasicProperties::default().with_content_encoding("utf-8".into()).with_delivery_mode(2);
        self.publish_with(topic, body, persistent).await;
    }

    async fn publish_with(&self, topic: &str, body: &[u8], properties: BasicProperties) {
        self.publish_to("amq.topic", topic, body, properties).await;
    }

    async fn publish_to(&self, exchange: &str, key: &str, body: &[u8], properties: BasicProperties) {
        let options = BasicPublishOptions::default();
        let sent = self.channel.basic_publish(exchange.into(), key.into(), options, body, properties).await;
        assert!(sent.unwrap().await.unwrap().is_ack());
    }

    async fn declare(&self, queue: &str) {
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        self.channel.queue_declare(queue.into(), options, FieldTable::default()).await.unwrap();
    }

    async fn bound(&self, queue: &str, key: &str) -> lapin::Consumer {
        self.declare(queue).await;
        let (options, table) = (QueueBindOptions::default(), FieldTable::default());
        self.channel.queue_bind(queue.into(), "amq.topic".into(), key.into(), options, table).await.unwrap();
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        self.channel.basic_consume(queue.into(), "raw".into(), options, FieldTable::default()).await.unwrap()
    }

    /// Until the queue `q` holds so many messages that are nobody's.
    async fn wait_for_ready(&self, messages: u32) {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        for _ in 0..100 {
            let queue = self.channel.queue_declare("q".into(), options, FieldTable::default()).await.unwrap();
            if queue.message_count() == messages {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the queue never had {messages} messages ready");
    }

    fn wait_for_unacknowledged(&self, rabbit: &Rabbit, vhost: &str, messages: u32) {
        let listing = ["list_queues", "--quiet", "--vhost", vhost, "messages_unacknowledged"];
        for _ in 0..10 {
            if rabbit.ctl(&listing).lines().any(|line| line.trim() == messages.to_string()) {
                return;
            }
        }
        panic!("the broker never had {messages} unacknowledged");
    }
}

/// A port that passes connections on to `port`, and `bytes` bytes back, after which the broker seems silent.
fn stalling_proxy(port: u16, bytes: usize) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let client = Arc::new(client);
            let broker = Arc::new(TcpStream::connect(("127.0.0.1", port)).unwrap());
            let (to, from) = (Arc::clone(&broker), Arc::clone(&client));
            thread::spawn(move || pass(&from, &to, usize::MAX));
            thread::spawn(move || pass(&broker, &client, bytes));
        }
    });
    address.port()
}

fn pass(mut from: &TcpStream, mut to: &TcpStream, mut bytes: usize) {
    let mut buffer = [0; 512];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        let passed = read.min(bytes);
        bytes -= passed;
        if to.write_all(&buffer[..passed]).is_err() {
            return;
        }
    }
}

/// lapin has a thread for each connection: none may outlive its connection. Those of tests that run beside this one end
/// with them. The runtime must run meanwhile: the threads learn of their sockets' end from it.
async fn no_thread_is_left() {
    let threads = || {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
        let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
        names.filter(|name| name.starts_with("lapin-io-loop")).count()
    };
    for _ in 0..900 {
        if threads() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{} threads are left", threads());
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}
