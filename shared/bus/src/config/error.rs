//! A mistake in a configuration file, told so that it can be mended without a look into the code: file, line, column,
//! key, what is allowed, and the nearest known name. Never shows a value: it may be a secret.

use std::{
    fmt,
    ops::Range,
    path::{Path, PathBuf},
};

use flatbus_base::{Remediable, Remedy};
use toml::de::{DeTable, DeValue};

/// Nesting of tables followed when a key's name is looked up.
const KEY_DEPTH_MAX: usize = 32;
/// Most that is shown of a key, in characters.
const KEY_CHARS_MAX: usize = 200;

/// What is wrong in a configuration file, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The file.
    pub file: PathBuf,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The key with its tables, `qos.prefetch_count`; empty where the file isn't TOML at all.
    pub key: String,
    /// What is wrong and what is allowed.
    pub reason: String,
    /// The known name nearest to an unknown one.
    pub nearest: Option<String>,
}

impl ConfigError {
    /// An error about the value at `span` (as `toml::Spanned` tells it) of the file's text.
    pub fn at(text: &str, file: &Path, span: Range<usize>, reason: impl Into<String>) -> Self {
        let key = DeTable::parse(text).map(|table| key_at(table.get_ref(), &span)).unwrap_or_default();
        let (line, column) = position(text, span.start);
        Self { file: file.to_owned(), line, column, key, reason: reason.into(), nearest: None }
    }

    /// From the parser's or serde's error.
    pub(super) fn from_toml(text: &str, file: &Path, error: &toml::de::Error) -> Self {
        let message = Message::read(error.message());
        let mut told = Self::at(text, file, error.span().unwrap_or(0..0), message.reason);
        if let Some(unknown) = message.unknown {
            // The span of an unknown key is at times that of its table.
            if message.names_key && told.key.rsplit('.').next() != Some(&unknown) {
                told.key = shown([&*told.key, &unknown].into_iter().filter(|key| !key.is_empty()));
            }
            told.nearest = nearest(&unknown, &message.allowed);
        }
        told
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: ", self.file.display(), self.line, self.column)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.reason)?;
        match &self.nearest {
            Some(name) => write!(f, "; did you mean {name}?"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ConfigError {}

impl Remediable for ConfigError {
    fn remedy(&self) -> Remedy {
        Remedy::Fatal
    }
}

/// What serde said, taken apart.
struct Message {
    reason: String,
    unknown: Option<String>,
    /// Whether what is unknown is a key, and may be shown, or a value.
    names_key: bool,
    allowed: Vec<String>,
}

impl Message {
    fn read(said: &str) -> Self {
        let quoted = || said.split('`').skip(1).step_by(2).map(str::to_owned);
        for (start, noun) in [("unknown field `", "key"), ("unknown variant `", "value")] {
            if !said.starts_with(start) {
                continue;
            }
            let (unknown, allowed) = (quoted().next(), quoted().skip(1).collect::<Vec<_>>());
            let reason = if allowed.is_empty() {
                format!("unknown {noun}; none is allowed here")
            } else {
                format!("unknown {noun}; allowed here: {}", allowed.join(", "))
            };
            return Self { reason, unknown, names_key: noun == "key", allowed };
        }
        let reason = match said.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
            Some(name) => format!("the key {name} is missing"),
            None => without_value(said.lines().collect::<Vec<_>>().join(" ").trim()),
        };
        Self { reason, unknown: None, names_key: false, allowed: Vec::new() }
    }
}

/// `invalid type: string "hunter2", expected u16` without the string.
fn without_value(said: &str) -> String {
    for kind in ["invalid type: string \"", "invalid value: string \""] {
        if let Some(rest) = said.strip_prefix(kind) {
            let expected = rest.rsplit_once("\", expected ").map_or("something else", |(_, what)| what);
            return format!("a string stands here, expected {expected}");
        }
    }
    said.to_owned()
}

/// Line and column, from 1, of a byte offset.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset.min(text.len())).unwrap_or_default();
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// The dotted name of the innermost key whose name or value stands at `span`.
fn key_at(table: &DeTable<'_>, span: &Range<usize>) -> String {
    let mut best: Option<(usize, Vec<String>)> = None;
    find_key(table, span, &mut Vec::new(), &mut best);
    best.map(|(_, keys)| shown(keys.iter().map(String::as_str))).unwrap_or_default()
}

/// Dotted, short and on one line, whatever stands in quotes there.
fn shown<'k>(keys: impl Iterator<Item = &'k str>) -> String {
    let dotted = keys.collect::<Vec<_>>().join(".");
    dotted.chars().take(KEY_CHARS_MAX).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn find_key(
    table: &DeTable<'_>,
    span: &Range<usize>,
    path: &mut Vec<String>,
    best: &mut Option<(usize, Vec<String>)>,
) {
    if path.len() >= KEY_DEPTH_MAX {
        return;
    }
    for (key, value) in table.iter() {
        path.push(key.get_ref().to_lowercase_if(path.is_empty()));
        for place in [key.span(), value.span()] {
            let covers = place.start <= span.start && span.end <= place.end;
            if covers && best.as_ref().is_none_or(|(size, _)| place.len() <= *size) {
                *best = Some((place.len(), path.clone()));
            }
        }
        find_in_value(value.get_ref(), span, path, best);
        path.pop();
    }
}

fn find_in_value(
    value: &DeValue<'_>,
    span: &Range<usize>,
    path: &mut Vec<String>,
    best: &mut Option<(usize, Vec<String>)>,
) {
    match value {
        DeValue::Table(table) => find_key(table, span, path, best),
        DeValue::Array(items) => {
            for item in items.iter() {
                find_in_value(item.get_ref(), span, path, best);
            }
        }
        DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_) => {}
    }
}

trait LowerIf {
    fn to_lowercase_if(&self, lower: bool) -> String;
}

impl LowerIf for str {
    fn to_lowercase_if(&self, lower: bool) -> String {
        if lower { self.to_lowercase() } else { self.to_owned() }
    }
}

/// The allowed name with the fewest differing letters, if it shares half of them.
pub(super) fn nearest(unknown: &str, allowed: &[String]) -> Option<String> {
    let unknown = unknown.to_lowercase();
    allowed
        .iter()
        .map(|name| (distance(&unknown, name), name))
        .min()
        .filter(|(distance, name)| *distance * 2 <= name.len().max(unknown.len()))
        .map(|(_, name)| name.clone())
}

/// Letters to insert, drop or replace to make one name of the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
