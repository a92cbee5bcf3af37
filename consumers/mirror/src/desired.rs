//! The rule: which tag of a repository should name which digest, and why. Pure.
//!
//! Looks at updates and builds only, never at what the registry holds, and never decides what to do about it.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use flatbus_oci::{Digest, Tag};
use flatbus_upstream::bodhi::{Status, Update};
use jiff::Timestamp;

use crate::{
    fact::BuildFact,
    releases::Releases,
    sources::Placed,
    tagname::{held_build, holding_tag, tag_for},
};

/// Which of two builds with one version has the tag `<version>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionOwner {
    /// The stable one, as long as there is one.
    Stable,
    /// The one pushed last, as Bodhi's composer leaves it.
    LastPush,
}

/// A build of this repository, named by an update.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// The update.
    pub update: &'a Update,
    /// The build.
    pub build: &'a Placed,
}

/// What a tag should name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    /// The digest.
    pub digest: Digest,
    /// The build.
    pub nvr: String,
    /// Koji's number of the build.
    pub build_id: i64,
    /// The update that says so.
    pub alias: String,
    /// When that update was last pushed: to stable for a stable build, else to testing.
    pub pushed: Timestamp,
    /// One line for a person.
    pub because: String,
}

/// Two builds that claim one tag. The owner is by rule; this is told, not acted on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The tag.
    pub tag: Tag,
    /// Who has it.
    pub owner: String,
    /// Who does not.
    pub loser: String,
}

/// Everything a repository's tags should be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DesiredTags {
    /// `latest`, `testing`, `<version>-<release>`, `<version>`.
    pub tags: BTreeMap<Tag, Desired>,
    /// `build-<koji build id>` of each build that has a tag.
    pub holding: BTreeMap<Tag, Desired>,
    /// Tags that are neither moved nor withdrawn, whatever they name: what should have them isn't known.
    pub left: BTreeSet<Tag>,
    /// Tags claimed twice.
    pub conflicts: Vec<Conflict>,
    /// When what has `latest` came to stable.
    pub stable_since: Option<Timestamp>,
    /// When what has `testing` came to testing.
    pub testing_since: Option<Timestamp>,
}

/// The tag of what is stable.
pub const LATEST: &str = "latest";
/// The tag of what is in testing, or was last.
pub const TESTING: &str = "testing";

/// A build that owns a floating tag.
struct Owner<'a> {
    claim: Claim<'a>,
    floating: &'static str,
    at: Timestamp,
}

/// The desired tags of one repository, from all claims on it. The order of the claims doesn't matter.
pub fn desired(claims: &[Claim<'_>], releases: &Releases, version_owner: VersionOwner) -> DesiredTags {
    let counted: Vec<Claim<'_>> = claims.iter().copied().filter(|claim| counts(claim, releases)).collect();
    let stable = newest(&counted, LATEST, stable_at);
    let testing = newest(&counted, TESTING, testing_at);
    let since = |owner: &Option<Owner<'_>>| owner.as_ref().map(|owner| owner.at);
    let mut result = DesiredTags {
        stable_since: since(&stable),
        testing_since: since(&testing),
        ..DesiredTags::default()
    };
    for owner in stable.iter().chain(&testing) {
        result.give_floating(owner);
    }
    for owner in by_precedence(stable, testing, version_owner) {
        result.give_versions(&owner);
    }
    result
}

fn counts(claim: &Claim<'_>, releases: &Releases) -> bool {
    claim.build.fact.flatpak && releases.builds(claim.update).any(|nvr| nvr == claim.build.fact.nvr)
}

/// When a claim came to stable, if that is where it is.
pub fn stable_at(update: &Update) -> Option<Timestamp> {
    (update.status == Status::Stable).then_some(update.date_stable)?
}

/// When a claim came to testing, if it is there or has gone on to stable since.
pub fn testing_at(update: &Update) -> Option<Timestamp> {
    matches!(update.status, Status::Testing | Status::Stable).then_some(update.date_testing)?
}

/// `<version>-<release>` and `<version>` of a build, as tags.
pub fn version_tags(fact: &BuildFact) -> Vec<Tag> {
    let texts = [format!("{}-{}", fact.version, fact.release), fact.version.clone()];
    texts.iter().filter_map(|text| tag_for(text)).collect()
}

/// The greatest date wins; of one second's pushes the newer build, then the greater alias: any order, one answer.
fn newest<'a>(
    claims: &[Claim<'a>],
    floating: &'static str,
    at: impl Fn(&Update) -> Option<Timestamp>,
) -> Option<Owner<'a>> {
    let owner = |claim: &Claim<'a>| at(claim.update).map(|at| Owner { claim: *claim, floating, at });
    claims
        .iter()
        .filter_map(owner)
        .max_by_key(|owner| (owner.at, owner.claim.build.fact.id, &owner.claim.update.alias))
}

fn by_precedence<'a>(
    stable: Option<Owner<'a>>,
    testing: Option<Owner<'a>>,
    rule: VersionOwner,
) -> Vec<Owner<'a>> {
    let mut owners: Vec<Owner<'a>> = stable.into_iter().chain(testing).collect();
    match rule {
        VersionOwner::Stable => {} // Stable stands first already.
        VersionOwner::LastPush => owners.sort_by_key(|owner| Reverse(last_push(owner))),
    }
    owners
}

fn last_push(owner: &Owner<'_>) -> Timestamp {
    let update = owner.claim.update;
    stable_at(update).into_iter().chain(testing_at(update)).max().unwrap_or(owner.at)
}

impl DesiredTags {
    /// Leaves alone what a build of this update would have if it were one of this repository, and the versions of what then
    /// would not have it. Says whether that is anything.
    pub fn leave_to(&mut self, update: &Update) -> bool {
        let newer = |at: Option<Timestamp>, than: Option<Timestamp>| at.is_some() && at >= than;
        let latest = newer(stable_at(update), self.stable_since).then_some(LATEST);
        let testing = newer(testing_at(update), self.testing_since).then_some(TESTING);
        let left: Vec<&str> = latest.into_iter().chain(testing).collect();
        let owners =
            left.iter().filter_map(|text| self.tags.get(&tag_for(text)?)).map(|wanted| wanted.nvr.clone());
        let owners: Vec<String> = owners.collect();
        left.iter().for_each(|text| self.leave(text));
        owners.iter().for_each(|nvr| self.leave_versions_of(nvr));
        !left.is_empty()
    }

    /// A build has its versions because it is the stable one or the one in testing.
    fn leave_versions_of(&mut self, nvr: &str) {
        let theirs = |wanted: &Desired| wanted.nvr == nvr;
        let floats = |text: &&str| tag_for(text).is_some_and(|tag| self.tags.get(&tag).is_some_and(theirs));
        if ![LATEST, TESTING].iter().any(floats) {
            self.left
                .extend(self.tags.iter().filter(|(_, wanted)| theirs(wanted)).map(|(tag, _)| tag.clone()));
            self.tags.retain(|_, wanted| !theirs(wanted));
        }
    }

    /// Leaves a tag as it is, whatever it names.
    pub fn leave(&mut self, text: &str) {
        if let Some(tag) = tag_for(text) {
            self.tags.remove(&tag);
            self.left.insert(tag);
        }
    }

    fn give_floating(&mut self, owner: &Owner<'_>) {
        if let Some(tag) = tag_for(owner.floating) {
            self.tags.insert(tag, wanted(owner));
        }
        if let Some(tag) = holding_tag(owner.claim.build.fact.id) {
            self.holding.entry(tag).or_insert_with(|| wanted(owner));
        }
    }

    fn give_versions(&mut self, owner: &Owner<'_>) {
        for tag in version_tags(&owner.claim.build.fact) {
            self.give(tag, wanted(owner));
        }
    }

    /// Gives a tag to its first claimant. A version that spells a floating or a holding tag gets neither.
    fn give(&mut self, tag: Tag, wanted: Desired) {
        let holder = self.holding.get(&tag).or_else(|| self.tags.get(&tag));
        match holder {
            Some(owner) if owner.nvr == wanted.nvr => {}
            Some(owner) => self.conflicts.push(Conflict { tag, owner: owner.nvr.clone(), loser: wanted.nvr }),
            None if reserved(&tag) => {
                self.conflicts.push(Conflict {
                    tag,
                    owner: "nobody, it is reserved".to_owned(),
                    loser: wanted.nvr,
                });
            }
            None => drop(self.tags.insert(tag, wanted)),
        }
    }
}

fn reserved(tag: &Tag) -> bool {
    [LATEST, TESTING].contains(&tag.as_str()) || held_build(tag).is_some()
}

fn wanted(owner: &Owner<'_>) -> Desired {
    let Claim { update, build } = owner.claim;
    let place = if owner.floating == LATEST { "stable" } else { "testing" };
    Desired {
        digest: build.digest,
        nvr: build.fact.nvr.clone(),
        build_id: build.fact.id,
        alias: update.alias.clone(),
        pushed: last_push(owner),
        because: format!("{} is in {place} since {} with {}", build.fact.nvr, owner.at, update.alias),
    }
}

#[cfg(test)]
mod tests;
