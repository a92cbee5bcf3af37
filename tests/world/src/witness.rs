//! The witness: sees every effect at the moment it happens, and says which invariant it breaks.
//!
//! It knows what each settle was told, so that it can say whether a tag moved on the strength of an answer. It never
//! changes anything.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use flatbus_bus::Outgoing;
use flatbus_oci::{Digest, MemoryRegistry, Repository, Tag, memory::Op, withdrawn};
use flatbus_upstream::bodhi::Update;
use tokio::task::Id;

use crate::{
    fedora::{Made, NAMESPACE},
    gate::{Gate, Service},
    invariant::Invariant,
    rule,
};

/// Listings made outside of settles that a settle may still use: the last survey's, and the one before.
const LISTINGS_KEPT: usize = 2;
/// Broken promises told one by one; more are only counted.
const VIOLATIONS_MAX: usize = 20;

/// Sees everything. Clones are the same witness.
#[derive(Clone)]
pub struct Witness(Arc<Shared>);

struct Shared {
    gate: Gate,
    public: MemoryRegistry,
    last_push: bool,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    builds: BTreeMap<String, Made>,
    settles: BTreeMap<Id, Settle>,
    listings: VecDeque<Arc<[Update]>>,
    /// What each tag names, and all it ever named.
    tags: BTreeMap<String, Option<Digest>>,
    ever: BTreeMap<String, BTreeSet<Option<Digest>>>,
    /// What was last told of each tag.
    told: BTreeMap<String, Option<Digest>>,
    /// Keys that an acknowledged message made doubtful, and that no settle that began later has cleared; with when.
    owing: BTreeMap<String, u64>,
    /// When the settle began that last cleared a key.
    cleared: BTreeMap<String, u64>,
    /// Writes to the destination, by all settles.
    writes: u64,
    ended: u64,
    now: u64,
    violations: Vec<(Invariant, String)>,
    twice: Twice,
}

/// How often a settle was done twice with the world unchanged in between, and how often the world had changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Twice {
    /// The second had to change nothing.
    pub compared: u64,
    /// Nothing could be said.
    pub overtaken: u64,
}

/// A settle under way: what it was told and what it wrote.
#[derive(Default)]
struct Settle {
    began: u64,
    /// What surveys had listed when it began.
    surveyed: VecDeque<Arc<[Update]>>,
    listings: Vec<Arc<[Update]>>,
    by_name: Vec<Update>,
    /// Builds that Koji said it doesn't know.
    denied: BTreeSet<String>,
    writes: u64,
}

/// What a settle did, as the outside saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Did {
    /// Writes to the destination.
    pub writes: u64,
    /// It asked Bodhi itself, and did not rely on what a survey had listed.
    pub asked: bool,
}

impl Witness {
    /// A witness of a world.
    pub fn new(gate: Gate, public: MemoryRegistry, last_push: bool) -> Self {
        Self(Arc::new(Shared { gate, public, last_push, seen: Mutex::default() }))
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A promise was broken.
    pub fn broken(&self, invariant: Invariant, what: String) {
        self.0.gate.say(|| format!("  XXXX {invariant:?}: {what}"));
        let mut seen = self.seen();
        if seen.violations.len() < VIOLATIONS_MAX {
            seen.violations.push((invariant, what));
        }
    }

    /// Promises broken so far.
    pub fn violations(&self) -> Vec<(Invariant, String)> {
        self.seen().violations.clone()
    }

    /// How often settles were compared.
    pub fn twice(&self) -> Twice {
        self.seen().twice
    }

    /// Fedora made a build.
    pub fn knows(&self, build: &Made) {
        self.seen().builds.insert(build.nvr.clone(), build.clone());
    }

    /// What should be, by the truth.
    pub fn desired<'a>(&self, updates: impl Iterator<Item = &'a Update>) -> rule::Tags {
        let (seen, updates) = (self.seen(), updates.collect::<Vec<&Update>>());
        rule::desired(updates.into_iter(), &seen.builds, self.0.last_push)
    }

    /// A settle begins in this task.
    pub fn begins(&self) {
        let mut seen = self.seen();
        seen.now += 1;
        let settle = Settle { began: seen.now, surveyed: seen.listings.clone(), ..Settle::default() };
        if let Some(id) = tokio::task::try_id() {
            seen.settles.insert(id, settle);
        }
    }

    /// The settle of this task ends; what it did. What it cleared is owed no more.
    pub fn ends(&self, cleared: &[String]) -> Did {
        let mut seen = self.seen();
        let Some(settle) = tokio::task::try_id().and_then(|id| seen.settles.remove(&id)) else {
            return Did::default();
        };
        for key in cleared {
            seen.cleared.insert(key.clone(), settle.began);
            if seen.owing.get(key).is_some_and(|since| *since < settle.began) {
                seen.owing.remove(key);
            }
        }
        seen.ended += 1;
        Did { writes: settle.writes, asked: !settle.listings.is_empty() }
    }

    /// Two settles were compared, or could not be.
    pub fn compared(&self, could: bool) {
        let mut seen = self.seen();
        match could {
            true => seen.twice.compared += 1,
            false => seen.twice.overtaken += 1,
        }
    }

    /// All settles ended with their process.
    pub fn process_died(&self) {
        let mut seen = self.seen();
        seen.settles.clear();
        seen.listings.clear();
    }

    /// A registry was called.
    pub fn calls(&self, service: Service, op: Op) {
        if service == Service::Public && !op.reads() {
            let mut seen = self.seen();
            seen.writes += 1;
            if let Some(settle) = tokio::task::try_id().and_then(|id| seen.settles.get_mut(&id)) {
                settle.writes += 1;
            }
        }
    }

    /// Writes to the destination so far.
    pub fn writes(&self) -> u64 {
        self.seen().writes
    }

    /// Settles that ended so far.
    pub fn ended(&self) -> u64 {
        self.seen().ended
    }

    /// Bodhi told somebody this.
    pub fn told(&self, updates: &[Update], listing: bool) {
        let mut seen = self.seen();
        let settle = tokio::task::try_id().and_then(|id| seen.settles.get_mut(&id));
        match (settle, listing) {
            (Some(settle), true) => settle.listings.push(updates.into()),
            (Some(settle), false) => settle.by_name.extend_from_slice(updates),
            (None, true) => {
                seen.listings.push_front(updates.into());
                seen.listings.truncate(LISTINGS_KEPT);
            }
            (None, false) => {}
        }
    }

    /// Koji told a settle that it doesn't know these builds.
    pub fn denied(&self, builds: impl Iterator<Item = String>) {
        let mut seen = self.seen();
        if let Some(settle) = tokio::task::try_id().and_then(|id| seen.settles.get_mut(&id)) {
            settle.denied.extend(builds);
        }
    }

    /// A tag was written or deleted, whatever the answer was.
    pub fn tag_may_have_moved(&self, repository: &Repository, tag: &Tag, to: Option<Digest>) {
        let subject = subject(repository, tag);
        let now = self.0.public.named(repository, tag);
        let before = self.set_tag(&subject, now);
        if before == now || now != to {
            return;
        }
        match now.filter(|digest| !withdrawn::is(digest)) {
            Some(digest) => self.check_moved(repository, tag, digest),
            None => self.check_withdrawn(repository, tag),
        }
    }

    /// Somebody else moved a tag.
    pub fn stranger_moved(&self, repository: &Repository, tag: &Tag) {
        self.set_tag(&subject(repository, tag), self.0.public.named(repository, tag));
        self.0.gate.changed();
    }

    fn set_tag(&self, subject: &str, now: Option<Digest>) -> Option<Digest> {
        let mut seen = self.seen();
        seen.ever.entry(subject.to_owned()).or_insert_with(|| [None].into()).insert(now);
        seen.tags.insert(subject.to_owned(), now).flatten()
    }

    fn check_moved(&self, repository: &Repository, tag: &Tag, to: Digest) {
        if !self.0.public.is_complete(repository, &to) {
            self.broken(
                Invariant::TagsNameCompleteImages,
                format!("{repository}:{tag} names {to}, of which a part is missing"),
            );
        }
        if tag.as_str().starts_with("build-") {
            let id = tag.as_str().trim_start_matches("build-");
            let seen = self.seen();
            let right = seen.builds.values().any(|build| build.id.to_string() == id && build.digest == to);
            drop(seen);
            if !right {
                self.broken(
                    Invariant::TagsFollowAnswers,
                    format!("{repository}:{tag} holds {to}, which is not that build's"),
                );
            }
            return;
        }
        // Where Koji denied the newest build, the one before it is given its own name: never a wrong one.
        let is_own_name = |build: &Made| {
            build.digest == to && tag.as_str() == format!("{}-{}", build.version, build.release)
        };
        let own_name = self.seen().builds.values().any(is_own_name);
        if !own_name
            && !self.was_told(Some(to), |tags| tags.get(&(repository.clone(), tag.clone())) == Some(&to))
        {
            self.broken(
                Invariant::TagsFollowAnswers,
                format!("{repository}:{tag} was moved to {to}, which no answer asked for"),
            );
        }
    }

    fn check_withdrawn(&self, repository: &Repository, tag: &Tag) {
        let ours = repository.as_str().starts_with(&format!("{NAMESPACE}/"));
        if ours && tag.as_str() == "testing" {
            if !self.was_told(None, |tags| !tags.contains_key(&(repository.clone(), tag.clone()))) {
                self.broken(
                    Invariant::TagsFollowAnswers,
                    format!("{repository}:{tag} was withdrawn, and every answer names a build for it"),
                );
            }
        } else if ours && !tag.as_str().starts_with("build-") {
            self.broken(Invariant::NothingIsDeletedEarly, format!("{repository}:{tag} was deleted"));
        }
    }

    /// Whether an answer that this settle may have acted on agrees. Where Koji denied a build, nobody could know whose it
    /// is: only those of the package at hand are sure to be of this repository, and count all the same.
    fn was_told(&self, at_hand: Option<Digest>, agrees: impl Fn(&rule::Tags) -> bool) -> bool {
        let seen = self.seen();
        let settle = tokio::task::try_id().and_then(|id| seen.settles.get(&id));
        let package =
            seen.builds.values().find(|build| Some(build.digest) == at_hand).map(|build| build.package.name);
        let mut builds = seen.builds.clone();
        builds.retain(|nvr, build| {
            Some(build.package.name) == package || !settle.is_some_and(|settle| settle.denied.contains(nvr))
        });
        let by_name: &[Update] = settle.map_or(&[], |settle| &settle.by_name);
        let own = settle.into_iter().flat_map(|settle| settle.listings.iter().chain(&settle.surveyed));
        own.chain(&seen.listings).any(|listing| {
            let more =
                by_name.iter().filter(|named| listing.iter().all(|update| update.alias != named.alias));
            agrees(&rule::desired(listing.iter().chain(more), &builds, self.0.last_push))
        })
    }

    /// A message is delivered. When that is.
    pub fn delivered(&self) -> u64 {
        let mut seen = self.seen();
        seen.now += 1;
        seen.now
    }

    /// A message was acknowledged that made these keys doubtful, when it was delivered.
    pub fn acked(&self, keys: Vec<String>, delivered: u64) {
        let mut seen = self.seen();
        for key in keys {
            if seen.cleared.get(&key).is_none_or(|began| *began < delivered) {
                seen.owing.insert(key, delivered);
            }
        }
    }

    /// Keys that must be in the ledger, whatever happened to its process.
    pub fn owing(&self) -> BTreeSet<String> {
        self.seen().owing.keys().cloned().collect()
    }

    /// The ledger is lost as a whole, and that is known: only a survey is owed.
    pub fn ledger_lost(&self) {
        self.seen().owing.clear();
    }

    /// Something is announced.
    pub fn announces(&self, message: &Outgoing) {
        let body = &message.announcement.body;
        let (Some(repository), Some(tag)) = (body["repository"].as_str(), body["tag"].as_str()) else {
            return;
        };
        let subject = format!("{repository}:{tag}");
        let digest: Option<Digest> = body["digest"].as_str().and_then(|text| text.parse().ok());
        let mut seen = self.seen();
        let ever = seen.ever.get(&subject).is_some_and(|ever| {
            ever.contains(&digest) || (digest.is_none() && ever.iter().flatten().any(withdrawn::is))
        });
        seen.told.insert(subject.clone(), digest);
        drop(seen);
        if !ever {
            self.broken(
                Invariant::AnnouncementsFollowFacts,
                format!("{subject} was told to name {digest:?}, which it never did"),
            );
        }
    }

    /// What was last told of each tag.
    pub fn last_told(&self) -> BTreeMap<String, Option<Digest>> {
        self.seen().told.clone()
    }
}

/// `fedora/eog:latest`
pub fn subject(repository: &Repository, tag: &Tag) -> String {
    format!("{repository}:{tag}")
}
