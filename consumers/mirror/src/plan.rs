//! What to do so that a repository's tags become the desired ones. Pure: reads nothing, writes nothing.
//!
//! Deeds come in the order they must be done in: bytes and holding tags first, names last, removal at the very end.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use flatbus_oci::{Digest, Tag};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    desired::{Desired, DesiredTags, LATEST, TESTING},
    writer::{Neighbour, Verdict},
};

/// A holding tag as remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// What it holds.
    pub digest: Digest,
    /// Since when no desired tag names its build; `None` while one does.
    pub unwanted_since: Option<Timestamp>,
}

/// What the destination holds, and what we remember of it.
#[derive(Debug, Clone, Default)]
pub struct Actual {
    /// Every tag that was asked for; `None` where it is absent or withdrawn.
    pub tags: BTreeMap<Tag, Option<Digest>>,
    /// Holding tags as remembered.
    pub held: BTreeMap<Tag, Held>,
    /// Builds whose image can't be published: unavailable or refused. Their tags are left as they are.
    pub withheld: BTreeSet<String>,
}

/// Who else writes tags.
#[derive(Debug, Clone)]
pub enum Others<'a> {
    /// Nobody.
    Nobody,
    /// Bodhi's composer; with how long each tag has been seen as it is while nobody was at work on it.
    Bodhi(Neighbour<'a>, BTreeMap<Tag, Duration>),
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// Image proved a Flatpak, bytes there, held by its own tag, readable by anybody.
    Establish {
        /// The holding tag.
        holding: Tag,
        /// The build.
        build: Desired,
    },
    /// A tag names the build from now on.
    Move {
        /// The tag.
        tag: Tag,
        /// What it shall name.
        to: Desired,
        /// What it names now.
        from: Option<Digest>,
    },
    /// A tag names nothing from now on.
    Withdraw {
        /// The tag.
        tag: Tag,
        /// What it names now.
        from: Digest,
    },
    /// A holding tag has held long enough.
    LetGo {
        /// The holding tag.
        holding: Tag,
    },
}

/// A tag that can't be changed yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The tag.
    pub tag: Tag,
    /// Look again after this.
    pub wait: Duration,
    /// What it waits for.
    pub why: String,
}

/// What to do, and what to leave.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// In order.
    pub deeds: Vec<Deed>,
    /// Tags left alone for now.
    pub waiting: Vec<Waiting>,
    /// Holding tags as they are to be remembered.
    pub held: BTreeMap<Tag, Held>,
}

/// Plans a repository's way from `actual` to `desired`.
pub fn plan(
    desired: &DesiredTags,
    actual: &Actual,
    others: &Others<'_>,
    now: Timestamp,
    grace: Duration,
) -> Plan {
    let mut plan = Plan::default();
    plan.establish(desired, actual);
    plan.move_tags(desired, actual, others);
    plan.withdraw(desired, actual, others);
    plan.let_go(desired, actual, now, grace);
    plan
}

impl Plan {
    fn establish(&mut self, desired: &DesiredTags, actual: &Actual) {
        for (holding, build) in &desired.holding {
            let held = Held { digest: build.digest, unwanted_since: None };
            let known = actual.held.get(holding).is_some_and(|known| known.digest == build.digest);
            let there = actual.tags.get(holding).is_none_or(|seen| *seen == Some(build.digest));
            if actual.withheld.contains(&build.nvr) {
                continue;
            }
            if !(known && there) {
                self.deeds.push(Deed::Establish { holding: holding.clone(), build: build.clone() });
            }
            self.held.insert(holding.clone(), held);
        }
    }

    fn move_tags(&mut self, desired: &DesiredTags, actual: &Actual, others: &Others<'_>) {
        let mut moves: Vec<_> = desired.tags.iter().collect();
        moves.sort_by_key(|(tag, _)| floats(tag)); // Fixed names before those that users follow.
        for (tag, to) in moves {
            let from = actual.tags.get(tag).copied().flatten();
            if from == Some(to.digest) || actual.withheld.contains(&to.nvr) {
                continue;
            }
            match others.verdict(tag, from, Some(&to.digest)) {
                Verdict::Change => self.deeds.push(Deed::Move { tag: tag.clone(), to: to.clone(), from }),
                Verdict::Wait(wait, why) => self.waiting.push(Waiting { tag: tag.clone(), wait, why }),
            }
        }
    }

    /// Only `testing` is ever withdrawn: what was stable stays until something newer is.
    fn withdraw(&mut self, desired: &DesiredTags, actual: &Actual, others: &Others<'_>) {
        let Some((tag, Some(from))) = actual.tags.iter().find(|(tag, _)| tag.as_str() == TESTING) else {
            return;
        };
        if desired.tags.contains_key(tag) || desired.left.contains(tag) {
            return;
        }
        match others.verdict(tag, Some(*from), None) {
            Verdict::Change => self.deeds.push(Deed::Withdraw { tag: tag.clone(), from: *from }),
            Verdict::Wait(wait, why) => self.waiting.push(Waiting { tag: tag.clone(), wait, why }),
        }
    }

    fn let_go(&mut self, desired: &DesiredTags, actual: &Actual, now: Timestamp, grace: Duration) {
        for (holding, held) in &actual.held {
            if desired.holding.contains_key(holding) {
                continue;
            }
            let since = held.unwanted_since.unwrap_or(now).min(now); // A clock that jumped starts the grace period anew.
            if Duration::try_from(now.duration_since(since)).unwrap_or_default() >= grace {
                self.deeds.push(Deed::LetGo { holding: holding.clone() });
            } else {
                self.held.insert(holding.clone(), Held { unwanted_since: Some(since), ..*held });
            }
        }
    }
}

fn floats(tag: &Tag) -> bool {
    [LATEST, TESTING].contains(&tag.as_str())
}

impl Others<'_> {
    fn verdict(&self, tag: &Tag, present: Option<Digest>, wanted: Option<&Digest>) -> Verdict {
        match (self, present, wanted) {
            (Self::Nobody, ..) | (Self::Bodhi(..), None, None) => Verdict::Change,
            (Self::Bodhi(neighbour, quiet), Some(present), _) => {
                neighbour.may_replace(&present, quiet.get(tag).copied())
            }
            (Self::Bodhi(neighbour, _), None, Some(wanted)) => neighbour.may_complete(wanted),
        }
    }
}

#[cfg(test)]
mod tests;
