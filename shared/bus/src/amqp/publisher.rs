//! Announcements to RabbitMQ, each confirmed. Connects when there is something to say, and anew after each loss; when
//! to try again is the caller's business, whose outbox keeps what was not confirmed.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use flatbus_base::chain;
use flatbus_schemas::Message;
use lapin::{
    Channel, Confirmation,
    options::{BasicPublishOptions, ConfirmSelectOptions},
    types::ShortString,
};
use tokio::{
    sync::{Mutex, Semaphore},
    time::{sleep, timeout},
};

use super::{
    connect::Link,
    trouble::{self, Trouble},
    wire,
};
use crate::{Config, Outgoing, PublishError, Publisher, encode};

/// Our announcements are small, and their few headers smaller: lapin's buffers need not be of the broker's 128 KiB frames.
const FRAME_BYTES_MAX: u32 = 16 << 10;

/// Publications waiting for their confirm at one time; further ones wait for their turn.
const UNCONFIRMED_MAX: usize = 64;
/// Time for a confirm: RabbitMQ gives it once the message is on disk.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(30);

/// How often it is looked whether the broker blocks us while we wait for a confirm.
const BLOCKED_LOOK_EVERY: Duration = Duration::from_millis(500);

/// Publishes to the configured exchange, under the configured prefix. Calls may overlap: they share one channel.
pub struct AmqpPublisher {
    config: Config,
    app: String,
    live: Mutex<Option<Arc<Live>>>,
    turns: Semaphore,
}

/// A connection whose channel confirms.
struct Live {
    channel: Channel,
    /// After the channel, so that it is dropped last.
    link: Link,
}

impl AmqpPublisher {
    /// A publisher; `app` is the connection's name at the broker.
    pub fn new(config: Config, app: &str) -> Self {
        Self { config, app: app.to_owned(), live: Mutex::new(None), turns: Semaphore::new(UNCONFIRMED_MAX) }
    }

    /// Says good-bye. A later publication connects again.
    pub async fn close(&self) {
        let live = self.live.lock().await.take();
        if let Some(live) = live.and_then(Arc::into_inner) {
            live.link.close().await;
        }
    }

    /// The connection, made if there is none. One at a time makes it; each step has its time-out.
    async fn live(&self) -> Result<Arc<Live>, Trouble> {
        let mut live = self.live.lock().await;
        if let Some(live) =
            live.as_ref().filter(|live| live.link.connected() && live.channel.status().connected())
        {
            return Ok(Arc::clone(live));
        }
        *live = None;
        let made = Arc::new(self.connect().await?);
        *live = Some(Arc::clone(&made));
        Ok(made)
    }

    async fn connect(&self) -> Result<Live, Trouble> {
        let link = Link::open(&self.config, &self.app, Some(FRAME_BYTES_MAX)).await?;
        let after = self.config.broker.handshake_timeout;
        let opening = async {
            let channel = link.channel().await?;
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            Ok::<_, lapin::Error>(channel)
        };
        let channel = timeout(after, opening)
            .await
            .map_err(|_| Trouble::Silent {
                address: self.config.broker.address(),
                phase: "opening a channel",
                after,
                hint: "",
            })?
            .map_err(|error| Trouble::Lost {
                address: self.config.broker.address(),
                said: trouble::said(&error),
            })?;
        Ok(Live { channel, link })
    }

    /// Fails at once where the broker blocks us. A message that was on its way then is sent when it no longer does, and
    /// once more by its outbox: at least once.
    async fn send(&self, live: &Live, message: &Message) -> Result<(), PublishError> {
        if live.link.blocked() {
            return Err(PublishError::Blocked);
        }
        let refused = |reason: String| PublishError::Refused { topic: message.topic.clone(), reason };
        let short = |name: &str| ShortString::try_new(name).map_err(|error| refused(error.to_string()));
        let properties = wire::properties(message).map_err(|error| refused(error.to_string()))?;
        let publishing = live.channel.basic_publish(
            short(&self.config.publish_exchange)?,
            short(&message.topic)?,
            BasicPublishOptions::default(),
            &message.body,
            properties,
        );
        let confirmed = timeout(CONFIRM_TIMEOUT, async { publishing.await?.await });
        let confirmed = tokio::select! {
            biased;
            confirmed = confirmed => confirmed,
            () = blocked(&live.link) => return Err(PublishError::Blocked),
        };
        match confirmed {
            Ok(Ok(Confirmation::Ack(_))) => Ok(()),
            Ok(Ok(Confirmation::Nack(_))) => Err(refused("the broker could not keep it".into())),
            Ok(Ok(Confirmation::NotRequested)) => Err(refused("the broker gives no confirms".into())),
            Ok(Err(error)) if trouble::soft(&error).is_some() => Err(refused(trouble::said(&error))),
            Ok(Err(error)) => Err(PublishError::Unreachable(trouble::said(&error))),
            Err(_) => {
                Err(PublishError::Unreachable(format!("no confirm within {} s", CONFIRM_TIMEOUT.as_secs())))
            }
        }
    }

    /// Forgets a connection on which something failed, unless another took its place already.
    async fn forget(&self, failed: &Arc<Live>) {
        let mut live = self.live.lock().await;
        if live.as_ref().is_some_and(|live| Arc::ptr_eq(live, failed)) {
            *live = None;
        }
    }
}

/// Until the broker blocks the connection; for ever where it does not.
async fn blocked(link: &Link) {
    while !link.blocked() {
        sleep(BLOCKED_LOOK_EVERY).await;
    }
}

#[async_trait]
impl Publisher for AmqpPublisher {
    async fn publish(&self, message: &Outgoing) -> Result<(), PublishError> {
        // The semaphore is never closed.
        let _turn =
            self.turns.acquire().await.map_err(|error| PublishError::Unreachable(error.to_string()))?;
        let topic = self.config.full_topic(&message.announcement.topic);
        let message = encode::message(message, topic, self.config.publish_priority);
        let live = self.live().await.map_err(|trouble| PublishError::Unreachable(chain(&trouble)))?;
        let sent = self.send(&live, &message).await;
        // A refusal closes the channel at most, and that is seen when the next one needs it.
        if matches!(sent, Err(PublishError::Unreachable(_))) {
            self.forget(&live).await;
        }
        sent
    }
}
