//! One trait for where announcements go.

use async_trait::async_trait;
use flatbus_base::{Remediable, Remedy};
use flatbus_schemas::Announcement;

/// An announcement with its identity: sent again under the same id until it is confirmed.
#[derive(Debug, Clone, PartialEq)]
pub struct Outgoing {
    /// UUIDv4 text, chosen when the announcement was recorded.
    pub id: String,
    /// When it was recorded: `sent-at`.
    pub sent_at: jiff::Timestamp,
    /// Ids of the messages that caused it: header `flatbus_causes`.
    pub causes: Vec<String>,
    /// What is said.
    pub announcement: Announcement,
}

/// Where announcements go.
#[async_trait]
pub trait Publisher: Send + Sync {
    /// Publishes and waits for the broker's confirm. After an error the same message is published again later.
    async fn publish(&self, message: &Outgoing) -> Result<(), PublishError>;
}

/// Why an announcement was not confirmed.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// No connection, or it was lost before the confirm.
    #[error("the broker is not reachable: {0}")]
    Unreachable(String),
    /// The broker takes messages of nobody; it will say when it does again.
    #[error(
        "the broker takes no messages at the moment: it is short of memory or disk space (connection blocked)"
    )]
    Blocked,
    /// The broker said no to this message.
    #[error("the broker refused {topic}: {reason}")]
    Refused {
        /// The full topic.
        topic: String,
        /// What it said.
        reason: String,
    },
}

impl Remediable for PublishError {
    fn remedy(&self) -> Remedy {
        match self {
            Self::Unreachable(_) | Self::Blocked | Self::Refused { .. } => Remedy::Retry,
        }
    }
}
