//! One doubtful key: what is known of it, how marks and failures change it, and its record. Pure: no clock, no store.

use std::{borrow::Cow, sync::Arc, time::Duration};

use flatbus_base::Moment;
use jiff::Timestamp;
use tokio::time::Instant;

use super::types::{Next, Origin, Shown, State, Taken};
use crate::codec::{Damage, Reader, Writer};

/// Longest error text kept of a key.
const ERROR_BYTES_MAX: usize = 1024;

/// What runs first among keys that are due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    Event,
    Derived,
    Retry,
    Survey,
}

impl Class {
    fn of(origin: Origin) -> Self {
        match origin {
            Origin::Event => Self::Event,
            Origin::Also | Origin::Hand => Self::Derived,
            Origin::Survey => Self::Survey,
        }
    }
}

/// Where a key stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Ready,
    Waiting,
    Parked,
    InFlight,
}

/// One mark, as it arrives at one key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival<'a> {
    pub(super) rank: u8,
    pub(super) origin: Origin,
    pub(super) causes: &'a [Arc<str>],
    pub(super) causes_max: usize,
    pub(super) serial: u64,
    pub(super) now: Moment,
}

/// The longest waits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waits {
    /// That anybody may ask for.
    pub(super) told: Duration,
    /// That nobody but us asked for.
    pub(super) own: Duration,
}

/// One doubtful key. A parked key that is ready or in flight is being tried once for survey.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) serial: u64,
    /// The serial it was taken with, while it is in flight.
    pub(super) flight: Option<u64>,
    pub(super) phase: Phase,
    pub(super) class: Class,
    pub(super) rank: u8,
    pub(super) origin: Origin,
    pub(super) told: bool,
    pub(super) attempts: u32,
    pub(super) due: Instant,
    pub(super) due_wall: Timestamp,
    pub(super) first_marked: Timestamp,
    pub(super) last_marked: Timestamp,
    pub(super) failing_since: Option<Timestamp>,
    pub(super) parked_since: Option<Timestamp>,
    pub(super) last_error: Option<Box<str>>,
    pub(super) causes: Vec<Arc<str>>,
    /// What came while it was in flight, as a key of its own: it stands when the one in flight is settled.
    pub(super) again: Option<Box<Entry>>,
}

impl Entry {
    pub(super) fn new(arrival: &Arrival<'_>) -> Self {
        let mut entry = Self {
            serial: arrival.serial,
            flight: None,
            phase: Phase::Ready,
            class: Class::of(arrival.origin),
            rank: arrival.rank,
            origin: arrival.origin,
            told: false,
            attempts: 0,
            due: arrival.now.monotonic,
            due_wall: arrival.now.wall,
            first_marked: arrival.now.wall,
            last_marked: arrival.now.wall,
            failing_since: None,
            parked_since: None,
            last_error: None,
            causes: Vec::new(),
            again: None,
        };
        entry.remember(arrival.causes, arrival.causes_max);
        entry
    }

    /// Marks it once more. Answers whether anything changed.
    pub(super) fn mark(&mut self, arrival: &Arrival<'_>) -> bool {
        if self.phase == Phase::InFlight {
            self.serial = arrival.serial;
            match &mut self.again {
                Some(again) => again.mark_known(arrival),
                None => {
                    self.again = Some(Box::new(Self::new(arrival)));
                    true
                }
            };
            return true;
        }
        self.mark_known(arrival)
    }

    fn mark_known(&mut self, arrival: &Arrival<'_>) -> bool {
        if arrival.origin != Origin::Survey {
            self.hear(arrival);
            self.wake(arrival.now);
            return true;
        }
        let tried = self.phase == Phase::Parked;
        if tried {
            self.phase = Phase::Ready;
            self.class = Class::Survey;
            (self.due, self.due_wall) = (arrival.now.monotonic, arrival.now.wall);
        }
        tried
    }

    /// Takes over what a mark by anyone but the survey says.
    fn hear(&mut self, arrival: &Arrival<'_>) {
        self.serial = arrival.serial;
        self.rank = self.rank.min(arrival.rank);
        self.origin = self.origin.min(arrival.origin);
        self.class = self.class.min(Class::of(arrival.origin));
        self.last_marked = arrival.now.wall;
        self.remember(arrival.causes, arrival.causes_max);
    }

    /// News came: what was parked or waited is due now, unless the other side said how long to wait.
    fn wake(&mut self, now: Moment) {
        self.unpark();
        let asleep = matches!(self.phase, Phase::Waiting | Phase::Parked);
        if asleep && !(self.phase == Phase::Waiting && self.told) {
            self.phase = Phase::Ready;
            (self.due, self.due_wall) = (now.monotonic, now.wall);
        }
    }

    fn unpark(&mut self) {
        if self.parked_since.take().is_some() {
            self.attempts = 0;
            self.failing_since = None;
        }
    }

    /// A person asks for it: due now, whatever was told.
    pub(super) fn retry(&mut self, serial: u64, causes_max: usize, now: Moment) {
        self.serial = serial;
        if self.phase == Phase::InFlight {
            self.mark(&Arrival {
                rank: self.rank,
                origin: Origin::Hand,
                causes: &[],
                causes_max,
                serial,
                now,
            });
            return;
        }
        self.told = false;
        self.attempts = 0;
        self.failing_since = None;
        self.class = self.class.min(Class::Derived);
        self.wake(now);
    }

    fn remember(&mut self, causes: &[Arc<str>], causes_max: usize) {
        self.causes.reserve_exact(causes.len().min(causes_max)); // Most keys have one cause, and keep to one.
        for cause in causes {
            self.causes.retain(|known| known != cause);
            self.causes.push(cause.clone());
        }
        let surplus = self.causes.len().saturating_sub(causes_max);
        self.causes.drain(..surplus);
    }

    pub(super) fn take(&mut self, key: &str) -> Taken {
        self.phase = Phase::InFlight;
        self.flight = Some(self.serial);
        Taken {
            key: key.to_owned(),
            serial: self.serial,
            causes: self.causes.iter().map(|cause| cause.to_string()).collect(),
            attempts: self.attempts,
            first_marked: self.first_marked,
            last_marked: self.last_marked,
            failing_since: self.failing_since,
            origin: self.origin,
            parked: self.parked_since.is_some(),
        }
    }

    /// Puts it back as it was, with what came meanwhile.
    pub(super) fn release(&mut self, causes_max: usize) {
        self.phase = Phase::Ready;
        self.flight = None;
        self.absorb(causes_max);
    }

    /// It failed. Answers whether it is parked now and was not before.
    pub(super) fn fail(&mut self, error: &str, next: Next, causes_max: usize, now: Moment) -> bool {
        self.flight = None;
        self.attempts = self.attempts.saturating_add(1);
        self.failing_since.get_or_insert(now.wall);
        self.last_error = Some(bounded(error, ERROR_BYTES_MAX).into());
        self.class = self.class.max(Class::Retry);
        let parked_before = self.parked_since.is_some();
        match next {
            Next::Wait { wait, told } => {
                self.told = told;
                self.phase = if parked_before { Phase::Parked } else { Phase::Waiting };
                self.due = now.monotonic + wait;
                self.due_wall = later(now.wall, wait);
            }
            Next::Park => {
                self.told = false;
                self.parked_since.get_or_insert(now.wall);
                self.phase = Phase::Parked;
            }
        }
        self.absorb(causes_max);
        self.parked_since.is_some() && !parked_before
    }

    /// Joins what came while it was in flight.
    fn absorb(&mut self, causes_max: usize) {
        let Some(again) = self.again.take() else { return };
        if again.origin == Origin::Survey {
            return; // It was just tried: all that survey asks for.
        }
        self.hear(&Arrival {
            rank: again.rank,
            origin: again.origin,
            causes: &again.causes,
            causes_max,
            serial: self.serial,
            now: Moment { wall: again.last_marked, monotonic: again.due },
        });
        let told_while_parked = self.phase == Phase::Parked && self.told;
        if told_while_parked {
            self.phase = Phase::Waiting;
        }
        self.wake(Moment { wall: again.due_wall, monotonic: again.due });
    }

    /// As it will stand if the process ends now.
    fn at_rest(&self, causes_max: usize) -> Cow<'_, Self> {
        if self.phase != Phase::InFlight {
            return Cow::Borrowed(self);
        }
        let mut entry = self.clone();
        entry.release(causes_max);
        Cow::Owned(entry)
    }

    pub(super) fn state(&self) -> State {
        match self.phase {
            Phase::Ready => State::Due,
            Phase::Waiting => State::Waiting,
            Phase::Parked => State::Parked,
            Phase::InFlight => State::InFlight,
        }
    }

    pub(super) fn show(&self, key: &str) -> Shown {
        let again = self.again.iter().flat_map(|again| &again.causes);
        Shown {
            key: key.to_owned(),
            state: self.state(),
            origin: self.origin,
            rank: self.rank,
            attempts: self.attempts,
            causes: self.causes.iter().chain(again).map(|cause| cause.to_string()).collect(),
            first_marked: self.first_marked,
            last_marked: self.again.as_ref().map_or(self.last_marked, |again| again.last_marked),
            due: self.due_wall,
            told: self.told,
            failing_since: self.failing_since,
            last_error: self.last_error.as_deref().map(str::to_owned),
            parked_since: self.parked_since,
        }
    }
}

/// The record of a key, and back.
impl Entry {
    pub(super) fn encode(&self, causes_max: usize) -> Vec<u8> {
        let entry = self.at_rest(causes_max);
        let trying = entry.phase == Phase::Ready && entry.parked_since.is_some();
        let mut record = Writer::new();
        record
            .number(entry.serial)
            .byte(entry.rank)
            .byte(origin_tag(entry.origin))
            .byte(u8::from(entry.told) | u8::from(trying) << 1)
            .number(entry.attempts.into())
            .time(entry.due_wall)
            .time(entry.first_marked)
            .time(entry.last_marked)
            .maybe_time(entry.failing_since)
            .maybe_time(entry.parked_since)
            .maybe(entry.last_error.as_deref(), |record, error| {
                record.text(error);
            })
            .number(entry.causes.len() as u64);
        for cause in &entry.causes {
            record.text(cause);
        }
        record.done()
    }

    /// A key as it was shown elsewhere. What was in flight there is due here.
    pub(super) fn imported(shown: &Shown, serial: u64, now: Moment) -> Self {
        let trying = shown.parked_since.is_some() && shown.state != State::Parked;
        Self {
            serial,
            flight: None,
            phase: if trying || shown.parked_since.is_none() { Phase::Ready } else { Phase::Parked },
            class: Class::of(shown.origin),
            rank: shown.rank,
            origin: shown.origin,
            told: shown.told,
            attempts: shown.attempts,
            due: now.monotonic,
            due_wall: shown.due,
            first_marked: shown.first_marked,
            last_marked: shown.last_marked,
            failing_since: shown.failing_since,
            parked_since: shown.parked_since,
            last_error: shown.last_error.as_deref().map(Into::into),
            causes: shown.causes.iter().map(|cause| cause.as_str().into()).collect(),
            again: None,
        }
    }

    /// Reads a record. Its wait is what is left of it by wall time, whatever the clock did: at most `waits.told` where
    /// somebody asked us to wait, at most `waits.own` where a try failed, none where none was made, or where survey wants a
    /// parked key tried.
    pub(super) fn decode(record: &[u8], waits: Waits, now: Moment) -> Result<Self, Damage> {
        let mut fields = Reader::new(record)?;
        let (serial, rank) = (fields.number()?, fields.byte()?);
        let origin = origin_of(fields.byte()?)?;
        let flags = fields.byte()?;
        let attempts = u32::try_from(fields.number()?).map_err(|_| Damage::Malformed)?;
        let (due_wall, first_marked, last_marked) = (fields.time()?, fields.time()?, fields.time()?);
        let failing_since = fields.maybe(Reader::time)?;
        let parked_since = fields.maybe(Reader::time)?;
        let last_error = fields.maybe(Reader::text)?.map(Into::into);
        let mut causes = Vec::new();
        for _ in 0..fields.number()? {
            causes.push(fields.text()?.into());
        }
        fields.end()?;
        let (told, trying) = (flags & 1 != 0, flags & 2 != 0);
        let longest = match (trying, told, attempts) {
            (true, _, _) | (false, false, 0) => Duration::ZERO,
            (false, true, _) => waits.told,
            (false, false, _) => waits.own,
        };
        let left = Duration::try_from(due_wall.duration_since(now.wall)).unwrap_or_default().min(longest);
        let phase = match (parked_since.is_some() && !trying, left.is_zero()) {
            (true, _) => Phase::Parked,
            (false, true) => Phase::Ready,
            (false, false) => Phase::Waiting,
        };
        let class = match (trying, attempts) {
            (true, _) => Class::Survey,
            (false, 0) => Class::of(origin),
            (false, _) => Class::of(origin).max(Class::Retry),
        };
        let due = now.monotonic + left;
        let due_wall = if left.is_zero() { due_wall } else { later(now.wall, left) };
        Ok(Self {
            serial,
            flight: None,
            phase,
            class,
            rank,
            origin,
            told,
            attempts,
            due,
            due_wall,
            first_marked,
            last_marked,
            failing_since,
            parked_since,
            last_error,
            causes,
            again: None,
        })
    }
}

pub(super) fn origin_tag(origin: Origin) -> u8 {
    match origin {
        Origin::Event => 0,
        Origin::Also => 1,
        Origin::Hand => 2,
        Origin::Survey => 3,
    }
}

fn origin_of(tag: u8) -> Result<Origin, Damage> {
    match tag {
        0 => Ok(Origin::Event),
        1 => Ok(Origin::Also),
        2 => Ok(Origin::Hand),
        3 => Ok(Origin::Survey),
        _ => Err(Damage::Malformed),
    }
}

/// Wall time after a wait; as it was where that can't be told.
pub(super) fn later(wall: Timestamp, wait: Duration) -> Timestamp {
    wall.checked_add(wait).unwrap_or(wall)
}

/// The beginning of a text, at most `bytes_max` long, cut between characters.
pub(super) fn bounded(text: &str, bytes_max: usize) -> &str {
    let mut end = bytes_max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
