//! The shapes of questions and answers at the door. Both sides, server and command line, use these.

use flatbus_ledger::Shown;
use serde::{Deserialize, Serialize};

/// Lines of messages taken in one `POST /replay`.
pub const REPLAY_LINES_MAX: usize = 1000;
/// Bytes taken in one `POST /replay`.
pub const REPLAY_BYTES_MAX: usize = 16 << 20;
/// Keys shown in one page of `GET /keys`.
pub const PAGE_MAX: usize = 1000;

/// Which keys: `POST /keys/{retry,drop,mark}`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// These.
    #[serde(default)]
    pub keys: Vec<String>,
    /// All parked ones (`retry` and `drop` alone).
    #[serde(default)]
    pub all_parked: bool,
}

/// What became of them.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct KeysDone {
    /// Done.
    pub done: Vec<String>,
    /// Not in the ledger.
    pub unknown: Vec<String>,
    /// Not keys of this consumer, with the reason.
    pub wrong: Vec<String>,
}

/// `GET /keys`: a page.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeyPage {
    /// The keys, in order.
    pub keys: Vec<Shown>,
    /// Pass it as `after` for the next page; none where this was the last.
    pub next: Option<String>,
}

/// The query of `GET /keys`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct KeyQuery {
    /// `parked`, `waiting`, `due`, or all.
    #[serde(default)]
    pub state: Option<String>,
    /// Only keys after this one.
    #[serde(default)]
    pub after: Option<String>,
    /// At most this many.
    #[serde(default)]
    pub limit: Option<usize>,
}

/// The query of `GET /key`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OneKey {
    /// The key.
    pub key: String,
}

/// `POST /survey`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SurveyRequest {
    /// Everything, or only what changed.
    #[serde(default)]
    pub full: bool,
}

/// One line of `POST /survey/dry`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DryKey {
    /// The key.
    pub key: String,
    /// What settling it would do; empty where all is true already.
    pub would: Vec<String>,
    /// Why that could not be found out.
    pub failure: Option<String>,
}

/// The last line of `POST /survey/dry`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DryEnd {
    /// Keys looked at.
    pub keys: u64,
    /// Why it ended early.
    pub failure: Option<String>,
}

/// The query of `POST /replay`: where these lines stand in what is being replayed.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ReplayQuery {
    /// What is being replayed; with `position`, an interrupted replay can go on.
    #[serde(default)]
    pub source: Option<String>,
    /// Where to go on after these lines.
    #[serde(default)]
    pub position: Option<String>,
}

/// What became of replayed lines. Sent once it is durable.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replayed {
    /// Lines read.
    pub messages: usize,
    /// Messages that made keys doubtful.
    pub marked: usize,
    /// Messages that could not be understood and are parked.
    pub parked: usize,
}

/// The query and answer of `GET /position`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ReplayPosition {
    /// What was being replayed.
    pub source: String,
    /// Where to go on; none where it was never replayed.
    #[serde(default)]
    pub position: Option<String>,
}

/// A parked message with its body: `GET /message`. (`GET /messages` lists [`flatbus_ledger::ParkedShown`].)
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ParkedBody {
    /// Its number.
    pub number: u64,
    /// Its topic.
    pub topic: String,
    /// Its id.
    pub id: String,
    /// What is wrong with it.
    pub reason: String,
    /// When it was parked.
    pub at: jiff::Timestamp,
    /// Its body as text; bytes that are none are shown as such.
    pub body: String,
}

/// The query of `GET /message`, and the body of `POST /messages/{drop,retry}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MessageNumber {
    /// The parked message.
    pub number: u64,
}

/// What is answered to a question that can't be: a sentence.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Refusal {
    /// What happened, where, what to do.
    pub error: String,
}
