//! Opening: reads what memory holds, refuses what it can't read, and removes files that nothing names.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use flatbus_base::Moment;

use super::{
    entry::Waits,
    journal::Journal,
    record::{self, refusal},
    state::{Body, State},
    table::Table,
    types::{LedgerError, Limits, Opened, SurveyState},
};
use crate::{FileName, Files, Record, Store, StoreError, codec::Damage, space::Space};

/// Records read at once: bounds memory, not the store.
const PAGE_RECORDS_MAX: usize = 1024;

pub(super) fn load(
    store: &Arc<dyn Store>,
    files: &Arc<dyn Files>,
    limits: Limits,
    now: Moment,
) -> Result<(State, Opened), LedgerError> {
    let opened = look(store.as_ref())?;
    let mut state = State {
        table: Table::new(
            limits.doubtful_max,
            limits.causes_max,
            Waits { told: limits.wait_max, own: limits.own_wait_max },
        ),
        journal: Journal::new(store.clone(), files.clone()),
        survey: survey(store.as_ref())?,
        owed_anew: false,
        outbox: BTreeSet::new(),
        outbox_next: 0,
        parked: BTreeMap::new(),
        parked_next: 0,
        parked_bytes: 0,
        parked_dropped: 0,
        deeds: 0..0,
        memos: 0,
        memos_refused: 0,
        closed: false,
        limits,
    };
    let there: BTreeSet<FileName> = files.list()?.into_iter().collect();
    doubts(store.as_ref(), &mut state, now)?;
    memos(store.as_ref(), &mut state, &there)?;
    numbered(store.as_ref(), &mut state)?;
    for name in there {
        state.journal.remove_unless_named(name);
    }
    Ok((state, opened))
}

/// Whether the store is ours, new, and was closed.
pub(super) fn look(store: &dyn Store) -> Result<Opened, LedgerError> {
    let Some(format) = store.get(&Space::Format.only())? else {
        return match store.scan(&[], None, 1)?.is_empty() {
            true => Ok(Opened { first: true, clean: true }),
            false => Err(LedgerError::Unfinished),
        };
    };
    record::check_present(&format).map_err(refusal(Space::Format))?;
    let session = store.get(&Space::Session.only())?;
    let clean = session.is_some_and(|session| record::read_session(&session) == Ok(true));
    Ok(Opened { first: false, clean })
}

fn survey(store: &dyn Store) -> Result<SurveyState, LedgerError> {
    let stored = store.get(&Space::Survey.only())?;
    let read = stored.map(|stored| record::read_survey(&stored)).transpose();
    Ok(read.map_err(refusal(Space::Survey))?.unwrap_or_default())
}

fn doubts(store: &dyn Store, state: &mut State, now: Moment) -> Result<(), LedgerError> {
    each(store, Space::Doubt, |key, stored| {
        let key = Space::Doubt.name_of(key).ok_or(Damage::Malformed)?;
        state.table.load(key, stored, now)
    })
}

/// A memo whose file is gone is gone: it costs work, never a deletion.
fn memos(store: &dyn Store, state: &mut State, there: &BTreeSet<FileName>) -> Result<(), LedgerError> {
    each(store, Space::Memo, |key, stored| {
        match record::read_memo(stored)?.file() {
            Some(name) if !there.contains(&name) => {
                tracing::warn!(file = %name, "A memo's file is missing: the memo is forgotten");
                state.journal.delete(key.to_vec());
                return Ok(());
            }
            Some(name) => state.journal.already_named(name),
            None => {}
        }
        state.memos += 1;
        Ok(())
    })
}

fn numbered(store: &dyn Store, state: &mut State) -> Result<(), LedgerError> {
    each(store, Space::Outbox, |key, _| {
        let number = number(Space::Outbox, key)?;
        state.outbox.insert(number);
        state.outbox_next = number + 1;
        Ok(())
    })?;
    each(store, Space::Parked, |key, stored| {
        let number = number(Space::Parked, key)?;
        let (shown, content) = record::read_parked(number, stored)?;
        let kept = content != record::Content::Gone;
        let file = content.file();
        if let Some(name) = file {
            state.journal.already_named(name);
        }
        state.admit_parked(number, Body { bytes: if kept { shown.body_bytes } else { 0 }, file });
        state.parked_next = number + 1;
        Ok(())
    })?;
    each(store, Space::Deed, |key, _| {
        let number = number(Space::Deed, key)?;
        if state.deeds.is_empty() {
            state.deeds.start = number;
        }
        state.deeds.end = number + 1;
        Ok(())
    })
}

/// The highest number is left free: counting on never overflows.
fn number(space: Space, key: &[u8]) -> Result<u64, Damage> {
    space.number_of(key).filter(|number| *number < u64::MAX).ok_or(Damage::Malformed)
}

/// Reads every record of a space, in order, a page at a time.
fn each(
    store: &dyn Store,
    space: Space,
    mut read: impl FnMut(&[u8], &[u8]) -> Result<(), Damage>,
) -> Result<(), LedgerError> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page: Vec<Record> = page(store, space, after.as_deref())?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = Some(last.clone());
        for (key, stored) in &page {
            read(key, stored).map_err(refusal(space))?;
        }
    }
}

fn page(store: &dyn Store, space: Space, after: Option<&[u8]>) -> Result<Vec<Record>, StoreError> {
    store.scan(&space.only(), after, PAGE_RECORDS_MAX)
}
