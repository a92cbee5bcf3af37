//! Deliveries of the broker and lines of a recording. What is taken can be written, read again and published, and means
//! the same each time; what is refused comes back whole, with a short reason.

use std::num::NonZeroUsize;

use flatbus_bus::fuzzing::{delivery, properties, readable, screened};
use flatbus_schemas::{FedoraEvent, FromMessage, Limits, Malformed, Message};
use serde_json::{Map, Value};

use crate::{
    rules::{halves, told},
    samples,
};

/// Few enough that inputs of the fuzzer pass them.
const NARROW: Limits = Limits { body_bytes_max: 512, header_bytes_max: 128 };
/// Longest name in an AMQP table, in bytes.
const NAME_BYTES_MAX: usize = 255;
/// Tables and lists that lapin can follow wherever they are.
const NESTED_FEW: usize = 64;

/// The first line is a routing key; then come the properties as they stand in a content header, and the body.
pub fn check_delivery(data: &[u8]) {
    let (topic, content) = halves(data);
    let Ok(topic) = str::from_utf8(topic) else { return };
    let limits = Limits::default();
    match delivery(topic, content, &limits) {
        None => {}
        Some(Ok(message)) => {
            assert_eq!(message.topic, topic);
            whole(&message, &limits);
        }
        Some(Err(undecodable)) => {
            told(&undecodable.reason);
            assert!(content.ends_with(&undecodable.body), "another body is parked than came");
        }
    }
}

/// A broker's stream, after a byte that says how long the pieces are that it comes in.
pub fn check_frames(data: &[u8]) {
    let Some((piece, stream)) = data.split_first() else { return };
    let pieces = NonZeroUsize::MIN.saturating_add((*piece).into());
    let passed = screened(stream, NonZeroUsize::MAX);
    assert_eq!(passed, screened(stream, pieces), "in pieces of {pieces} something else is read");
    assert_eq!(passed, screened(&passed, pieces), "there is something left to screen");
    let (mut came, mut read) = (frames(stream), frames(&passed));
    loop {
        match (came.next(), read.next()) {
            (Some(came), Some(read)) if came != read => mended(came, read),
            (_, Some([CONTENT_HEADER, header @ ..])) => {
                assert!(properties_of(header).is_none_or(readable), "lapin ends over {header:02x?}");
            }
            (Some(_), Some(_)) => {}
            (None, None) => return,
            (came, read) => panic!("{came:02x?} became {read:02x?}"),
        }
    }
}

const METHOD: u8 = 1;
const CONTENT_HEADER: u8 = 2;
/// Bytes of a frame before its content: its kind, its channel, and its content's length.
const FRAME_HEAD_BYTES: usize = 7;

/// The whole frames at the beginning of a stream, up to the first that is none.
fn frames(stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut left = stream;
    std::iter::from_fn(move || {
        let content = u32::from_be_bytes(*left.get(3..FRAME_HEAD_BYTES)?.first_chunk()?);
        let whole = usize::try_from(content).ok()?.checked_add(FRAME_HEAD_BYTES + 1)?;
        let (frame, rest) = left.split_at_checked(whole).filter(|_| matches!(left[0], 1 | 2 | 3 | 8))?;
        left = rest;
        Some(frame)
    })
}

/// Without its first byte, the frame's kind: a content header's properties.
fn properties_of(header: &[u8]) -> Option<&[u8]> {
    header.get(FRAME_HEAD_BYTES - 1 + 12..header.len() - 1)
}

/// What was changed had to be.
fn mended(came: &[u8], read: &[u8]) {
    match (came, read) {
        ([CONTENT_HEADER, came @ ..], [CONTENT_HEADER, read @ ..]) => {
            let few = came.iter().filter(|byte| matches!(byte, b'A' | b'F')).count() < NESTED_FEW;
            let (came, read) =
                (properties_of(came).unwrap_or_default(), properties_of(read).unwrap_or_default());
            assert!(readable(read), "lapin ends over {read:02x?}");
            assert!(!few || !readable(came), "lapin could have read {came:02x?}");
        }
        ([METHOD, came @ ..], [METHOD, read @ ..]) => {
            let differ = came.iter().zip(read).filter(|(came, read)| came != read);
            assert!(differ.clone().all(|(came, read)| !came.is_ascii() && *read == 0x1a), "{came:02x?}");
            assert!(came.len() == read.len() && str::from_utf8(came).is_err(), "{came:02x?}");
        }
        _ => panic!("{came:02x?} became {read:02x?}"),
    }
}

/// A line of a recording.
pub fn check_record(line: &[u8]) {
    match Message::from_record(line, &Limits::default()) {
        Ok(received) => whole(&received.message, &Limits::default()),
        Err(refused) => {
            told(&refused);
            assert_eq!(refused.body, line);
        }
    }
    if let Ok(narrow) = Message::from_record(line, &NARROW) {
        assert!(narrow.message.body.len() <= NARROW.body_bytes_max, "a limit that does not hold");
        assert_eq!(Message::from_record(line, &Limits::default()), Ok(narrow));
    }
}

/// A message that was taken.
fn whole(message: &Message, limits: &Limits) {
    for text in [&message.topic, &message.id] {
        assert!((1..=NAME_BYTES_MAX).contains(&text.len()) && !text.contains(char::is_control), "{text:?}");
    }
    let event = FedoraEvent::from_message(message);
    if let Err(malformed) = &event {
        told(malformed);
    }
    recorded(message, &event, limits);
    published(message, limits);
}

/// Written as a line and read again it is the same message. Only a body that nobody could read can't be written.
fn recorded(message: &Message, event: &Result<FedoraEvent, Malformed>, limits: &Limits) {
    let line = match message.to_record() {
        Ok(line) => line,
        Err(malformed) => {
            told(&malformed);
            assert!(
                matches!(event, Err(_) | Ok(FedoraEvent::Unrelated)),
                "{event:?} is read but can't be recorded: {malformed}"
            );
            return;
        }
    };
    assert!(!line.contains(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']), "more than a line: {line:?}");
    let again =
        Message::from_record(line.as_bytes(), limits).unwrap_or_else(|error| panic!("{line}: {error}"));
    let again = again.message;
    assert_eq!(Message { body: message.body.clone(), ..again.clone() }, *message);
    assert_eq!(again.to_record().as_ref(), Ok(&line), "written twice, written differently");
    match (event, FedoraEvent::from_message(&again)) {
        (Ok(event), after) => assert_eq!(Ok(event), after.as_ref(), "it means something else once recorded"),
        (Err(_), Err(_)) => {}
        (Err(before), Ok(after)) => panic!("{after:?} once recorded, before: {before}"),
    }
}

/// Published and received it is the same message, as far as AMQP can carry it.
fn published(message: &Message, limits: &Limits) {
    if !message.headers.iter().all(|(name, value)| fits(name) && carried(value)) {
        return;
    }
    let mut content = properties(message).unwrap_or_else(|error| panic!("{message:?}: {error}"));
    content.extend_from_slice(&message.body);
    let received =
        delivery(&message.topic, &content, limits).unwrap_or_else(|| panic!("{message:?} is not AMQP"));
    assert_eq!(received.as_ref(), Ok(message));
}

fn carried(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.as_i64().is_some() || number.is_f64(),
        Value::Array(items) => items.iter().all(carried),
        Value::Object(table) => table.iter().all(|(name, value)| fits(name) && carried(value)),
        Value::Null | Value::Bool(_) | Value::String(_) => true,
    }
}

fn fits(name: &str) -> bool {
    name.len() <= NAME_BYTES_MAX
}

/// Recorded lines of every kind of topic.
pub fn records() -> Vec<Vec<u8>> {
    let files = ["packit-koji.jsonl", "synthetic-koji-flatpak-era.jsonl", "synthetic-timeline.jsonl"];
    let lines = files.iter().flat_map(|file| samples::lines(&format!("messages/{file}")));
    let mut seeds: Vec<Vec<u8>> = samples::each_kind(lines, |line| Some(line["topic"].as_str()?.to_owned()));
    for odd in [
        r#"{"topic": "org.fedoraproject.prod.flatbus.tag.moved", "id": "x", "headers": {"a": [1, {"b": null}]}, "body": {"registry": "quay.io", "repository": "fedora/eog", "tag": "latest", "digest": null, "previous_digest": null}}"#,
        r#"{"topic": "org.fedoraproject.prod.flatbus.key.parked", "id": null, "body": {"consumer": "mirror", "key": "build/eog-1-1", "reason": "r", "attempts": 3, "failing_since": "2026-01-02T03:04:05Z"}}"#,
        r#"{"topic": "a.b", "body": {"n": NaN, "n": -Infinity}}"#,
    ] {
        seeds.push(odd.as_bytes().to_vec());
    }
    seeds
}

/// The odd deliveries, and the recorded lines as the broker would deliver them.
pub fn deliveries() -> Vec<Vec<u8>> {
    let recorded = records().into_iter().filter_map(|line| {
        let message = Message::from_record(&line, &Limits::default()).ok()?.message;
        delivered(&message.topic, properties(&message).ok()?, &message.body)
    });
    recorded
        .chain(samples::lines("edge/synthetic-malformed-deliveries.jsonl").iter().filter_map(odd))
        .collect()
}

fn odd(case: &Value) -> Option<Vec<u8>> {
    let sent = &case["properties"];
    let headers: Map<String, Value> = sent["headers"].as_object().cloned().unwrap_or_default();
    let message = Message {
        topic: case["routing_key"].as_str()?.to_owned(),
        id: sent["message_id"].as_str().unwrap_or_default().to_owned(),
        headers,
        severity: flatbus_schemas::Severity::Info,
        sent_at: None,
        priority: sent["priority"].as_u64().and_then(|priority| priority.try_into().ok()),
        body: samples::base64(case["body_base64"].as_str()?)?,
    };
    delivered(&message.topic, properties(&message).ok()?, &message.body)
}

/// Each delivery as the frames of a broker, and what is wrong with some.
pub fn streams() -> Vec<Vec<u8>> {
    let records = records();
    let messages = records.iter().filter_map(|line| Message::from_record(line, &Limits::default()).ok());
    let sent = messages.filter_map(|received| {
        let message = received.message;
        Some(stream(message.topic.as_bytes(), &properties(&message).ok()?, &message.body))
    });
    let deep = (0..100_u8).fold(b"V".to_vec(), |list, _| {
        [b"A", &u32::try_from(list.len()).unwrap_or_default().to_be_bytes()[..], &list].concat()
    });
    let table = [b"\x01x", &deep[..]].concat();
    let deep =
        [&[0x20, 0], &u32::try_from(table.len()).unwrap_or_default().to_be_bytes()[..], &table].concat();
    let odd: [(&[u8], &[u8]); 4] = [
        (b"a.b", &deep),
        (b"a.b", b"\x20\0\0\0\0\x03\x01\xffV"),
        (b"a.b", b"\0\x80\x01\xff"),
        (b"a.\xff", b"\0\0"),
    ];
    sent.chain(odd.map(|(topic, properties)| stream(topic, properties, b"{}"))).collect()
}

fn stream(topic: &[u8], properties: &[u8], body: &[u8]) -> Vec<u8> {
    let name = |name: &[u8]| [&[u8::try_from(name.len()).unwrap_or_default()], name].concat();
    let frame = |kind: u8, content: &[u8]| {
        let length = u32::try_from(content.len()).unwrap_or_default().to_be_bytes();
        [&[kind, 0, 1], &length[..], content, &[0xce]].concat()
    };
    let deliver = [&[0, 60, 0, 60][..], &name(b"c"), &[0; 9], &name(b"amq.topic"), &name(topic)].concat();
    let length = u64::try_from(body.len()).unwrap_or_default().to_be_bytes();
    let header = [&[0, 60, 0, 0], &length[..], properties].concat();
    let pieces = [13];
    [&pieces[..], &frame(METHOD, &deliver), &frame(CONTENT_HEADER, &header), &frame(3, body)].concat()
}

fn delivered(topic: &str, properties: Vec<u8>, body: &[u8]) -> Option<Vec<u8>> {
    Some([topic.as_bytes(), b"\n", &properties, body].concat())
}
