//! What goes wrong with a broker, as sentences for the person who runs it. Holds no URL and no password.

use std::{io, path::PathBuf, time::Duration};

use lapin::{
    ErrorKind,
    protocol::{AMQPError, AMQPErrorKind, AMQPHardError, AMQPSoftError},
};

/// Why there is no connection, or no queue.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    #[error("cannot reach the broker at {address}: {source}")]
    Unreachable { address: String, source: io::Error },
    #[error("the broker at {address} did not finish {phase} within {} s{hint}", after.as_secs_f64())]
    Silent { address: String, phase: &'static str, after: Duration, hint: &'static str },
    #[error("cannot use {} ({key}): {reason}", file.display())]
    Certificate { file: PathBuf, key: &'static str, reason: String },
    #[error("no TLS connection to {address}: {reason}")]
    Tls { address: String, reason: String },
    #[error(
        "the broker at {address} closed the connection right after the TLS handshake: does it accept our client \
             certificate? (TLS 1.3 refuses one only then)"
    )]
    CertificateRefused { address: String },
    #[error("the broker at {address} refuses {what}: {said}")]
    Login { address: String, what: String, said: String },
    #[error(
        "the queue {queue} is not there and is not ours to make (passive): the broker's administrators must make \
             it, see `flatbus broker-request`; waiting for it"
    )]
    QueueMissing { queue: String },
    #[error("the queue {queue} can't be used: {said}{hint}")]
    Queue { queue: String, said: String, hint: &'static str },
    #[error("the queue {queue} can't be bound to {exchange} with {routing_key}: {said}")]
    Binding { queue: String, exchange: String, routing_key: String, said: String },
    #[error("the queue {queue} was deleted, or its node went away: the broker cancelled our consumer")]
    Cancelled { queue: String },
    #[error("the connection to {address} was lost: {said}")]
    Lost { address: String, said: String },
}

impl Trouble {
    /// Whether messages may have been lost with it.
    pub fn loses_messages(&self) -> bool {
        match self {
            Self::QueueMissing { .. } | Self::Cancelled { .. } => true,
            Self::Unreachable { .. }
            | Self::Silent { .. }
            | Self::Certificate { .. }
            | Self::Tls { .. }
            | Self::CertificateRefused { .. }
            | Self::Login { .. }
            | Self::Queue { .. }
            | Self::Binding { .. }
            | Self::Lost { .. } => false,
        }
    }
}

/// What the broker said, without lapin's frame around it.
pub(super) fn said(error: &lapin::Error) -> String {
    match error.kind() {
        ErrorKind::ProtocolError(error) => error.get_message().to_string(),
        ErrorKind::IOError(error) => error.to_string(),
        ErrorKind::MissingHeartbeatError => "no heartbeat for twice its interval".into(),
        _ => error.to_string(),
    }
}

/// A refusal that closes only the channel.
pub(super) fn soft(error: &lapin::Error) -> Option<&AMQPSoftError> {
    match protocol(error)?.kind() {
        AMQPErrorKind::Soft(soft) => Some(soft),
        AMQPErrorKind::Hard(_) => None,
    }
}

/// A refusal that closes the connection.
pub(super) fn hard(error: &lapin::Error) -> Option<&AMQPHardError> {
    match protocol(error)?.kind() {
        AMQPErrorKind::Hard(hard) => Some(hard),
        AMQPErrorKind::Soft(_) => None,
    }
}

fn protocol(error: &lapin::Error) -> Option<&AMQPError> {
    match error.kind() {
        ErrorKind::ProtocolError(error) => Some(error),
        _ => None,
    }
}

/// What a queue that can't be declared means to the person who configured it.
pub(super) fn queue_hint(error: &lapin::Error) -> &'static str {
    match soft(error) {
        Some(AMQPSoftError::ACCESSREFUSED) => {
            "; if the broker's administrators make the queues, set passive_declares = true"
        }
        Some(AMQPSoftError::PRECONDITIONFAILED) => "; it exists with other settings than [queues] says",
        Some(AMQPSoftError::RESOURCELOCKED) => "; another connection holds it (exclusive)",
        Some(
            AMQPSoftError::NOTFOUND
            | AMQPSoftError::CONTENTTOOLARGE
            | AMQPSoftError::NOROUTE
            | AMQPSoftError::NOCONSUMERS,
        )
        | None => "",
    }
}
