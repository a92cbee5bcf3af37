//! The publisher of the bus in memory.

use async_trait::async_trait;

use super::{Fault, Inner, MemoryBus, REMEMBERED_MAX};
use crate::{Outgoing, PublishError, Publisher, encode};

/// Announces to a [`MemoryBus`], which keeps what was announced and confirms at once, or fails as it was told to.
pub struct MemoryPublisher {
    bus: MemoryBus,
    topic_prefix: String,
}

impl MemoryPublisher {
    pub(super) fn new(bus: MemoryBus, topic_prefix: &str) -> Self {
        Self { bus, topic_prefix: topic_prefix.trim_end_matches('.').to_owned() }
    }

    fn full_topic(&self, topic: &str) -> String {
        if self.topic_prefix.is_empty() { topic.to_owned() } else { format!("{}.{topic}", self.topic_prefix) }
    }
}

#[async_trait]
impl Publisher for MemoryPublisher {
    async fn publish(&self, message: &Outgoing) -> Result<(), PublishError> {
        let topic = self.full_topic(&message.announcement.topic);
        self.bus.change(|inner| match inner.publishing.pop_front() {
            Some(Fault::Unreachable(reason)) => Err(PublishError::Unreachable(reason)),
            Some(Fault::Refused(reason)) => Err(PublishError::Refused { topic, reason }),
            Some(Fault::ConfirmLost) => {
                inner.announce(message, topic);
                Err(PublishError::Unreachable("the connection was lost before the confirm".into()))
            }
            None => {
                inner.announce(message, topic);
                Ok(())
            }
        })
    }
}

impl Inner {
    fn announce(&mut self, outgoing: &Outgoing, topic: String) {
        self.announced.push_back(outgoing.clone());
        if self.announced.len() > REMEMBERED_MAX {
            self.announced.pop_front();
        }
        if self.loops_back {
            self.route(&encode::message(outgoing, topic, None));
        }
    }
}
