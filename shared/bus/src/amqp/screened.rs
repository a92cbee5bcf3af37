//! A stream with a screen before it, in the shape that lapin takes streams in. Reads and writes only: what is let through
//! is the screen's to say.

use std::{
    io::{self, Read, Write},
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd},
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use async_rs::{Runtime, Tokio, traits::Reactor, util::RuntimeParts};
use futures::{
    Stream,
    io::{AsyncRead, AsyncWrite},
};
use lapin::AsyncTcpStream;

use super::screen::Screen;

/// A connection to a broker, with TLS or without.
pub(super) type Bare = AsyncTcpStream<<Tokio as Reactor>::TcpStream>;
/// tokio, with screened streams.
pub(super) type Screening = RuntimeParts<Tokio, Streams>;

/// The runtime that lapin is to work with.
pub(super) fn runtime() -> Runtime<Screening> {
    Runtime::new(RuntimeParts::new(Tokio::current(), Streams(Tokio::current())))
}

/// A stream whose reader sees only what the screen lets through.
pub(super) struct Screened<S> {
    stream: S,
    screen: Screen,
    /// Let through, and read up to `read`.
    through: Vec<u8>,
    read: usize,
}

impl<S> Screened<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, screen: Screen::default(), through: Vec::new(), read: 0 }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Screened<S> {
    fn poll_read(self: Pin<&mut Self>, turn: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        while this.read == this.through.len() {
            this.through.clear();
            this.read = 0;
            let came = ready!(Pin::new(&mut this.stream).poll_read(turn, buffer))?;
            if came == 0 {
                return Poll::Ready(Ok(0));
            }
            this.screen.take(&buffer[..came], &mut this.through);
        }
        let left = &this.through[this.read..];
        let taken = left.len().min(buffer.len());
        buffer[..taken].copy_from_slice(&left[..taken]);
        this.read += taken;
        Poll::Ready(Ok(taken))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Screened<S> {
    fn poll_write(self: Pin<&mut Self>, turn: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(turn, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, turn: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(turn)
    }

    fn poll_close(self: Pin<&mut Self>, turn: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_close(turn)
    }
}

/// tokio's timers and connections, the latter screened.
#[derive(Debug, Clone)]
pub(super) struct Streams(Tokio);

impl Reactor for Streams {
    type TcpStream = Screened<Bare>;
    type Sleep = <Tokio as Reactor>::Sleep;

    fn register<H: Read + Write + AsFd + AsRawFd + Send + 'static>(
        &self,
        socket: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        self.0.register(socket)
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.0.sleep(duration)
    }

    fn interval(&self, duration: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.0.interval(duration)
    }

    fn tcp_connect_addr(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        let connecting = self.0.tcp_connect_addr(address);
        async { connecting.await.map(|stream| Screened::new(AsyncTcpStream::Plain(stream))) }
    }
}
