//! The operator's door: every question, in process, on the socket and on TCP.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and waits for real sockets"
)]

mod toy;

use std::{sync::Arc, time::Duration};

use flatbus_base::{Random, SystemClock};
use flatbus_bus::MemoryBus;
use flatbus_ledger::{MemoryFiles, MemoryStore};
use flatbus_runtime::{
    Ends, Manager, Parts, Settings, Unit, Unwatched,
    admin::{KeyPage, KeysDone, REPLAY_LINES_MAX, Replayed},
};
use flatbus_telemetry::metrics::Metrics;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use toy::{Toy, Trouble, changed, running::Running};

fn record(id: &str, things: &[&str]) -> String {
    json!({"topic": "org.fedoraproject.prod.toy.changed", "id": id, "body": {"things": things}, "headers": {}}).to_string()
}

async fn with_parked() -> Running {
    let unit = Running::start(Toy::default()).await;
    unit.quiet().await;
    unit.toy.trouble("eog", [Trouble::Park]);
    unit.bus.publish(changed("m1", &["eog"]));
    unit.until("parked", |unit| unit.ledger.counts().parked == 1).await;
    unit
}

#[tokio::test(start_paused = true)]
async fn live_and_ready_have_the_shapes_of_fedora_messaging() {
    let unit = Running::start(Toy::default()).await;
    unit.quiet().await;
    assert_eq!(unit.ask::<Value>("GET", "/live", "").await, (200, json!({"status": "OK"})));
    let (status, ready): (u16, Value) = unit.ask("GET", "/ready", "").await;
    assert_eq!(status, 200);
    let zero = json!({"received": 0, "processed": 0, "dropped": 0, "rejected": 0, "failed": 0});
    assert_eq!(ready, json!({"consuming": true, "published": 0, "consumed": zero}));
    unit.bus.disconnect("gone");
    unit.until("told", |unit| unit.bus.unacked("toy") == 0).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(unit.ask_raw("GET", "/ready", "").await.0, 503);
}

#[tokio::test(start_paused = true)]
async fn metrics_are_openmetrics_and_begin_at_zero() {
    let unit = Running::start(Toy::default()).await;
    let (status, text) = unit.ask_raw("GET", "/metrics", "").await;
    let text = String::from_utf8(text).unwrap();
    assert_eq!(status, 200);
    assert!(text.contains("flatbus_deliveries_received_total"), "{text}");
    assert!(text.ends_with("# EOF\n"));
}

#[tokio::test(start_paused = true)]
async fn parked_keys_are_listed_retried_and_dropped() {
    let unit = with_parked().await;
    let (_, page): (_, KeyPage) = unit.ask("GET", "/keys?state=parked", "").await;
    assert_eq!(page.keys.len(), 1);
    assert_eq!(page.keys[0].last_error.as_deref(), Some("a person must look"));
    let (status, _) = unit.ask_raw("GET", "/key?key=none", "").await;
    assert_eq!(status, 404);
    let (_, done): (_, KeysDone) =
        unit.ask("POST", "/keys/retry", r#"{"all_parked": true, "keys": ["none"]}"#).await;
    assert_eq!((done.done, done.unknown), (vec!["eog".to_owned()], vec!["none".to_owned()]));
    unit.quiet().await;
    unit.toy.trouble("eog", [Trouble::Park]);
    unit.bus.publish(changed("m2", &["eog"]));
    unit.until("parked", |unit| unit.ledger.counts().parked == 1).await;
    let (_, done): (_, KeysDone) = unit.ask("POST", "/keys/drop", r#"{"keys": ["eog"]}"#).await;
    assert_eq!(done.done, ["eog"]);
    assert_eq!(unit.ledger.counts().doubtful, 0);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_key_or_state_is_refused_in_a_sentence() {
    let unit = Running::start(Toy::default()).await;
    let (_, done): (_, KeysDone) = unit.ask("POST", "/keys/mark", r#"{"keys": ["bad!"]}"#).await;
    assert_eq!(done.wrong, ["bad!: not a thing"]);
    let (status, said): (u16, Value) = unit.ask("GET", "/keys?state=odd", "").await;
    assert_eq!(status, 400);
    assert!(said["error"].as_str().unwrap().contains("parked"));
}

#[tokio::test(start_paused = true)]
async fn replayed_messages_mark_as_live_ones_do_and_the_position_is_kept_with_them() {
    let unit = Running::start(Toy::default()).await;
    unit.quiet().await;
    let lines = [
        r#"{"topic": "org.fedoraproject.prod.buildsys.tag", "id": "a", "body": {"x": 1}}"#,
        r#"{"topic": "org.fedoraproject.stg.toy.changed", "id": "b", "body": {"x": 1}}"#,
        &record("c", &["eog"]),
        "not json",
    ]
    .join("\n");
    let (status, said): (u16, Replayed) = unit.ask("POST", "/replay?source=file:x&position=77", &lines).await;
    assert_eq!(status, 200);
    // The toy's bodies are lists, a recording's are objects: line 3 can't be understood by it, and is parked.
    assert_eq!(said, Replayed { messages: 4, marked: 0, parked: 2 });
    let (_, position): (_, Value) = unit.ask("GET", "/position?source=file:x", "").await;
    assert_eq!(position["position"], "77");
}

#[tokio::test(start_paused = true)]
async fn a_batch_of_replayed_messages_has_a_limit() {
    let unit = Running::start(Toy::default()).await;
    let noise = "{\"topic\": \"org.fedoraproject.prod.buildsys.tag\", \"id\": \"a\", \"body\": {}}\n";
    let most = noise.repeat(REPLAY_LINES_MAX);
    let (status, said): (u16, Replayed) = unit.ask("POST", "/replay?source=file:x&position=1", &most).await;
    assert_eq!((status, said.messages), (200, REPLAY_LINES_MAX));
    let (status, said): (u16, Value) =
        unit.ask("POST", "/replay?source=file:x&position=2", &(most + noise)).await;
    assert_eq!((status, said["error"].as_str()), (413, Some("at most 1000 lines at once")));
    let (_, position): (_, Value) = unit.ask("GET", "/position?source=file:x", "").await;
    assert_eq!(position["position"], "1");
}

#[tokio::test(start_paused = true)]
async fn a_parked_message_is_shown_tried_again_and_dropped() {
    let unit = Running::start(Toy::default()).await;
    unit.bus.publish(toy::message("bad", "org.fedoraproject.prod.toy.changed", b"{}"));
    unit.until("parked", |unit| unit.ledger.counts().parked_messages == 1).await;
    let (_, list): (_, Value) = unit.ask("GET", "/messages", "").await;
    let number = list[0]["number"].as_u64().unwrap();
    let (_, shown): (_, Value) = unit.ask("GET", &format!("/message?number={number}"), "").await;
    assert_eq!(shown["body"], "{}");
    let asked = json!({"number": number}).to_string();
    let (_, said): (_, Value) = unit.ask("POST", "/messages/retry", &asked).await;
    assert_eq!(said, json!({"found": true}));
    let again = unit.ledger.parked_messages(None, 10).unwrap();
    assert_eq!(again.len(), 1);
    assert_ne!(again[0].number, number);
    let asked = json!({"number": again[0].number}).to_string();
    unit.ask::<Value>("POST", "/messages/drop", &asked).await;
    assert_eq!(unit.ledger.counts().parked_messages, 0);
}

#[tokio::test(start_paused = true)]
async fn an_export_is_json_lines() {
    let unit = with_parked().await;
    let (status, lines) = unit.ask_raw("GET", "/export", "").await;
    assert_eq!(status, 200);
    let lines: Vec<Value> = lines
        .split(|b| *b == b'\n')
        .filter(|l| !l.is_empty())
        .map(|l| serde_json::from_slice(l).unwrap())
        .collect();
    assert!(lines.iter().any(|line| line.to_string().contains("a person must look")));
}

async fn raw_get(stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin, request: &str) -> String {
    let mut stream = stream;
    let text = format!(
        "{request} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}"
    );
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// Real sockets, so real time.
#[tokio::test]
async fn the_socket_takes_writes_and_tcp_answers_reads_alone() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("run/toy.sock");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let stop = CancellationToken::new();
    let parts = Parts {
        store: Arc::new(MemoryStore::new()),
        files: Arc::new(MemoryFiles::default()),
        set_aside: Some("/somewhere/ledger.corrupt-1".into()),
        clock: Arc::new(SystemClock),
        random: Random::from_seed(1),
        metrics: Metrics::new("toy"),
        gather: Box::new(|_| {}),
        progress: Arc::new(Unwatched),
        stop: stop.clone(),
    };
    let unit = Unit::open(Toy::default(), Settings::of("toy"), parts).await.unwrap();
    let bus = MemoryBus::new();
    let ends = Ends {
        source: Box::new(bus.source("toy")),
        publisher: Arc::new(bus.publisher("")),
        socket: Some(socket.clone()),
        monitoring: Some(([127, 0, 0, 1], port).into()),
        local_door: None,
        manager: Manager::default(),
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(unit.run(ends));
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while UnixStream::connect(&socket).await.is_err()
        || TcpStream::connect(("127.0.0.1", port)).await.is_err()
    {
        assert!(tokio::time::Instant::now() < deadline, "never served");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let ask = async |request| raw_get(UnixStream::connect(&socket).await.unwrap(), request).await;
    assert!(ask("POST /survey").await.contains("200 OK"));
    let status = ask("GET /status").await;
    assert!(status.contains("ledger.corrupt-1"), "{status}");
    let over_tcp =
        async |request| raw_get(TcpStream::connect(("127.0.0.1", port)).await.unwrap(), request).await;
    assert!(over_tcp("GET /ready").await.starts_with("HTTP/1.1 "));
    assert!(over_tcp("GET /status").await.contains("200 OK"));
    assert!(over_tcp("POST /survey").await.contains("404 Not Found"));
    assert!(over_tcp("POST /keys/drop").await.contains("404 Not Found"));
    stop.cancel();
    tasks.join_next().await.unwrap().unwrap().unwrap();
    assert!(!socket.exists());
}
