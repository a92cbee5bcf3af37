//! Which keys are settled now: due ones, whose lanes are free, as many at once as configured.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use flatbus_base::Moment;
use tokio::task::{Id, JoinSet};

use crate::{
    Consumer,
    engine::{Engine, Job},
    notify::Manager,
};

/// Settles due keys until told to stop, then lets the running ones finish within `drain_timeout`.
pub(crate) async fn run<C: Consumer>(engine: Arc<Engine<C>>, manager: Manager) {
    let mut running = Running::default();
    while !engine.world.stop.is_cancelled() {
        manager.alive();
        let now = engine.now();
        running.fill(&engine, now);
        let turn = running.until_next(&engine).min(manager.turn_max());
        tokio::select! {
            biased;
            () = engine.world.stop.cancelled() => {}
            () = running.finished() => {}
            () = engine.work.notified() => {}
            () = tokio::time::sleep(turn) => {}
        }
    }
    manager.stopping();
    running.drain(engine.settings.drain_timeout).await;
}

/// The settles under way.
#[derive(Default)]
struct Running {
    tasks: JoinSet<()>,
    sizes: BTreeMap<Id, usize>,
}

impl Running {
    fn keys(&self) -> usize {
        self.sizes.values().sum()
    }

    fn fill<C: Consumer>(&mut self, engine: &Arc<Engine<C>>, now: Moment) {
        let batch_max = C::BATCH_MAX.max(1);
        loop {
            let free = engine.settings.settles_max.saturating_sub(self.tasks.len());
            if free == 0 {
                return;
            }
            let mut jobs = engine.take(free.saturating_mul(batch_max), now);
            if jobs.is_empty() {
                return;
            }
            while !jobs.is_empty() {
                let rest = jobs.split_off(batch_max.min(jobs.len()));
                self.start(engine, std::mem::replace(&mut jobs, rest));
            }
        }
    }

    /// Until a waiting key becomes due. Those that are due already wait for a lane or a slot, and a settle that ends
    /// wakes the loop for them. While nothing can be taken a key whose wait is over is no reason to turn: whoever frees
    /// a slot or heals the store wakes the loop.
    fn until_next<C: Consumer>(&self, engine: &Engine<C>) -> Duration {
        let full = self.tasks.len() >= engine.settings.settles_max;
        if full || engine.unwritable.load(Ordering::Relaxed) {
            return Duration::MAX;
        }
        let due = engine.ledger().next_wait_ends();
        due.map_or(Duration::MAX, |due| due.saturating_duration_since(engine.now().monotonic))
    }

    fn start<C: Consumer>(&mut self, engine: &Arc<Engine<C>>, batch: Vec<Job<C::Key>>) {
        let size = batch.len();
        let engine = Arc::clone(engine);
        let handle = self.tasks.spawn(async move { engine.settle(batch).await });
        self.sizes.insert(handle.id(), size);
    }

    /// Waits for one to finish; for ever where none runs.
    async fn finished(&mut self) {
        match self.tasks.join_next_with_id().await {
            Some(Ok((id, ()))) => drop(self.sizes.remove(&id)),
            Some(Err(error)) => drop(self.sizes.remove(&error.id())),
            None => std::future::pending().await,
        }
    }

    /// Lets running settles finish; what does not is dropped mid-way, which is safe: its keys are doubtful still.
    async fn drain(mut self, timeout: Duration) {
        let keys = self.keys();
        let all = async { while self.tasks.join_next().await.is_some() {} };
        let drained = tokio::time::timeout(timeout, all).await.is_ok();
        if !drained {
            tracing::warn!(keys, "Stopped before {keys} running keys were settled; they are doubtful still");
        }
        self.tasks.shutdown().await;
    }
}
