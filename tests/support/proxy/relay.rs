//! One connection through the proxy: both its ways, each on its course until its fault strikes.
//!
//! Loses, adds and changes no byte before that.

use std::{io, time::Duration};

use bytes::{Buf as _, BufMut as _, BytesMut};
use futures::FutureExt as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, Interest},
    net::{
        TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::watch,
    time::{sleep, timeout},
};

use super::{
    Orders,
    book::Page,
    fate::{Course, Fault, When},
};

/// Most bytes passed on at once.
const PIECE_BYTES_MAX: usize = 16 << 10;
/// How often a slow line passes something on.
const SLOW_PIECES_PER_S: u32 = 20;
/// How soon it is seen that a client has left a silent connection.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How long a connection that was cut waits for both sides to take leave.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);

/// A way through the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    ToServer,
    ToClient,
}

/// How a connection ends before both sides closed it.
enum Over {
    Cut,
    Reset,
}

/// Relays until both sides closed, or a fault ended it, or the client left a connection on which nothing came any more.
pub(super) async fn run(
    mut client: TcpStream,
    mut server: TcpStream,
    orders: watch::Receiver<Orders>,
    page: Page,
) {
    let over = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let up = Pump::new(Way::ToServer, &from_client, to_server, &page);
        let down = Pump::new(Way::ToClient, &from_server, to_client, &page);
        let both = async { tokio::try_join!(up.run(orders.clone()), down.run(orders.clone())) };
        tokio::select! {
            biased;
            () = left(&from_client, &page) => Ok(((), ())),
            over = both => over,
        }
    };
    match over {
        Ok(_) => {}
        Err(Over::Cut) => drop(timeout(LEAVE_TIMEOUT, take_leave(&mut client, &mut server)).await),
        Err(Over::Reset) => [&client, &server].into_iter().for_each(reset),
    }
}

/// The client closed a connection that has a way on which nothing is passed on any more, its end neither.
async fn left(client: &ReadHalf<'_>, page: &Page) {
    loop {
        sleep(LOOK_EVERY).await;
        let closed = || match client.ready(Interest::READABLE).now_or_never() {
            Some(ready) => ready.is_ok_and(|ready| ready.is_read_closed()),
            None => false,
        };
        if page.is_silent() && closed() {
            return;
        }
    }
}

/// Closes both ways; what still comes is taken, for else the system would reset.
async fn take_leave(client: &mut TcpStream, server: &mut TcpStream) {
    for stream in [&mut *client, &mut *server] {
        let _ = stream.shutdown().await; // It may be closed already.
    }
    let drain = async |stream: &mut TcpStream| {
        let mut rest = [0; 1024];
        while stream.read(&mut rest).await.is_ok_and(|read| read > 0) {}
    };
    tokio::join!(drain(client), drain(server));
}

fn reset(stream: &TcpStream) {
    let _ = stream.set_zero_linger(); // Fails only on what is closed.
}

/// One way.
struct Pump<'a> {
    way: Way,
    from: &'a ReadHalf<'a>,
    to: WriteHalf<'a>,
    page: &'a Page,
    /// Read, and not passed on yet.
    held: BytesMut,
    passed: u64,
}

/// Why a way no longer follows its course.
enum Stop {
    /// As many bytes went through as were to.
    Enough,
    /// The sender has closed.
    Closed,
    /// A side is gone.
    Broken,
}

impl<'a> Pump<'a> {
    fn new(way: Way, from: &'a ReadHalf<'a>, to: WriteHalf<'a>, page: &'a Page) -> Self {
        Self { way, from, to, page, held: BytesMut::new(), passed: 0 }
    }

    /// Until the sender closes or the fault strikes. New orders are obeyed at once, except where it has struck.
    async fn run(mut self, mut orders: watch::Receiver<Orders>) -> Result<(), Over> {
        loop {
            let course = self.course(*orders.borrow_and_update());
            let (enough, time) = match course.fault {
                Some((When::AfterBytes(bytes), _)) => (self.passed.saturating_add(bytes), None),
                Some((When::In(time), _)) => (u64::MAX, Some(time)),
                None => (u64::MAX, None),
            };
            let stop = tokio::select! {
                biased;
                Ok(()) = orders.changed() => continue,
                () = elapsed(time) => Stop::Enough,
                stop = self.relay(enough, &course) => stop,
            };
            return match (stop, course.fault) {
                (Stop::Enough, Some((_, fault))) => self.strike(fault).await,
                (Stop::Enough | Stop::Closed, _) => {
                    let _ = self.to.shutdown().await; // The receiver may be gone.
                    Ok(())
                }
                (Stop::Broken, _) => Err(Over::Reset),
            };
        }
    }

    fn course(&self, orders: Orders) -> Course {
        let fate = self.page.fate(orders);
        match self.way {
            Way::ToServer => fate.to_server,
            Way::ToClient => fate.to_client,
        }
    }

    /// Cancel safe: what was read is kept.
    async fn relay(&mut self, enough: u64, course: &Course) -> Stop {
        loop {
            let room = usize::try_from(enough - self.passed).unwrap_or(usize::MAX);
            if room == 0 {
                return Stop::Enough;
            }
            let step = if self.held.is_empty() {
                self.read(room.min(piece(course))).await
            } else {
                late(pause(course, self.held.len())).await;
                self.write(room).await
            };
            match step {
                Ok(0) => return Stop::Closed,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Stop::Broken,
            }
        }
    }

    async fn read(&mut self, most: usize) -> io::Result<usize> {
        self.from.readable().await?;
        self.held.reserve(most); // Else it reads what room is left, a few bytes at a time.
        self.from.try_read_buf(&mut (&mut self.held).limit(most))
    }

    async fn write(&mut self, most: usize) -> io::Result<usize> {
        self.to.writable().await?;
        let piece = &self.held[..self.held.len().min(most)];
        let written = self.to.try_write(piece)?;
        self.held.advance(written);
        self.passed += written as u64;
        if self.way == Way::ToClient {
            self.page.client_hears();
        }
        Ok(written)
    }

    async fn strike(mut self, fault: Fault) -> Result<(), Over> {
        self.page.strikes(fault);
        match fault {
            Fault::Cut => Err(Over::Cut),
            Fault::Reset => Err(Over::Reset),
            Fault::HalfClose => {
                let _ = self.to.shutdown().await; // The receiver may be gone.
                self.swallow().await;
                Ok(())
            }
            Fault::Swallow => {
                self.swallow().await;
                std::future::pending().await
            }
            Fault::Stall => {
                self.something_comes().await;
                std::future::pending().await
            }
        }
    }

    /// Takes all that comes until the sender closes.
    async fn swallow(&mut self) {
        while self.something_comes().await {
            self.held.clear();
            let mut piece = [0; PIECE_BYTES_MAX];
            match self.from.try_read(&mut piece) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }

    /// Waits until there is something to withhold, and writes down that it is. `false`: there won't be.
    async fn something_comes(&mut self) -> bool {
        let nothing_held = self.held.is_empty();
        let comes = !nothing_held || self.from.peek_is_byte().await;
        if comes {
            self.page.withholds_from_now();
        }
        comes
    }
}

trait Peek {
    /// Waits for a byte; `false` where the sender closes instead.
    async fn peek_is_byte(&self) -> bool;
}

impl Peek for ReadHalf<'_> {
    async fn peek_is_byte(&self) -> bool {
        let stream: &TcpStream = self.as_ref();
        stream.peek(&mut [0]).await.is_ok_and(|bytes| bytes > 0)
    }
}

async fn elapsed(time: Option<Duration>) {
    match time {
        Some(time) => sleep(time).await,
        None => std::future::pending().await,
    }
}

async fn late(by: Duration) {
    if !by.is_zero() {
        sleep(by).await;
    }
}

fn piece(course: &Course) -> usize {
    let slow = course.bytes_per_s.and_then(|rate| usize::try_from(rate.get() / SLOW_PIECES_PER_S).ok());
    slow.map_or(PIECE_BYTES_MAX, |bytes| bytes.clamp(1, PIECE_BYTES_MAX))
}

fn pause(course: &Course, bytes: usize) -> Duration {
    let slow = course.bytes_per_s.map_or(0.0, |rate| bytes as f64 / f64::from(rate.get()));
    course.delay + Duration::from_secs_f64(slow)
}
