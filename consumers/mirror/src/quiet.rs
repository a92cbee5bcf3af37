//! How long tags have been seen as they are while nobody was at work on them. In memory only: a restart starts anew, which
//! costs patience and nothing else.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use flatbus_oci::{Digest, Repository, Tag};
use tokio::time::Instant;

/// Most tags watched. Past it the first by name is forgotten: it only waits longer.
const WATCHED_MAX: usize = 10_000;

/// Watches tags.
#[derive(Debug, Default)]
pub struct Quiet(Mutex<BTreeMap<(Repository, Tag), (Digest, Instant)>>);

impl Quiet {
    /// Notes what a tag names now; says for how long it has been so and quiet.
    pub fn look(&self, repository: &Repository, tag: &Tag, digest: Digest, busy: bool, now: Instant) -> Option<Duration> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let name = (repository.clone(), tag.clone());
        match seen.get(&name) {
            Some((before, since)) if *before == digest && !busy => Some(now.saturating_duration_since(*since)),
            _ => {
                seen.insert(name, (digest, now));
                if seen.len() > WATCHED_MAX {
                    seen.pop_first();
                }
                None
            }
        }
    }

    /// A tag is as it should be: nothing to watch.
    pub fn forget(&self, repository: &Repository, tag: &Tag) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&(repository.clone(), tag.clone()));
    }
}
