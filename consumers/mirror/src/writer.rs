//! Who may change a tag: one writer a destination. Pure.
//!
//! Where Bodhi's own composer writes the same tags it does so before its database says so: what it just wrote must not be
//! taken for a mistake.

use std::{collections::BTreeSet, time::Duration};

use flatbus_oci::Digest;
use flatbus_upstream::bodhi::Update;
use serde::Deserialize;

use crate::{desired::VersionOwner, sources::Placed};

/// `tag_writer`: who moves tags in the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TagWriter {
    /// Mirror alone: Bodhi pushes elsewhere, or nowhere.
    Mirror,
    /// Bodhi's composer too: mirror completes what it leaves undone.
    Bodhi,
}

impl TagWriter {
    /// Which build has `<version>`.
    pub fn version_owner(self) -> VersionOwner {
        match self {
            Self::Mirror => VersionOwner::Stable,
            Self::Bodhi => VersionOwner::LastPush,
        }
    }
}

/// What is known of the other writer when a tag is about to be changed.
#[derive(Debug, Clone)]
pub struct Neighbour<'a> {
    /// Every update of the repository's packages, whatever its status.
    pub updates: &'a [Update],
    /// Every build of the repository that is known.
    pub builds: &'a [Placed],
    /// Aliases of the updates that are in a compose.
    pub composing: &'a BTreeSet<String>,
    /// How long a tag's present digest must have been nobody's business before it is replaced.
    pub settle_after: Duration,
}

/// Whether a tag may be changed now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Yes.
    Change,
    /// Not before this has passed.
    Wait(Duration, String),
}

impl Neighbour<'_> {
    /// May a tag that names `present` be changed to something else? `quiet` is how long we have seen it so while nobody
    /// was at work on it; `None` where we see it for the first time.
    pub fn may_replace(&self, present: &Digest, quiet: Option<Duration>) -> Verdict {
        if let Some(busy) =
            self.updates.iter().find(|update| self.busy(update) && self.names(update, present))
        {
            return Verdict::Wait(self.settle_after, format!("{} is being pushed", busy.alias));
        }
        let quiet = quiet.unwrap_or_default();
        match self.settle_after.checked_sub(quiet) {
            None | Some(Duration::ZERO) => Verdict::Change,
            Some(rest) => Verdict::Wait(rest, "another writer may be at work".to_owned()),
        }
    }

    /// May a tag that isn't there be written? Not while an update of this repository that wants something else is being
    /// pushed: its writer may be about to.
    pub fn may_complete(&self, wanted: &Digest) -> Verdict {
        let rival =
            |update: &&Update| self.busy(update) && self.concerned(update) && !self.names(update, wanted);
        match self.updates.iter().find(rival) {
            Some(update) => Verdict::Wait(self.settle_after, format!("{} is being pushed", update.alias)),
            None => Verdict::Change,
        }
    }

    /// Whether an update that names this digest is being pushed.
    pub fn is_at_work_on(&self, digest: &Digest) -> bool {
        self.pusher_of(digest).is_some()
    }

    fn pusher_of(&self, digest: &Digest) -> Option<&Update> {
        self.updates.iter().find(|update| self.busy(update) && self.names(update, digest))
    }

    /// Locked, or in a compose.
    fn busy(&self, update: &Update) -> bool {
        update.locked || self.composing.contains(&update.alias)
    }

    fn builds_of<'a>(&'a self, update: &'a Update) -> impl Iterator<Item = &'a Placed> {
        self.builds.iter().filter(|build| update.builds.iter().any(|named| named.nvr == build.fact.nvr))
    }

    fn names(&self, update: &Update, digest: &Digest) -> bool {
        self.builds_of(update).any(|build| build.digest == *digest)
    }

    fn concerned(&self, update: &Update) -> bool {
        self.builds_of(update).next().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{digest, placed, update};

    const SETTLE: Duration = Duration::from_secs(600);

    fn judge(locked: bool, composing: &[&str], quiet: Option<Duration>) -> Verdict {
        let updates = [Update { locked, ..update("U-1", &["eog-1-1"]) }];
        let builds = [placed("eog-1-1", 1, "eog")];
        let composing = composing.iter().map(|&alias| alias.to_owned()).collect();
        let neighbour =
            Neighbour { updates: &updates, builds: &builds, composing: &composing, settle_after: SETTLE };
        neighbour.may_replace(&digest(1), quiet)
    }

    #[test]
    fn what_a_locked_or_composed_update_named_is_never_replaced() {
        let long = Some(Duration::from_secs(100_000));
        assert!(matches!(judge(true, &[], long), Verdict::Wait(SETTLE, _)));
        assert!(matches!(judge(false, &["U-1"], long), Verdict::Wait(SETTLE, _)));
    }

    #[test]
    fn anything_else_is_replaced_once_it_was_quiet_for_settle_after() {
        assert!(matches!(judge(false, &[], None), Verdict::Wait(SETTLE, _)));
        let rest = SETTLE - Duration::from_secs(100);
        assert!(
            matches!(judge(false, &[], Some(Duration::from_secs(100))), Verdict::Wait(wait, _) if wait == rest)
        );
        assert_eq!(judge(false, &["U-2"], Some(SETTLE)), Verdict::Change);
    }

    #[test]
    fn a_missing_tag_waits_while_a_rival_update_is_being_pushed() {
        let updates = [Update { locked: true, ..update("U-2", &["eog-2-1"]) }, update("U-1", &["eog-1-1"])];
        let builds = [placed("eog-1-1", 1, "eog"), placed("eog-2-1", 2, "eog")];
        let composing = BTreeSet::new();
        let neighbour =
            Neighbour { updates: &updates, builds: &builds, composing: &composing, settle_after: SETTLE };
        assert!(matches!(neighbour.may_complete(&digest(1)), Verdict::Wait(..)));
        assert_eq!(neighbour.may_complete(&digest(2)), Verdict::Change);
    }
}
