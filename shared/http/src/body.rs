//! What is sent: bytes that can be sent again, or a stream that can't.

use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::{
    Stream, StreamExt as _, TryStreamExt as _,
    stream::{self, BoxStream},
};

use crate::transport::Chunks;

/// Pieces of a body in memory handed to the connection at once, in bytes: small enough that progress shows on a slow line.
const PIECE_BYTES_MAX: usize = 256 << 10;

/// A request's body.
#[derive(Default)]
pub struct Body(Kind);

#[derive(Default)]
enum Kind {
    #[default]
    Empty,
    Memory(Vec<Bytes>),
    Stream {
        size: Option<u64>,
        chunks: BoxStream<'static, Result<Bytes, String>>,
    },
}

impl Body {
    /// Pieces that are sent one after the other, without being joined in memory.
    pub fn pieces(pieces: Vec<Bytes>) -> Self {
        if pieces.iter().all(Bytes::is_empty) { Self::default() } else { Self(Kind::Memory(pieces)) }
    }

    /// A stream of `size` bytes where that is known. Such a request is tried once: only its maker can make it again.
    pub fn stream(size: Option<u64>, chunks: BoxStream<'static, Result<Bytes, String>>) -> Self {
        Self(Kind::Stream { size, chunks })
    }

    /// The same body again, if it can be sent again.
    pub(crate) fn again(&self) -> Option<Self> {
        match &self.0 {
            Kind::Empty => Some(Self(Kind::Empty)),
            Kind::Memory(pieces) => Some(Self(Kind::Memory(pieces.clone()))),
            Kind::Stream { .. } => None,
        }
    }

    /// What is put on the wire, its size where known, and a counter that rises while it goes out.
    pub(crate) fn wire(self) -> (Outgoing, Option<u64>, Progress) {
        let progress = Progress::default();
        match self.0 {
            Kind::Empty => {
                progress.end();
                (Outgoing::Empty, Some(0), progress)
            }
            Kind::Memory(pieces) => {
                let size = pieces.iter().map(|piece| piece.len() as u64).sum();
                (memory(pieces, size, &progress), Some(size), progress)
            }
            Kind::Stream { size, chunks } => {
                let counted = Counted { chunks, left: size, progress: progress.clone() };
                (Outgoing::Pieces(counted), size, progress)
            }
        }
    }
}

/// A body as it is handed to the transport.
pub(crate) enum Outgoing {
    Empty,
    Whole(Bytes),
    Pieces(Counted),
}

impl Outgoing {
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    pub(crate) fn over_sockets(self) -> Option<reqwest::Body> {
        match self {
            Self::Empty => None,
            Self::Whole(bytes) => Some(bytes.into()),
            Self::Pieces(pieces) => Some(reqwest::Body::wrap_stream(pieces)),
        }
    }

    pub(crate) fn chunks(self) -> Chunks {
        match self {
            Self::Empty => stream::empty().boxed(),
            Self::Whole(bytes) => stream::once(async { Ok(bytes) }).boxed(),
            Self::Pieces(pieces) => pieces.map_err(Into::into).boxed(),
        }
    }
}

fn memory(mut pieces: Vec<Bytes>, size: u64, progress: &Progress) -> Outgoing {
    if pieces.len() == 1 && pieces[0].len() <= PIECE_BYTES_MAX {
        progress.end();
        return Outgoing::Whole(pieces.remove(0));
    }
    let chunks = stream::iter(pieces.into_iter().flat_map(split)).map(Ok).boxed();
    Outgoing::Pieces(Counted { chunks, left: Some(size), progress: progress.clone() })
}

fn split(mut bytes: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || (!bytes.is_empty()).then(|| bytes.split_to(bytes.len().min(PIECE_BYTES_MAX))))
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::pieces(vec![bytes])
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self::from(Bytes::from(bytes))
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self::from(Bytes::from(text))
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Empty => f.write_str("Body(empty)"),
            Kind::Memory(pieces) => write!(f, "Body({} bytes)", pieces.iter().map(Bytes::len).sum::<usize>()),
            Kind::Stream { size, .. } => write!(f, "Body(stream of {size:?} bytes)"),
        }
    }
}

/// How far a body has gone out: rises whenever the connection takes a piece, and ends with the last.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress(Arc<Gone>);

#[derive(Debug, Default)]
struct Gone {
    pieces: AtomicU64,
    all: AtomicBool,
    /// Why its source ended before it was whole.
    gave_out: OnceLock<String>,
}

impl Progress {
    pub(crate) fn seen(&self) -> u64 {
        self.0.pieces.load(Ordering::Relaxed)
    }

    /// Whether the whole body was taken.
    pub(crate) fn ended(&self) -> bool {
        self.0.all.load(Ordering::Relaxed)
    }

    /// Why the body gave out: what tells that apart from a broken connection.
    pub(crate) fn gave_out(&self) -> Option<&str> {
        self.0.gave_out.get().map(String::as_str)
    }

    fn end(&self) {
        self.0.all.store(true, Ordering::Relaxed);
    }
}

pub(crate) struct Counted {
    chunks: BoxStream<'static, Result<Bytes, String>>,
    /// Bytes still to come, where known: the connection doesn't ask for more than was announced.
    left: Option<u64>,
    progress: Progress,
}

impl Counted {
    fn took(&mut self, piece: Option<&Bytes>) {
        self.progress.0.pieces.fetch_add(1, Ordering::Relaxed);
        if let (Some(left), Some(piece)) = (&mut self.left, piece) {
            *left = left.saturating_sub(piece.len() as u64);
        }
        if piece.is_none() || self.left == Some(0) {
            self.progress.end();
        }
    }
}

impl Stream for Counted {
    type Item = Result<Bytes, SourceEnded>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match std::task::ready!(self.chunks.poll_next_unpin(cx)) {
            Some(Err(why)) => {
                let _ = self.progress.0.gave_out.set(why.clone()); // The first reason stands.
                Poll::Ready(Some(Err(SourceEnded(why))))
            }
            Some(Ok(piece)) => {
                self.took(Some(&piece));
                Poll::Ready(Some(Ok(piece)))
            }
            None => {
                self.took(None);
                Poll::Ready(None)
            }
        }
    }
}

/// The body to be sent gave out.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct SourceEnded(String);
