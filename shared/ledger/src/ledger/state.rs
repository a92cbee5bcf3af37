//! All that is in memory, and the changes that are more than one record. Always called under the ledger's lock.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
};

use flatbus_base::Moment;

use super::{
    entry::bounded,
    journal::Journal,
    record::{self, Content},
    table::{Effect, Table, inherited},
    types::{Counts, Limits, Mark, Position, Settlement, SurveyState, Taken},
};
use crate::{FILE_BYTES_MAX, FileName, Store, space::Space};

/// Larger memos are files.
pub(super) const MEMO_INLINE_BYTES_MAX: usize = 4 << 10;
/// Longest text kept of a deed.
const DEED_BYTES_MAX: usize = 4 << 10;

/// What a batch of marks did.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) new: usize,
    pub(super) again: usize,
    pub(super) collapsed: usize,
}

/// What memory knows of a parked message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Body {
    pub(super) bytes: u64,
    pub(super) file: Option<FileName>,
}

pub(super) struct State {
    pub(super) limits: Limits,
    pub(super) table: Table,
    pub(super) journal: Journal,
    pub(super) survey: SurveyState,
    /// A survey was asked for since the one under way began.
    pub(super) owed_anew: bool,
    pub(super) outbox: BTreeSet<u64>,
    pub(super) outbox_next: u64,
    pub(super) parked: BTreeMap<u64, Body>,
    pub(super) parked_next: u64,
    pub(super) parked_bytes: u64,
    pub(super) parked_dropped: u64,
    pub(super) deeds: Range<u64>,
    pub(super) memos: usize,
    pub(super) memos_refused: u64,
    pub(super) closed: bool,
}

impl State {
    pub(super) fn mark(&mut self, marks: &[Mark], causes: &[Arc<str>], now: Moment) -> Tally {
        let mut tally = Tally::default();
        for mark in marks {
            let effect = self.table.mark(mark, causes, now);
            match effect {
                Effect::New => tally.new += 1,
                Effect::Again | Effect::Unchanged => tally.again += 1,
                Effect::Collapsed => tally.collapsed += 1,
            }
            if matches!(effect, Effect::New | Effect::Again) {
                self.put_doubt(&mark.key);
            }
        }
        if tally.collapsed > 0 {
            self.owe_survey(true, "more keys were doubtful than the ledger holds", now.wall);
        }
        tally
    }

    /// Writes a key as it stands in memory, or its absence.
    pub(super) fn put_doubt(&mut self, key: &str) {
        match self.table.record(key) {
            Some(record) => self.journal.put(Space::Doubt.named(key), record),
            None => self.journal.delete(Space::Doubt.named(key)),
        }
    }

    pub(super) fn put_position(&mut self, position: Option<Position>) {
        if let Some(Position { source, position }) = position {
            self.journal.put(Space::Position.named(&source), record::text(&position));
        }
    }

    /// Writes all of a settlement.
    pub(super) fn keep(&mut self, taken: &Taken, settlement: Settlement, now: Moment, store: &dyn Store) {
        let Settlement { facts, outbox, also, memos, deeds } = settlement;
        for (subject, value) in facts {
            match value {
                Some(value) => self.journal.put(Space::Fact.named(&subject), record::text(&value)),
                None => self.journal.delete(Space::Fact.named(&subject)),
            }
        }
        self.announce(outbox);
        for (name, value) in memos {
            self.remember(&name, value, store);
        }
        for text in deeds {
            self.note_deed(&text, now);
        }
        let causes: Vec<Arc<str>> = taken.causes.iter().map(|cause| cause.as_str().into()).collect();
        let weighed = |mark: Mark| Mark { origin: inherited(mark.origin, taken.origin), ..mark };
        let also: Vec<Mark> = also.into_iter().map(weighed).collect();
        self.mark(&also, &causes, now);
    }

    pub(super) fn announce(&mut self, outbox: Vec<Vec<u8>>) {
        for announcement in outbox {
            self.journal.put(Space::Outbox.numbered(self.outbox_next), record::bytes(&announcement));
            self.outbox.insert(self.outbox_next);
            self.outbox_next += 1;
        }
    }

    pub(super) fn sent(&mut self, number: u64) {
        if self.outbox.remove(&number) {
            self.journal.delete(Space::Outbox.numbered(number));
        }
    }

    fn note_deed(&mut self, text: &str, now: Moment) {
        let record = record::deed(now.wall, bounded(text, DEED_BYTES_MAX));
        self.journal.put(Space::Deed.numbered(self.deeds.end), record);
        self.deeds.end += 1;
        while self.deeds.end - self.deeds.start > self.limits.deeds_max as u64 {
            self.journal.delete(Space::Deed.numbered(self.deeds.start));
            self.deeds.start += 1;
        }
    }

    fn remember(&mut self, name: &str, value: Option<Vec<u8>>, store: &dyn Store) {
        let key = Space::Memo.named(name);
        let old = self.known_memo(&key, store);
        let room = old.is_some() || self.memos < self.limits.memos_max;
        let content = match value {
            Some(value) if value.len() <= FILE_BYTES_MAX && room => {
                Some(self.place(value, MEMO_INLINE_BYTES_MAX))
            }
            Some(_) => {
                self.memos_refused += 1; // What was known under the name is not true any more: it goes.
                None
            }
            None => None,
        };
        if let Some(file) = old.as_ref().and_then(Content::file) {
            self.journal.unname_file(file);
        }
        self.memos = self.memos + usize::from(content.is_some()) - usize::from(old.is_some());
        match content {
            Some(content) => self.journal.put(key, record::memo(&content)),
            None if old.is_some() => self.journal.delete(key),
            None => {}
        }
    }

    /// The memo that stands. One that can't be read counts as none: it is written over.
    fn known_memo(&self, key: &[u8], store: &dyn Store) -> Option<Content> {
        let record = match self.journal.get(key) {
            Some(record) => record,
            None => store.get(key).unwrap_or_default(),
        };
        record.and_then(|record| record::read_memo(&record).ok())
    }

    /// In the record where it is short, else in a file.
    pub(super) fn place(&mut self, content: Vec<u8>, inline_bytes_max: usize) -> Content {
        if content.len() <= inline_bytes_max {
            Content::Here(content)
        } else {
            Content::File(self.journal.name_file(content))
        }
    }

    pub(super) fn put_clean(&mut self) {
        self.journal.put(Space::Session.only(), record::session(true));
        self.closed = true;
    }

    /// A write after the clean mark takes it back.
    pub(super) fn put_open(&mut self) {
        if std::mem::take(&mut self.closed) {
            self.journal.put(Space::Session.only(), record::session(false));
        }
    }

    pub(super) fn counts(&self) -> Counts {
        let mut counts = Counts {
            parked_messages: self.parked.len(),
            parked_bytes: self.parked_bytes,
            parked_dropped: self.parked_dropped,
            outbox: self.outbox.len(),
            deeds: (self.deeds.end - self.deeds.start) as usize,
            memos: self.memos,
            memos_refused: self.memos_refused,
            ..Counts::default()
        };
        self.table.count(&mut counts);
        counts
    }
}
