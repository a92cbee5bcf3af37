//! The steps of the loop, each a function of what it is given: receive a delivery, settle a batch, conclude a key.
//!
//! Nothing here waits for a source, spawns or retries: the tasks beside it do. This is the one place that decides what is
//! acknowledged, recorded, announced or parked.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use flatbus_base::{Moment, Remedy};
use flatbus_bus::{Delivery, Outgoing};
use flatbus_ledger::{
    Commit, Counts, Ledger, Mark, Next, Origin, ParkedMessage, Position, Settlement, StoreError, Taken,
};
use flatbus_schemas::{Announcement, FromMessage, KeyParked, Message};
use flatbus_telemetry::metrics::{Counter, Histogram};
use futures::FutureExt;
use jiff::Timestamp;
use tokio::sync::Notify;
use tracing::{debug, error, info, warn};

use crate::{
    Change, Consumer, Ctx, Failure, Settings, Settled,
    ctx::World,
    outbox,
    policy::{Verdict, verdict},
    probe,
    status::{Board, Status},
};

/// The consumer with all that its steps need. Shared by the tasks of one process.
pub(crate) struct Engine<C: Consumer> {
    pub consumer: C,
    pub world: Arc<World>,
    pub settings: Settings,
    pub board: Board,
    /// Keys were marked, or are due again.
    pub work: Notify,
    /// The outbox has something.
    pub post: Notify,
    /// A survey may be owed.
    pub survey: Notify,
    /// The store can't be written: nothing is read or taken until it can.
    pub unwritable: AtomicBool,
    /// It has just become so.
    pub unwell: Notify,
    started: Timestamp,
    lanes: Mutex<BTreeSet<String>>,
    fatal: Mutex<Option<Failure>>,
}

/// What became of a delivery, and when it is durable.
pub(crate) enum Received {
    /// It made keys doubtful.
    Marked(Commit),
    /// It could not be understood.
    Parked(Commit),
    /// It concerns nobody here; how far its source was read is recorded.
    Moved(Commit),
    /// It concerns nobody here.
    Nothing,
}

/// A key on its way through a settle, with the lane it holds.
pub(crate) struct Job<K> {
    pub key: K,
    pub lane: String,
    pub taken: Taken,
}

impl<C: Consumer> Engine<C> {
    pub fn new(consumer: C, world: Arc<World>, settings: Settings, board: Board) -> Self {
        Self {
            started: world.clock.wall(),
            consumer,
            world,
            settings,
            board,
            work: Notify::new(),
            post: Notify::new(),
            survey: Notify::new(),
            unwritable: AtomicBool::new(false),
            unwell: Notify::new(),
            lanes: Mutex::default(),
            fatal: Mutex::default(),
        }
    }

    pub fn ledger(&self) -> &Ledger {
        &self.world.ledger
    }

    pub fn now(&self) -> Moment {
        self.world.clock.now()
    }

    fn count(&self, counter: Counter, n: u64) {
        self.world.metrics.count(counter, n);
    }

    /// Records a delivery.
    pub fn receive(&self, delivery: Delivery) -> Received {
        self.count(Counter::Received, 1);
        self.board.went_through(self.now());
        let position =
            delivery.cursor.map(|cursor| Position { source: cursor.source, position: cursor.position });
        match delivery.message {
            Ok(message) => self.receive_message(message, position),
            Err(bad) => self.park(bad.topic, bad.id, bad.reason, bad.body, position),
        }
    }

    /// Records a message: the keys that it makes doubtful, or itself where it can't be understood.
    pub fn receive_message(&self, message: Message, position: Option<Position>) -> Received {
        if probe::is_own::<C>(&message.topic) {
            self.board.probed(self.now());
            return self.move_position(position);
        }
        if !self.settings.listens_to(&message.topic) {
            self.count(Counter::Foreign, 1);
            return self.move_position(position);
        }
        match C::Event::from_message(&message) {
            Ok(event) => self.mark_affected(&event, &message.id, position),
            Err(bad) => self.park(bad.topic, bad.id, bad.reason, message.body, position),
        }
    }

    fn mark_affected(&self, event: &C::Event, id: &str, position: Option<Position>) -> Received {
        let marks = self.marks(&self.consumer.affected(event), Origin::Event);
        if marks.is_empty() {
            self.count(Counter::Unmarked, 1);
            return self.move_position(position);
        }
        self.count(Counter::Marked, 1);
        Received::Marked(self.mark(&marks, std::slice::from_ref(&id.to_owned()), position))
    }

    fn move_position(&self, position: Option<Position>) -> Received {
        position.map_or(Received::Nothing, |position| Received::Moved(self.mark(&[], &[], Some(position))))
    }

    /// Marks keys; wakes whoever works on them.
    pub fn mark(&self, marks: &[Mark], causes: &[String], position: Option<Position>) -> Commit {
        let marked = self.ledger().mark(marks, causes, position, self.now());
        if marked.collapsed > 0 {
            self.count(Counter::Collapsed, marked.collapsed as u64);
            self.survey.notify_one();
        }
        self.work.notify_one();
        marked.commit
    }

    pub fn marks(&self, keys: &[C::Key], origin: Origin) -> Vec<Mark> {
        let mark = |key: &C::Key| Mark { key: key.to_string(), rank: self.consumer.rank(key), origin };
        keys.iter().map(mark).collect()
    }

    /// Parks a message with its body: looking again would not help.
    pub fn park(
        &self,
        topic: String,
        id: String,
        reason: String,
        body: Vec<u8>,
        position: Option<Position>,
    ) -> Received {
        self.count(Counter::Undecodable, 1);
        warn!(message.topic = %topic, message.id = %id, error = %reason, "Parked a message that can't be understood: {topic}: {reason}");
        let message = ParkedMessage { id, topic, reason, at: self.now().wall, body };
        Received::Parked(self.ledger().park_message(message, position, self.now()))
    }

    /// Takes due keys whose lanes are free, each with its lane held.
    pub fn take(&self, max: usize, now: Moment) -> Vec<Job<C::Key>> {
        if self.unwritable.load(Ordering::Relaxed) {
            return Vec::new();
        }
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = self.ledger().take(now, max, &mut |key| match key.parse::<C::Key>() {
            Ok(key) => lanes.insert(self.consumer.lane(&key)),
            Err(_) => true, // Taken, to be parked below.
        });
        drop(lanes);
        taken.into_iter().filter_map(|taken| self.job(taken)).collect()
    }

    fn job(&self, taken: Taken) -> Option<Job<C::Key>> {
        match taken.key.parse::<C::Key>() {
            Ok(key) => Some(Job { lane: self.consumer.lane(&key), key, taken }),
            Err(error) => {
                let failure = Failure::park(format!("{:?} is not a key of this version: {error}", taken.key));
                drop(self.conclude_failure(&taken, &failure));
                None
            }
        }
    }

    /// Settles a batch and records each result. Answers once all of them are durable.
    pub async fn settle(&self, batch: Vec<Job<C::Key>>) {
        let mut held = Held { engine: self, batch };
        let batch = &held.batch;
        let keys: Vec<C::Key> = batch.iter().map(|job| job.key.clone()).collect();
        let ctx = self.ctx_for(batch);
        let started = self.now().monotonic;
        let work = std::panic::AssertUnwindSafe(self.consumer.settle(&ctx, &keys)).catch_unwind();
        let results = match tokio::time::timeout(self.settings.settle_timeout, work).await {
            Ok(Ok(results)) => results,
            Ok(Err(panic)) => all(&keys, || {
                Failure::retry(format!("settling panicked, please report it: {}", said(&*panic)))
            }),
            Err(_) => all(&keys, || {
                Failure::retry(format!("not settled within {:?}", self.settings.settle_timeout))
            }),
        };
        self.world
            .metrics
            .observe(Histogram::Settle, self.now().monotonic.saturating_duration_since(started));
        let mut results = results.into_iter();
        let mut commits = Vec::with_capacity(batch.len());
        for job in batch {
            let result =
                results.next().unwrap_or_else(|| Err(Failure::retry("settling gave no result for this key")));
            commits.push(self.conclude(&ctx, &job.taken, result));
        }
        self.free_lanes(&std::mem::take(&mut held.batch));
        for commit in commits {
            self.watch(commit.await);
        }
        self.work.notify_one();
    }

    fn ctx_for(&self, batch: &[Job<C::Key>]) -> Ctx {
        let marked_at =
            batch.iter().map(|job| job.taken.last_marked).max().unwrap_or_else(|| self.now().wall);
        Ctx::new(Arc::clone(&self.world)).marked(marked_at, batch.iter().map(|job| job.taken.origin))
    }

    fn free_lanes(&self, batch: &[Job<C::Key>]) {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        for job in batch {
            lanes.remove(&job.lane);
        }
    }

    /// Remembers whether the store took it; the keeper heals what it did not.
    pub fn watch(&self, result: Result<(), StoreError>) -> bool {
        self.count(if result.is_ok() { Counter::LedgerCommits } else { Counter::LedgerFailures }, 1);
        if let Err(failure) = &result
            && !self.unwritable.swap(true, Ordering::Relaxed)
        {
            error!(error = %failure, "The ledger can't be written; reading stops until it can: {failure}");
            self.board.unwritable(Some(failure.to_string()));
            self.unwell.notify_one();
        }
        result.is_ok()
    }

    fn conclude(&self, ctx: &Ctx, taken: &Taken, result: Result<Settled<C::Key>, Failure>) -> Commit {
        let concluded =
            result.and_then(|settled| self.settlement(ctx, taken, &settled).map(|s| (settled, s)));
        match concluded {
            Ok((settled, settlement)) => self.conclude_success(taken, &settled, settlement),
            Err(failure) => self.conclude_failure(taken, &failure),
        }
    }

    fn conclude_success(&self, taken: &Taken, settled: &Settled<C::Key>, settlement: Settlement) -> Commit {
        let announced = settlement.outbox.len();
        let age = self.now().wall.duration_since(taken.first_marked);
        self.world.metrics.observe(Histogram::EventToSettled, age.try_into().unwrap_or_default());
        self.count(if settled.changed { Counter::SettledChanged } else { Counter::SettledUnchanged }, 1);
        let said = if settled.changed { "changed" } else { "already true" };
        // Most keys were true already and never failed: a line for each would bury those that tell something.
        if settled.changed || announced > 0 || taken.attempts > 0 {
            info!(key = %taken.key, changed = settled.changed, announcements = announced, attempts = taken.attempts, "Settled {}: {said}", taken.key);
        } else {
            debug!(key = %taken.key, "Settled {}: {said}", taken.key);
        }
        self.world.progress.settled(&taken.key, said);
        let commit = self.ledger().settled(taken, settlement, self.now());
        if announced > 0 {
            self.post.notify_one();
        }
        commit
    }

    /// What is written in the commit that clears the key: facts that differ from those announced, and their telling.
    fn settlement(&self, ctx: &Ctx, taken: &Taken, settled: &Settled<C::Key>) -> Result<Settlement, Failure> {
        let scratch = ctx.take_scratch();
        let mut settlement = Settlement {
            also: self.marks(&settled.also, Origin::Also),
            memos: scratch.memos,
            deeds: scratch.deeds,
            ..Settlement::default()
        };
        if self.world.shadow {
            return Ok(settlement); // Nothing holds that we did not do.
        }
        for fact in &settled.facts {
            let previous = self.ledger().fact(&fact.subject)?;
            if previous == fact.value {
                continue;
            }
            settlement.facts.push((fact.subject.clone(), fact.value.clone()));
            let change = Change { fact: fact.clone(), previous };
            if let Some(announcement) = self.consumer.announce(&change) {
                settlement.outbox.push(self.envelope(announcement, &taken.causes)?);
            }
        }
        Ok(settlement)
    }

    fn envelope(&self, announcement: Announcement, causes: &[String]) -> Result<Vec<u8>, Failure> {
        let id = self.world.random.uuid().to_string();
        outbox::encode(&Outgoing { id, sent_at: self.now().wall, causes: causes.to_vec(), announcement })
    }

    fn conclude_failure(&self, taken: &Taken, failure: &Failure) -> Commit {
        match verdict(failure.remedy, taken, self.now().wall, &self.settings, &self.world.random) {
            Verdict::Key(Next::Park) => self.park_key(taken, failure),
            Verdict::Key(next) => {
                self.count(Counter::SettledRetried, 1);
                warn!(key = %taken.key, attempts = taken.attempts + 1, error = %failure, "{} waits: {failure}", taken.key);
                self.world.progress.settled(&taken.key, &format!("waits: {failure}"));
                self.ledger().failed(taken, &failure.message, next, Vec::new(), self.now())
            }
            Verdict::Fatal => {
                self.count(Counter::SettledFatal, 1);
                error!(key = %taken.key, error = %failure, "Ending, this can't go on: {failure}");
                self.die(Failure { message: failure.message.clone(), remedy: Remedy::Fatal });
                self.ledger().release(taken);
                Box::pin(std::future::ready(Ok(())))
            }
        }
    }

    fn park_key(&self, taken: &Taken, failure: &Failure) -> Commit {
        let first = !taken.parked;
        let mut telling = Vec::new();
        if first {
            self.count(Counter::SettledParked, 1);
            error!(key = %taken.key, attempts = taken.attempts + 1, error = %failure, "Parked {}, a person must look: {failure}", taken.key);
            telling.extend(self.parked_announcement(taken, failure));
        }
        self.world.progress.settled(&taken.key, &format!("parked: {failure}"));
        let commit = self.ledger().failed(taken, &failure.message, Next::Park, telling, self.now());
        self.post.notify_one();
        commit
    }

    fn parked_announcement(&self, taken: &Taken, failure: &Failure) -> Option<Vec<u8>> {
        if self.world.shadow {
            return None;
        }
        let parked = KeyParked {
            consumer: C::NAME.to_owned(),
            key: taken.key.clone(),
            reason: failure.message.clone(),
            attempts: taken.attempts + 1,
            failing_since: taken.failing_since,
        };
        self.envelope(parked.announcement(), &taken.causes).ok()
    }

    /// Whether as many keys are doubtful as may be.
    pub fn full(&self) -> bool {
        self.ledger().counts().to_settle() >= self.settings.doubtful_max
    }

    /// Stops the process for a reason that it will exit with.
    pub fn die(&self, failure: Failure) {
        *self.fatal.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
        self.world.stop.cancel();
    }

    /// Brings the gauges up to date with the ledger, whose counts it hands back.
    pub fn gauge(&self) -> Counts {
        let counts = self.ledger().counts();
        self.board.gauge(&counts, &self.ledger().survey(), self.world.store.disk_bytes());
        counts
    }

    /// Everything an operator asks first.
    pub fn status_page(&self) -> Status {
        let counts = self.ledger().counts();
        Status {
            consumer: C::NAME.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            mode: if self.world.shadow { "shadow" } else { "live" }.to_owned(),
            started: self.started,
            summary: self.board.summary(&counts),
            attention: self.board.attention(&counts),
            bus: self.board.bus(),
            survey: self.board.survey(self.ledger()),
            ledger: counts,
        }
    }

    /// Why the process ends, if it must.
    pub fn fatal(&self) -> Option<Failure> {
        self.fatal.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Keys in flight with their lanes. Where the settle is dropped before it concluded them, they are doubtful as before.
struct Held<'a, C: Consumer> {
    engine: &'a Engine<C>,
    batch: Vec<Job<C::Key>>,
}

impl<C: Consumer> Drop for Held<'_, C> {
    fn drop(&mut self) {
        for job in &self.batch {
            self.engine.ledger().release(&job.taken);
        }
        self.engine.free_lanes(&self.batch);
    }
}

fn all<K, T>(keys: &[K], failure: impl Fn() -> Failure) -> Vec<Result<T, Failure>> {
    keys.iter().map(|_| Err(failure())).collect()
}

fn said(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
