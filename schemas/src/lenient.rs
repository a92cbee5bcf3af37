//! Reads JSON as strictly as it can be read fast, and as leniently as Python's parser where it can't.
//!
//! Python takes `NaN` and lets the last of two equal keys win. Publishers are Python: what one of them sends must not be
//! refused for that. Both are so rare that only a body that failed is read a second time, through a tree.

use serde::de::DeserializeOwned;
use serde_json::Value;

/// Reads `text`. Content that `T` does not ask for is skipped, never kept.
///
/// # Errors
/// Where and what, in words: the path of the field, or line and column where it isn't JSON at all.
pub(crate) fn read<T: DeserializeOwned>(text: &[u8]) -> Result<T, String> {
    serde_json::from_slice(text).or_else(|_strict| reread(text))
}

/// The slow way: repaired, through a tree, with the path of what is wrong.
fn reread<T: DeserializeOwned>(text: &[u8]) -> Result<T, String> {
    let text = std::str::from_utf8(text).map_err(|error| format!("not UTF-8: {error}"))?;
    let tree: Value =
        serde_json::from_str(&without_nan(text)).map_err(|error| format!("not JSON: {error}"))?;
    serde_path_to_error::deserialize(tree).map_err(|error| {
        let place = error.path().to_string();
        if place == "." { error.into_inner().to_string() } else { format!("{place}: {}", error.into_inner()) }
    })
}

/// `text` with Python's `NaN`, `Infinity` and `-Infinity` as null. Strings are left alone.
pub(crate) fn without_nan(text: &str) -> String {
    let mut repaired = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (taken, written) = if first == '"' {
            let end = string_end(rest);
            (end, &rest[..end])
        } else if let Some(word) =
            ["NaN", "-Infinity", "Infinity"].into_iter().find(|word| rest.starts_with(word))
        {
            (word.len(), "null")
        } else {
            (first.len_utf8(), &rest[..first.len_utf8()])
        };
        repaired.push_str(written);
        rest = &rest[taken..];
    }
    repaired
}

/// Length of the JSON string that `text` starts with, quotes included; all of it where the string never ends.
fn string_end(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Inner {
        id: u64,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Outer {
        items: Vec<Inner>,
    }

    #[test]
    fn the_last_of_two_equal_keys_wins_as_in_python() {
        assert_eq!(read::<Inner>(br#"{"id": 1, "id": 2}"#), Ok(Inner { id: 2 }));
    }

    #[test]
    fn nan_is_read_as_null_but_not_inside_a_string() {
        let text = r#"{"a": NaN, "b": [-Infinity, Infinity], "c": "NaN \" Infinity", "d": "é"}"#;
        assert_eq!(without_nan(text), r#"{"a": null, "b": [null, null], "c": "NaN \" Infinity", "d": "é"}"#);
        assert_eq!(read::<Inner>(br#"{"noise": NaN, "id": 3}"#), Ok(Inner { id: 3 }));
    }

    #[test]
    fn an_error_names_the_field_it_is_about() {
        let error = read::<Outer>(br#"{"items": [{"id": 1}, {"id": "x"}]}"#).unwrap_err();
        assert!(error.starts_with("items[1].id: invalid type: string"), "{error}");
        assert_eq!(read::<Inner>(b"{}").unwrap_err(), "missing field `id`");
    }

    #[test]
    fn what_is_cut_off_is_not_json() {
        for text in [r#"{"id": 1"#, r#"{"id": ""#, r#"{"id": "\"#, "", "{"] {
            assert!(read::<Inner>(text.as_bytes()).unwrap_err().starts_with("not JSON"), "{text}");
        }
    }

    #[test]
    fn nesting_costs_no_stack_where_it_is_skipped_and_is_refused_where_it_is_kept() {
        let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(read::<Inner>(format!(r#"{{"noise": {deep}, "id": 3}}"#).as_bytes()), Ok(Inner { id: 3 }));
        let error = read::<Value>(deep.as_bytes()).unwrap_err();
        assert!(error.contains("recursion limit"), "{error}");
    }
}
