//! The mirror as the program makes it, from its settings alone, and its unit, running on a store and a broker in memory.

use std::{collections::BTreeMap, sync::Arc};

use axum::body::Body;
use flatbus_base::{Random, Secret, SimClock};
use flatbus_bus::{MemoryBus, Outgoing};
use flatbus_embedded::Wire;
use flatbus_ledger::{Filter, KeyState, Ledger, MemoryFiles, MemoryStore};
use flatbus_mirror::{Config, Mirror, RawConfig, Secrets, http_settings};
use flatbus_oci::{AuthFile, Credentials};
use flatbus_runtime::{Consumer, Ends, Failure, Manager, Parts, Settings, Unit, Unwatched};
use flatbus_schemas::Message;
use flatbus_telemetry::metrics::{Counter, Metrics};
use http::Request;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::{
    hosts::{BODHI, CANDIDATE, KOJI, PASSWORD, PUBLIC, USER},
    stage::Setting,
};

const QUEUE: &str = "mirror";

/// A unit that runs.
pub struct Running {
    bus: MemoryBus,
    ledger: Ledger,
    door: axum::Router,
    metrics: Metrics,
    stop: CancellationToken,
    task: JoinSet<Result<(), Failure>>,
}

impl Running {
    pub async fn start(wire: &Wire, clock: &SimClock, setting: Setting) -> Self {
        let (bus, stop, metrics) = (MemoryBus::new(), CancellationToken::new(), Metrics::new(Mirror::NAME));
        let settings = Settings { park_after: setting.park_after, ..Settings::of(QUEUE) };
        let parts = parts(clock, &metrics, &stop);
        let unit = Unit::open(mirror(wire, clock, setting), settings, parts).await.unwrap();
        let (ledger, door) = (unit.ledger().clone(), unit.router());
        let ends = Ends {
            source: Box::new(bus.source(QUEUE)),
            publisher: Arc::new(bus.publisher("org.fedoraproject.prod")),
            socket: None,
            monitoring: None,
            local_door: None,
            manager: Manager::default(),
        };
        let mut task = JoinSet::new();
        task.spawn(unit.run(ends));
        Self { bus, ledger, door, metrics, stop, task }
    }

    pub fn deliver(&self, message: Message) {
        self.bus.publish(message);
    }

    /// Whether nothing is under way. What is parked stays so.
    pub fn is_quiet(&self) -> bool {
        let counts = self.ledger.counts();
        counts.doubtful == counts.parked
            && counts.in_flight + counts.outbox + self.messages() == 0
            && self.ledger.survey().owed.is_none()
    }

    /// Messages that were not acknowledged.
    pub fn messages(&self) -> usize {
        self.bus.waiting(QUEUE) + self.bus.unacked(QUEUE)
    }

    /// Doubtful keys with what is wrong: all, or the parked ones.
    pub fn keys(&self, state: Option<KeyState>) -> BTreeMap<String, String> {
        let keys = self.ledger.list(&Filter { state, ..Filter::default() }, None, 100);
        keys.into_iter().map(|shown| (shown.key, shown.last_error.unwrap_or_default())).collect()
    }

    /// How often a settle failed and was put off.
    pub fn put_off(&self) -> u64 {
        self.metrics.get(Counter::SettledRetried)
    }

    pub fn announced(&self) -> Vec<Outgoing> {
        self.bus.announced()
    }

    /// What an operator does through the unit's socket.
    pub async fn ask(&self, what: &'static str, body: &'static str) {
        let request = Request::post(what).header("content-type", "application/json").body(Body::from(body));
        let answer = self.door.clone().oneshot(request.unwrap()).await.unwrap();
        assert!(answer.status().is_success(), "{what}: {}", answer.status());
    }

    /// Ends in good order.
    pub async fn stop(mut self) {
        self.stop.cancel();
        while let Some(ended) = self.task.join_next().await {
            ended.unwrap().unwrap();
        }
    }
}

/// The mirror as the program makes it, but that layers of a few kilobytes go as large ones do.
fn mirror(wire: &Wire, clock: &SimClock, setting: Setting) -> Mirror {
    let config = format!(
        "destination = \"https://{PUBLIC}/fedora\"\n\
         koji = \"https://{KOJI}/kojihub\"\n\
         bodhi = \"https://{BODHI}/\"\n\
         sources = [{{ pull_spec = \"{CANDIDATE}/\", bytes_at = [\"https://{CANDIDATE}\"] }}]\n\
         budgets = [{{ host = \"{PUBLIC}\", requests_per_s = 50, burst = 50 }}]\n{}",
        setting.config
    );
    let config = Config::try_from(toml::from_str::<RawConfig>(&config).unwrap()).unwrap();
    let http = wire.client(http_settings(&config), Random::from_seed(2), Arc::new(clock.clone())).unwrap();
    let who = Credentials::Password { user: USER.to_owned(), password: Secret::new(PASSWORD) };
    let secrets = Secrets { registries: Some(Arc::new(AuthFile::single(PUBLIC, who))), quay: None };
    Mirror::from_config(config, &http, &secrets).unwrap().with_copies(setting.copies)
}

fn parts(clock: &SimClock, metrics: &Metrics, stop: &CancellationToken) -> Parts {
    Parts {
        store: Arc::new(MemoryStore::default()),
        files: Arc::new(MemoryFiles::default()),
        set_aside: None,
        clock: Arc::new(clock.clone()),
        random: Random::from_seed(3),
        metrics: metrics.clone(),
        gather: Box::new(|_| {}),
        progress: Arc::new(Unwatched),
        stop: stop.clone(),
    }
}
