//! What the broker still has: the messages that were never acknowledged, by their ids. Looked at while nobody consumes.

use std::{collections::BTreeSet, time::Duration};

use lapin::{
    Channel, Connection, ConnectionProperties,
    options::{BasicGetOptions, QueueDeclareOptions},
    types::FieldTable,
};
use tokio::runtime::Handle;

/// Longest until the broker has noticed that its consumer is dead.
const NOTICE_TIMEOUT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(5);

/// One queue of a broker.
pub struct Queue {
    runtime: Handle,
    broker: String,
    name: &'static str,
    /// Looking at a message leaves the same mark on it as its consumer's death.
    seen: BTreeSet<String>,
}

/// What waits in a queue.
#[derive(Default)]
pub struct Waiting {
    /// The messages' ids.
    pub ids: BTreeSet<String>,
    /// How many of them were delivered and not acknowledged. One that waited when it was last looked is not counted.
    pub given_back: usize,
}

impl Queue {
    pub fn new(runtime: Handle, broker: String, name: &'static str) -> Self {
        Self { runtime, broker, name, seen: BTreeSet::new() }
    }

    /// Every message that waits. They are taken, not acknowledged, and so given back when this ends.
    pub fn waiting(&mut self) -> Waiting {
        let waiting = self.runtime.block_on(async {
            let properties = ConnectionProperties::default();
            let connection = Connection::connect(&self.broker, properties).await.unwrap();
            let channel = connection.create_channel().await.unwrap();
            let noticed = tokio::time::timeout(NOTICE_TIMEOUT, self.until_nobody_consumes(&channel)).await;
            assert!(noticed.is_ok(), "the broker takes the dead for living for {NOTICE_TIMEOUT:?}");
            let mut waiting = Waiting::default();
            while let Some(message) =
                channel.basic_get(self.name.into(), BasicGetOptions::default()).await.unwrap()
            {
                let id = message.delivery.properties.message_id().as_ref().expect("every message has an id");
                let given_back = message.delivery.redelivered && !self.seen.contains(id.as_str());
                waiting.given_back += usize::from(given_back);
                waiting.ids.insert(id.to_string());
            }
            channel.close(200, "seen".into()).await.unwrap(); // All of them go back to their places.
            connection.close(200, "seen".into()).await.unwrap();
            waiting
        });
        self.seen.clone_from(&waiting.ids);
        waiting
    }

    /// Then what the dead left unacknowledged is in the queue again.
    async fn until_nobody_consumes(&self, channel: &Channel) {
        let look = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let table = FieldTable::default;
        while channel.queue_declare(self.name.into(), look, table()).await.unwrap().consumer_count() > 0 {
            tokio::time::sleep(POLL).await;
        }
    }
}
