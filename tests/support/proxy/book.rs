//! What the proxy did to its connections, and what they did about it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use flatbus_base::{Clock as _, SystemClock};
use tokio::time::Instant;

use super::{
    Orders,
    fate::{Fate, Fault},
};

/// A connection on which bytes were withheld, for how long its client put up with it.
#[derive(Debug, Clone)]
pub struct Silence {
    /// The connection's number.
    pub connection: u64,
    /// What it had to expect.
    pub fate: String,
    /// When the first byte was withheld.
    pub began: Instant,
    /// From the first byte withheld to the end of the connection.
    pub lasted: Duration,
    /// The part of it in which the client heard nothing at all.
    pub unheard: Duration,
    /// Whether it ended.
    pub over: bool,
}

/// Shared by the proxy and its connections.
#[derive(Default)]
pub(super) struct Book(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    connections: u64,
    open: BTreeSet<u64>,
    /// Those with a way on which nothing is passed on any more.
    silent: BTreeSet<u64>,
    struck: BTreeMap<Fault, usize>,
    refused: usize,
    silences: BTreeMap<u64, Entry>,
}

struct Entry {
    fate: String,
    began: Instant,
    heard: Instant,
    ended: Option<Instant>,
}

impl Book {
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A page for the next connection.
    pub(super) fn next(self: &Arc<Self>) -> Page {
        let mut entries = self.entries();
        let number = entries.connections;
        entries.connections += 1;
        entries.open.insert(number);
        Page { book: Arc::clone(self), number, fate: Mutex::default() }
    }

    pub(super) fn refuses(&self) {
        self.entries().refused += 1;
    }

    pub(super) fn open(&self) -> usize {
        self.entries().open.len()
    }

    pub(super) fn connections(&self) -> u64 {
        self.entries().connections
    }

    pub(super) fn refused(&self) -> usize {
        self.entries().refused
    }

    pub(super) fn struck(&self) -> BTreeMap<Fault, usize> {
        self.entries().struck.clone()
    }

    pub(super) fn silences(&self) -> Vec<Silence> {
        let now = SystemClock.monotonic();
        let entries = self.entries();
        let silence = |(&connection, entry): (&u64, &Entry)| {
            let ended = entry.ended.unwrap_or(now);
            Silence {
                connection,
                fate: entry.fate.clone(),
                began: entry.began,
                lasted: ended.saturating_duration_since(entry.began),
                unheard: ended.saturating_duration_since(entry.heard),
                over: entry.ended.is_some(),
            }
        };
        entries.silences.iter().map(silence).collect()
    }
}

/// What is written of one connection.
pub(super) struct Page {
    book: Arc<Book>,
    number: u64,
    fate: Mutex<String>,
}

impl Page {
    /// What it has to expect by these orders.
    pub(super) fn fate(&self, orders: Orders) -> Fate {
        let fate = match orders {
            Orders::Calm | Orders::Refuse => Fate::default(),
            Orders::All(fate) => fate,
            Orders::Plan(plan) => plan.fate(self.number),
        };
        *self.fate.lock().unwrap_or_else(PoisonError::into_inner) = fate.to_string();
        fate
    }

    pub(super) fn strikes(&self, fault: Fault) {
        let mut entries = self.book.entries();
        *entries.struck.entry(fault).or_default() += 1;
        if matches!(fault, Fault::Stall | Fault::Swallow) {
            entries.silent.insert(self.number);
        }
    }

    /// Counted from the first byte on.
    pub(super) fn withholds_from_now(&self) {
        let fate = self.fate.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let began = SystemClock.monotonic();
        let entry = Entry { fate, began, heard: began, ended: None };
        self.book.entries().silences.entry(self.number).or_insert(entry);
    }

    /// The client got something all the same, the other way being open.
    pub(super) fn client_hears(&self) {
        if let Some(entry) = self.book.entries().silences.get_mut(&self.number) {
            entry.heard = SystemClock.monotonic();
        }
    }

    pub(super) fn is_silent(&self) -> bool {
        self.book.entries().silent.contains(&self.number)
    }

    pub(super) fn ends(&self) {
        let mut entries = self.book.entries();
        entries.open.remove(&self.number);
        entries.silent.remove(&self.number);
        if let Some(entry) = entries.silences.get_mut(&self.number) {
            entry.ended.get_or_insert(SystemClock.monotonic());
        }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.ends();
    }
}
