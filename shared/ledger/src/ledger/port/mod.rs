//! The ledger as JSON Lines, out and in again: for moving it, for looking at it, for another release or store.
//!
//! An export of a running ledger is no snapshot. It is written in an order that loses nothing for certain, and an
//! imported ledger owes a full survey for what moved meanwhile.

mod export;
mod import;

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::types::{Deed, Shown, SurveyState};

pub use export::Export;
pub use import::ImportReport;

/// One line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
enum Line {
    /// The first.
    Ledger {
        format: u8,
    },
    Position {
        source: String,
        position: String,
    },
    Survey(SurveyState),
    Doubt(Shown),
    Fact {
        subject: String,
        value: String,
    },
    Memo {
        name: String,
        content: Payload,
    },
    Outbox {
        announcement: Payload,
    },
    ParkedMessage {
        id: String,
        topic: String,
        reason: String,
        at: Timestamp,
        body: Payload,
    },
    Deed(Deed),
}

/// Bytes, as text where they are text.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Payload {
    Text(String),
    Base64(String),
}

impl Payload {
    fn of(bytes: Vec<u8>) -> Self {
        let text = String::from_utf8(bytes);
        text.map_or_else(|binary| Self::Base64(STANDARD.encode(binary.as_bytes())), Self::Text)
    }

    fn bytes(self) -> Result<Vec<u8>, base64::DecodeError> {
        match self {
            Self::Text(text) => Ok(text.into_bytes()),
            Self::Base64(text) => STANDARD.decode(text),
        }
    }
}
