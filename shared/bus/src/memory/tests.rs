use flatbus_schemas::{Announcement, Severity};
use serde_json::{Map, json};

use super::*;
use crate::{
    Cursor, Delivery, PublishError, Publisher as _, Source, SourceEvent,
    conformance::{self, Expect, Item, Place},
};

const QUEUE: &str = "mirror";

fn message(id: &str) -> Message {
    Message {
        topic: "org.fedoraproject.prod.bodhi.update.edit".into(),
        id: id.into(),
        headers: Map::new(),
        severity: Severity::Info,
        sent_at: None,
        priority: None,
        body: b"{}".to_vec(),
    }
}

fn outgoing(id: &str) -> Outgoing {
    Outgoing {
        id: id.into(),
        sent_at: "2025-01-01T00:00:00Z".parse().unwrap(),
        causes: Vec::new(),
        announcement: Announcement {
            topic: "flatbus.tag.moved".into(),
            schema: "flatbus.tag.moved.v1".into(),
            severity: Severity::Info,
            body: json!({}),
        },
    }
}

async fn delivery(source: &mut MemorySource) -> Delivery {
    match source.next().await {
        SourceEvent::Delivery(delivery) => delivery,
        other => panic!("{other:?}"),
    }
}

async fn connected(source: &mut MemorySource) -> bool {
    match source.next().await {
        SourceEvent::Connected { gap } => gap,
        other => panic!("{other:?}"),
    }
}

fn id(delivery: &Delivery) -> &str {
    delivery.message.as_ref().map_or_else(|error| error.id.as_str(), |message| message.id.as_str())
}

fn silent(source: &mut MemorySource) -> bool {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    std::pin::pin!(source.next()).poll(&mut context).is_pending()
}

struct Held(MemoryBus);

#[async_trait::async_trait]
impl Place for Held {
    async fn source(&mut self, _: Option<&Cursor>) -> Box<dyn Source> {
        Box::new(self.0.source(QUEUE))
    }

    async fn put(&mut self, items: &[Item]) {
        for item in items {
            match item {
                Item::Message(id) => self.0.publish(message(id)),
                Item::Bytes(body) => self.0.publish_undecodable(&Undecodable {
                    body: body.clone(),
                    reason: "no message".into(),
                    ..Undecodable::default()
                }),
            }
        }
    }

    async fn cut(&mut self, _: u64) {
        self.0.disconnect("cut");
        self.0.connect(false);
    }
}

#[tokio::test(start_paused = true)]
async fn it_keeps_the_conformance_suite() {
    const WINDOW: NonZeroUsize = NonZeroUsize::new(7).unwrap();
    let expect = Expect {
        tells_redelivered: true,
        connection: true,
        window: Some(WINDOW.get()),
        ends: false,
        cursors: false,
    };
    let queue = async || {
        let bus = MemoryBus::new();
        bus.set_prefetch_count(WINDOW);
        bus.declare(QUEUE, &["#"]);
        Held(bus)
    };
    conformance::all(queue, expect).await;
}

#[tokio::test]
async fn what_is_acknowledged_is_gone_and_what_is_not_comes_again_in_order() {
    let bus = MemoryBus::new();
    let mut source = bus.source(QUEUE);
    assert!(!connected(&mut source).await);
    for id in ["one", "two", "three"] {
        bus.publish(message(id));
    }
    let one = delivery(&mut source).await;
    let two = delivery(&mut source).await;
    source.ack(one.receipt).await;
    bus.disconnect("cut");
    assert!(matches!(source.next().await, SourceEvent::Disconnected { reason } if reason == "cut"));
    assert!(silent(&mut source));
    source.ack(two.receipt).await; // Too late: of a lost connection.
    bus.connect(false);
    assert!(!connected(&mut source).await);
    let again = delivery(&mut source).await;
    assert_eq!((id(&again), again.redelivered), ("two", true));
    let three = delivery(&mut source).await;
    assert_eq!((id(&three), three.redelivered), ("three", false));
    source.ack(three.receipt).await;
    assert_eq!(bus.acked(QUEUE), ["one", "two", "three"]);
    assert_eq!((bus.waiting(QUEUE), bus.unacked(QUEUE)), (0, 0));
    bus.drained(QUEUE).await;
}

#[tokio::test]
async fn a_pause_hands_back_what_is_not_acknowledged() {
    let bus = MemoryBus::new();
    let (mut paused, mut other) = (bus.source(QUEUE), bus.source(QUEUE));
    connected(&mut paused).await;
    connected(&mut other).await;
    bus.publish(message("one"));
    delivery(&mut paused).await;
    assert!(silent(&mut other));
    paused.pause().await;
    assert!(silent(&mut paused));
    assert_eq!(id(&delivery(&mut other).await), "one");
    bus.publish(message("two"));
    paused.resume().await;
    assert!(!connected(&mut paused).await);
    assert_eq!(id(&delivery(&mut paused).await), "two");
    drop(other);
    assert_eq!(id(&delivery(&mut paused).await), "one");
}

#[tokio::test]
async fn a_lost_queue_is_told_as_a_gap() {
    let bus = MemoryBus::new();
    let mut source = bus.source(QUEUE);
    connected(&mut source).await;
    bus.publish(message("one"));
    bus.lose_queue(QUEUE);
    assert!(matches!(source.next().await, SourceEvent::Disconnected { .. }));
    assert!(connected(&mut source).await);
    assert!(silent(&mut source));
}

#[tokio::test]
async fn publishing_fails_as_told_and_a_lost_confirm_has_arrived() {
    let bus = MemoryBus::new();
    let publisher = bus.publisher("");
    bus.fail_publishing([Fault::Unreachable("away".into()), Fault::ConfirmLost, Fault::Refused("no".into())]);
    let first = publisher.publish(&outgoing("a")).await;
    assert!(matches!(first, Err(PublishError::Unreachable(_))));
    assert!(bus.announced().is_empty());
    assert!(publisher.publish(&outgoing("a")).await.is_err());
    assert_eq!(bus.announced().len(), 1);
    assert!(matches!(publisher.publish(&outgoing("b")).await, Err(PublishError::Refused { .. })));
    publisher.publish(&outgoing("a")).await.unwrap();
    assert_eq!(bus.take_announced().iter().map(|told| told.id.as_str()).collect::<Vec<_>>(), ["a", "a"]);
    assert!(bus.announced().is_empty());
}

#[tokio::test]
async fn announcements_are_messages_where_the_bus_loops_back() {
    let bus = MemoryBus::new();
    bus.declare(QUEUE, &["#.flatbus.#"]);
    bus.set_loops_back(true);
    let mut source = bus.source(QUEUE);
    connected(&mut source).await;
    bus.publish(message("not for this queue"));
    bus.publisher("org.fedoraproject.prod.").publish(&outgoing("a")).await.unwrap();
    let told = delivery(&mut source).await.message.unwrap();
    assert_eq!((told.topic.as_str(), told.id.as_str()), ("org.fedoraproject.prod.flatbus.tag.moved", "a"));
}

#[tokio::test]
async fn a_closed_source_has_ended() {
    let bus = MemoryBus::new();
    let mut source = bus.source(QUEUE);
    bus.publish_undecodable(&Undecodable { id: "x".into(), ..Undecodable::default() });
    connected(&mut source).await;
    assert_eq!(id(&delivery(&mut source).await), "x");
    source.close().await;
    assert!(matches!(source.next().await, SourceEvent::Ended));
    assert_eq!(bus.waiting(QUEUE), 1);
}
