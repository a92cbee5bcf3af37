//! One trait for everything messages come from.

use async_trait::async_trait;
use flatbus_base::{Remediable, Remedy};
use flatbus_schemas::Message;

/// Names a delivery to its source. Receipts of one source grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Receipt {
    /// Which connection delivered: a receipt of an earlier one is void.
    pub session: u64,
    /// The delivery within it.
    pub tag: u64,
}

/// How far a source that can be read again has been read: kept in the commit that keeps what was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// Which source: `file:<digest of its name>`.
    pub source: String,
    /// Where to go on.
    pub position: String,
}

/// One message, or what could not be made one.
#[derive(Debug)]
pub struct Delivery {
    /// What to acknowledge.
    pub receipt: Receipt,
    /// Whether the broker thinks that it was seen before. A hint.
    pub redelivered: bool,
    /// Where to go on after this delivery, for sources that can be read again.
    pub cursor: Option<Cursor>,
    /// The message, or the bytes that are none.
    pub message: Result<Message, Undecodable>,
}

/// A delivery that is not a Fedora message. It is parked with its body, and acknowledged.
#[derive(Debug, Clone, PartialEq, Default, thiserror::Error)]
#[error("{topic}: {reason}")]
pub struct Undecodable {
    /// The routing key, if any.
    pub topic: String,
    /// The message id, if any.
    pub id: String,
    /// What is wrong.
    pub reason: String,
    /// The bytes as they came.
    pub body: Vec<u8>,
}

/// What a source tells.
#[derive(Debug)]
pub enum SourceEvent {
    /// Consuming. `gap`: messages may have been missed (a queue had to be made anew), so a survey is owed.
    Connected {
        /// Whether messages may have been missed.
        gap: bool,
    },
    /// Not consuming; the source goes on trying by itself. Unacknowledged deliveries will come again.
    Disconnected {
        /// What happened and what to do, for the status page.
        reason: String,
    },
    /// A message.
    Delivery(Delivery),
    /// There is no more: the end of a file.
    Ended,
}

/// Where messages come from. A source supervises itself: its errors are events, and it never gives up.
#[async_trait]
pub trait Source: Send {
    /// Waits for the next event. Cancel safe.
    async fn next(&mut self) -> SourceEvent;
    /// How many deliveries may be unacknowledged before it gives no more: the prefetch, where there is one.
    fn window(&self) -> usize {
        usize::MAX
    }
    /// Acknowledges every delivery up to and including `through`, all of them durably recorded. A receipt of an
    /// earlier session is ignored: its deliveries come again, which is harmless.
    async fn ack(&mut self, through: Receipt);
    /// Stops delivering and hands unacknowledged deliveries back (closes the channel); [`Self::next`] then waits for
    /// [`Self::resume`]. For when nothing can be recorded.
    async fn pause(&mut self);
    /// Delivers again.
    async fn resume(&mut self);
    /// Stops for good.
    async fn close(&mut self);
}

/// Why a source could not be made: a matter of configuration.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The configuration or a file it names is wrong.
    #[error("{0}")]
    Config(String),
}

impl Remediable for SourceError {
    fn remedy(&self) -> Remedy {
        match self {
            Self::Config(_) => Remedy::Fatal,
        }
    }
}
