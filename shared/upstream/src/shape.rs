//! Reads foreign JSON by name and type, and says exactly where it is not what we know. Never panics, never guesses.

use serde_json::{Map, Value};

use crate::Error;

/// Longest piece of a foreign text that is shown in an error.
const SHOWN_CHARS_MAX: usize = 120;

/// A JSON object being read, with its place for errors.
#[derive(Clone, Copy)]
pub(crate) struct Record<'a> {
    what: &'a str,
    place: &'a str,
    fields: &'a Map<String, Value>,
}

impl<'a> Record<'a> {
    /// `value` must be an object; `what` and `place` name it in errors.
    pub fn new(what: &'a str, place: &'a str, value: &'a Value) -> Result<Self, Error> {
        match value {
            Value::Object(fields) => Ok(Self { what, place, fields }),
            other => Err(wrong(what, place, &format!("an object was expected, not {}", show(other)))),
        }
    }

    /// The field; `None` where it is absent or null.
    pub fn get(&self, key: &str) -> Option<&'a Value> {
        self.fields.get(key).filter(|value| !value.is_null())
    }

    /// A text that must be there and not be empty.
    pub fn text(&self, key: &str) -> Result<&'a str, Error> {
        match self.get(key) {
            Some(Value::String(text)) if !text.is_empty() => Ok(text),
            other => Err(self.wrong(key, "a text", other)),
        }
    }

    /// A whole number that must be there.
    pub fn integer(&self, key: &str) -> Result<i64, Error> {
        self.get(key).and_then(Value::as_i64).ok_or_else(|| self.wrong(key, "a whole number", self.get(key)))
    }

    /// Says that `key` should be `expected`.
    pub fn wrong(&self, key: &str, expected: &str, found: Option<&Value>) -> Error {
        let place = if self.place.is_empty() { key.to_owned() } else { format!("{}.{key}", self.place) };
        let found = found.map_or_else(|| "nothing".to_owned(), show);
        wrong(self.what, &place, &format!("{expected} was expected, not {found}"))
    }
}

/// An answer of `what` that is wrong at `place`.
pub(crate) fn wrong(what: &str, place: &str, problem: &str) -> Error {
    let place = if place.is_empty() { "record" } else { place };
    Error::WrongShape { what: clip(what), place: place.to_owned(), problem: clip(problem) }
}

/// A foreign value as it may be shown: short, on one line.
pub(crate) fn show(value: &Value) -> String {
    match value {
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        Value::String(text) => format!("{:?}", clip(text)),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

/// The start of a foreign text, without line ends and control characters.
pub(crate) fn clip(text: &str) -> String {
    let mut kept: String =
        text.chars().take(SHOWN_CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if kept.len() < text.len() {
        kept.push('…');
    }
    kept
}
