//! Reads the project's samples as seeds. Nothing is copied: what a seed can be made of stands in one place.

use std::{collections::BTreeSet, fs, path::PathBuf};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use crate::INPUT_BYTES_MAX;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A file of the project.
pub fn file(path: &str) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The lines of a sample, as JSON.
pub fn lines(path: &str) -> Vec<Value> {
    let text = file(&format!("schemas/samples/{path}"));
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{path}: {error}")))
        .collect()
}

/// The records in a folder of samples, by name.
pub fn records(folder: &str) -> Vec<Value> {
    let folder = root().join("schemas/samples").join(folder);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    let read = |path: &PathBuf| serde_json::from_str(&fs::read_to_string(path).ok()?).ok();
    paths.iter().filter_map(read).collect()
}

/// The smallest value of each kind, as text, where it isn't too long for an input.
pub fn each_kind(
    values: impl IntoIterator<Item = Value>,
    kind: impl Fn(&Value) -> Option<String>,
) -> Vec<Vec<u8>> {
    let mut sized: Vec<(usize, Value)> =
        values.into_iter().map(|value| (value.to_string().len(), value)).collect();
    sized.sort_by_key(|(size, _)| *size);
    let mut known = BTreeSet::new();
    let fresh = sized.into_iter().filter(|(size, value)| {
        *size < INPUT_BYTES_MAX && kind(value).is_some_and(|kind| known.insert(kind))
    });
    fresh.map(|(_, value)| value.to_string().into_bytes()).collect()
}

/// Decodes base64.
pub fn base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}
