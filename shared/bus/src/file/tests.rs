use std::io::Write as _;

use tempfile::NamedTempFile;

use super::*;
use crate::conformance::{self, Expect, Item, Place};

struct Recording(NamedTempFile);

#[async_trait]
impl Place for Recording {
    async fn source(&mut self, after: Option<&Cursor>) -> Box<dyn Source> {
        Box::new(open(&self.0, after.map(|after| after.position.as_str())).await)
    }

    async fn put(&mut self, items: &[Item]) {
        for item in items {
            match item {
                Item::Message(id) => writeln!(self.0, "{}", line(id)).unwrap(),
                Item::Bytes(bytes) => self.0.write_all(&[bytes, &b"\n"[..]].concat()).unwrap(),
            }
        }
    }

    async fn cut(&mut self, _: u64) {
        unreachable!("a file has no connection");
    }
}

#[tokio::test]
async fn it_keeps_the_conformance_suite() {
    let expect =
        Expect { tells_redelivered: false, connection: false, window: None, ends: true, cursors: true };
    conformance::all(async || Recording(NamedTempFile::new().unwrap()), expect).await;
}

fn recording(lines: &[&str]) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    for line in lines {
        writeln!(file, "{line}").unwrap();
    }
    file
}

fn line(id: &str) -> String {
    format!(
        r#"{{"body": {{"n": 1}}, "headers": {{"fedora_messaging_severity": 20}}, "id": "{id}", "priority": 0, "queue": null, "topic": "org.fedoraproject.prod.a"}}"#
    )
}

async fn open(file: &NamedTempFile, position: Option<&str>) -> FileSource {
    FileSource::open(file.path(), position, Limits::default()).await.unwrap()
}

/// Ids, or reasons in brackets, until the end.
async fn read_all(source: &mut FileSource) -> Vec<String> {
    let mut seen = Vec::new();
    loop {
        match source.next().await {
            SourceEvent::Connected { gap } => assert!(!gap),
            SourceEvent::Delivery(delivery) => {
                seen.push(
                    delivery.message.map_or_else(|error| format!("[{}]", error.reason), |message| message.id),
                );
            }
            SourceEvent::Ended => return seen,
            SourceEvent::Disconnected { reason } => panic!("{reason}"),
        }
    }
}

async fn next_delivery(source: &mut FileSource) -> Delivery {
    loop {
        match source.next().await {
            SourceEvent::Connected { .. } => {}
            SourceEvent::Delivery(delivery) => return delivery,
            SourceEvent::Ended | SourceEvent::Disconnected { .. } => panic!("no delivery"),
        }
    }
}

#[tokio::test]
async fn every_line_is_delivered_in_order_and_then_the_end() {
    let file = recording(&[&line("one"), "", &line("two")]);
    let mut source = open(&file, None).await;
    assert_eq!(read_all(&mut source).await, ["one", "two"]);
    assert!(matches!(source.next().await, SourceEvent::Ended));
}

#[tokio::test]
async fn a_last_line_without_its_end_is_a_line() {
    let mut file = recording(&[&line("one")]);
    write!(file, "{}", line("two")).unwrap();
    assert_eq!(read_all(&mut open(&file, None).await).await, ["one", "two"]);
}

#[tokio::test]
async fn reading_goes_on_from_the_cursor_of_a_delivery() {
    let file = recording(&[&line("one"), &line("two"), &line("three")]);
    let cursor = next_delivery(&mut open(&file, None).await).await.cursor.unwrap();
    assert!(cursor.source.starts_with("file:"));
    let mut again = open(&file, Some(&cursor.position)).await;
    assert_eq!(again.name(), cursor.source);
    assert_eq!(read_all(&mut again).await, ["two", "three"]);
}

#[tokio::test]
async fn a_line_that_is_no_message_is_delivered_with_its_bytes() {
    let file = recording(&["{\"topic\": 1}", &line("two")]);
    let mut source = open(&file, None).await;
    let wrong = next_delivery(&mut source).await.message.unwrap_err();
    assert_eq!(wrong.body, b"{\"topic\": 1}");
    assert!(wrong.reason.contains("not a recorded message"), "{wrong}");
    assert_eq!(read_all(&mut source).await, ["two"]);
}

#[tokio::test]
async fn a_huge_line_is_cut_and_the_next_one_read() {
    let huge = format!(r#"{{"topic": "a", "body": {{"x": "{}"}}}}"#, "x".repeat(3 * READ_BYTES));
    let file = recording(&[&huge, &line("two")]);
    let limits = Limits { body_bytes_max: 1000, header_bytes_max: 1000 };
    let mut source = FileSource::open(file.path(), None, limits).await.unwrap();
    let cut = next_delivery(&mut source).await;
    assert_eq!(cut.receipt.tag, huge.len() as u64 + 1);
    let cut = cut.message.unwrap_err();
    assert_eq!(cut.body.len(), 1000);
    assert!(cut.reason.ends_with("only its beginning is kept"), "{}", cut.reason);
    assert_eq!(read_all(&mut source).await, ["two"]);
}

#[tokio::test]
async fn what_is_no_recording_is_refused_with_a_sentence() {
    let refusal = async |path: &Path, position: Option<&str>| {
        FileSource::open(path, position, Limits::default()).await.map(|_| ()).unwrap_err().to_string()
    };
    let file = recording(&[&line("one")]);
    assert!(refusal(Path::new("/nowhere.jsonl"), None).await.contains("/nowhere.jsonl: cannot read it"));
    assert!(refusal(file.path().parent().unwrap(), None).await.contains("is a folder"));
    assert!(refusal(file.path(), Some("7")).await.contains("not the end of a line"));
    assert!(refusal(file.path(), Some("70000")).await.contains("was it replaced"));
    assert!(refusal(file.path(), Some("x")).await.contains("no number of bytes"));
    let mut packed = NamedTempFile::new().unwrap();
    packed.write_all(&[0x1f, 0x8b, 8, 0]).unwrap();
    assert!(refusal(packed.path(), None).await.contains("unpack it first"));
}
