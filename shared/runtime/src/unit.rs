//! A consumer wired to a store, a bus and a door: run as a unit, once by hand, or only asked. The wiring is done here, once;
//! consumers can't add to it.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use flatbus_base::{Clock, Random, Remedy};
use flatbus_bus::{Publisher, Source};
use flatbus_ledger::{Files, Ledger, LedgerError, Limits, Origin, Store};
use flatbus_telemetry::metrics::{Gauge, Metrics};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::{
    Consumer, Ctx, Failure, Mode, Progress, Settings,
    admin::{self, serve_tcp, serve_unix},
    ctx::World,
    dispatch,
    engine::Engine,
    notify::Manager,
    outbox, probe, reader,
    status::{Board, Status},
    survey,
};

/// What a unit stands on: all I/O, time and chance come in here, so that a simulated world can drive everything.
pub struct Parts {
    /// The store behind the ledger.
    pub store: Arc<dyn Store>,
    /// The content-addressed files beside it.
    pub files: Arc<dyn Files>,
    /// A corrupt store was moved here and an empty one was opened.
    pub set_aside: Option<PathBuf>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub random: Random,
    /// Metrics, shared with whoever else counts.
    pub metrics: Metrics,
    /// Brings counts that others keep into the metrics, before they are shown.
    pub gather: Gather,
    /// Who watches.
    pub progress: Arc<dyn Progress>,
    /// Cancelled to make the unit stop.
    pub stop: CancellationToken,
}

/// Brings counts that others keep into the metrics.
pub type Gather = Box<dyn Fn(&Metrics) + Send + Sync>;

/// Where a running unit takes messages from, tells news to, and can be asked.
pub struct Ends {
    /// Where messages come from.
    pub source: Box<dyn Source>,
    /// Where announcements go.
    pub publisher: Arc<dyn Publisher>,
    /// The operator's socket; none in a simulated world.
    pub socket: Option<PathBuf>,
    /// `monitoring`: reads over TCP.
    pub monitoring: Option<SocketAddr>,
    /// The whole door over TCP: in a container, on 127.0.0.1 alone.
    pub local_door: Option<SocketAddr>,
    /// The service manager.
    pub manager: Manager,
}

/// A consumer with its ledger open.
pub struct Unit<C: Consumer> {
    engine: Arc<Engine<C>>,
}

/// What is left when work by hand ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Left {
    /// Keys that failed and wait for another try.
    pub waiting: usize,
    /// Keys that a person must look at.
    pub parked: usize,
    /// Announcements not yet confirmed.
    pub outbox: usize,
}

impl<C: Consumer> Unit<C> {
    /// Opens the ledger. First start, an unclean stop and a ledger set aside each owe a survey.
    ///
    /// # Errors
    /// When the ledger can't be opened.
    pub async fn open(consumer: C, settings: Settings, parts: Parts) -> Result<Self, LedgerError> {
        let limits = Limits {
            doubtful_max: settings.doubtful_max,
            wait_max: settings.park_after,
            own_wait_max: settings.retry_wait_max,
            ..Limits::default()
        };
        let ledger = Ledger::open(Arc::clone(&parts.store), parts.files, limits, parts.clock.now()).await?;
        let board = Board::new(parts.metrics.clone());
        parts.metrics.set(Gauge::ProcessStart, parts.clock.wall().as_second());
        let world = World {
            clock: parts.clock,
            random: parts.random,
            ledger,
            store: parts.store,
            gather: parts.gather,
            metrics: parts.metrics,
            shadow: settings.mode == Mode::Shadow,
            state_dir: settings.state_dir.clone(),
            stop: parts.stop,
            progress: parts.progress,
        };
        let engine = Arc::new(Engine::new(consumer, Arc::new(world), settings, board));
        owe_survey(&engine, parts.set_aside).await?;
        Ok(Self { engine })
    }

    /// The operator's door, to be called in process.
    pub fn router(&self) -> axum::Router {
        admin::router(Arc::clone(&self.engine) as Arc<dyn admin::Door>)
    }

    /// The consumer, and a context to use it with by hand.
    pub fn consumer(&self) -> (&C, Ctx) {
        (&self.engine.consumer, Ctx::new(Arc::clone(&self.engine.world)))
    }

    /// The ledger.
    pub fn ledger(&self) -> &Ledger {
        self.engine.ledger()
    }

    /// The status page.
    pub fn status(&self) -> Status {
        self.engine.status_page()
    }

    /// Runs until stopped; then drains and closes the ledger cleanly.
    ///
    /// # Errors
    /// With what made the process unable to go on.
    pub async fn run(self, ends: Ends) -> Result<(), Failure> {
        let engine = &self.engine;
        let mut tasks = JoinSet::new();
        tasks.spawn(dispatch::run(Arc::clone(engine), ends.manager));
        tasks.spawn(probe::run(Arc::clone(engine), Arc::clone(&ends.publisher)));
        tasks.spawn(outbox::run(Arc::clone(engine), ends.publisher));
        tasks.spawn(survey::run(Arc::clone(engine)));
        tasks.spawn(reader::keep(Arc::clone(engine)));
        tasks.spawn(tell_manager(Arc::clone(engine), ends.manager));
        tasks.spawn(serve_own(Arc::clone(engine)));
        self.open_socket(&mut tasks, ends.socket);
        self.open_tcp(&mut tasks, ends.monitoring, admin::reads).await?;
        self.open_tcp(&mut tasks, ends.local_door, admin::router).await?;
        tasks.spawn(reader::run(Arc::clone(engine), ends.source));
        ends.manager.ready();
        info!(consumer = C::NAME, mode = ?engine.settings.mode, "Running {}", C::NAME);
        while let Some(joined) = tasks.join_next().await {
            if let Err(panic) = joined {
                error!(error = %panic, "A task of the loop panicked, please report it; stopping: {panic}");
                engine.world.stop.cancel();
            }
        }
        self.close().await
    }

    fn open_socket(&self, tasks: &mut JoinSet<()>, path: Option<PathBuf>) {
        let Some(path) = path else { return };
        let (router, stop) = (self.router(), self.engine.world.stop.clone());
        tasks.spawn(async move {
            if let Err(error) = serve_unix(&path, router, stop).await {
                error!(%error, "The operator's socket is not served: {error}");
            }
        });
    }

    async fn open_tcp(
        &self,
        tasks: &mut JoinSet<()>,
        address: Option<SocketAddr>,
        routes: fn(Arc<dyn admin::Door>) -> axum::Router,
    ) -> Result<(), Failure> {
        let Some(address) = address else { return Ok(()) };
        let taken =
            |error| Failure { message: format!("listening on {address}: {error}"), remedy: Remedy::Fatal };
        let listener = TcpListener::bind(address).await.map_err(taken)?;
        let router = routes(Arc::clone(&self.engine) as Arc<dyn admin::Door>);
        let stop = self.engine.world.stop.clone();
        tasks.spawn(async move {
            if let Err(error) = serve_tcp(listener, router, stop).await {
                error!(%error, %address, "{address} is no longer served: {error}");
            }
        });
        Ok(())
    }

    /// Marks keys doubtful as an operator would; answers once that is durable.
    pub async fn mark_by_hand(&self, keys: &[C::Key]) {
        let marks = self.engine.marks(keys, Origin::Hand);
        self.engine.watch(self.engine.mark(&marks, &[], None).await);
    }

    /// Settles what is due now until nothing is, and announces it; keys that wait are left waiting.
    pub async fn settle_due(&self, publisher: &dyn Publisher) -> Left {
        let engine = &self.engine;
        let mut running = JoinSet::new();
        loop {
            let free = engine.settings.settles_max.saturating_sub(running.len());
            let mut jobs = engine.take(free.saturating_mul(C::BATCH_MAX), engine.now());
            while !jobs.is_empty() {
                let rest = jobs.split_off(C::BATCH_MAX.min(jobs.len()));
                let (engine, batch) = (Arc::clone(engine), std::mem::replace(&mut jobs, rest));
                running.spawn(async move { engine.settle(batch).await });
            }
            if running.join_next().await.is_none() || engine.world.stop.is_cancelled() {
                break;
            }
        }
        running.shutdown().await;
        while let Ok(true) = outbox::flush(engine, publisher).await {}
        self.left()
    }

    /// Makes one survey: marks its keys without the pace of a unit.
    ///
    /// # Errors
    /// With what kept it from being complete.
    pub async fn survey_now(&self, full: bool) -> Result<u64, Failure> {
        let last = self.ledger().survey().last_complete;
        let scope = match (full, last) {
            (false, Some(last)) => crate::SurveyScope::Since(last),
            _ => crate::SurveyScope::Full,
        };
        survey::one(&self.engine, scope).await.map_err(Failure::retry)
    }

    /// What waits, is parked, or is not yet announced.
    pub fn left(&self) -> Left {
        let counts = self.ledger().counts();
        Left { waiting: counts.waiting, parked: counts.parked, outbox: counts.outbox }
    }

    /// Closes the ledger cleanly.
    ///
    /// # Errors
    /// With what made the process unable to go on, or kept the ledger from being closed.
    pub async fn close(self) -> Result<(), Failure> {
        self.ledger().close().await?;
        self.engine.fatal().map_or(Ok(()), Err)
    }
}

async fn owe_survey<C: Consumer>(engine: &Engine<C>, set_aside: Option<PathBuf>) -> Result<(), LedgerError> {
    let opened = engine.ledger().opened();
    let reason = match (&set_aside, opened.first, opened.clean) {
        (Some(_), ..) => "the ledger was corrupt and begun anew",
        (None, true, _) => "first start",
        (None, false, false) => "the last stop was not clean",
        (None, false, true) => return Ok(()),
    };
    if let Some(place) = set_aside {
        let place = place.display().to_string();
        error!(%place, "The ledger was corrupt. It was set aside in {place}, an empty one was opened, and a survey is owed");
        engine.board.set_aside(place);
    }
    Ok(engine.ledger().survey_owe(true, reason, engine.now()).await?)
}

/// Tells the service manager in words how it goes.
async fn tell_manager<C: Consumer>(engine: Arc<Engine<C>>, manager: Manager) {
    let stop = engine.world.stop.clone();
    while manager.listens() && !stop.is_cancelled() {
        manager.status(&engine.board.summary(&engine.gauge()));
        let turn = tokio::time::sleep(std::time::Duration::from_secs(5));
        tokio::select! { biased; () = stop.cancelled() => {}, () = turn => {} }
    }
}

async fn serve_own<C: Consumer>(engine: Arc<Engine<C>>) {
    let ctx = Ctx::new(Arc::clone(&engine.world));
    let stop = engine.world.stop.clone();
    let served = tokio::select! { biased; served = engine.consumer.serve(&ctx) => served, () = stop.cancelled() => Ok(()) };
    if let Err(failure) = served {
        error!(error = %failure, "The consumer's own server failed: {failure}");
        engine.die(failure);
    }
}
