//! From a delivery to a [`Message`], with the leniency of Fedora's own library: what it delivers is delivered, with a
//! word about what was odd; what it refuses is refused.
//!
//! Two things differ on purpose. An unknown content encoding kills the library's consumer: here the message is refused.
//! And a body is parsed only where it is read: here it must be UTF-8 and look like an object, the rest is
//! [`crate::FromMessage`]'s to find.

use std::fmt;

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use uuid::Builder;

use crate::{Malformed, Message, Severity, header};

/// Longest routing key and message id AMQP can carry.
const SHORT_STRING_BYTES_MAX: usize = 255;

/// How deep headers may nest: as deep as JSON is read anywhere here.
const HEADER_DEPTH_MAX: usize = 128;

/// What a message may weigh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest body. Bodhi sends up to 400 kB: large updates repeat every update of their push.
    pub body_bytes_max: usize,
    /// Largest headers, names and values together. RabbitMQ's frame holds 128 KiB; updates name each of their packages.
    pub header_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { body_bytes_max: 4 << 20, header_bytes_max: 128 << 10 }
    }
}

/// A delivery as the broker hands it over. The content type is not here: nobody checks it on receipt.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Parts {
    /// The routing key: the topic.
    pub routing_key: String,
    /// The property `message_id`.
    pub message_id: Option<String>,
    /// The property `content_encoding`.
    pub content_encoding: Option<String>,
    /// The property `priority`.
    pub priority: Option<u8>,
    /// The header table as JSON, nested tables and arrays included; `None` where there is none.
    pub headers: Option<Map<String, Value>>,
    /// The body.
    pub body: Vec<u8>,
}

/// A message, and what was odd about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Received {
    /// The message.
    pub message: Message,
    /// A publisher misbehaves: worth a line in the log, no reason to refuse.
    pub oddities: Vec<Oddity>,
}

/// A delivery that is no message. It is parked with its body: looking again would not help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{malformed}")]
pub struct Refused {
    /// Which message, and what is wrong.
    pub malformed: Malformed,
    /// The bytes as they came.
    pub body: Vec<u8>,
}

/// What a publisher left out or got wrong, and what was taken instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Oddity {
    /// No header table.
    NoHeaders,
    /// No schema is named.
    NoSchema,
    /// No severity; info is taken.
    NoSeverity,
    /// No content encoding; UTF-8 is taken.
    NoEncoding,
    /// No usable message id; a digest of topic and body is taken, the same for the same message.
    NoId,
    /// `sent-at` is not a time; none is taken.
    UnreadableTime,
    /// The body is null or otherwise empty; `{}` is taken.
    EmptyBody,
}

impl fmt::Display for Oddity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoHeaders => "no headers",
            Self::NoSchema => "no schema header",
            Self::NoSeverity => "no severity, taken as info",
            Self::NoEncoding => "no content encoding, taken as UTF-8",
            Self::NoId => "no usable id, one made from topic and body",
            Self::UnreadableTime => "sent-at is not a time",
            Self::EmptyBody => "empty body, taken as {}",
        })
    }
}

impl Message {
    /// Makes a message of a delivery.
    ///
    /// # Errors
    /// When the library would refuse it too, or it is larger than `limits`.
    pub fn from_parts(mut parts: Parts, limits: &Limits) -> Result<Received, Refused> {
        let mut oddities = Vec::new();
        let id = usable_id(&mut parts, &mut oddities);
        match check(&mut parts, limits, &mut oddities) {
            Ok(Checked { severity, sent_at }) => {
                let Parts { routing_key: topic, headers, priority, body, .. } = parts;
                let headers = headers.unwrap_or_default();
                let message = Self { topic, id, headers, severity, sent_at, priority, body };
                Ok(Received { message, oddities })
            }
            Err(reason) => {
                Err(Refused { malformed: Malformed::new(&parts.routing_key, &id, &reason), body: parts.body })
            }
        }
    }
}

/// What the headers say.
struct Checked {
    severity: Severity,
    sent_at: Option<Timestamp>,
}

fn check(parts: &mut Parts, limits: &Limits, oddities: &mut Vec<Oddity>) -> Result<Checked, String> {
    if !is_short_text(&parts.routing_key) {
        return Err(format!(
            "the topic is empty, longer than {SHORT_STRING_BYTES_MAX} bytes, or not plain text"
        ));
    }
    if parts.body.len() > limits.body_bytes_max {
        let (bytes, max) = (parts.body.len(), limits.body_bytes_max);
        return Err(format!("the body has {bytes} bytes, more than body_bytes_max = {max}"));
    }
    let checked = check_headers(parts.headers.as_ref(), limits, oddities)?;
    match parts.content_encoding.as_deref() {
        None => oddities.push(Oddity::NoEncoding),
        Some(encoding) if is_utf8(encoding) => {}
        Some(encoding) => return Err(format!("content encoding {encoding:?} is not utf-8")),
    }
    if !is_object(&parts.body)? {
        oddities.push(Oddity::EmptyBody);
        parts.body = b"{}".to_vec();
    }
    Ok(checked)
}

fn check_headers(
    headers: Option<&Map<String, Value>>,
    limits: &Limits,
    oddities: &mut Vec<Oddity>,
) -> Result<Checked, String> {
    let Some(headers) = headers else {
        oddities.extend([Oddity::NoHeaders, Oddity::NoSchema, Oddity::NoSeverity]);
        return Ok(Checked { severity: Severity::default(), sent_at: None });
    };
    match headers_weight(headers, 0) {
        Some(bytes) if bytes <= limits.header_bytes_max => {}
        Some(bytes) => {
            let max = limits.header_bytes_max;
            return Err(format!("the headers have {bytes} bytes, more than header_bytes_max = {max}"));
        }
        None => return Err(format!("the headers nest deeper than {HEADER_DEPTH_MAX}")),
    }
    if text_header(headers, header::SCHEMA)?.is_none() {
        oddities.push(Oddity::NoSchema);
    }
    text_header(headers, header::SCHEMA_PACKAGE)?;
    let sent_at = text_header(headers, header::SENT_AT)?.map(read_time);
    if sent_at == Some(None) {
        oddities.push(Oddity::UnreadableTime);
    }
    Ok(Checked { severity: severity(headers, oddities)?, sent_at: sent_at.flatten() })
}

fn text_header<'a>(headers: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, String> {
    match headers.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("header {name} is not text")),
    }
}

fn severity(headers: &Map<String, Value>, oddities: &mut Vec<Oddity>) -> Result<Severity, String> {
    let Some(value) = headers.get(header::SEVERITY) else {
        oddities.push(Oddity::NoSeverity);
        return Ok(Severity::default());
    };
    // 20.0 is 20 to a JSON Schema.
    let number =
        value.as_u64().or_else(|| value.as_f64().filter(|n| n.fract() == 0.0 && *n >= 0.0).map(|n| n as u64));
    number
        .and_then(Severity::from_number)
        .ok_or_else(|| format!("header {} is not 10, 20, 30 or 40", header::SEVERITY))
}

/// Takes the id out of the parts, or makes one that a repetition of the message gets too.
fn usable_id(parts: &mut Parts, oddities: &mut Vec<Oddity>) -> String {
    match parts.message_id.take() {
        Some(id) if is_short_text(&id) => id,
        Some(_) | None => {
            oddities.push(Oddity::NoId);
            id_of(&parts.routing_key, &parts.body)
        }
    }
}

/// A UUID in the shape the bus expects, from the content alone.
fn id_of(topic: &str, body: &[u8]) -> String {
    let digest = Sha256::new().chain_update(topic).chain_update([0]).chain_update(body).finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    Builder::from_random_bytes(bytes).into_uuid().to_string()
}

fn is_short_text(text: &str) -> bool {
    !text.is_empty() && text.len() <= SHORT_STRING_BYTES_MAX && !text.chars().any(char::is_control)
}

fn is_utf8(encoding: &str) -> bool {
    ["utf-8", "utf8", "us-ascii", "ascii"].iter().any(|known| encoding.eq_ignore_ascii_case(known))
}

/// Names and values together; `None` where they nest too deep. What is neither text, list nor table weighs 8 bytes.
fn headers_weight(headers: &Map<String, Value>, depth: usize) -> Option<usize> {
    headers.iter().try_fold(0, |sum, (name, value)| Some(sum + name.len() + value_weight(value, depth + 1)?))
}

fn value_weight(value: &Value, depth: usize) -> Option<usize> {
    match value {
        _ if depth > HEADER_DEPTH_MAX => None,
        Value::String(text) => Some(text.len()),
        Value::Array(items) => {
            items.iter().try_fold(0, |sum, item| Some(sum + value_weight(item, depth + 1)?))
        }
        Value::Object(table) => headers_weight(table, depth),
        Value::Null | Value::Bool(_) | Value::Number(_) => Some(8),
    }
}

/// `true`: looks like an object. `false`: null or empty, which Python's library takes for an empty object.
fn is_object(body: &[u8]) -> Result<bool, String> {
    let text = std::str::from_utf8(body).map_err(|error| format!("the body is not UTF-8: {error}"))?;
    if text.trim_start_matches([' ', '\t', '\r', '\n']).starts_with('{') {
        return Ok(true);
    }
    let value: Value =
        serde_json::from_str(text).map_err(|error| format!("the body is not a JSON object: {error}"))?;
    let empty = match &value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Bool(true) | Value::Object(_) => false,
    };
    if empty { Ok(false) } else { Err("the body is not a JSON object".to_owned()) }
}

/// A time with offset or `Z`; one without is taken as UTC.
fn read_time(text: &str) -> Option<Timestamp> {
    let naive = || text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp());
    text.parse().ok().or_else(naive)
}

#[cfg(test)]
mod tests;
