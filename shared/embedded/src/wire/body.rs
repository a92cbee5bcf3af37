//! Bodies as a connection frames them: no more bytes than were announced, an error where fewer came, and broken with the
//! line that carries them.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use axum::body::Body;
use bytes::Bytes;
use flatbus_http::Chunks;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, future::BoxFuture, stream};
use http::{HeaderMap, header};
use hyper::body::{Frame, SizeHint};
use tokio_util::sync::CancellationToken;

/// A body on a line.
pub(super) struct Framed {
    chunks: Chunks,
    /// Bytes still to come, where that was announced.
    left: Option<u64>,
    line: BoxFuture<'static, ()>,
    /// Set when its sender broke off.
    fell_short: Arc<AtomicBool>,
}

impl Framed {
    /// A request's body as the server sees it, and whether its sender broke off.
    pub(super) fn request(
        chunks: Chunks,
        headers: &HeaderMap,
        line: &CancellationToken,
    ) -> (Body, Arc<AtomicBool>) {
        let fell_short = Arc::<AtomicBool>::default();
        let left = announced(headers);
        if left == Some(0) {
            return (Body::empty(), fell_short);
        }
        (Body::new(Self::new(chunks, left, line, fell_short.clone())), fell_short)
    }

    /// An answer's body as the asker sees it.
    pub(super) fn answer(body: Body, headers: &HeaderMap, line: &CancellationToken) -> Chunks {
        let left = announced(headers);
        if left == Some(0) {
            return stream::empty().boxed();
        }
        let chunks = body.into_data_stream().map_err(Into::into).boxed();
        let framed = Self::new(chunks, left, line, Arc::default());
        Body::new(framed).into_data_stream().map_err(Into::into).boxed()
    }

    fn new(chunks: Chunks, left: Option<u64>, line: &CancellationToken, fell_short: Arc<AtomicBool>) -> Self {
        Self { chunks, left, line: line.clone().cancelled_owned().boxed(), fell_short }
    }

    /// Nothing comes after an error.
    fn broken(&mut self, why: io::Error) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.left = Some(0);
        Poll::Ready(Some(Err(why)))
    }

    fn cut_short(&mut self, why: io::Error) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.fell_short.store(true, Ordering::Relaxed);
        self.broken(why)
    }
}

impl hyper::body::Body for Framed {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.left == Some(0) {
            return Poll::Ready(None);
        }
        if self.line.poll_unpin(cx).is_ready() {
            return self.broken(io::ErrorKind::ConnectionReset.into());
        }
        match ready!(self.chunks.poll_next_unpin(cx)) {
            None if self.left.is_none() => Poll::Ready(None),
            None => self.cut_short(io::ErrorKind::UnexpectedEof.into()),
            Some(Err(error)) => self.cut_short(io::Error::other(error)),
            Some(Ok(mut piece)) => {
                if let Some(left) = &mut self.left {
                    piece.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= piece.len() as u64;
                }
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}
