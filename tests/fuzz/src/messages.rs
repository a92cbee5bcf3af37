//! Deliveries of the broker and lines of a recording. What is taken can be written, read again and published, and means
//! the same each time; what is refused comes back whole, with a short reason.

use flatbus_bus::fuzzing::{delivery, properties};
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

fn delivered(topic: &str, properties: Vec<u8>, body: &[u8]) -> Option<Vec<u8>> {
    Some([topic.as_bytes(), b"\n", &properties, body].concat())
}
