//! The witness: the real loop, source, publisher and store, with a consumer that only counts. Its store can hold its
//! answers back, so that deliveries are recorded and not yet acknowledged for as long as a test wants.

use std::{path::PathBuf, sync::Arc};

use flatbus_base::{Clock as _, Random, SystemClock};
use flatbus_bus::{AmqpPublisher, AmqpSource, Config};
use flatbus_ledger::{Batch, ParkedShown, Record, SledStore, Store, StoreError, StoreOptions};
use flatbus_runtime::{
    Change, Consumer, Ctx, Ends, Fact, Failure, Manager, Parts, Settings, Settled, Status, SurveyScope, Unit,
    Unwatched, admin::ParkedBody,
};
use flatbus_schemas::{Announcement, FromMessage, Limits, Malformed, Message, Severity};
use flatbus_telemetry::metrics::{Counter, Metrics};
use futures::{
    FutureExt as _, Stream,
    future::{BoxFuture, join_all},
    stream,
};
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::{Books, QUEUE};

/// Deliveries that the witness may have unacknowledged.
pub const PREFETCH_COUNT: u64 = 25;

/// The smallest consumer: it settles every thing a message names by counting it.
struct Counting(Books);

#[derive(Deserialize)]
struct Named {
    thing: String,
}

impl FromMessage for Named {
    fn from_message(message: &Message) -> Result<Self, Malformed> {
        serde_json::from_slice(&message.body).map_err(|error| Malformed {
            topic: message.topic.clone(),
            id: message.id.clone(),
            reason: error.to_string(),
        })
    }
}

impl Consumer for Counting {
    const NAME: &'static str = "counting";
    type Event = Named;
    type Key = String;

    fn affected(&self, event: &Named) -> Vec<String> {
        vec![event.thing.clone()]
    }

    async fn settle(&self, _: &Ctx, things: &[String]) -> Vec<Result<Settled<String>, Failure>> {
        let counted = things.iter().map(|thing| {
            *self.0.open().settled.entry(thing.clone()).or_default() += 1;
            let fact = Fact { subject: thing.clone(), value: Some("counted".into()), detail: Value::Null };
            Ok(Settled::changed(vec![fact]))
        });
        counted.collect()
    }

    fn survey(&self, _: &Ctx, _: SurveyScope) -> impl Stream<Item = Result<String, Failure>> + Send {
        let mut books = self.0.open();
        books.surveys += 1;
        stream::iter(books.said.iter().cloned().map(Ok).collect::<Vec<_>>())
    }

    fn announce(&self, change: &Change) -> Option<Announcement> {
        Some(Announcement {
            topic: "counting.counted".into(),
            schema: "counting.counted.v1".into(),
            severity: Severity::Info,
            body: json!({"thing": change.fact.subject}),
        })
    }
}

/// The witness at work.
pub struct Witness {
    pub metrics: Metrics,
    gate: watch::Sender<bool>,
    router: axum::Router,
    stop: CancellationToken,
    running: JoinSet<Result<(), Failure>>,
    _ledger: TempDir,
}

impl Witness {
    /// Starts it on a broker; what is `passive` is others' to declare.
    pub async fn start(url: &str, passive: bool, books: &Books) -> Self {
        let ledger = tempfile::tempdir().unwrap();
        let (stop, metrics, gate) =
            (CancellationToken::new(), Metrics::new(Counting::NAME), watch::Sender::new(true));
        let opened = SledStore::open(ledger.path(), &StoreOptions::new(SystemClock.wall())).unwrap();
        let parts = Parts {
            store: Arc::new(Held { store: opened.store, gate: gate.subscribe() }),
            files: opened.files,
            set_aside: opened.moved_aside,
            clock: Arc::new(SystemClock),
            random: Random::from_seed(1),
            metrics: metrics.clone(),
            gather: Box::new(|_| {}),
            progress: Arc::new(Unwatched),
            stop: stop.clone(),
        };
        let unit = Unit::open(Counting(books.clone()), settings(), parts).await.unwrap();
        let router = unit.router();
        let mut running = JoinSet::new();
        running.spawn(unit.run(ends(config(url, passive))));
        Self { metrics, gate, router, stop, running, _ledger: ledger }
    }

    /// From now on what is recorded is durable, and nobody is told: nothing is acknowledged.
    pub fn hold(&self) {
        self.gate.send_replace(false);
    }

    pub fn release(&self) {
        self.gate.send_replace(true);
    }

    /// Deliveries less acknowledgements: what a lost session left unacknowledged counts for ever.
    pub fn unacknowledged(&self) -> u64 {
        self.metrics.get(Counter::Received) - self.metrics.get(Counter::Acked)
    }

    pub async fn status(&self) -> Status {
        serde_json::from_slice(&self.ask("/status").await).unwrap()
    }

    /// Whether the gauge that alarms are made of says that it consumes.
    pub async fn gauged_as_consuming(&self) -> bool {
        let metrics = String::from_utf8(self.ask("/metrics").await).unwrap();
        let gauge =
            metrics.lines().find(|line| line.starts_with("flatbus_bus_consuming")).unwrap().to_owned();
        gauge.ends_with(" 1")
    }

    /// What it could not understand, with the bodies.
    pub async fn parked(&self) -> Vec<ParkedBody> {
        let shown: Vec<ParkedShown> = serde_json::from_slice(&self.ask("/messages").await).unwrap();
        let bodies = shown.iter().map(async |parked| {
            let body = self.ask(&format!("/message?number={}", parked.number)).await;
            serde_json::from_slice(&body).unwrap()
        });
        join_all(bodies).await
    }

    /// As an operator does who has seen it.
    pub async fn drop_parked(&self, number: u64) {
        let request = http::Request::post("/messages/drop").header("content-type", "application/json");
        let request = request.body(axum::body::Body::from(json!({"number": number}).to_string())).unwrap();
        let answer = self.router.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), http::StatusCode::OK);
    }

    async fn ask(&self, path: &str) -> Vec<u8> {
        let request = http::Request::builder().uri(path).body(axum::body::Body::empty()).unwrap();
        let answer = self.router.clone().oneshot(request).await.unwrap();
        axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap().to_vec()
    }

    /// As SIGTERM does.
    pub async fn end(mut self) {
        self.stop.cancel();
        self.running.join_next().await.unwrap().unwrap().unwrap();
    }
}

/// Surveys come because they are owed, not by the clock; the bus is as it is shipped.
fn settings() -> Settings {
    let never = std::time::Duration::from_secs(1_000_000);
    Settings {
        survey_gap_min: std::time::Duration::from_secs(1),
        survey_keys_per_s: 10_000,
        survey_every: never,
        survey_full_every: never,
        ..Settings::of(Counting::NAME)
    }
}

fn config(url: &str, passive: bool) -> Config {
    let text = format!(
        "amqp_url = '{url}'\n\
         passive_declares = {passive}\n\
         topic_prefix = 'org.fedoraproject.prod'\n\
         [queues.{QUEUE}]\ndurable = true\nauto_delete = false\nexclusive = false\narguments = {{}}\n\
         [[bindings]]\nqueue = '{QUEUE}'\nexchange = 'amq.topic'\nrouting_keys = ['{}']\n\
         [qos]\nprefetch_count = {PREFETCH_COUNT}\n",
        super::NAMED
    );
    Config::from_toml(&text, "witness.toml".as_ref()).unwrap().0
}

fn ends(config: Config) -> Ends {
    let source =
        AmqpSource::new(config.clone(), Random::from_system(), "witness", Limits::default()).unwrap();
    Ends {
        source: Box::new(source),
        publisher: Arc::new(AmqpPublisher::new(config, "witness")),
        socket: None,
        monitoring: None,
        local_door: None,
        manager: Manager::default(),
    }
}

/// A store whose writes are durable at once and whose answers wait at a gate.
struct Held {
    store: Arc<SledStore>,
    gate: watch::Receiver<bool>,
}

impl Store for Held {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.get(key)
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Record>, StoreError> {
        self.store.scan(prefix, after, limit)
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'static, Result<(), StoreError>> {
        let (written, mut gate) = (self.store.commit(batch), self.gate.clone());
        async move {
            let answer = written.await;
            let _ = gate.wait_for(|open| *open).await; // Gone with the test: nobody listens.
            answer
        }
        .boxed()
    }

    fn disk_bytes(&self) -> u64 {
        self.store.disk_bytes()
    }

    fn path(&self) -> PathBuf {
        self.store.path()
    }
}
