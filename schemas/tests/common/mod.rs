//! Reading samples, for the tests of this folder.
#![allow(dead_code, reason = "each test reads some of them")]
#![allow(clippy::unwrap_used, reason = "only tests call these")]

use std::fs;

use flatbus_schemas::{FedoraEvent, FromMessage, Limits, Malformed, Message};
use serde_json::{Map, Value, json};

/// The text of a file under `samples/`.
pub fn sample(path: &str) -> String {
    let path = format!("{}/samples/{path}", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A file under `samples/` as JSON.
pub fn sample_json(path: &str) -> Value {
    serde_json::from_str(&sample(path)).unwrap()
}

/// The messages of a recording under `samples/messages/`.
pub fn messages(file: &str) -> Vec<Message> {
    sample(&format!("messages/{file}")).lines().map(message_of_line).collect()
}

/// The message in a line.
pub fn message_of_line(line: &str) -> Message {
    Message::from_record(line.as_bytes(), &Limits::default()).unwrap().message
}

/// The timeline.
pub fn timeline() -> Vec<Message> {
    messages("synthetic-timeline.jsonl")
}

/// What a message means.
pub fn event(message: &Message) -> FedoraEvent {
    FedoraEvent::from_message(message).unwrap_or_else(|error| panic!("{error}"))
}

/// A message made for the occasion.
pub fn message(topic: &str, body: Value) -> Message {
    let line = json!({"topic": topic, "body": body, "id": "11111111-2222-4333-8444-555555555555"});
    message_of_line(&line.to_string())
}

/// What a body means under a topic of production.
pub fn read(name: &str, body: Value) -> Result<FedoraEvent, Malformed> {
    FedoraEvent::from_message(&message(&format!("org.fedoraproject.prod.{name}"), body))
}

/// The body of a completed build, with some fields changed; null takes a field away.
pub fn build(changes: Value) -> Value {
    let body = json!({"name": "eog", "version": "41.0", "release": "1.fc35", "epoch": null, "attribute": "state",
        "old": 0, "new": 1, "build_id": 1, "task_id": null, "task": null, "request": null, "owner": "kalev",
        "instance": "primary", "base_url": "https://koji.fedoraproject.org"});
    changed(body, changes)
}

/// The smallest body of an update that Bodhi's schema takes, with some of the update's fields changed.
pub fn update(changes: Value) -> Value {
    let update = json!({"alias": "FEDORA-FLATPAK-2022-274a792493", "builds": [{"nvr": "eog-stable-1.1", "type": "flatpak"}],
        "release": {"name": "F36F"}, "request": null, "status": "testing", "user": {"name": "kalev"}});
    json!({"agent": "composer", "update": changed(update, changes)})
}

fn changed(mut body: Value, changes: Value) -> Value {
    let empty = Map::new();
    body.as_object_mut().unwrap().extend(changes.as_object().unwrap_or(&empty).clone());
    body
}
