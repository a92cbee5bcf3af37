//! What `check` finds: a plain sentence a finding. Changes nothing, asks nobody.

use std::fmt::Display;

use flatbus_base::chain;
use serde::Serialize;

/// One thing looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Whether all is well.
    pub well: bool,
    /// What was found, and what to do.
    pub sentence: String,
}

impl Finding {
    /// All is well.
    pub fn well(sentence: impl Into<String>) -> Self {
        Self { well: true, sentence: sentence.into() }
    }

    /// A person should look.
    pub fn wrong(sentence: impl Into<String>) -> Self {
        Self { well: false, sentence: sentence.into() }
    }

    /// Whether somebody who was asked gave an answer, whatever it was.
    pub fn of<T, E: std::error::Error>(answer: &Result<T, E>, who: impl Display) -> Self {
        match answer {
            Ok(_) => Self::well(format!("{who} answers.")),
            Err(error) => Self::wrong(format!("{who} does not answer: {}.", chain(error))),
        }
    }
}
