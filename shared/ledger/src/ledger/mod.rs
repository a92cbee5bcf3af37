//! What is doubtful, tried, parked, announced and remembered. All doubtful keys are in memory; facts, memos,
//! announcements and bodies stay in the store. Every change is made in memory and queued for the store under one lock,
//! so the store's order is memory's order. Never reads a clock, never talks to the world.

mod entry;
mod journal;
mod kept;
mod load;
mod parked;
mod port;
mod read;
mod record;
mod state;
mod survey;
mod table;
mod types;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use flatbus_base::Moment;
use futures::future;
use tokio::time::Instant;

use self::{journal::Group, state::State, table::Landing};
use crate::{Files, Store, StoreError, space::Space};

pub use port::{Export, ImportReport};
pub use types::{
    Commit, Counts, Deed, Filter, LedgerError, Limits, Mark, Marked, Next, Opened, Origin, Owed,
    ParkedMessage, ParkedShown, Position, Settlement, Shown, State as KeyState, SurveyState, Taken,
};

/// The record the runtime keeps. Clones are handles on the same ledger.
#[derive(Clone)]
pub struct Ledger(Arc<Inner>);

struct Inner {
    store: Arc<dyn Store>,
    files: Arc<dyn Files>,
    opened: Opened,
    state: Mutex<State>,
}

/// Keys: marked, taken, settled.
impl Ledger {
    /// Reads everything the ledger keeps in memory, and durably notes that it is open: a process that dies before
    /// [`Self::close`] has left it unclean.
    ///
    /// # Errors
    /// When the store fails, or holds records that this program can't read.
    pub async fn open(
        store: Arc<dyn Store>,
        files: Arc<dyn Files>,
        limits: Limits,
        now: Moment,
    ) -> Result<Self, LedgerError> {
        let (state, opened) = load::load(&store, &files, limits, now)?;
        let ledger = Self(Arc::new(Inner { store, files, opened, state: Mutex::new(state) }));
        ledger
            .write(|state| {
                state.journal.put(Space::Format.only(), record::present());
                state.journal.put(Space::Session.only(), record::session(false));
            })
            .1
            .await?;
        Ok(ledger)
    }

    /// How the last process left it.
    #[must_use]
    pub fn opened(&self) -> Opened {
        self.0.opened
    }

    /// Marks keys doubtful, and moves a replay's position, in one commit. An event un-parks a parked key and makes a
    /// waiting one due, unless the other side said how long to wait; survey shortens no wait and has a parked key
    /// tried once. Past `doubtful_max` new keys collapse into *survey owed*.
    pub fn mark(&self, marks: &[Mark], causes: &[String], position: Option<Position>, now: Moment) -> Marked {
        if marks.is_empty() && position.is_none() {
            return Marked { commit: settled_already(), new: 0, again: 0, collapsed: 0 };
        }
        let causes: Vec<Arc<str>> = causes.iter().map(|cause| cause.as_str().into()).collect();
        let (tally, commit) = self.write(|state| {
            let tally = state.mark(marks, &causes, now);
            state.put_position(position);
            tally
        });
        Marked { commit, new: tally.new, again: tally.again, collapsed: tally.collapsed }
    }

    /// More marks are about to come: those made from now on are written together, at [`Self::uncork`] or as soon as
    /// somebody waits for one of them. For whoever reads many messages at once.
    pub fn cork(&self) {
        self.state().journal.cork();
    }

    /// Writes what was held back.
    pub fn uncork(&self) {
        self.state().journal.uncork();
    }

    /// Takes up to `max` due keys that `admit` lets pass: what events marked before what people or other keys did,
    /// before retries, before survey; then by rank, then by who was first. They are in flight until settled, failed
    /// or released.
    pub fn take(&self, now: Moment, max: usize, admit: &mut dyn FnMut(&str) -> bool) -> Vec<Taken> {
        self.state().table.take(now, max, admit)
    }

    /// The earliest instant at which a key not in flight is due. In the past where one was due and not admitted: wait
    /// for a lane then, or until [`Self::next_wait_ends`].
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        self.state().table.next_due()
    }

    /// The earliest instant at which a key that still waits is due.
    #[must_use]
    pub fn next_wait_ends(&self) -> Option<Instant> {
        self.state().table.next_wait_ends()
    }

    /// The key is true: it is doubtful no more, unless it was marked again since it was taken. All of the settlement is
    /// in the same commit. Counts for nothing if the key was dropped meanwhile.
    pub fn settled(&self, taken: &Taken, settlement: Settlement, now: Moment) -> Commit {
        self.write(|state| {
            if state.table.settled(taken) != Landing::Ignored {
                state.put_doubt(&taken.key);
                state.keep(taken, settlement, now, self.0.store.as_ref());
            }
        })
        .1
    }

    /// The key could not be made true. With [`Next::Park`] the outbox is written only if the key is parked now and was
    /// not before, so that a key is announced once; a key an event marked again meanwhile is tried again, not parked.
    pub fn failed(
        &self,
        taken: &Taken,
        error: &str,
        next: Next,
        outbox: Vec<Vec<u8>>,
        now: Moment,
    ) -> Commit {
        self.write(|state| {
            let announce = match (state.table.failed(taken, error, next, now), next) {
                (Landing::Ignored, _) => return,
                (Landing::Kept { newly_parked }, Next::Park) => newly_parked,
                (Landing::Kept { .. }, Next::Wait { .. }) | (Landing::Cleared, _) => true,
            };
            state.put_doubt(&taken.key);
            if announce {
                state.announce(outbox);
            }
        })
        .1
    }

    /// There is no result: the key is as doubtful as before, with what came meanwhile.
    pub fn release(&self, taken: &Taken) {
        self.state().table.release(taken);
    }

    /// A person asks for a key now, whatever it waits for; un-parks it. `None` where it is not doubtful.
    pub fn retry(&self, key: &str, now: Moment) -> Option<Commit> {
        let (known, commit) = self.write(|state| {
            let known = state.table.retry(key, now);
            if known {
                state.put_doubt(key);
            }
            known
        });
        known.then_some(commit)
    }

    /// Forgets that a key is doubtful, also while it is in flight: its result then counts for nothing. `None` where it
    /// is not doubtful.
    pub fn drop_key(&self, key: &str) -> Option<Commit> {
        let (known, commit) = self.write(|state| {
            let known = state.table.remove(key).is_some();
            if known {
                state.put_doubt(key);
            }
            known
        });
        known.then_some(commit)
    }

    /// Keys in order, from `after` on.
    #[must_use]
    pub fn list(&self, filter: &Filter, after: Option<&str>, limit: usize) -> Vec<Shown> {
        self.state().table.list(filter, after, limit)
    }

    /// One key; `None` where it is not doubtful.
    #[must_use]
    pub fn show(&self, key: &str) -> Option<Shown> {
        self.state().table.show(key)
    }

    /// How much there is of everything.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.state().counts()
    }
}

/// Durability.
impl Ledger {
    /// Notes that everything was written and nothing is under way.
    ///
    /// # Errors
    /// When the store can't be written: the next start counts as unclean.
    pub async fn close(&self) -> Result<(), StoreError> {
        self.write(State::put_clean).1.await
    }

    /// Whether memory is ahead of the store because a commit failed. Nothing is lost: it goes with the next commit.
    #[must_use]
    pub fn unwritten(&self) -> bool {
        self.state().journal.failed()
    }

    /// Resolves when everything changed so far is durable, what a failed commit left included.
    pub fn sync(&self) -> Commit {
        let mut state = self.state();
        state.journal.poll();
        let group = state.journal.last();
        drop(state);
        self.durable(group)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes memory and queues the batch under one lock.
    fn write<R>(&self, change: impl FnOnce(&mut State) -> R) -> (R, Commit) {
        let mut state = self.state();
        state.journal.poll();
        state.put_open();
        let answer = change(&mut state);
        let group = state.journal.last();
        drop(state);
        (answer, self.durable(group))
    }

    fn durable(&self, group: Option<Arc<Group>>) -> Commit {
        match group {
            Some(group) => Box::pin(landed(self.clone(), group)),
            None => settled_already(),
        }
    }
}

fn settled_already() -> Commit {
    Box::pin(future::ready(Ok(())))
}

/// Waits until a group's batch has landed. Whoever waits drives: no task of its own is needed.
async fn landed(ledger: Ledger, group: Arc<Group>) -> Result<(), StoreError> {
    loop {
        let flight = {
            let mut state = ledger.state();
            match group.outcome() {
                Some(outcome) => return outcome,
                None => state.journal.flight(),
            }
        };
        let Some(flight) = flight else { return Ok(()) }; // Not reached: a group unanswered is sent or under way.
        let outcome = flight.done.await;
        ledger.state().journal.land(flight.number, outcome);
    }
}

#[cfg(test)]
mod tests;
