//! The ledger's promises, on the store in memory. Each test is on paused time: nothing here is a thread or a socket.

mod durable;
mod files;
mod model;
mod order;
mod port;
mod survey;
mod waking;

use std::{sync::Arc, time::Duration};

use flatbus_base::{Clock, Moment, SimClock};
use futures::FutureExt;

use super::*;
use crate::{Fault, MemoryFiles, MemoryStore};

/// A ledger, what it stands on, and the time.
struct Desk {
    store: MemoryStore,
    files: MemoryFiles,
    ledger: Ledger,
    started: Moment,
    seconds: u64,
}

fn limits() -> Limits {
    Limits { doubtful_max: 1000, causes_max: 3, ..Limits::default() }
}

impl Desk {
    async fn new() -> Self {
        Self::with(limits()).await
    }

    async fn with(limits: Limits) -> Self {
        let started = SimClock::starting_at("2026-11-23T00:00:00Z".parse().unwrap()).now();
        let (store, files) = (MemoryStore::new(), MemoryFiles::new());
        let ledger =
            Ledger::open(Arc::new(store.clone()), Arc::new(files.clone()), limits, started).await.unwrap();
        Self { store, files, ledger, started, seconds: 0 }
    }

    /// The same after a power cut.
    async fn crashed(&self) -> Self {
        let store = self.store.crash();
        let ledger = self.open(&store).await.unwrap();
        Self { store, files: self.files.clone(), ledger, started: self.started, seconds: self.seconds }
    }

    async fn open(&self, store: &MemoryStore) -> Result<Ledger, LedgerError> {
        Ledger::open(Arc::new(store.clone()), Arc::new(self.files.clone()), limits(), self.now()).await
    }

    fn now(&self) -> Moment {
        let passed = Duration::from_secs(self.seconds);
        Moment { wall: self.started.wall + passed, monotonic: self.started.monotonic + passed }
    }

    fn later(&mut self, seconds: u64) {
        self.seconds += seconds;
    }

    async fn mark(&self, key: &str, origin: Origin) {
        self.mark_for(key, origin, &[]).await;
    }

    async fn mark_for(&self, key: &str, origin: Origin, causes: &[&str]) {
        let causes: Vec<String> = causes.iter().map(|cause| (*cause).to_owned()).collect();
        self.ledger.mark(&[mark(key, origin)], &causes, None, self.now()).commit.await.unwrap();
    }

    fn take(&self) -> Vec<Taken> {
        self.ledger.take(self.now(), usize::MAX, &mut |_| true)
    }

    fn take_one(&self) -> Taken {
        let mut taken = self.take();
        assert_eq!(taken.len(), 1, "{taken:?}");
        taken.remove(0)
    }

    async fn settle(&self, taken: &Taken, settlement: Settlement) {
        self.ledger.settled(taken, settlement, self.now()).await.unwrap();
    }

    async fn fail(&self, taken: &Taken, next: Next) {
        self.ledger.failed(taken, "it failed", next, Vec::new(), self.now()).await.unwrap();
    }

    fn state(&self, key: &str) -> Option<KeyState> {
        self.ledger.show(key).map(|shown| shown.state)
    }
}

fn mark(key: &str, origin: Origin) -> Mark {
    Mark { key: key.to_owned(), rank: 0, origin }
}

fn wait(seconds: u64) -> Next {
    Next::Wait { wait: Duration::from_secs(seconds), told: false }
}

fn told(seconds: u64) -> Next {
    Next::Wait { wait: Duration::from_secs(seconds), told: true }
}

fn keys(taken: &[Taken]) -> Vec<&str> {
    taken.iter().map(|taken| taken.key.as_str()).collect()
}
