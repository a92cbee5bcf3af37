//! What a consumer is: a pure map from events to doubtful keys, and an idempotent way to settle a key.

use std::{fmt::Display, future::Future, str::FromStr};

use flatbus_base::{Remediable, Remedy, chain};
use flatbus_schemas::{Announcement, FromMessage};
use futures::{Stream, stream};
use serde_json::Value;

use crate::Ctx;

/// One of flatbus' consumers. The runtime owns the loop; a consumer only says what a message makes doubtful and how a
/// doubtful key is made true.
pub trait Consumer: Send + Sync + 'static {
    /// Names the ledger, the metrics, the socket and the unit.
    const NAME: &'static str;
    /// Most keys given to one [`Self::settle`].
    const BATCH_MAX: usize = 1;
    /// Whether other processes consume the same queue: then this one stops reading while it has too much to do, so that
    /// they can have it, instead of collapsing marks into a survey.
    const SHARES_QUEUE: bool = false;

    /// What the schemas make of a message this consumer listens to.
    type Event: FromMessage;
    /// What can be doubtful. Its text form is what the ledger keeps: it must parse back.
    type Key: Display + FromStr<Err: Display> + Clone + Ord + Send + Sync + 'static;

    /// The keys an event makes doubtful. Pure: no clock, no network.
    fn affected(&self, event: &Self::Event) -> Vec<Self::Key>;

    /// Keys of one lane never run together. Default: each key its own lane.
    fn lane(&self, key: &Self::Key) -> String {
        key.to_string()
    }

    /// Lower runs first among keys that are equally due. Default: all equal.
    fn rank(&self, _key: &Self::Key) -> u8 {
        0
    }

    /// Looks at the present truth and makes the world match. Idempotent and interruptible. One result a key, in order:
    /// a bad key never fails its batch.
    fn settle(
        &self,
        ctx: &Ctx,
        batch: &[Self::Key],
    ) -> impl Future<Output = Vec<Result<Settled<Self::Key>, Failure>>> + Send;

    /// Every key that ought to be true, from truth read in bulk, and every key held. A failed listing yields an error
    /// and no key of it. In the order of the keys, so that a survey cut short can go on where it was.
    fn survey(&self, ctx: &Ctx, scope: SurveyScope) -> impl Stream<Item = Result<Self::Key, Failure>> + Send;

    /// What to tell the world of a changed fact; `None` where nobody needs to know. Pure.
    fn announce(&self, change: &Change) -> Option<Announcement>;

    /// The consumer's own server, if it has one. Ends when `ctx` is told to stop.
    fn serve(&self, _ctx: &Ctx) -> impl Future<Output = Result<(), Failure>> + Send {
        std::future::ready(Ok(()))
    }
}

/// How much a survey looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SurveyScope {
    /// Everything.
    Full,
    /// What changed since this wall time (the start of the last complete survey).
    Since(jiff::Timestamp),
}

/// What settling found and did.
#[derive(Debug, Clone, PartialEq)]
pub struct Settled<K> {
    /// What now holds for the key: told every time, not only when it changed.
    pub facts: Vec<Fact>,
    /// Keys that settling found doubtful.
    pub also: Vec<K>,
    /// Whether the world was changed; for the log and the counters alone.
    pub changed: bool,
}

impl<K> Settled<K> {
    /// Nothing was wrong.
    pub fn unchanged(facts: Vec<Fact>) -> Self {
        Self { facts, also: Vec::new(), changed: false }
    }

    /// The world was changed.
    pub fn changed(facts: Vec<Fact>) -> Self {
        Self { facts, also: Vec::new(), changed: true }
    }

    /// Marks other keys doubtful, in the commit that clears this one.
    #[must_use]
    pub fn also(mut self, keys: impl IntoIterator<Item = K>) -> Self {
        self.also.extend(keys);
        self
    }
}

/// Something that holds, or no longer does.
#[derive(Debug, Clone, PartialEq)]
pub struct Fact {
    /// What it is about: `quay.io/fedora/eog:latest`. At most 1 KiB.
    pub subject: String,
    /// What holds (a digest), or `None`: gone. Announced when it differs from what was last announced.
    pub value: Option<String>,
    /// What an announcement wants to say beside the value; not compared.
    pub detail: Value,
}

/// A fact that differs from what was last announced.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The fact as it holds now.
    pub fact: Fact,
    /// The value last announced.
    pub previous: Option<String>,
}

/// Why a key could not be settled, and what happens next.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// One line: what, where, what to do.
    pub message: String,
    /// What happens next.
    pub remedy: Remedy,
}

impl Failure {
    /// Waiting helps.
    pub fn retry(message: impl Into<String>) -> Self {
        Self { message: message.into(), remedy: Remedy::Retry }
    }

    /// A person must look.
    pub fn park(message: impl Into<String>) -> Self {
        Self { message: message.into(), remedy: Remedy::Park }
    }

    /// Says what was being done when it failed.
    #[must_use]
    pub fn context(mut self, doing: impl Display) -> Self {
        self.message = format!("{doing}: {}", self.message);
        self
    }
}

impl<E: Remediable> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { message: chain(&error), remedy: error.remedy() }
    }
}

/// A survey that finds nothing: for consumers without one.
pub fn no_survey<K: Send>() -> impl Stream<Item = Result<K, Failure>> + Send {
    stream::empty()
}
