//! What goes into the ledger and what comes out: plain data, no behaviour.

use std::time::Duration;

use flatbus_base::{Remediable, Remedy};
use futures::future::BoxFuture;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::StoreError;

/// Resolves when what the call changed is durable. Memory changed at the call; dropping it undoes nothing.
pub type Commit = BoxFuture<'static, Result<(), StoreError>>;

/// How much the ledger holds before something gives way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Keys, parked ones apart, of which there may be as many again; past it new ones collapse into *survey owed*.
    pub doubtful_max: usize,
    /// Message ids remembered a key, newest kept.
    pub causes_max: usize,
    /// Parked messages; past it the oldest goes.
    pub parked_messages_max: usize,
    /// Bytes of their bodies together; past it the oldest goes.
    pub parked_bytes_max: u64,
    /// Memos; past it new names are not remembered.
    pub memos_max: usize,
    /// Deeds of shadow mode; past it the oldest goes.
    pub deeds_max: usize,
    /// The longest wait, also for what is loaded with a clock that jumped.
    pub wait_max: Duration,
    /// The longest of those that nobody else asked for; for what is loaded.
    pub own_wait_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            doubtful_max: 100_000,
            causes_max: 8,
            parked_messages_max: 10_000,
            parked_bytes_max: 256 << 20,
            memos_max: 200_000,
            deeds_max: 10_000,
            wait_max: Duration::from_secs(24 * 60 * 60),
            own_wait_max: Duration::from_secs(10 * 60),
        }
    }
}

/// Who marked a key doubtful.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A message.
    Event,
    /// Settling another key found it doubtful. Weighs what that key weighed: for survey's keys it counts as survey.
    Also,
    /// A person.
    Hand,
    /// The survey.
    Survey,
}

/// One key to mark doubtful.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The key's text form.
    pub key: String,
    /// Lower is taken first among keys that are equally due.
    pub rank: u8,
    /// Who marks it.
    pub origin: Origin,
}

/// How far a replay got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// What is replayed.
    pub source: String,
    /// Where it stands, in the source's own words.
    pub position: String,
}

/// What marking did.
pub struct Marked {
    /// Resolves when the marks and the position are durable: then the delivery may be acked.
    pub commit: Commit,
    /// Keys that were not doubtful before.
    pub new: usize,
    /// Keys that were.
    pub again: usize,
    /// Keys there was no room for: a survey is owed instead.
    pub collapsed: usize,
}

/// A key in flight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The key.
    pub key: String,
    /// Its serial when taken.
    pub serial: u64,
    /// The message ids that marked it, oldest first.
    pub causes: Vec<String>,
    /// Failed attempts so far.
    pub attempts: u32,
    /// When it became doubtful.
    pub first_marked: Timestamp,
    /// When it was last marked by anyone but the survey; when the survey marked it, if nobody else did.
    pub last_marked: Timestamp,
    /// Since when it has been failing.
    pub failing_since: Option<Timestamp>,
    /// The weightiest who marked it.
    pub origin: Origin,
    /// It was parked and survey tries it once: parking it again is nothing to announce.
    pub parked: bool,
}

/// What settling a key yields.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settlement {
    /// Facts as announced from now on, by subject; `None` forgets.
    pub facts: Vec<(String, Option<String>)>,
    /// Announcements to send.
    pub outbox: Vec<Vec<u8>>,
    /// Keys found doubtful on the way.
    pub also: Vec<Mark>,
    /// What the consumer remembers, by name; `None` forgets.
    pub memos: Vec<(String, Option<Vec<u8>>)>,
    /// What shadow mode would have done.
    pub deeds: Vec<String>,
}

/// What becomes of a key that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// It is tried again.
    Wait {
        /// After this long.
        wait: Duration,
        /// The other side said so: no mark shortens it.
        told: bool,
    },
    /// A person must look.
    Park,
}

/// How the last process left the ledger. The runtime owes a survey on a first start and after an unclean stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// The store was empty.
    pub first: bool,
    /// The last process closed it, or there was none.
    pub clean: bool,
}

/// What is known of the survey.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SurveyState {
    /// One must be made.
    pub owed: Option<Owed>,
    /// When the last one began.
    pub last_started: Option<Timestamp>,
    /// When the last complete one, of either scope, began.
    pub last_complete: Option<Timestamp>,
    /// When the last complete one of everything began.
    pub last_full: Option<Timestamp>,
}

/// A survey that must be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owed {
    /// Of everything, not only of what changed.
    pub full: bool,
    /// Why, for a person.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
}

/// A message that could not be decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedMessage {
    /// Its id, as far as it had one.
    pub id: String,
    /// Its topic.
    pub topic: String,
    /// Why it was parked.
    pub reason: String,
    /// When.
    pub at: Timestamp,
    /// Its body, as received; empty where it was too large to keep.
    pub body: Vec<u8>,
}

/// A parked message without its body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParkedShown {
    /// What to ask for it by.
    pub number: u64,
    /// Its id, as far as it had one.
    pub id: String,
    /// Its topic.
    pub topic: String,
    /// Why it was parked.
    pub reason: String,
    /// When.
    pub at: Timestamp,
    /// Length of its body as received.
    pub body_bytes: u64,
}

/// What shadow mode would have done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deed {
    /// When.
    pub at: Timestamp,
    /// What.
    pub text: String,
}

/// Where a key stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Could be taken now.
    Due,
    /// Will be due.
    Waiting,
    /// Is being settled.
    InFlight,
    /// A person must look.
    Parked,
}

/// Which keys to list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    /// Only those that stand so.
    pub state: Option<State>,
    /// Only those that start so.
    pub prefix: String,
}

/// A key as a person sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// The key.
    pub key: String,
    /// Where it stands.
    pub state: State,
    /// The weightiest who marked it.
    pub origin: Origin,
    /// Lower is taken first.
    pub rank: u8,
    /// Failed attempts so far.
    pub attempts: u32,
    /// The message ids that marked it, oldest first.
    pub causes: Vec<String>,
    /// When it became doubtful.
    pub first_marked: Timestamp,
    /// When it was last marked.
    pub last_marked: Timestamp,
    /// When it is due, or was.
    pub due: Timestamp,
    /// The other side said how long to wait.
    pub told: bool,
    /// Since when it has been failing.
    pub failing_since: Option<Timestamp>,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// Since when it has been parked.
    pub parked_since: Option<Timestamp>,
}

/// How much there is of everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// All keys, however they stand.
    pub doubtful: usize,
    /// Could be taken now.
    pub due: usize,
    /// Will be due.
    pub waiting: usize,
    /// Are being settled.
    pub in_flight: usize,
    /// A person must look; counted also while survey tries them.
    pub parked: usize,
    /// Messages that could not be decoded.
    pub parked_messages: usize,
    /// Bytes of their bodies.
    pub parked_bytes: u64,
    /// Parked messages, or their bodies, that had to go since the ledger was opened.
    pub parked_dropped: u64,
    /// Announcements not yet confirmed.
    pub outbox: usize,
    /// Deeds of shadow mode.
    pub deeds: usize,
    /// Memos kept.
    pub memos: usize,
    /// Memos there was no room for since the ledger was opened.
    pub memos_refused: u64,
    /// Since when the longest waiting of the due keys has been due.
    pub oldest_due: Option<Timestamp>,
}

impl Counts {
    /// Keys that can be settled without a person: what [`Limits::doubtful_max`] bounds.
    #[must_use]
    pub fn to_settle(&self) -> usize {
        self.doubtful.saturating_sub(self.parked)
    }
}

/// Why the ledger can't be opened or imported.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A record of another release.
    #[error(
        "the ledger holds a {record} record of format version {found}, this program knows {known}: run the release that wrote it, or export with that one and import with this"
    )]
    Version {
        /// What kind of record.
        record: &'static str,
        /// Its version.
        found: u8,
        /// The version this program writes.
        known: u8,
    },
    /// A record that can't be read.
    #[error(
        "a {record} record of the ledger is damaged: move the ledger's folder aside and start anew, a survey restores it"
    )]
    Damaged {
        /// What kind of record.
        record: &'static str,
    },
    /// Import goes into an empty store only.
    #[error("the ledger is not empty: import into a new folder")]
    NotEmpty,
    /// An import was cut off.
    #[error("an import into this ledger was cut off: remove the ledger's folder and import again")]
    Unfinished,
    /// A line to import is not what export writes.
    #[error("line {line}: {what}")]
    Line {
        /// Counted from 1.
        line: u64,
        /// What is wrong with it.
        what: String,
    },
}

impl Remediable for LedgerError {
    fn remedy(&self) -> Remedy {
        match self {
            Self::Store(error) => error.remedy(),
            Self::Version { .. }
            | Self::Damaged { .. }
            | Self::NotEmpty
            | Self::Unfinished
            | Self::Line { .. } => Remedy::Fatal,
        }
    }
}
