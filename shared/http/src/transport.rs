//! What carries one request to the head of one answer: sockets and TLS, or a network inside this process.
//!
//! Below everything that is decided about a request: which hosts may be asked, how fast, how often, how long. A transport
//! never retries, follows, limits or times anything.

use std::error::Error as StdError;

use bytes::Bytes;
use futures::{future::BoxFuture, stream::BoxStream};

/// A body on its way. As much of it counts as `Content-Length` says, where that is said: framing is the transport's.
pub type Chunks = BoxStream<'static, Result<Bytes, Box<dyn StdError + Send + Sync>>>;

/// Carries requests in another way than over sockets.
pub trait Transport: Send + Sync + 'static {
    /// Sends one request, whose URI is absolute, and waits for the head of its answer. Dropping what this returns breaks
    /// the exchange off, as closing a connection does; an error within the answer's body is a broken connection too.
    fn carry(
        &self,
        request: http::Request<Chunks>,
    ) -> BoxFuture<'static, Result<http::Response<Chunks>, NotCarried>>;
}

/// Why a transport brought no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotCarried {
    /// No connection: nothing was sent.
    #[error("{0}")]
    Refused(String),
    /// The connection broke: the request may have been acted on.
    #[error("{0}")]
    Cut(String),
}
