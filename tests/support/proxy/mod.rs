//! A TCP proxy that does a network's mischief on command: late, slow, cut, reset, half closed, stalled, swallowed, refused.
//! It knows nothing of what it carries, and changes no byte of it.
//!
//! Its tasks end with it. What has struck a connection stays: calm ends the mischief, and mends nothing.
#![allow(dead_code, reason = "each test binary that includes this file uses its part of it")]

mod book;
mod fate;
mod relay;

use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    task::JoinSet,
    time::sleep,
};

use self::book::{Book, Page};
#[allow(unused_imports, reason = "as above")]
pub use self::{
    book::Silence,
    fate::{Course, Fate, Fault, Plan, When},
};

/// Connections waiting to be taken.
const BACKLOG: u32 = 256;
const ACCEPT_AGAIN: Duration = Duration::from_millis(10);

/// What the proxy is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Orders {
    /// Pass on.
    Calm,
    /// Take no new connection; those there are stay.
    Refuse,
    /// The same to every connection, old or new.
    All(Fate),
    /// To each its own.
    Plan(Plan),
}

/// A running proxy before one server.
pub struct Proxy {
    name: &'static str,
    address: SocketAddr,
    orders: watch::Sender<Orders>,
    book: Arc<Book>,
    _task: JoinSet<()>,
}

impl Proxy {
    /// Starts one on a free port of 127.0.0.1, calm.
    pub async fn start(name: &'static str, target: SocketAddr) -> io::Result<Self> {
        let place = place(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let address = place.local_addr()?;
        let listener = listen(address)?;
        let (orders, obeyed) = watch::channel(Orders::Calm);
        let book = Arc::new(Book::default());
        let mut task = JoinSet::new();
        let door = Door { _place: place, address, target, orders: obeyed, book: Arc::clone(&book) };
        task.spawn(door.keep(listener));
        Ok(Self { name, address, orders, book, _task: task })
    }

    /// `broker`
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// `127.0.0.1:5000`: what clients are told instead of the server's own.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// Deals with every connection, old or new, as the plan has it.
    pub fn follow(&self, plan: Plan) {
        self.orders.send_replace(Orders::Plan(plan));
    }

    /// Deals with every connection, old or new, in the same way.
    pub fn all(&self, fate: Fate) {
        self.orders.send_replace(Orders::All(fate));
    }

    /// Takes no new connection until told otherwise.
    pub fn refuse(&self) {
        self.orders.send_replace(Orders::Refuse);
    }

    /// No further mischief. A connection that stalled stays so until its client gives it up.
    pub fn calm(&self) {
        self.orders.send_replace(Orders::Calm);
    }

    /// Connections there are.
    pub fn open(&self) -> usize {
        self.book.open()
    }

    /// Connections there ever were.
    pub fn connections(&self) -> u64 {
        self.book.connections()
    }

    /// Times that the door was shut.
    pub fn refused(&self) -> usize {
        self.book.refused()
    }

    /// What struck, and how often.
    pub fn struck(&self) -> BTreeMap<Fault, usize> {
        self.book.struck()
    }

    /// Every connection on which something was withheld.
    pub fn silences(&self) -> Vec<Silence> {
        self.book.silences()
    }
}

/// Bound, and listening never: while the door is shut nobody else gets the port.
fn place(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    place(address)?.listen(BACKLOG)
}

/// Where connections come in.
struct Door {
    _place: TcpSocket,
    address: SocketAddr,
    target: SocketAddr,
    orders: watch::Receiver<Orders>,
    book: Arc<Book>,
}

impl Door {
    /// Takes connections until the proxy is dropped, and they with it.
    async fn keep(mut self, listener: TcpListener) {
        let mut open = Some(listener);
        let mut connections = JoinSet::new();
        loop {
            let shut_for = match *self.orders.borrow_and_update() {
                Orders::Refuse => Some(Duration::MAX),
                Orders::Plan(plan) => plan.refuses_for,
                Orders::Calm | Orders::All(_) => None,
            };
            if let Some(time) = shut_for {
                drop(open.take());
                self.book.refuses();
                let shut = wait_for_change(&mut self.orders, time);
                if shut.await {
                    continue;
                }
            }
            let Ok(listener) = open.take().map_or_else(|| listen(self.address), Ok) else {
                sleep(ACCEPT_AGAIN).await;
                continue;
            };
            self.accept(&listener, &mut connections).await;
            open = Some(listener);
        }
    }

    /// Until there are new orders.
    async fn accept(&mut self, listener: &TcpListener, connections: &mut JoinSet<()>) {
        loop {
            tokio::select! {
                biased;
                Ok(()) = self.orders.changed() => {
                    self.orders.mark_changed();
                    return;
                }
                Some(_) = connections.join_next() => {}
                accepted = listener.accept() => match accepted {
                    Ok((client, _)) => {
                        let page = self.book.next();
                        connections.spawn(connection(client, self.target, self.orders.clone(), page));
                    }
                    Err(_) => sleep(ACCEPT_AGAIN).await, // Gone before it was taken, or no descriptor left.
                },
            }
        }
    }
}

/// Whether there were new orders before the time was over.
async fn wait_for_change(orders: &mut watch::Receiver<Orders>, time: Duration) -> bool {
    tokio::select! {
        biased;
        Ok(()) = orders.changed() => true,
        () = sleep(time) => false,
    }
}

async fn connection(client: TcpStream, target: SocketAddr, orders: watch::Receiver<Orders>, page: Page) {
    let _ = client.set_nodelay(true); // A matter of milliseconds.
    match TcpStream::connect(target).await {
        Ok(server) => {
            let _ = server.set_nodelay(true);
            relay::run(client, server, orders, page).await;
        }
        Err(_) => drop(client.set_zero_linger()), // As if nobody were here: so it is.
    }
}
