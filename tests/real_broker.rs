//! What a real RabbitMQ does to the whole loop, from delivery to announcement: after every fault that a broker, its
//! administrators or the way to it have, messages are consumed again within ten seconds of the broker being well, and
//! nothing is lost.
//!
//! Each fault comes while messages flow and some of them are recorded and not yet acknowledged. In the end every message
//! that the broker confirmed is settled and announced, and neither the broker nor the ledger holds anything. Faults of a
//! whole node have a node each; the others share one, each in a virtual host of its own.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]
#![expect(clippy::print_stdout, reason = "how soon it consumed again is worth reading")]

#[path = "support/broker/mod.rs"]
mod broker;
#[macro_use]
#[path = "support/facts.rs"]
mod facts;
#[path = "support/rabbitmq.rs"]
mod rabbitmq;

use std::time::Duration;

use broker::{
    NAMED, QUEUE,
    crowd::{Client, FANOUT},
    raw::{self, Raw},
    relay::{Mood, Relay},
    stage::{PATIENCE, PROMISE, Stage, UNACKED},
};
use flatbus_base::{Clock as _, SystemClock};
use flatbus_telemetry::metrics::Counter;
use rabbitmq::Rabbit;
use tokio::runtime::{Builder, Runtime};

const VHOST: &str = "test0";
/// Longest that one fact may take.
const FACT_TIMEOUT: Duration = Duration::from_secs(120);
/// Messages that wait in the queue of a broker that takes no more.
const HELD: usize = 60;

#[test]
fn faults_that_leave_the_node_whole() {
    let facts = facts![
        a_forced_close_loses_nothing,
        a_cancelled_consumer_finds_what_the_deleted_queue_lost,
        a_missing_passive_queue_is_alarmed_and_consumed_once_it_is_there,
        a_peer_silent_at_connect_is_given_up_and_asked_again,
        lost_acknowledgements_bring_the_messages_again_and_harm_nothing,
        a_host_that_lost_power_is_noticed_when_it_is_back,
        what_no_client_can_read_is_parked_with_its_body_and_stops_nothing,
    ];
    let rabbit = Rabbit::start();
    facts::all_hold(&facts, &rabbit, runtime, FACT_TIMEOUT);
}

async fn a_forced_close_loses_nothing(rabbit: &Rabbit, vhost: String) {
    let stage = Stage::set(rabbit, &vhost, rabbit.amqp_port, false).await;
    stage.leave_unacknowledged().await;
    assert!(rabbit.messages(&vhost, QUEUE).1 > 0, "the broker waits for acknowledgements");
    rabbit.ctl(&["close_all_connections", "--vhost", &vhost, "maintenance"]);
    stage.witness.release();
    stage.consumes_again("forced close").await;
    assert!(stage.witness.metrics.get(Counter::Reconnects) > 0, "it was noticed");
    stage.loses_nothing(rabbit).await;
}

/// What was published while there was no queue is nobody's: only the survey finds it.
async fn a_cancelled_consumer_finds_what_the_deleted_queue_lost(rabbit: &Rabbit, vhost: String) {
    let stage = Stage::set(rabbit, &vhost, rabbit.amqp_port, false).await;
    stage.leave_unacknowledged().await;
    Client::connect(&stage.url).await.unwrap().delete_queue(QUEUE).await;
    let well = SystemClock.monotonic(); // To make it anew is ours.
    stage.says(&["the queue things was deleted", "the broker cancelled our consumer"]).await;
    stage.witness.release();
    stage.until_well().await;
    stage.consumes_again_since(well, "cancelled consumer").await;
    stage.finds_what_the_broker_lost(rabbit).await;
}

/// It is not there at the start, and it goes away in the middle.
async fn a_missing_passive_queue_is_alarmed_and_consumed_once_it_is_there(rabbit: &Rabbit, vhost: String) {
    let words = ["the queue things is not there and is not ours to make (passive)", "flatbus broker-request"];
    let mut stage = Stage::set_early(rabbit, &vhost, rabbit.amqp_port, true).await;
    stage.says(&words).await;
    stage.crowd.talk(); // To no queue at all.
    let administrator = Client::connect(&stage.url).await.unwrap();
    administrator.make_queue(QUEUE, NAMED).await;
    stage.consumes_again("missing passive queue, at the start").await;
    stage.leave_unacknowledged().await;
    administrator.delete_queue(QUEUE).await;
    stage.says(&words).await;
    stage.witness.release();
    administrator.make_queue(QUEUE, NAMED).await;
    stage.consumes_again("missing passive queue, in the middle").await;
    stage.finds_what_the_broker_lost(rabbit).await;
}

/// The broker is back just after one more connection was accepted by whoever says nothing.
async fn a_peer_silent_at_connect_is_given_up_and_asked_again(rabbit: &Rabbit, vhost: String) {
    let mut relay = Relay::to(rabbit.amqp_port).await;
    let stage = Stage::set(rabbit, &vhost, relay.port, false).await;
    stage.leave_unacknowledged().await;
    relay.set(Mood::Silent);
    relay.cut();
    stage.says(&["did not finish the AMQP handshake within 5 s", "is this a TLS port?"]).await;
    relay.leaves_another_hanging().await;
    relay.set(Mood::Whole);
    stage.witness.release();
    stage.consumes_again("silent peer at connect").await;
    stage.loses_nothing(rabbit).await;
}

/// Announcements are swallowed on the same way, and their confirms with them.
async fn lost_acknowledgements_bring_the_messages_again_and_harm_nothing(rabbit: &Rabbit, vhost: String) {
    let relay = Relay::to(rabbit.amqp_port).await;
    let mut stage = Stage::set_quiet(rabbit, &vhost, relay.port, false).await;
    let knows = async || (rabbit.messages(&vhost, QUEUE) == (0, 0)).then_some(());
    stage.until("the broker knows of every acknowledgement", PATIENCE, knows).await;
    relay.set(Mood::Deaf);
    let acked_before = stage.witness.metrics.get(Counter::Acked);
    let things = stage.crowd.say(10).await;
    let acked = async || (stage.witness.metrics.get(Counter::Acked) == acked_before + 10).then_some(());
    stage.until("all are acknowledged", PATIENCE, acked).await;
    assert_eq!(rabbit.messages(&vhost, QUEUE), (0, 10), "the acknowledgements never arrived");
    stage.crowd.talk();
    relay.set(Mood::Whole);
    relay.cut();
    stage.consumes_again("lost acknowledgements").await;
    for thing in &things {
        let settled = stage.books.open().settled[thing];
        assert_eq!(settled, 2, "{thing} came twice and was looked at twice");
    }
    stage.loses_nothing(rabbit).await;
}

/// Nothing says good-bye; what is sent to the host is refused once it is back.
async fn a_host_that_lost_power_is_noticed_when_it_is_back(rabbit: &Rabbit, vhost: String) {
    let relay = Relay::to(rabbit.amqp_port).await;
    let stage = Stage::set(rabbit, &vhost, relay.port, false).await;
    stage.leave_unacknowledged().await;
    relay.set(Mood::Silent);
    stage.witness.release();
    // Long enough for the broker to have said something that is lost.
    tokio::time::sleep(Duration::from_secs(7)).await;
    relay.set(Mood::Whole);
    stage.consumes_again("a host that lost power").await;
    stage.loses_nothing(rabbit).await;
}

/// Anybody may publish such a message on a broker that is open to all.
async fn what_no_client_can_read_is_parked_with_its_body_and_stops_nothing(rabbit: &Rabbit, vhost: String) {
    let broken: [(&[u8], Vec<u8>, &str); 5] = [
        (
            b"deep",
            raw::headers(&raw::nested(1_000)),
            "can't be read, and aren't kept: they nest deeper than 64",
        ),
        (b"deeper", raw::headers(&raw::nested(20_000)), "they nest deeper than 64"),
        (b"name", raw::headers(b"\x02\xff\xfeV"), "a name or a text in them is not UTF-8"),
        (b"id", raw::message_id(b"\xff\xfe"), "a name or a text in them is not UTF-8"),
        (b"key.\xff", raw::message_id(b"id"), "the topic is empty, longer than 255 bytes, or not plain text"),
    ];
    let mut stage = Stage::set_quiet(rabbit, &vhost, rabbit.amqp_port, false).await;
    Client::connect(&stage.url).await.unwrap().feed_from_fanout(QUEUE).await;
    let mut publisher = Raw::connect(rabbit.amqp_port, &vhost).await;
    let reconnects = stage.witness.metrics.get(Counter::Reconnects);
    stage.crowd.talk();
    stage.crowd.say(UNACKED).await;
    for (key, properties, _) in &broken {
        publisher.publish(FANOUT, key, properties, key.escape_ascii().to_string().as_bytes()).await;
        stage.crowd.say(1).await;
    }
    let all = async || Some(stage.witness.parked().await).filter(|parked| parked.len() == broken.len());
    let parked = stage.until("all are parked", PATIENCE, all).await;
    for (message, (key, _, reason)) in parked.iter().zip(&broken) {
        assert_eq!(message.body, key.escape_ascii().to_string());
        assert_eq!(message.topic, String::from_utf8_lossy(key));
        assert!(message.reason.contains(reason), "{}", message.reason);
        stage.witness.drop_parked(message.number).await;
    }
    stage.consumes_again("messages that no client can read").await;
    assert_eq!(stage.witness.metrics.get(Counter::Reconnects), reconnects, "the connection was kept");
    stage.loses_nothing(rabbit).await;
}

#[test]
fn a_node_that_is_stopped_and_started_loses_nothing() {
    a_node_goes_and_comes_back("stopped and started", Rabbit::stop);
}

#[test]
fn a_node_that_is_killed_loses_nothing() {
    a_node_goes_and_comes_back("killed", Rabbit::kill);
}

fn a_node_goes_and_comes_back(how: &str, go: fn(&mut Rabbit)) {
    let mut rabbit = Rabbit::start();
    let runtime = runtime();
    let stage = runtime.block_on(async {
        let stage = Stage::set(&rabbit, VHOST, rabbit.amqp_port, false).await;
        stage.leave_unacknowledged().await;
        stage
    });
    assert!(rabbit.messages(VHOST, QUEUE).1 > 0, "the broker waits for acknowledgements");
    go(&mut rabbit);
    runtime.block_on(stage.says(&["cannot reach the broker at 127.0.0.1"]));
    stage.witness.release();
    rabbit.start_node();
    runtime.block_on(async {
        stage.until_well().await;
        stage.consumes_again(how).await;
        stage.loses_nothing(&rabbit).await;
    });
}

/// It reads and acknowledges on; what it has to say waits, says so, and is said when the broker takes messages again.
#[test]
fn a_broker_that_blocks_publishers_is_consumed_on_and_told_all_once_it_can() {
    let rabbit = Rabbit::start();
    runtime().block_on(async {
        let mut stage = Stage::set_quiet(&rabbit, VHOST, rabbit.amqp_port, false).await;
        stage.witness.hold();
        let things = stage.crowd.say(HELD).await;
        rabbit.ctl(&["set_vm_memory_high_watermark", "absolute", "1"]);
        stage.crowd.talk();
        let alarm = async || rabbit.ctl(&["list_connections", "state"]).contains("blocked").then_some(());
        stage.until("a publisher is blocked", PATIENCE, alarm).await;
        let said = stage.books.open().confirmed.len();
        stage.witness.release();
        let consumed = async || (rabbit.messages(VHOST, QUEUE) == (0, 0)).then_some(());
        stage.until("the queue is consumed", PATIENCE, consumed).await;
        assert!(stage.books.unsettled().is_empty(), "all that was said is settled");
        let told = async || {
            let status = stage.witness.status().await;
            let words = "Announcements wait: the broker takes no messages at the moment";
            let alarmed = status.attention.iter().any(|line| line.contains(words));
            (alarmed && status.bus.consuming && status.ledger.outbox >= things.len() - 1).then_some(())
        };
        stage.until("the page says that announcements wait", PATIENCE, told).await;
        assert!(stage.books.open().confirmed.len() <= said + 1, "the broker still blocks");
        rabbit.ctl(&["set_vm_memory_high_watermark", "0.4"]);
        let announced = async || (stage.witness.status().await.ledger.outbox == 0).then_some(());
        stage.until("what waited is announced", PROMISE, announced).await;
        stage.consumes_again("blocked connection").await;
        stage.loses_nothing(&rabbit).await;
    });
}

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}
