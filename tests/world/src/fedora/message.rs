//! Fedora's messages in their true shapes (`schemas/samples` has real ones), as short as they may be.

use flatbus_schemas::{Message, Severity};
use flatbus_upstream::bodhi::{Status, Update};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::Made;

const PREFIX: &str = "org.fedoraproject.prod";
const HUB: &str = "https://koji.fedoraproject.org";

/// A message of Fedora's production, numbered.
pub fn new(number: u64, topic: &str, now: Timestamp, body: &Value) -> Message {
    Message {
        topic: format!("{PREFIX}.{topic}"),
        id: format!("00000000-0000-4000-8000-{number:012}"),
        headers: Map::new(),
        severity: Severity::Info,
        sent_at: Some(now),
        priority: None,
        body: body.to_string().into_bytes(),
    }
}

/// The same message as staging would say it.
pub fn of_staging(message: &Message) -> Message {
    Message { topic: message.topic.replacen(".prod.", ".stg.", 1), ..message.clone() }
}

pub(super) fn build_body(build: &Made, imported: bool) -> Value {
    let task = if imported { Value::Null } else { json!({"method": "flatpakBuild"}) };
    let task_id = if imported { Value::Null } else { json!(1_000_000 + build.id) };
    json!({
        "attribute": "state", "old": 0, "new": 1, "base_url": HUB, "build_id": build.id, "instance": "primary",
        "name": build.package.name, "version": build.version, "release": build.release,
        "task": task, "task_id": task_id,
    })
}

pub(super) fn update_body(update: &Update, new: &[String], removed: &[String]) -> Value {
    let builds: Vec<Value> =
        update.builds.iter().map(|build| json!({"nvr": build.nvr, "type": build.kind, "epoch": 0})).collect();
    json!({
        "agent": "bodhi",
        "update": {
            "alias": update.alias, "status": status(update.status), "request": update.request,
            "locked": update.locked, "content_type": "flatpak",
            "release": {"name": update.release.name, "id_prefix": update.release.id_prefix, "state": "current"},
            "builds": builds,
        },
        "new_builds": new, "removed_builds": removed,
    })
}

pub(super) fn forged_body(pick: u8) -> Value {
    json!({
        "agent": "mallory",
        "update": {
            "alias": format!("FEDORA-FLATPAK-2026-forged{pick}"), "status": "stable", "request": null,
            "locked": false, "content_type": "flatpak",
            "release": {"name": "F41F", "id_prefix": "FEDORA-FLATPAK", "state": "current"},
            "builds": [{"nvr": format!("forged-flatpak-{pick}-1"), "type": "flatpak"}],
        },
    })
}

pub(super) fn noise(pick: u8) -> (&'static str, Value) {
    match pick % 3 {
        0 => (
            "buildsys.tag",
            json!({"name": "bash", "version": "5", "release": "1", "tag": "f41", "base_url": HUB}),
        ),
        1 => (
            "buildsys.build.state.change",
            json!({"attribute": "state", "old": 0, "new": 1, "base_url": HUB, "name": "bash", "version": "5",
                   "release": "1", "task_id": 7, "task": {"method": "build"}}),
        ),
        _ => ("copr.build.end", json!({"what": "ever"})),
    }
}

fn status(status: Status) -> &'static str {
    match status {
        Status::Pending => "pending",
        Status::Testing => "testing",
        Status::Stable => "stable",
        Status::Unpushed => "unpushed",
        Status::Obsolete => "obsolete",
        Status::SideTagActive => "side_tag_active",
        Status::SideTagExpired => "side_tag_expired",
    }
}
