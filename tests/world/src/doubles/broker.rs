//! The broker behind the gate: what is acknowledged and what is published is watched.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use async_trait::async_trait;
use flatbus_bus::{
    MemoryBus, MemoryPublisher, MemorySource, Outgoing, PublishError, Publisher, Receipt, Source, SourceEvent,
};
use flatbus_schemas::Message;

use crate::{
    fault::Fault,
    gate::{Line, Service, Verb},
    witness::Witness,
};

/// How long a publisher waits for a broker that takes nothing.
const PATIENCE: Duration = Duration::from_secs(30);

/// The keys that a message makes doubtful.
pub type Affected = Arc<dyn Fn(&Message) -> Vec<String> + Send + Sync>;

/// A source as one process sees it.
pub struct GatedSource {
    bus: MemoryBus,
    inner: MemorySource,
    line: Line,
    witness: Witness,
    affected: Affected,
    /// Delivered and not yet acknowledged, with the keys each makes doubtful.
    given: VecDeque<(Receipt, Vec<String>, u64)>,
}

impl GatedSource {
    /// A source on a queue behind the gate.
    pub fn new(bus: &MemoryBus, queue: &str, line: Line, witness: Witness, affected: Affected) -> Self {
        let (inner, given) = (bus.source(queue), VecDeque::new());
        Self { bus: bus.clone(), inner, line, witness, affected, given }
    }
}

#[async_trait]
impl Source for GatedSource {
    async fn next(&mut self) -> SourceEvent {
        let event = self.inner.next().await;
        if let SourceEvent::Delivery(delivery) = &event {
            let keys = delivery.message.as_ref().map(|message| (self.affected)(message)).unwrap_or_default();
            self.given.push_back((delivery.receipt, keys, self.witness.delivered()));
        }
        event
    }

    async fn ack(&mut self, through: Receipt) {
        let fault = self.line.pass(Service::Broker, Verb::Ack, || format!("ack {}", through.tag)).await;
        while self.given.front().is_some_and(|(receipt, ..)| *receipt <= through) {
            let Some((_, keys, when)) = self.given.pop_front() else { break };
            self.witness.acked(keys, when);
        }
        if fault == Some(Fault::AckLost) {
            self.bus.disconnect("an acknowledgement was lost");
            self.bus.connect(false);
        } else {
            self.inner.ack(through).await;
        }
    }

    async fn pause(&mut self) {
        self.inner.pause().await;
    }

    async fn resume(&mut self) {
        self.inner.resume().await;
    }

    async fn close(&mut self) {
        self.inner.close().await;
    }
}

/// A publisher as one process sees it.
pub struct GatedPublisher {
    bus: MemoryBus,
    inner: MemoryPublisher,
    line: Line,
    witness: Witness,
}

impl GatedPublisher {
    /// A publisher behind the gate.
    pub fn new(bus: &MemoryBus, line: Line, witness: Witness) -> Self {
        Self { bus: bus.clone(), inner: bus.publisher("org.fedoraproject.prod"), line, witness }
    }
}

#[async_trait]
impl Publisher for GatedPublisher {
    async fn publish(&self, message: &Outgoing) -> Result<(), PublishError> {
        let said = || format!("publish {} {}", message.announcement.topic, message.announcement.body);
        let fault = self.line.pass(Service::Broker, Verb::Publish, said).await;
        match fault {
            None => {}
            Some(Fault::ConfirmLost) => self.bus.fail_publishing([flatbus_bus::Fault::ConfirmLost]),
            Some(Fault::PublishRefused) => {
                self.bus.fail_publishing([flatbus_bus::Fault::Refused("as ordered".into())]);
            }
            Some(_) => {
                tokio::time::sleep(PATIENCE).await;
                return Err(PublishError::Unreachable("the broker takes nothing".into()));
            }
        }
        self.witness.announces(message);
        self.inner.publish(message).await
    }
}
