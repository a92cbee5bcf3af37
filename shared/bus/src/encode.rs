//! From an announcement to a message exactly as fedora-messaging would have written it. Pure.

use flatbus_schemas::{Message, header};
use serde_json::{Map, Value};

use crate::Outgoing;

/// Header with the ids of the messages that caused this one.
pub const CAUSES_HEADER: &str = "flatbus_causes";
/// Ids of causes told; more would say nothing more, and headers must fit into one frame.
const CAUSES_MAX: usize = 64;

/// The message that says it, with `topic` as its routing key.
pub(crate) fn message(outgoing: &Outgoing, topic: String, priority: Option<u8>) -> Message {
    let announcement = &outgoing.announcement;
    Message {
        topic,
        id: outgoing.id.clone(),
        headers: headers(outgoing, priority),
        severity: announcement.severity,
        sent_at: Some(outgoing.sent_at),
        priority,
        body: announcement.body.to_string().into_bytes(),
    }
}

fn headers(outgoing: &Outgoing, priority: Option<u8>) -> Map<String, Value> {
    let mut headers = outgoing.announcement.headers();
    // Whole seconds: what is cut from the header can't be read back differently by others.
    headers.insert(
        header::SENT_AT.into(),
        outgoing.sent_at.strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string().into(),
    );
    headers.insert("priority".into(), priority.unwrap_or(0).into());
    if !outgoing.causes.is_empty() {
        let causes: Vec<Value> =
            outgoing.causes.iter().take(CAUSES_MAX).map(|id| id.as_str().into()).collect();
        headers.insert(CAUSES_HEADER.into(), causes.into());
    }
    headers
}

#[cfg(test)]
mod tests {
    use flatbus_schemas::{Announcement, Severity};
    use serde_json::json;

    use super::*;

    #[test]
    fn an_announcement_has_the_headers_that_the_library_writes() {
        let outgoing = Outgoing {
            id: "7b8e6d5a-0000-4000-8000-000000000001".into(),
            sent_at: "2025-11-17T14:42:02.987654Z".parse().unwrap(),
            causes: vec!["a".into(), "b".into()],
            announcement: Announcement {
                topic: "flatbus.tag.moved".into(),
                schema: "flatbus.tag.moved.v1".into(),
                severity: Severity::Info,
                body: json!({"registry": "quay.io", "repository": "f41/flatpak-runtime", "tag": "latest"}),
            },
        };
        let message = message(&outgoing, "org.fedoraproject.prod.flatbus.tag.moved".into(), None);
        let expected = json!({
            "fedora_messaging_schema": "flatbus.tag.moved.v1",
            "fedora_messaging_schema_package": "flatbus_messages",
            "fedora_messaging_severity": 20,
            "fedora_messaging_flatpak_f41/flatpak-runtime": true,
            "fedora_messaging_container_quay.io/f41/flatpak-runtime:latest": true,
            "sent-at": "2025-11-17T14:42:02+00:00",
            "priority": 0,
            "flatbus_causes": ["a", "b"],
        });
        assert_eq!(Value::Object(message.headers), expected);
        assert_eq!(
            message.body,
            br#"{"registry":"quay.io","repository":"f41/flatpak-runtime","tag":"latest"}"#
        );
        assert_eq!(message.priority, None);
    }
}
