//! The unit as systemd keeps it: started, killed, started again on what its disk kept.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::body::Body;
use flatbus_base::{Clock, Random, SimClock};
use flatbus_bus::MemoryBus;
use flatbus_ledger::{
    Fault as DiskFault, Filter, Ledger, Limits, MemoryFiles, MemoryStore, Store, StoreError,
};
use flatbus_runtime::{Consumer, Ends, Failure, Manager, Parts, Settings, Unit, Unwatched};
use flatbus_telemetry::metrics::Metrics;
use tower::ServiceExt;

use crate::{
    doubles::{Affected, GatedPublisher, GatedSource, GatedStore},
    gate::{Gate, Life, Line},
    invariant::Invariant,
    twice::Twice,
    witness::Witness,
};

/// `RestartSec=` of the shipped unit, about.
const RESTART: Duration = Duration::from_secs(2);
/// Turns of the scheduler after which a killed process's tasks must be gone.
const TURNS_MAX: usize = 10_000;

/// Longest answer of the unit that is read.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// What a consumer's unit is made of. Clones are the same unit.
pub struct Keeper<C> {
    /// The consumer's name of its queue.
    pub queue: &'static str,
    /// The unit's settings.
    pub settings: Settings,
    /// Makes the consumer for one life.
    pub make: Box<dyn Fn(&Line) -> C + Send + Sync>,
    /// The keys that a message makes doubtful.
    pub affected: Affected,
    /// The world's gate.
    pub gate: Gate,
    /// The world's witness.
    pub witness: Witness,
    /// The world's broker.
    pub bus: MemoryBus,
    /// The world's clock.
    pub clock: SimClock,
    /// The world's seed.
    pub seed: u64,
    /// What outlives the process.
    pub disk: Disk,
    /// The unit, while it runs.
    pub door: Door,
}

/// The unit's disk. Clones are the same disk.
#[derive(Clone, Default)]
pub struct Disk(Arc<Mutex<Sector>>);

#[derive(Default)]
struct Sector {
    store: MemoryStore,
    files: MemoryFiles,
    fault: Option<DiskFault>,
    slow: Option<Duration>,
    /// Batches that reach the disk although nobody was told, at the next crash.
    kept: usize,
}

/// What can be asked of the unit while it runs. Clones are the same door.
#[derive(Clone, Default)]
pub struct Door(Arc<Mutex<Option<Inside>>>);

#[derive(Clone)]
struct Inside {
    ledger: Ledger,
    router: axum::Router,
    life: Life,
}

/// How a life ended.
enum Ended {
    Killed,
    Stopped,
    Failed(String),
}

impl Disk {
    fn sector(&self) -> MutexGuard<'_, Sector> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Suffers from this from now on.
    pub fn suffer(&self, fault: Option<DiskFault>, slow: Option<Duration>) {
        let mut sector = self.sector();
        (sector.fault, sector.slow) = (fault, slow);
        sector.store.set_fault(fault);
        sector.store.set_slow(slow);
        sector.files.set_full(fault == Some(DiskFault::Full));
    }

    /// How many unflushed batches the next crash leaves.
    pub fn keep_at_crash(&self, batches: usize) {
        self.sector().kept = batches;
    }

    /// The process died: only what was durable is left.
    fn crash(&self) {
        let mut sector = self.sector();
        sector.store = sector.store.crash_keeping(sector.kept);
        sector.store.set_fault(sector.fault);
        sector.store.set_slow(sector.slow);
    }

    fn store(&self) -> MemoryStore {
        self.sector().store.clone()
    }

    fn files(&self) -> MemoryFiles {
        self.sector().files.clone()
    }

    /// Opens the store as the program does: what is corrupt is set aside and begun anew.
    fn open(&self) -> Result<(MemoryStore, Option<PathBuf>), StoreError> {
        let mut sector = self.sector();
        match sector.store.open() {
            Ok(store) => Ok((store, None)),
            Err(StoreError::Corrupt { .. }) => {
                let set_aside = Some(sector.store.path().with_extension("corrupt"));
                (sector.store, sector.fault) = (MemoryStore::new(), None);
                Ok((sector.store.clone(), set_aside))
            }
            Err(error) => Err(error),
        }
    }
}

impl Door {
    fn inside(&self) -> Option<Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, inside: Option<Inside>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = inside;
    }

    /// The ledger of the unit that runs.
    pub fn ledger(&self) -> Option<Ledger> {
        self.inside().map(|inside| inside.ledger)
    }

    /// Asks the unit what an operator asks through its socket. `None` where no unit runs, or it dies meanwhile.
    pub async fn ask(&self, method: &str, uri: &str, body: &str) -> Option<(u16, String)> {
        let Inside { router, life, .. } = self.inside()?;
        let request = http::Request::builder()
            .method(method)
            .uri(uri)
            .header("content-type", "application/json")
            .body(Body::from(body.to_owned()))
            .ok()?;
        let answer = tokio::select! {
            biased;
            () = life.killed.cancelled() => return None,
            answer = router.oneshot(request) => answer,
        };
        let Ok(answer) = answer;
        let status = answer.status().as_u16();
        let body = axum::body::to_bytes(answer.into_body(), ANSWER_BYTES_MAX).await.ok()?;
        Some((status, String::from_utf8_lossy(&body).into_owned()))
    }
}

impl<C: Consumer> Keeper<C> {
    /// Keeps the unit running for ever.
    pub async fn keep(self) {
        loop {
            let (line, life) = self.gate.new_life();
            self.gate.say(|| format!("  >>>> life {} begins", life.number));
            let alive = Arc::new(());
            let ended = tokio::select! {
                biased;
                () = life.killed.cancelled() => Ended::Killed,
                ended = self.live(&line, &life, &alive) => ended,
            };
            self.door.set(None);
            life.killed.cancel(); // Nothing of it passes the gate any more.
            self.bury(alive).await;
            match &ended {
                Ended::Killed => self.gate.say(|| format!("  <<<< life {} was ended", life.number)),
                Ended::Stopped => self.gate.say(|| format!("  <<<< life {} stopped", life.number)),
                Ended::Failed(why) => self.gate.say(|| format!("  <<<< life {} failed: {why}", life.number)),
            }
            if !matches!(ended, Ended::Stopped) {
                self.disk.crash();
                self.check_acked().await;
            }
            self.witness.process_died();
            tokio::time::sleep(RESTART).await;
        }
    }

    async fn live(&self, line: &Line, life: &Life, alive: &Arc<()>) -> Ended {
        let (store, set_aside) = match self.disk.open() {
            Ok(opened) => opened,
            Err(error) => return Ended::Failed(error.to_string()),
        };
        if set_aside.is_some() {
            self.witness.ledger_lost();
        }
        let parts = Parts {
            store: Arc::new(GatedStore::new(store, line.clone())),
            files: Arc::new(self.disk.files()),
            set_aside,
            clock: Arc::new(self.clock.clone()),
            random: Random::from_seed(self.seed.wrapping_add(life.number)),
            metrics: Metrics::new(C::NAME),
            gather: Box::new(|_| {}),
            progress: Arc::new(Unwatched),
            stop: life.stop.clone(),
        };
        let consumer =
            Twice::new((self.make)(line), self.gate.clone(), self.witness.clone(), Arc::clone(alive));
        let unit = match Unit::open(consumer, self.settings.clone(), parts).await {
            Ok(unit) => unit,
            Err(error) => return Ended::Failed(error.to_string()),
        };
        self.door.set(Some(Inside {
            ledger: unit.ledger().clone(),
            router: unit.router(),
            life: life.clone(),
        }));
        let source = GatedSource::new(
            &self.bus,
            self.queue,
            line.clone(),
            self.witness.clone(),
            Arc::clone(&self.affected),
        );
        let ends = Ends {
            source: Box::new(source),
            publisher: Arc::new(GatedPublisher::new(&self.bus, line.clone(), self.witness.clone())),
            socket: None,
            monitoring: None,
            local_door: None,
            manager: Manager::default(),
        };
        match unit.run(ends).await {
            Ok(()) => Ended::Stopped,
            Err(Failure { message, .. }) => Ended::Failed(message),
        }
    }

    /// Waits until no task of the process is left: they end at their next turn.
    async fn bury(&self, alive: Arc<()>) {
        for _ in 0..TURNS_MAX {
            if Arc::strong_count(&alive) == 1 {
                return;
            }
            tokio::task::yield_now().await;
        }
        self.witness.broken(Invariant::EverythingEnds, "a task outlives its process".to_owned());
    }

    /// Whether the disk still knows what was acknowledged.
    async fn check_acked(&self) {
        let owing = self.witness.owing();
        // Where few keys fit, marks become "survey owed": that nothing is lost by it, the world's end shows.
        let crowded = self.settings.doubtful_max < Limits::default().doubtful_max;
        if owing.is_empty() || crowded || self.disk.sector().fault.is_some() {
            return;
        }
        let copy = Arc::new(self.disk.store().crash());
        let files = Arc::new(MemoryFiles::new());
        let opened = Ledger::open(copy, files, Limits::default(), self.clock.now()).await;
        let Ok(ledger) = opened else { return };
        let held: Vec<String> =
            ledger.list(&Filter::default(), None, usize::MAX).into_iter().map(|shown| shown.key).collect();
        for key in owing.iter().filter(|key| !held.contains(key)) {
            self.witness.broken(
                Invariant::AckedIsDurable,
                format!(
                    "{key} was made doubtful by an acknowledged message, and the ledger does not know it"
                ),
            );
        }
    }
}
