//! All doubtful keys in memory, and in what order they are taken. Pure: no clock, no store, no lock.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
};

use flatbus_base::Moment;
use jiff::Timestamp;
use tokio::time::Instant;

use super::{
    entry::{Arrival, Class, Entry, Phase, Waits},
    types::{Counts, Filter, Mark, Next, Origin, Shown, Taken},
};
use crate::codec::Damage;

/// Longest key held. A longer one collapses into *survey owed*, like one too many.
const KEY_BYTES_MAX: usize = 4096;

/// The order of keys that are due.
type Turn = (Class, u8, Timestamp, Arc<str>);

/// What a mark did to one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// It was not doubtful before.
    New,
    /// It was; the record changed.
    Again,
    /// It was, and nothing of the record changed.
    Unchanged,
    /// There was no room.
    Collapsed,
}

/// What a result did to its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Landing {
    /// It is doubtful no more.
    Cleared,
    /// It stays doubtful: marked again meanwhile, or failed.
    Kept {
        /// It is parked now and was not before.
        newly_parked: bool,
    },
    /// It was dropped meanwhile: the result counts for nothing.
    Ignored,
}

/// All doubtful keys.
#[derive(Debug)]
pub(super) struct Table {
    entries: BTreeMap<Arc<str>, Entry>,
    ready: BTreeSet<Turn>,
    waiting: BTreeSet<(Instant, Arc<str>)>,
    in_flight: usize,
    parked: usize,
    serial: u64,
    doubtful_max: usize,
    causes_max: usize,
    waits: Waits,
}

impl Table {
    pub(super) fn new(doubtful_max: usize, causes_max: usize, waits: Waits) -> Self {
        Self {
            entries: BTreeMap::new(),
            ready: BTreeSet::new(),
            waiting: BTreeSet::new(),
            in_flight: 0,
            parked: 0,
            serial: 0,
            doubtful_max,
            causes_max,
            waits,
        }
    }

    /// Takes in a stored record.
    pub(super) fn load(&mut self, key: &str, record: &[u8], now: Moment) -> Result<(), Damage> {
        let entry = Entry::decode(record, self.waits, now)?;
        self.serial = self.serial.max(entry.serial);
        self.insert(key.into(), entry);
        Ok(())
    }

    /// The record of a key; `None` where it is not doubtful.
    pub(super) fn record(&self, key: &str) -> Option<Vec<u8>> {
        self.entries.get(key).map(|entry| entry.encode(self.causes_max))
    }

    pub(super) fn mark(&mut self, mark: &Mark, causes: &[Arc<str>], now: Moment) -> Effect {
        self.serial += 1;
        let (rank, origin, serial, causes_max) = (mark.rank, mark.origin, self.serial, self.causes_max);
        let arrival = Arrival { rank, origin, causes, causes_max, serial, now };
        match self.change(&mark.key, |entry| entry.mark(&arrival)) {
            Some(true) => Effect::Again,
            Some(false) => Effect::Unchanged,
            None if self.is_full_for(origin) || mark.key.len() > KEY_BYTES_MAX => Effect::Collapsed,
            None => {
                self.insert(mark.key.as_str().into(), Entry::new(&arrival));
                Effect::New
            }
        }
    }

    /// Parked keys take no room from those that can be settled, or a survey would wait for a person; there may be as many
    /// of them again. What a person asks for is never too much: no survey would find it.
    fn is_full_for(&self, origin: Origin) -> bool {
        let all = self.entries.len();
        let full = all - self.parked >= self.doubtful_max || all >= self.doubtful_max.saturating_mul(2);
        full && origin != Origin::Hand
    }

    /// Takes up to `max` due keys that `admit` lets pass, in their order.
    pub(super) fn take(
        &mut self,
        now: Moment,
        max: usize,
        admit: &mut dyn FnMut(&str) -> bool,
    ) -> Vec<Taken> {
        self.promote(now.monotonic);
        let mut keys: Vec<Arc<str>> = Vec::new();
        for (.., key) in &self.ready {
            if keys.len() == max {
                break;
            }
            if admit(key) {
                keys.push(key.clone());
            }
        }
        keys.iter().filter_map(|key| self.change(key, |entry| entry.take(key))).collect()
    }

    fn promote(&mut self, now: Instant) {
        while let Some((due, key)) = self.waiting.first().cloned()
            && due <= now
        {
            self.change(&key, |entry| entry.phase = Phase::Ready);
        }
    }

    /// The earliest instant at which a key not in flight is due, or was.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let ready = self.ready.first().and_then(|(.., key)| self.entries.get(key)).map(|entry| entry.due);
        ready.or_else(|| self.next_wait_ends())
    }

    /// The earliest instant at which a key that still waits is due.
    pub(super) fn next_wait_ends(&self) -> Option<Instant> {
        self.waiting.first().map(|(due, _)| *due)
    }

    pub(super) fn settled(&mut self, taken: &Taken) -> Landing {
        if !self.holds(taken) {
            return Landing::Ignored;
        }
        match self.remove(&taken.key).and_then(|entry| Some((entry.serial, *entry.again?))) {
            None => Landing::Cleared,
            Some((serial, again)) => {
                self.insert(taken.key.as_str().into(), Entry { serial, ..again });
                Landing::Kept { newly_parked: false }
            }
        }
    }

    pub(super) fn failed(&mut self, taken: &Taken, error: &str, next: Next, now: Moment) -> Landing {
        if !self.holds(taken) {
            return Landing::Ignored;
        }
        let next = match next {
            Next::Wait { wait, told } => Next::Wait { wait: wait.min(self.waits.told), told },
            Next::Park => Next::Park,
        };
        let causes_max = self.causes_max;
        let newly_parked = self.change(&taken.key, |entry| entry.fail(error, next, causes_max, now));
        newly_parked.map_or(Landing::Ignored, |newly_parked| Landing::Kept { newly_parked })
    }

    pub(super) fn release(&mut self, taken: &Taken) {
        let causes_max = self.causes_max;
        if self.holds(taken) {
            self.change(&taken.key, |entry| entry.release(causes_max));
        }
    }

    /// Whether this is the flight the key is in: not if it was dropped since, even if marked and taken anew.
    fn holds(&self, taken: &Taken) -> bool {
        self.entries.get(taken.key.as_str()).is_some_and(|entry| entry.flight == Some(taken.serial))
    }

    pub(super) fn retry(&mut self, key: &str, now: Moment) -> bool {
        self.serial += 1;
        let (serial, causes_max) = (self.serial, self.causes_max);
        self.change(key, |entry| entry.retry(serial, causes_max, now)).is_some()
    }

    /// Forgets a key, also one in flight.
    pub(super) fn remove(&mut self, key: &str) -> Option<Entry> {
        let (key, entry) = self.entries.remove_entry(key)?;
        self.unlink(&key, &entry);
        Some(entry)
    }

    pub(super) fn show(&self, key: &str) -> Option<Shown> {
        self.entries.get(key).map(|entry| entry.show(key))
    }

    pub(super) fn list(&self, filter: &Filter, after: Option<&str>, limit: usize) -> Vec<Shown> {
        let prefix = filter.prefix.as_str();
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            Some(_) | None => Bound::Included(prefix),
        };
        self.entries
            .range::<str, _>((from, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .filter(|(_, entry)| filter.state.is_none_or(|state| state == entry.state()))
            .take(limit)
            .map(|(key, entry)| entry.show(key))
            .collect()
    }

    /// Adds the table's part to the counts.
    pub(super) fn count(&self, counts: &mut Counts) {
        counts.doubtful = self.entries.len();
        counts.due = self.ready.len();
        counts.waiting = self.waiting.len();
        counts.in_flight = self.in_flight;
        counts.parked = self.parked;
        let due = self.entries.values().filter(|entry| entry.phase == Phase::Ready);
        counts.oldest_due = due.map(|entry| entry.due_wall).min();
    }

    fn change<R>(&mut self, key: &str, change: impl FnOnce(&mut Entry) -> R) -> Option<R> {
        let (key, mut entry) = self.entries.remove_entry(key)?;
        self.unlink(&key, &entry);
        let answer = change(&mut entry);
        self.insert(key, entry);
        Some(answer)
    }

    fn insert(&mut self, key: Arc<str>, entry: Entry) {
        self.parked += usize::from(entry.parked_since.is_some());
        match entry.phase {
            Phase::Ready => {
                self.ready.insert(turn(&key, &entry));
            }
            Phase::Waiting => {
                self.waiting.insert((entry.due, key.clone()));
            }
            Phase::InFlight => self.in_flight += 1,
            Phase::Parked => {}
        }
        self.entries.insert(key, entry);
    }

    fn unlink(&mut self, key: &Arc<str>, entry: &Entry) {
        self.parked -= usize::from(entry.parked_since.is_some());
        match entry.phase {
            Phase::Ready => {
                self.ready.remove(&turn(key, entry));
            }
            Phase::Waiting => {
                self.waiting.remove(&(entry.due, key.clone()));
            }
            Phase::InFlight => self.in_flight -= 1,
            Phase::Parked => {}
        }
    }
}

fn turn(key: &Arc<str>, entry: &Entry) -> Turn {
    (entry.class, entry.rank, entry.first_marked, key.clone())
}

/// The origin a key found while settling `parent` counts with: what survey led to is no news.
pub(super) fn inherited(origin: Origin, parent: Origin) -> Origin {
    match (origin, parent) {
        (Origin::Also, Origin::Survey) => Origin::Survey,
        (Origin::Event | Origin::Also | Origin::Hand | Origin::Survey, _) => origin,
    }
}
