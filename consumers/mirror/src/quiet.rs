//! How long tags have been seen as they are while nobody was at work on them. In memory only: a restart starts anew, which
//! costs patience and nothing else.

use std::{
    collections::{BTreeMap, BTreeSet},
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
    pub fn look(
        &self,
        repository: &Repository,
        tag: &Tag,
        digest: Digest,
        busy: bool,
        now: Instant,
    ) -> Option<Duration> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let name = (repository.clone(), tag.clone());
        match seen.get(&name) {
            Some((before, since)) if *before == digest && !busy => {
                Some(now.saturating_duration_since(*since))
            }
            _ => {
                seen.insert(name, (digest, now));
                if seen.len() > WATCHED_MAX {
                    seen.pop_first();
                }
                None
            }
        }
    }

    /// Forgets a repository's tags that are as they should be: when one goes wrong again its time starts anew.
    pub fn keep_only(&self, repository: &Repository, wrong: &BTreeSet<&Tag>) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|(of, tag), _| of != repository || wrong.contains(tag));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::digest;

    const MINUTE: Duration = Duration::from_secs(60);

    fn look(quiet: &Quiet, named: u64, busy: bool, now: Instant) -> Option<Duration> {
        quiet.look(&"eog".parse().unwrap(), &"latest".parse().unwrap(), digest(named), busy, now)
    }

    #[tokio::test(start_paused = true)]
    async fn quiet_is_counted_from_the_first_look_at_the_same_digest() {
        let (quiet, start) =
            (Quiet::default(), flatbus_base::SimClock::starting_at(jiff::Timestamp::UNIX_EPOCH));
        let start = flatbus_base::Clock::monotonic(&start);
        assert_eq!(look(&quiet, 1, false, start), None);
        assert_eq!(look(&quiet, 1, false, start + MINUTE), Some(MINUTE));
        assert_eq!(look(&quiet, 2, false, start + 2 * MINUTE), None, "it was written");
        assert_eq!(look(&quiet, 2, true, start + 3 * MINUTE), None, "somebody is at work on it");
        assert_eq!(look(&quiet, 2, false, start + 4 * MINUTE), Some(MINUTE));
    }

    #[tokio::test(start_paused = true)]
    async fn a_tag_that_was_right_in_between_starts_anew() {
        let (quiet, clock) =
            (Quiet::default(), flatbus_base::SimClock::starting_at(jiff::Timestamp::UNIX_EPOCH));
        let start = flatbus_base::Clock::monotonic(&clock);
        look(&quiet, 1, false, start);
        quiet.keep_only(&"baobab".parse().unwrap(), &BTreeSet::new());
        assert_eq!(look(&quiet, 1, false, start + MINUTE), Some(MINUTE));
        quiet.keep_only(&"eog".parse().unwrap(), &BTreeSet::new());
        assert_eq!(look(&quiet, 1, false, start + 2 * MINUTE), None);
    }
}
