//! The tests' own proxy, on a server that says what it hears: each mischief does what its name says, and nothing before.

#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

#[path = "support/proxy/mod.rs"]
mod proxy;

use std::{
    io::ErrorKind,
    net::SocketAddr,
    num::NonZeroU32,
    sync::{Arc, Mutex},
    time::Duration,
};

use flatbus_base::{Clock as _, SystemClock};
use proxy::{Course, Fate, Fault, Plan, Proxy, When};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};

const PATIENCE: Duration = Duration::from_secs(20);
/// Long enough for what would come to come.
const MOMENT: Duration = Duration::from_millis(150);

/// Says what it hears, until it hears the end.
struct Echo {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<u8>>>,
    _task: JoinSet<()>,
}

impl Echo {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, heard) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let mut task = JoinSet::new();
        let hears = Arc::clone(&heard);
        task.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(echo(stream, Arc::clone(&hears)));
            }
        });
        Self { address, heard, _task: task }
    }

    async fn until_heard(&self, bytes: &[u8]) {
        let all = async {
            while self.heard.lock().unwrap().len() < bytes.len() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, all).await.expect("the server hears it");
        assert!(*self.heard.lock().unwrap() == bytes, "it hears what was said");
    }
}

async fn echo(mut stream: TcpStream, heard: Arc<Mutex<Vec<u8>>>) {
    let mut piece = vec![0; 64 << 10];
    while let Ok(read @ 1..) = stream.read(&mut piece).await {
        heard.lock().unwrap().extend_from_slice(&piece[..read]);
        if stream.write_all(&piece[..read]).await.is_err() {
            return;
        }
    }
    let _ = stream.shutdown().await;
}

async fn set() -> (Echo, Proxy) {
    let echo = Echo::start().await;
    let proxy = Proxy::start("echo", echo.address).await.unwrap();
    (echo, proxy)
}

async fn connect(proxy: &Proxy) -> TcpStream {
    TcpStream::connect(proxy.host()).await.unwrap()
}

fn noise(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at * 31 + at / 251) as u8).collect()
}

fn after(bytes: u64, fault: Fault) -> Course {
    Course { fault: Some((When::AfterBytes(bytes), fault)), ..Course::default() }
}

fn to_client(course: Course) -> Fate {
    Fate { to_client: course, ..Fate::default() }
}

fn to_server(course: Course) -> Fate {
    Fate { to_server: course, ..Fate::default() }
}

/// Says it while reading, so that nobody waits for room.
async fn converse(stream: TcpStream, said: &[u8]) -> (Vec<u8>, std::io::Result<()>) {
    let (mut reader, mut writer) = stream.into_split();
    let mut heard = Vec::new();
    let speaking = async {
        let _ = writer.write_all(said).await; // The fault may strike first.
        let _ = writer.shutdown().await;
    };
    let hearing = async { reader.read_to_end(&mut heard).await.map(drop) };
    let (_, ended) =
        timeout(PATIENCE, async { tokio::join!(speaking, hearing) }).await.expect("the connection ends");
    (heard, ended)
}

async fn until_nobody_is_connected(proxy: &Proxy) {
    let gone = async {
        while proxy.open() > 0 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, gone).await.expect("the proxy sees that the client has left");
}

async fn is_silent(stream: &mut TcpStream) -> bool {
    timeout(MOMENT, stream.read(&mut [0])).await.is_err()
}

#[tokio::test]
async fn a_calm_proxy_passes_every_byte_and_the_end() {
    let (echo, proxy) = set().await;
    let said = noise(3 << 20);
    let (heard, ended) = converse(connect(&proxy).await, &said).await;
    ended.unwrap();
    assert!(heard == said);
    echo.until_heard(&said).await;
    until_nobody_is_connected(&proxy).await;
    assert_eq!((proxy.connections(), proxy.silences().len()), (1, 0));
}

#[tokio::test]
async fn what_is_late_comes_late_and_whole() {
    let (_echo, proxy) = set().await;
    let late = Course { delay: Duration::from_millis(120), ..Course::default() };
    proxy.all(Fate { to_server: late, to_client: late });
    let began = SystemClock.monotonic();
    let (heard, ended) = converse(connect(&proxy).await, b"hello").await;
    ended.unwrap();
    assert_eq!(heard, b"hello");
    assert!(SystemClock.monotonic() - began >= Duration::from_millis(240));
}

#[tokio::test]
async fn a_slow_line_takes_the_time_that_its_rate_says() {
    let (_echo, proxy) = set().await;
    proxy.all(to_client(Course { bytes_per_s: NonZeroU32::new(40_000), ..Course::default() }));
    let (said, began) = (noise(20_000), SystemClock.monotonic());
    let (heard, ended) = converse(connect(&proxy).await, &said).await;
    ended.unwrap();
    assert!(heard == said);
    assert!(SystemClock.monotonic() - began >= Duration::from_millis(450));
}

#[tokio::test]
async fn a_cut_comes_after_the_exact_byte_as_an_orderly_end() {
    let (_echo, proxy) = set().await;
    let said = noise(100_000);
    for bytes in [0, 1, 16_384, 65_537] {
        proxy.all(to_client(after(bytes, Fault::Cut)));
        let (heard, ended) = converse(connect(&proxy).await, &said).await;
        ended.unwrap();
        assert!(heard == said[..bytes as usize], "{bytes}: {}", heard.len());
    }
    assert_eq!(proxy.struck()[&Fault::Cut], 4);
}

#[tokio::test]
async fn a_reset_comes_after_the_exact_byte_as_an_error() {
    let (_echo, proxy) = set().await;
    let said = noise(100_000);
    for bytes in [0, 1, 16_384, 65_537] {
        proxy.all(to_client(after(bytes, Fault::Reset)));
        let (heard, ended) = converse(connect(&proxy).await, &said).await;
        assert_eq!(ended.unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert!(heard == said[..bytes as usize], "{bytes}: {}", heard.len());
    }
}

#[tokio::test]
async fn a_way_to_the_server_that_is_closed_leaves_the_way_back_open() {
    let (echo, proxy) = set().await;
    proxy.all(to_server(after(1000, Fault::HalfClose)));
    let said = noise(5000);
    let (heard, ended) = converse(connect(&proxy).await, &said).await;
    ended.unwrap();
    assert!(heard == said[..1000]);
    echo.until_heard(&said[..1000]).await;
}

#[tokio::test]
async fn a_way_to_the_client_that_is_closed_leaves_the_way_there_open() {
    let (echo, proxy) = set().await;
    proxy.all(to_client(after(0, Fault::HalfClose)));
    let mut stream = connect(&proxy).await;
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    let said = noise(100_000);
    stream.write_all(&said).await.unwrap();
    echo.until_heard(&said).await;
}

#[tokio::test]
async fn a_stalled_connection_stays_silent_and_open_even_in_calm_and_its_client_is_seen_to_leave() {
    let (_echo, proxy) = set().await;
    for fate in [to_client(after(10, Fault::Stall)), to_server(after(10, Fault::Stall))] {
        proxy.all(fate);
        let mut stream = connect(&proxy).await;
        stream.write_all(&noise(1000)).await.unwrap();
        let mut heard = [0; 10];
        stream.read_exact(&mut heard).await.unwrap();
        assert_eq!(heard, noise(10)[..]);
        assert!(is_silent(&mut stream).await);
        proxy.calm();
        assert!(is_silent(&mut stream).await);
        assert_eq!(proxy.open(), 1);
        drop(stream);
        until_nobody_is_connected(&proxy).await;
    }
    let silences = proxy.silences();
    assert_eq!(silences.len(), 2);
    for silence in silences {
        assert!(silence.over && silence.unheard >= 2 * MOMENT, "{silence:?}");
        assert!(silence.lasted >= silence.unheard, "{silence:?}");
        assert!(silence.fate.contains("Stall after 10 bytes"), "{silence:?}");
    }
}

#[tokio::test]
async fn a_client_that_had_nothing_withheld_from_it_was_not_kept_waiting() {
    let (_echo, proxy) = set().await;
    let both = after(0, Fault::Stall);
    proxy.all(Fate { to_server: both, to_client: both });
    let mut stream = connect(&proxy).await;
    assert!(is_silent(&mut stream).await);
    assert!(proxy.silences().is_empty());
    stream.write_all(b"x").await.unwrap();
    assert!(is_silent(&mut stream).await);
    assert_eq!(proxy.silences().len(), 1);
}

#[tokio::test]
async fn a_client_that_leaves_a_stalled_connection_without_a_word_is_seen_to_leave() {
    let (_echo, proxy) = set().await;
    for fault in [Fault::Stall, Fault::Swallow] {
        for fate in [to_client(after(0, fault)), to_server(after(0, fault))] {
            proxy.all(fate);
            let mut stream = connect(&proxy).await;
            assert!(is_silent(&mut stream).await);
            drop(stream);
            until_nobody_is_connected(&proxy).await;
        }
    }
    assert!(proxy.silences().is_empty());
}

#[tokio::test]
async fn a_stall_holds_the_sender_up_and_a_swallow_does_not() {
    let (echo, proxy) = set().await;
    let said = noise(32 << 20); // More than all buffers on the way.
    proxy.all(to_server(after(0, Fault::Stall)));
    let mut stream = connect(&proxy).await;
    assert!(timeout(MOMENT, stream.write_all(&said)).await.is_err());
    proxy.all(to_server(after(100, Fault::Swallow)));
    let mut stream = connect(&proxy).await;
    timeout(PATIENCE, stream.write_all(&said)).await.expect("it is taken").unwrap();
    echo.until_heard(&said[..100]).await;
    stream.read_exact(&mut [0; 100]).await.unwrap();
    assert!(is_silent(&mut stream).await);
}

#[tokio::test]
async fn mischief_begins_on_connections_that_were_there_before() {
    let (_echo, proxy) = set().await;
    let mut stream = connect(&proxy).await;
    stream.write_all(b"hello").await.unwrap();
    stream.read_exact(&mut [0; 5]).await.unwrap();
    let fault = Some((When::In(Duration::from_millis(50)), Fault::Reset));
    proxy.all(to_server(Course { fault, ..Course::default() }));
    let ended = timeout(PATIENCE, stream.read(&mut [0])).await.expect("it strikes");
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_door_that_is_shut_refuses_and_those_inside_stay() {
    let (_echo, proxy) = set().await;
    let mut stream = connect(&proxy).await;
    stream.write_all(b"one").await.unwrap();
    stream.read_exact(&mut [0; 3]).await.unwrap();
    proxy.refuse();
    let refused = async {
        loop {
            match TcpStream::connect(proxy.host()).await {
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => return,
                // A moment faster than the order, or at the door when it fell shut.
                Ok(_) | Err(_) => sleep(Duration::from_millis(5)).await,
            }
        }
    };
    timeout(PATIENCE, refused).await.expect("the door is shut");
    stream.write_all(b"two").await.unwrap();
    stream.read_exact(&mut [0; 3]).await.unwrap();
    proxy.calm();
    let open = async {
        while TcpStream::connect(proxy.host()).await.is_err() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, open).await.expect("the door is open again");
    assert_eq!(proxy.refused(), 1);
}

#[tokio::test]
async fn a_proxy_that_is_dropped_leaves_nothing_behind() {
    let (_echo, proxy) = set().await;
    let host = proxy.host();
    let mut stream = connect(&proxy).await;
    stream.write_all(b"hello").await.unwrap();
    stream.read_exact(&mut [0; 5]).await.unwrap();
    drop(proxy);
    let ended = timeout(PATIENCE, stream.read(&mut [0])).await.expect("the connection ends");
    assert!(matches!(ended, Ok(0) | Err(_)));
    let gone = async {
        while TcpStream::connect(&host).await.is_ok() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, gone).await.expect("nobody listens any more");
}

#[test]
fn a_seed_repeats_a_plan_and_plans_hold_everything() {
    let plans = || (0..100).map(|round| Plan::of(7, "registry", round));
    assert!(plans().eq(plans()));
    assert!(!plans().eq((0..100).map(|round| Plan::of(8, "registry", round))));
    assert_ne!(Plan::of(7, "registry", 3).fate(2), Plan::of(7, "broker", 3).fate(2));
    assert!(plans().any(|plan| plan.refuses_for.is_some()));
    let fates: Vec<Fate> = plans().flat_map(|plan| (0..20).map(move |number| plan.fate(number))).collect();
    for course in [|fate: &Fate| fate.to_server, |fate: &Fate| fate.to_client] {
        for fault in Fault::ALL {
            for by_bytes in [true, false] {
                let has = |fate: &Fate| {
                    let Some((when, has)) = course(fate).fault else { return false };
                    has == fault && matches!(when, When::AfterBytes(_)) == by_bytes
                };
                assert!(fates.iter().any(has), "{fault:?}");
            }
        }
        assert!(fates.iter().any(|fate| course(fate).bytes_per_s.is_some()));
        assert!(fates.iter().any(|fate| !course(fate).delay.is_zero()));
        assert!(fates.iter().any(|fate| course(fate) == Course::default()));
    }
}
