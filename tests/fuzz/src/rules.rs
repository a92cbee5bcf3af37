//! What holds of every parser's words: short, on one line, and silent about secrets.

use std::fmt::Display;

/// Longest error, in bytes. It goes into a log line, a ledger record and a status page.
pub const ERROR_BYTES_MAX: usize = 4 << 10;

/// An error's text, which must be short and printable on one line.
///
/// # Panics
/// When it isn't.
pub fn told(error: &dyn Display) -> String {
    let text = error.to_string();
    assert!(!text.is_empty(), "an error without a word");
    assert!(text.len() <= ERROR_BYTES_MAX, "an error of {} bytes: {:.200}…", text.len(), text);
    assert!(!text.contains(char::is_control), "an error with control characters: {text:?}");
    text
}

/// As [`told`], of an error that may not hold any of `secrets`.
///
/// # Panics
/// When it does.
pub fn told_without<'s>(error: &dyn Display, secrets: impl IntoIterator<Item = &'s str>) -> String {
    let text = told(error);
    for secret in secrets {
        assert!(!text.contains(secret), "an error tells a secret: {text}");
    }
    text
}

/// The two parts of an input that has two: what stands before the first line end, and what comes after.
pub fn halves(data: &[u8]) -> (&[u8], &[u8]) {
    match data.iter().position(|&byte| byte == b'\n') {
        Some(end) => (&data[..end], &data[end + 1..]),
        None => (data, &[]),
    }
}
