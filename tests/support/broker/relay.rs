//! A port before the broker's that can be told to misbehave as networks and hosts do.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

/// How the relay treats bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// Passes them on.
    Whole,
    /// What clients say never arrives; what the broker says does.
    Deaf,
    /// Accepts connections, and nothing goes either way: what was taken so far as what comes.
    Silent,
}

#[derive(Debug, Clone, Copy)]
struct Orders {
    mood: Mood,
    /// Connections made before the last cut are reset.
    cuts: u64,
}

/// Passes connections on to a port of 127.0.0.1, or doesn't.
pub struct Relay {
    pub port: u16,
    orders: watch::Sender<Orders>,
    /// Connections that were accepted while it was silent.
    left_hanging: watch::Receiver<u64>,
    _serving: JoinSet<()>,
}

impl Relay {
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let orders = watch::Sender::new(Orders { mood: Mood::Whole, cuts: 0 });
        let (hanging, left_hanging) = watch::channel(0);
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, port, orders.subscribe(), hanging));
        Self { port: own, orders, left_hanging, _serving: serving }
    }

    pub fn set(&self, mood: Mood) {
        self.orders.send_modify(|orders| orders.mood = mood);
    }

    /// Resets every connection.
    pub fn cut(&self) {
        self.orders.send_modify(|orders| orders.cuts += 1);
    }

    /// Waits until one more client has come to a silent relay.
    pub async fn leaves_another_hanging(&mut self) {
        self.left_hanging.borrow_and_update();
        self.left_hanging.changed().await.unwrap();
    }
}

async fn serve(
    listener: TcpListener,
    port: u16,
    orders: watch::Receiver<Orders>,
    hanging: watch::Sender<u64>,
) {
    let mut connections = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.unwrap();
        while connections.try_join_next().is_some() {}
        let silent = orders.borrow().mood == Mood::Silent;
        if silent {
            hanging.send_modify(|count| *count += 1);
        }
        connections.spawn(connection(client, port, silent, orders.clone()));
    }
}

async fn connection(mut client: TcpStream, port: u16, silent: bool, mut orders: watch::Receiver<Orders>) {
    let cuts = orders.borrow().cuts;
    let cut = orders.clone();
    let reset = tokio::select! {
        _ = orders.wait_for(|orders| orders.cuts > cuts) => true,
        reset = talk(&mut client, port, silent, cut) => reset,
    };
    if reset {
        client.set_zero_linger().unwrap();
    }
}

/// Passes bytes until either side ends. Whether to reset the client: its connection outlived the host it was to, as after
/// a power cut, so that whatever it sends is refused.
async fn talk(client: &mut TcpStream, port: u16, silent: bool, orders: watch::Receiver<Orders>) -> bool {
    if silent {
        return std::future::pending().await; // Never answered, whatever becomes of the relay.
    }
    let Ok(mut broker) = TcpStream::connect(("127.0.0.1", port)).await else { return false };
    let (mut from_client, mut to_client) = client.split();
    let (mut from_broker, mut to_broker) = broker.split();
    let mut swallowed = false;
    let (mut asked, mut answered) = ([0; 4096], [0; 4096]);
    loop {
        let mood = |orders: &watch::Receiver<Orders>| orders.borrow().mood;
        tokio::select! {
            read = from_client.read(&mut asked) => match (read, mood(&orders)) {
                (Ok(0) | Err(_), _) => return false,
                (Ok(_), Mood::Whole) if swallowed => return true,
                (Ok(read), Mood::Whole) => if to_broker.write_all(&asked[..read]).await.is_err() { return false },
                (Ok(_), Mood::Deaf | Mood::Silent) => {}
            },
            read = from_broker.read(&mut answered) => match (read, mood(&orders)) {
                (Ok(0) | Err(_), _) => return false,
                (Ok(read), Mood::Whole | Mood::Deaf) => if to_client.write_all(&answered[..read]).await.is_err() { return false },
                (Ok(_), Mood::Silent) => swallowed = true,
            },
        }
    }
}
