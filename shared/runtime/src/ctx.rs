//! What a consumer may see of the runtime while it settles or surveys: time, chance, memory, shadow mode.
//!
//! Nothing here does I/O but reading the ledger. What a consumer wants kept is collected, and written in the commit that
//! clears its key.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use flatbus_base::{Clock, Random};
use flatbus_ledger::{Ledger, Origin, Store};
use flatbus_telemetry::metrics::Metrics;
use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};
use tokio_util::sync::CancellationToken;

use crate::{Failure, Progress};

/// What all contexts of one process share.
pub(crate) struct World {
    pub clock: Arc<dyn Clock>,
    pub random: Random,
    pub ledger: Ledger,
    pub store: Arc<dyn Store>,
    pub gather: crate::Gather,
    pub metrics: Metrics,
    pub shadow: bool,
    pub state_dir: PathBuf,
    pub stop: CancellationToken,
    pub progress: Arc<dyn Progress>,
}

/// Largest value kept in memory itself, in bytes; larger ones are content-addressed files named by it.
pub const MEMO_BYTES_MAX: usize = 1 << 20;

/// What one settle (or survey) may use. Cheap to clone.
#[derive(Clone)]
pub struct Ctx {
    world: Arc<World>,
    shadow: bool,
    for_survey: bool,
    by_hand: bool,
    marked_at: Timestamp,
    scratch: Arc<Mutex<Scratch>>,
}

/// What a settle wants kept.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub memos: Vec<(String, Option<Vec<u8>>)>,
    pub deeds: Vec<String>,
}

impl Ctx {
    pub(crate) fn new(world: Arc<World>) -> Self {
        let marked_at = world.clock.wall();
        let shadow = world.shadow;
        Self { world, shadow, for_survey: false, by_hand: false, marked_at, scratch: Arc::default() }
    }

    /// A context that changes nothing in the world, whatever the mode: for a dry run.
    pub(crate) fn dry(mut self) -> Self {
        self.shadow = true;
        self
    }

    pub(crate) fn marked(mut self, at: Timestamp, mut origins: impl Iterator<Item = Origin> + Clone) -> Self {
        self.marked_at = at;
        self.for_survey = origins.clone().all(|origin| origin == Origin::Survey);
        self.by_hand = origins.all(|origin| origin == Origin::Hand);
        self
    }

    pub(crate) fn take_scratch(&self) -> Scratch {
        std::mem::take(&mut *self.scratch.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn with_scratch<T>(&self, f: impl FnOnce(&mut Scratch) -> T) -> T {
        f(&mut self.scratch.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The injected clock.
    pub fn clock(&self) -> &dyn Clock {
        &*self.world.clock
    }

    /// Wall time now.
    pub fn now(&self) -> Timestamp {
        self.world.clock.wall()
    }

    /// The injected randomness.
    pub fn random(&self) -> &Random {
        &self.world.random
    }

    /// The metrics catalogue.
    pub fn metrics(&self) -> &Metrics {
        &self.world.metrics
    }

    /// Where content-addressed files of this consumer may go.
    pub fn state_dir(&self) -> &std::path::Path {
        &self.world.state_dir
    }

    /// Told when the process should stop; long work may stop early, its key stays doubtful.
    pub fn stopping(&self) -> &CancellationToken {
        &self.world.stop
    }

    /// Where a person watches long work.
    pub fn progress(&self) -> &Arc<dyn Progress> {
        &self.world.progress
    }

    /// Whether nothing in the world may be changed: record it with [`Self::would`] instead.
    pub fn shadow(&self) -> bool {
        self.shadow
    }

    /// Whether a survey alone asks: then a bulk listing younger than [`Self::marked_at`] may serve.
    pub fn for_survey(&self) -> bool {
        self.for_survey
    }

    /// Whether a person alone asks, who may mean what nothing else may do.
    pub fn by_hand(&self) -> bool {
        self.by_hand
    }

    /// When the youngest key of this batch was last marked.
    pub fn marked_at(&self) -> Timestamp {
        self.marked_at
    }

    /// Records what would have been done. In shadow mode it is listed by the status page.
    pub fn would(&self, deed: impl Into<String>) {
        self.with_scratch(|scratch| scratch.deeds.push(deed.into()));
    }

    /// What was remembered under this name, if it is still readable. A value of an older shape counts as forgotten: it
    /// only costs the work of finding out again.
    ///
    /// # Errors
    /// When the ledger can't be read.
    pub fn memo<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Failure> {
        let pending =
            self.with_scratch(|s| s.memos.iter().rev().find(|(n, _)| n == name).map(|(_, v)| v.clone()));
        let bytes = match pending {
            Some(value) => value,
            None => self.world.ledger.memo(name)?,
        };
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    /// Remembered values whose name starts with `prefix` and comes after `after`, in order, at most `limit`. Does not
    /// see what this very settle remembers.
    ///
    /// # Errors
    /// When the ledger can't be read.
    pub fn memos<T: DeserializeOwned>(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, T)>, Failure> {
        let found = self.world.ledger.memos(prefix, after, limit)?;
        Ok(found
            .into_iter()
            .filter_map(|(name, bytes)| Some((name, serde_json::from_slice(&bytes).ok()?)))
            .collect())
    }

    /// Remembers a value, in the commit that clears the key. A key that fails remembers nothing.
    ///
    /// # Errors
    /// When the value is larger than [`MEMO_BYTES_MAX`].
    pub fn remember<T: Serialize>(&self, name: &str, value: &T) -> Result<(), Failure> {
        let bytes =
            serde_json::to_vec(value).map_err(|error| Failure::park(format!("memo {name}: {error}")))?;
        if bytes.len() > MEMO_BYTES_MAX {
            return Err(Failure::park(format!(
                "memo {name} has {} bytes, more than {MEMO_BYTES_MAX}",
                bytes.len()
            )));
        }
        self.with_scratch(|scratch| scratch.memos.push((name.to_owned(), Some(bytes))));
        Ok(())
    }

    /// Forgets a value, in the commit that clears the key.
    pub fn forget(&self, name: &str) {
        self.with_scratch(|scratch| scratch.memos.push((name.to_owned(), None)));
    }

    /// The value last announced for a subject.
    ///
    /// # Errors
    /// When the ledger can't be read.
    pub fn fact(&self, subject: &str) -> Result<Option<String>, Failure> {
        Ok(self.world.ledger.fact(subject)?)
    }

    /// Subjects and values last announced, by prefix, in order, at most `limit`.
    ///
    /// # Errors
    /// When the ledger can't be read.
    pub fn facts(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, String)>, Failure> {
        Ok(self.world.ledger.facts(prefix, after, limit)?)
    }
}
