//! The line format of `fedora-messaging record`, and of datagrepper's answers: one JSON object a line.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, value::RawValue};

use crate::{Limits, Malformed, Message, Parts, Received, Refused, lenient};

/// What a line may weigh beside its headers and body: names, topic, id, queue.
const LINE_BYTES_BESIDE: usize = 4 << 10;

/// A line as it is read. The queue a message once came through says nothing here.
#[derive(Deserialize)]
struct LineIn {
    topic: String,
    /// The library writes null for a message without id, though its own reader refuses that.
    id: Option<String>,
    headers: Option<Map<String, Value>>,
    priority: Option<u8>,
    body: Box<RawValue>,
}

/// A line as it is written: keys in the order the library writes them.
#[derive(Serialize)]
struct LineOut<'a> {
    body: &'a RawValue,
    headers: &'a Map<String, Value>,
    id: &'a str,
    priority: Option<u8>,
    queue: Option<&'a str>,
    topic: &'a str,
}

impl Message {
    /// Reads one line of a recording. Only topic and body must be there.
    ///
    /// # Errors
    /// When the line is no such object, or the message would be refused on arrival. The bytes handed back are the line's.
    pub fn from_record(line: &[u8], limits: &Limits) -> Result<Received, Refused> {
        let refuse = |topic: &str, id: &str, reason: &str| Refused {
            malformed: Malformed::new(topic, id, reason),
            body: line.to_vec(),
        };
        let line_bytes_max = limits.body_bytes_max + limits.header_bytes_max + LINE_BYTES_BESIDE;
        if line.len() > line_bytes_max {
            let reason = format!("the line has {} bytes, more than {line_bytes_max}", line.len());
            return Err(refuse("", "", &reason));
        }
        let LineIn { topic, id, headers, priority, body } = lenient::read(line)
            .map_err(|reason| refuse("", "", &format!("not a recorded message: {reason}")))?;
        if !body.get().starts_with('{') {
            return Err(refuse(&topic, &id.unwrap_or_default(), "the body is not a JSON object"));
        }
        let parts = Parts {
            routing_key: topic,
            message_id: id,
            content_encoding: Some("utf-8".to_owned()),
            priority,
            headers,
            body: body.get().as_bytes().to_vec(),
        };
        Self::from_parts(parts, limits).map_err(|refused| Refused { body: line.to_vec(), ..refused })
    }

    /// Writes the message as one line of a recording, without the line end.
    ///
    /// # Errors
    /// When the body is not JSON, which only parsing it shows.
    pub fn to_record(&self) -> Result<String, Malformed> {
        let refuse = |error: &dyn std::fmt::Display| self.malformed(format!("the body is not JSON: {error}"));
        let text = std::str::from_utf8(&self.body).map_err(|error| refuse(&error))?;
        let repaired;
        let body: &RawValue = match serde_json::from_str(text) {
            Ok(body) => body,
            Err(_nan_perhaps) => {
                repaired = lenient::without_nan(text);
                serde_json::from_str(&repaired).map_err(|error| refuse(&error))?
            }
        };
        let (headers, id, topic) = (&self.headers, self.id.as_str(), self.topic.as_str());
        let line = LineOut { body, headers, id, priority: self.priority, queue: None, topic };
        serde_json::to_string(&line).map(on_one_line).map_err(|error| refuse(&error))
    }
}

/// A raw line end in JSON stands between tokens, where a space does as well. The other characters Python's `splitlines`
/// cuts at can stand in strings only, where their escapes mean the same.
fn on_one_line(json: String) -> String {
    let cuts = ['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}'];
    if !json.contains(cuts) {
        return json;
    }
    json.replace(['\n', '\r'], " ")
        .replace('\u{85}', "\\u0085")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Message, Refused> {
        Message::from_record(line.as_bytes(), &Limits::default()).map(|received| received.message)
    }

    #[test]
    fn every_recorded_line_survives_being_read_and_written() {
        for file in ["synthetic-timeline.jsonl", "packit-koji.jsonl", "synthetic-koji-flatpak-era.jsonl"] {
            let path = format!("{}/samples/messages/{file}", env!("CARGO_MANIFEST_DIR"));
            for line in std::fs::read_to_string(path).unwrap().lines() {
                let message = read(line).unwrap();
                let written = message.to_record().unwrap();
                assert_eq!(read(&written).unwrap(), message);
                let (mut before, after): (Value, Value) =
                    (serde_json::from_str(line).unwrap(), serde_json::from_str(&written).unwrap());
                before.as_object_mut().unwrap().entry("priority").or_insert(Value::Null);
                assert_eq!(before, after);
            }
        }
    }

    #[test]
    fn only_topic_and_body_must_be_there() {
        let message = read(r#"{"topic": "a.b", "body": {}}"#).unwrap();
        assert_eq!((message.priority, message.sent_at, message.headers.len()), (None, None, 0));
        for line in
            [r#"{"topic": "a.b"}"#, r#"{"body": {}}"#, r#"{"topic": "a.b", "msg": {}}"#, "[]", "", "{"]
        {
            let refused = read(line).unwrap_err();
            assert!(refused.malformed.reason.starts_with("not a recorded message"), "{refused}");
            assert_eq!(refused.body, line.as_bytes());
        }
    }

    #[test]
    fn a_recorded_body_must_be_an_object() {
        for body in ["null", "[]", "\"\"", "1"] {
            let refused = read(&format!(r#"{{"topic": "a.b", "id": "x", "body": {body}}}"#)).unwrap_err();
            assert_eq!(refused.to_string(), "a.b (x): the body is not a JSON object");
        }
    }

    #[test]
    fn a_null_id_gets_the_id_that_a_lost_one_gets() {
        let null = read(r#"{"topic": "a.b", "id": null, "body": {}}"#).unwrap();
        assert_eq!(null.id, read(r#"{"topic": "a.b", "body": {}}"#).unwrap().id);
        assert_eq!(null.id.len(), 36);
    }

    #[test]
    fn a_body_with_line_ends_is_still_one_line() {
        let mut message = read(r#"{"topic": "a.b", "id": "x", "body": {}}"#).unwrap();
        message.body = "{\n  \"note\":\r\n \"one\u{2028}two\u{85}\\n\"\n}".as_bytes().to_vec();
        let line = message.to_record().unwrap();
        assert!(!line.contains(['\n', '\r', '\u{2028}', '\u{85}']));
        let again: Value = serde_json::from_slice(&read(&line).unwrap().body).unwrap();
        assert_eq!(again["note"], "one\u{2028}two\u{85}\n");
    }

    #[test]
    fn what_python_accepts_is_written_so_that_all_can_read_it() {
        let mut message = read(r#"{"topic": "a.b", "id": "x", "body": {"n": NaN}}"#).unwrap();
        assert_eq!(message.body, br#"{"n":null}"#);
        message.body = b"{\"n\": NaN}".to_vec();
        assert!(message.to_record().unwrap().starts_with(r#"{"body":{"n": null},"#));
        message.body = b"{\"n\": ".to_vec();
        assert!(message.to_record().is_err());
    }

    #[test]
    fn a_line_past_the_limits_is_refused_unread() {
        let limits = Limits { body_bytes_max: 10, header_bytes_max: 10 };
        let line = format!(r#"{{"topic": "a.b", "body": {{"a": "{}"}}}}"#, "x".repeat(5000));
        assert!(
            Message::from_record(line.as_bytes(), &limits)
                .unwrap_err()
                .malformed
                .reason
                .contains("more than 4116")
        );
        let line = r#"{"topic": "a.b", "id": "x", "body": {"a": "12345678"}}"#;
        let refused = Message::from_record(line.as_bytes(), &limits).unwrap_err();
        assert!(refused.malformed.reason.contains("body_bytes_max = 10"), "{refused}");
        assert_eq!(refused.body, line.as_bytes());
    }
}
