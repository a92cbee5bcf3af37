//! A consumer whose every settle is done twice: the second time, the world unchanged in between, must find the same facts
//! and change nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use flatbus_runtime::{Change, Consumer, Ctx, Fact, Failure, Settled, SurveyScope};
use flatbus_schemas::Announcement;
use futures::Stream;

use crate::{
    gate::Gate,
    invariant::Invariant,
    witness::{Did, Witness},
};

/// The same consumer, settling everything twice: a key that was settled is doubtful once more.
pub struct Twice<C> {
    inner: C,
    gate: Gate,
    witness: Witness,
    first: Mutex<BTreeMap<String, First>>,
    /// Gone with the last task of the process.
    _alive: Arc<()>,
}

/// What settling a key found the first time, and the state of the world then.
struct First {
    facts: Vec<Fact>,
    also: BTreeSet<String>,
    did: Did,
    /// Nothing else happened meanwhile, and it said that it is done: no key of its lane does the rest in time.
    is_whole: bool,
    left: State,
}

/// The world, as far as a settle depends on it: how often the outside changed or lied, what all settles wrote, and how
/// many ended, for what they remembered.
#[derive(Clone, Copy, PartialEq, Eq)]
struct State {
    revision: u64,
    writes: u64,
    ended: u64,
}

impl<C: Consumer> Twice<C> {
    /// Wraps a consumer.
    pub fn new(inner: C, gate: Gate, witness: Witness, alive: Arc<()>) -> Self {
        Self { inner, gate, witness, first: Mutex::default(), _alive: alive }
    }

    fn state(&self) -> State {
        let witness = &self.witness;
        State { revision: self.gate.revision(), writes: witness.writes(), ended: witness.ended() }
    }

    fn judge(&self, key: &C::Key, settled: &mut Settled<C::Key>, began: State, did: Did) {
        let mut all = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        let also: BTreeSet<String> = settled.also.iter().map(ToString::to_string).collect();
        let left = self.state();
        let alone = left == State { writes: began.writes + did.writes, ended: began.ended + 1, ..began };
        match all.remove(&key.to_string()) {
            Some(first) if first.is_whole && alone && first.left == began && first.did.asked == did.asked => {
                drop(all);
                self.witness.compared(true);
                self.compare(key, &first, settled, &also, did);
            }
            Some(_) => self.witness.compared(false), // The world was faster: nothing can be said.
            None => {
                let lane = self.inner.lane(key);
                let is_whole = alone && settled.also.iter().all(|other| self.inner.lane(other) != lane);
                let first = First { facts: settled.facts.clone(), also, did, is_whole, left };
                all.insert(key.to_string(), first);
                settled.also.push(key.clone());
            }
        }
    }

    fn forget(&self, key: &C::Key) {
        self.first.lock().unwrap_or_else(PoisonError::into_inner).remove(&key.to_string());
    }

    fn compare(
        &self,
        key: &C::Key,
        first: &First,
        settled: &Settled<C::Key>,
        also: &BTreeSet<String>,
        did: Did,
    ) {
        let broken =
            |what: String| self.witness.broken(Invariant::SettlingTwiceIsOnce, format!("{key}: {what}"));
        if settled.changed || did.writes > 0 {
            broken(format!("the second settle changed something ({} writes)", did.writes));
        }
        let before = |fact: &Fact| first.facts.iter().find(|known| known.subject == fact.subject);
        let differs = |fact: &&Fact| before(fact).is_some_and(|known| known.value != fact.value);
        if let Some(fact) = settled.facts.iter().find(differs) {
            broken(format!("first it found {:?}, then {fact:?}", before(fact)));
        }
        if !also.is_subset(&first.also) {
            broken(format!("first it found doubtful {:?}, then {also:?}", first.also));
        }
    }
}

impl<C: Consumer> Consumer for Twice<C> {
    const NAME: &'static str = C::NAME;
    const BATCH_MAX: usize = C::BATCH_MAX;
    const SHARES_QUEUE: bool = C::SHARES_QUEUE;
    type Event = C::Event;
    type Key = C::Key;

    fn affected(&self, event: &C::Event) -> Vec<C::Key> {
        self.inner.affected(event)
    }

    fn lane(&self, key: &C::Key) -> String {
        self.inner.lane(key)
    }

    fn rank(&self, key: &C::Key) -> u8 {
        self.inner.rank(key)
    }

    async fn settle(&self, ctx: &Ctx, batch: &[C::Key]) -> Vec<Result<Settled<C::Key>, Failure>> {
        let began = self.state();
        self.witness.begins();
        let mut results = self.inner.settle(ctx, batch).await;
        let cleared: Vec<String> = batch
            .iter()
            .zip(&results)
            .filter(|(_, result)| result.is_ok())
            .map(|(key, _)| key.to_string())
            .collect();
        let did = self.witness.ends(&cleared);
        for (key, result) in batch.iter().zip(&mut results) {
            match result {
                Ok(settled) => self.judge(key, settled, began, did),
                Err(_) => self.forget(key),
            }
        }
        results
    }

    fn survey(&self, ctx: &Ctx, scope: SurveyScope) -> impl Stream<Item = Result<C::Key, Failure>> + Send {
        self.inner.survey(ctx, scope)
    }

    fn announce(&self, change: &Change) -> Option<Announcement> {
        self.inner.announce(change)
    }

    async fn serve(&self, ctx: &Ctx) -> Result<(), Failure> {
        self.inner.serve(ctx).await
    }
}
