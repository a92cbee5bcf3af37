//! A consumer on an in-memory ledger, driven step by step: for consumers' own tests.

use std::sync::Arc;

use flatbus_base::{Random, SimClock};
use flatbus_bus::{MemoryBus, Outgoing};
use flatbus_ledger::{MemoryFiles, MemoryStore};
use flatbus_telemetry::metrics::Metrics;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::{Consumer, Failure, Left, Parts, Settings, Unit, Unwatched};

/// A unit on memory and simulated time. Make it inside a paused tokio runtime.
pub struct Rig<C: Consumer> {
    /// The unit.
    pub unit: Unit<C>,
    /// Where its announcements go.
    pub bus: MemoryBus,
    /// Its clock.
    pub clock: SimClock,
}

impl<C: Consumer> Rig<C> {
    /// A consumer on an empty ledger, at `wall`.
    ///
    /// # Panics
    /// When the in-memory ledger can't be opened.
    pub async fn new(consumer: C, settings: Settings, wall: Timestamp) -> Self {
        Self::on(Arc::new(MemoryStore::default()), consumer, settings, SimClock::starting_at(wall)).await
    }

    /// A consumer on a given store: for restarts.
    ///
    /// # Panics
    /// When the in-memory ledger can't be opened.
    pub async fn on(store: Arc<MemoryStore>, consumer: C, settings: Settings, clock: SimClock) -> Self {
        let parts = Parts {
            store,
            files: Arc::new(MemoryFiles::default()),
            set_aside: None,
            clock: Arc::new(clock.clone()),
            random: Random::from_seed(1),
            metrics: Metrics::new(C::NAME),
            gather: Box::new(|_| {}),
            progress: Arc::new(Unwatched),
            stop: CancellationToken::new(),
        };
        #[expect(clippy::expect_used, reason = "a test harness: panicking is its way to fail")]
        let unit = Unit::open(consumer, settings, parts).await.expect("the in-memory ledger opens");
        Self { unit, bus: MemoryBus::new(), clock }
    }

    /// Marks keys as an operator would.
    ///
    /// # Panics
    /// When the in-memory ledger can't be written.
    pub async fn mark(&self, keys: &[C::Key]) {
        self.unit.mark_by_hand(keys).await;
    }

    /// Settles what is due, and everything that makes doubtful, until nothing is due.
    pub async fn settle(&self) -> Left {
        self.unit.settle_due(&self.bus.publisher("org.fedoraproject.test")).await
    }

    /// Surveys and settles.
    ///
    /// # Errors
    /// When the survey is not complete.
    pub async fn survey(&self, full: bool) -> Result<Left, Failure> {
        self.unit.survey_now(full).await?;
        Ok(self.settle().await)
    }

    /// What was announced since it was last asked.
    pub fn announced(&self) -> Vec<Outgoing> {
        self.bus.take_announced()
    }
}
