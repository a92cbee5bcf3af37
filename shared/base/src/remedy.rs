//! Errors are sorted by what happens next, not by where they came from.

use std::{error::Error, fmt::Write as _, time::Duration};

/// What to do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Waiting helps; the ledger decides for how long.
    Retry,
    /// Waiting helps, and the other side said for how long.
    RetryAfter(Duration),
    /// Waiting does not help: a person must look.
    Park,
    /// The process can't work: it ends with a non-zero code.
    Fatal,
}

/// An error that knows its remedy. Implementations match exhaustively: a new variant must choose.
pub trait Remediable: Error + Send + Sync + 'static {
    /// What happens next.
    fn remedy(&self) -> Remedy;
}

/// An error with its sources on one line, each said once: `copying eog: registry.example: connection refused`.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.contains(&said) {
            let _ = write!(text, ": {said}"); // Writing to a String can't fail.
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn a_chain_names_each_cause_once() {
        assert_eq!(chain(&Outer(std::io::Error::other("inner"))), "outer: inner");
    }
}
