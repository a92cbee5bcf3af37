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

/// How often a key is settled once more because the world changed before it was settled twice.
const OVERTAKEN_MAX: u8 = 3;

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
    asked: bool,
    also: BTreeSet<String>,
    /// It said itself that it is not done: another key of its lane does the rest in time.
    unfinished: bool,
    world: State,
    /// Settles that had ended by then: what they remembered, a later one may go by.
    ended: u64,
    /// How often the world was faster.
    overtaken: u8,
}

/// The world, as far as a settle depends on it: how often the outside changed or lied, and what all settles wrote.
#[derive(Clone, Copy, PartialEq, Eq)]
struct State {
    revision: u64,
    writes: u64,
}

impl First {
    /// The world is as it was left, and both looked at it in the same way.
    fn is_comparable(&self, began: State, did: Did) -> bool {
        self.world == began && self.ended + 1 == did.ended && self.asked == did.asked && !self.unfinished
    }
}

impl<C: Consumer> Twice<C> {
    /// Wraps a consumer.
    pub fn new(inner: C, gate: Gate, witness: Witness, alive: Arc<()>) -> Self {
        Self { inner, gate, witness, first: Mutex::default(), _alive: alive }
    }

    fn state(&self) -> State {
        State { revision: self.gate.revision(), writes: self.witness.writes() }
    }

    fn judge(&self, key: &C::Key, settled: &mut Settled<C::Key>, began: State, did: Did) {
        let mut all = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        let name = key.to_string();
        let also: BTreeSet<String> = settled.also.iter().map(ToString::to_string).collect();
        let now = self.state();
        let undisturbed = now.revision == began.revision && now.writes == began.writes + did.writes;
        match all.remove(&name) {
            Some(first) if first.is_comparable(began, did) && undisturbed => {
                drop(all);
                self.witness.compared(true);
                self.compare(&name, &first, settled, &also, did);
            }
            first => {
                if first.is_some() {
                    self.witness.compared(false);
                }
                // As this settle left it; one that was disturbed is a first that nothing is compared with.
                let world = State { revision: began.revision, writes: now.writes };
                let overtaken = first.map_or(0, |first| first.overtaken + 1);
                if overtaken > OVERTAKEN_MAX {
                    return;
                }
                let lane = self.inner.lane(key);
                let first = First {
                    overtaken,
                    facts: settled.facts.clone(),
                    asked: did.asked,
                    unfinished: settled.also.iter().any(|other| self.inner.lane(other) == lane),
                    also,
                    world,
                    ended: did.ended,
                };
                all.insert(name, first);
                settled.also.push(key.clone());
            }
        }
    }

    fn compare(
        &self,
        key: &str,
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
        if settled.facts != first.facts {
            broken(format!("first it found {:?}, then {:?}", first.facts, settled.facts));
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
                Err(_) => {
                    drop(self.first.lock().unwrap_or_else(PoisonError::into_inner).remove(&key.to_string()))
                }
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
