//! A toy unit that runs on memory and paused time, for tests of the whole loop.

use std::{sync::Arc, time::Duration};

use flatbus_base::{Random, SimClock};
use flatbus_bus::MemoryBus;
use flatbus_ledger::{Ledger, MemoryFiles, MemoryStore};
use flatbus_runtime::{Consumer, Ends, Failure, Manager, Parts, Settings, Status, Unit, Unwatched};
use flatbus_telemetry::metrics::Metrics;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Toy;

pub const QUEUE: &str = "toy";

pub struct Running {
    pub toy: Toy,
    pub bus: MemoryBus,
    pub store: MemoryStore,
    pub clock: SimClock,
    pub ledger: Ledger,
    pub router: axum::Router,
    pub metrics: Metrics,
    pub stop: CancellationToken,
    tasks: JoinSet<Result<(), Failure>>,
}

/// Settings for tests: everything that waits, waits little.
pub fn settings() -> Settings {
    Settings {
        survey_gap_min: Duration::from_secs(1),
        retry_wait_min: Duration::from_secs(2),
        drain_timeout: Duration::from_secs(5),
        survey_keys_per_s: 1000,
        // Surveys come by hand or because they are owed, not by the clock.
        survey_every: Duration::from_secs(1_000_000),
        survey_full_every: Duration::from_secs(1_000_000),
        ..Settings::of("toy")
    }
}

impl Running {
    pub async fn start(toy: Toy) -> Self {
        Self::start_with(toy, settings()).await
    }

    pub async fn start_with(toy: Toy, settings: Settings) -> Self {
        let clock = SimClock::starting_at("2026-01-01T00:00:00Z".parse().unwrap());
        Self::start_on(MemoryStore::new(), MemoryBus::new(), clock, toy, settings).await
    }

    pub async fn start_on(
        store: MemoryStore,
        bus: MemoryBus,
        clock: SimClock,
        toy: Toy,
        settings: Settings,
    ) -> Self {
        Self::start_as(toy.clone(), store, bus, clock, toy, settings).await
    }

    /// The toy as part of another consumer.
    pub async fn start_as(
        consumer: impl Consumer,
        store: MemoryStore,
        bus: MemoryBus,
        clock: SimClock,
        toy: Toy,
        settings: Settings,
    ) -> Self {
        let metrics = Metrics::new("toy");
        let stop = CancellationToken::new();
        let parts = Parts {
            store: Arc::new(store.clone()),
            files: Arc::new(MemoryFiles::default()),
            set_aside: None,
            clock: Arc::new(clock.clone()),
            random: Random::from_seed(7),
            metrics: metrics.clone(),
            gather: Box::new(|_| {}),
            progress: Arc::new(Unwatched),
            stop: stop.clone(),
        };
        let unit = Unit::open(consumer, settings, parts).await.unwrap();
        let (ledger, router) = (unit.ledger().clone(), unit.router());
        let ends = Ends {
            source: Box::new(bus.source(QUEUE)),
            publisher: Arc::new(bus.publisher("org.fedoraproject.prod")),
            socket: None,
            monitoring: None,
            local_door: None,
            manager: Manager::default(),
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(unit.run(ends));
        Self { toy, bus, store, clock, ledger, router, metrics, stop, tasks }
    }

    /// Waits (in paused time) until something holds, or fails after an hour of it.
    pub async fn until(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        for _ in 0..360_000 {
            if holds(self) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("never: {what}; status {:#?}", self.status().await);
    }

    /// Waits until nothing is doubtful or to be announced.
    pub async fn quiet(&self) {
        self.until("quiet", |unit| {
            let counts = unit.ledger.counts();
            counts.doubtful == 0
                && counts.outbox == 0
                && unit.bus.waiting(QUEUE) + unit.bus.unacked(QUEUE) == 0
                && unit.ledger.survey().owed.is_none()
        })
        .await;
    }

    pub async fn status(&self) -> Status {
        self.ask("GET", "/status", "").await.1
    }

    /// Asks the door in process.
    pub async fn ask<T: serde::de::DeserializeOwned>(&self, method: &str, uri: &str, body: &str) -> (u16, T) {
        let (status, bytes) = self.ask_raw(method, uri, body).await;
        (
            status,
            serde_json::from_slice(&bytes)
                .unwrap_or_else(|e| panic!("{uri}: {e}: {}", String::from_utf8_lossy(&bytes))),
        )
    }

    pub async fn ask_raw(&self, method: &str, uri: &str, body: &str) -> (u16, Vec<u8>) {
        use tower::ServiceExt;
        let request = http::Request::builder()
            .method(method)
            .uri(uri)
            .header("content-type", "application/json")
            .body(axum::body::Body::from(body.to_owned()))
            .unwrap();
        let answer = self.router.clone().oneshot(request).await.unwrap();
        let status = answer.status().as_u16();
        (status, axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap().to_vec())
    }

    /// Stops as SIGTERM does.
    pub async fn stop(mut self) -> Result<(), Failure> {
        self.stop.cancel();
        self.tasks.join_next().await.unwrap().unwrap()
    }

    /// Ends as SIGKILL or a power cut does: what was not durable is gone.
    pub async fn kill(mut self) -> (MemoryStore, MemoryBus, SimClock, Toy) {
        let crashed = self.store.crash();
        self.tasks.shutdown().await;
        self.bus.disconnect("killed");
        self.bus.connect(false);
        (crashed, self.bus.clone(), self.clock.clone(), self.toy.clone())
    }

    pub async fn ended(mut self) -> Result<(), Failure> {
        self.tasks.join_next().await.unwrap().unwrap()
    }
}
