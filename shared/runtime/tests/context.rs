//! What a settle can ask its context, and what a consumer has that says nothing about it. On paused time.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::sync::{Arc, Mutex};

use flatbus_base::{Clock as _, Random, SimClock};
use flatbus_bus::MemoryBus;
use flatbus_ledger::{MemoryFiles, MemoryStore};
use flatbus_runtime::{
    Change, Consumer, Ctx, Fact, Failure, MEMO_BYTES_MAX, Parts, Settings, Settled, SurveyScope, Unit,
    Unwatched,
};
use flatbus_schemas::{Announcement, FromMessage, Malformed, Message};
use flatbus_telemetry::metrics::Metrics;
use futures::{Stream, stream};
use jiff::Timestamp;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

/// The least that a consumer can be: it counts how often it settled a key, and keeps what it was told meanwhile.
#[derive(Default, Clone)]
struct Counter(Arc<Mutex<Vec<Told>>>);

struct Told {
    key: String,
    now: Timestamp,
    marked_at: Timestamp,
    for_survey: bool,
    stopping: bool,
    before: Option<u32>,
    after: Option<u32>,
    all: Vec<(String, u32)>,
    fact: Option<String>,
    facts: Vec<(String, String)>,
}

struct Nothing;

impl FromMessage for Nothing {
    fn from_message(_: &Message) -> Result<Self, Malformed> {
        Ok(Self)
    }
}

impl Consumer for Counter {
    const NAME: &'static str = "counter";
    type Event = Nothing;
    type Key = String;

    fn affected(&self, _: &Nothing) -> Vec<String> {
        Vec::new()
    }

    async fn settle(&self, ctx: &Ctx, keys: &[String]) -> Vec<Result<Settled<String>, Failure>> {
        keys.iter().map(|key| self.count(ctx, key)).collect()
    }

    fn survey(&self, _: &Ctx, _: SurveyScope) -> impl Stream<Item = Result<String, Failure>> + Send {
        stream::iter([Ok("surveyed".to_owned())])
    }

    fn announce(&self, _: &Change) -> Option<Announcement> {
        None
    }
}

impl Counter {
    fn count(&self, ctx: &Ctx, key: &str) -> Result<Settled<String>, Failure> {
        if key == "forget" {
            ctx.forget("another");
        } else {
            ctx.remember("another", &99)?;
        }
        if key == "large" {
            ctx.remember("as large as may be", &"x".repeat(MEMO_BYTES_MAX - 2))?;
            ctx.remember("too large", &"x".repeat(MEMO_BYTES_MAX - 1))?;
        }
        let before: Option<u32> = ctx.memo(key)?;
        ctx.remember(key, &(before.unwrap_or(0) + 1))?;
        let told = Told {
            key: key.to_owned(),
            now: ctx.now(),
            marked_at: ctx.marked_at(),
            for_survey: ctx.for_survey(),
            stopping: ctx.stopping().is_cancelled(),
            before,
            after: ctx.memo(key)?,
            all: ctx.memos("", None, 9)?,
            fact: ctx.fact(key)?,
            facts: ctx.facts("", None, 9)?,
        };
        let value = Some(format!("{} times", told.after.unwrap_or(0)));
        self.0.lock().map_err(|error| Failure::park(error.to_string()))?.push(told);
        Ok(Settled::changed(vec![Fact { subject: key.to_owned(), value, detail: Value::Null }]))
    }
}

struct Desk {
    counter: Counter,
    unit: Unit<Counter>,
    bus: MemoryBus,
    clock: SimClock,
    stop: CancellationToken,
}

impl Desk {
    async fn new() -> Self {
        let clock = SimClock::starting_at("2026-11-23T00:00:00Z".parse().unwrap());
        let (counter, stop) = (Counter::default(), CancellationToken::new());
        let parts = Parts {
            store: Arc::new(MemoryStore::new()),
            files: Arc::new(MemoryFiles::default()),
            set_aside: None,
            clock: Arc::new(clock.clone()),
            random: Random::from_seed(1),
            metrics: Metrics::new(Counter::NAME),
            gather: Box::new(|_| {}),
            progress: Arc::new(Unwatched),
            stop: stop.clone(),
        };
        let unit = Unit::open(counter.clone(), Settings::of(Counter::NAME), parts).await.unwrap();
        Self { counter, unit, bus: MemoryBus::new(), clock, stop }
    }

    async fn settle(&self, key: &str) -> Told {
        self.unit.mark_by_hand(&[key.to_owned()]).await;
        self.settle_due().await
    }

    async fn settle_due(&self) -> Told {
        self.unit.settle_due(&self.bus.publisher("org.fedoraproject.test")).await;
        self.counter.0.lock().unwrap().pop().unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_settle_remembers_it_sees_itself_and_the_next_one_too() {
    let desk = Desk::new().await;
    let first = desk.settle("a").await;
    assert_eq!((first.before, first.after, first.all), (None, Some(1), Vec::new()));
    let second = desk.settle("a").await;
    assert_eq!((second.before, second.after), (Some(1), Some(2)));
    assert_eq!(second.all, [("a".to_owned(), 1), ("another".to_owned(), 99)]);
    desk.settle("forget").await;
    let third = desk.settle("a").await;
    assert_eq!(third.all, [("a".to_owned(), 2), ("forget".to_owned(), 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_settle_can_ask_what_was_told_last() {
    let desk = Desk::new().await;
    let first = desk.settle("a").await;
    assert_eq!((first.fact, first.facts), (None, Vec::new()));
    let second = desk.settle("a").await;
    assert_eq!(second.fact.as_deref(), Some("1 times"));
    assert_eq!(second.facts, [("a".to_owned(), "1 times".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn what_is_too_large_to_remember_is_for_a_person_to_look_at() {
    let desk = Desk::new().await;
    desk.unit.mark_by_hand(&["large".to_owned()]).await;
    desk.unit.settle_due(&desk.bus.publisher("org.fedoraproject.test")).await;
    let shown = desk.unit.ledger().show("large").unwrap();
    assert!(shown.last_error.unwrap().starts_with("memo too large has "));
}

#[tokio::test(start_paused = true)]
async fn a_settle_knows_what_time_it_is_and_who_asks_since_when() {
    let desk = Desk::new().await;
    let marked = desk.clock.wall();
    desk.unit.mark_by_hand(&["a".to_owned()]).await;
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    let told = desk.settle_due().await;
    assert_eq!((told.marked_at, told.now), (marked, desk.clock.wall()));
    assert!(!told.for_survey && !told.stopping);
    desk.unit.survey_now(true).await.unwrap();
    let surveyed = desk.settle_due().await;
    assert!(surveyed.key == "surveyed" && surveyed.for_survey);
    desk.stop.cancel();
    assert!(desk.settle("b").await.stopping);
}

#[test]
fn a_consumer_that_says_nothing_has_a_lane_a_key_and_ranks_none_before_another() {
    let counter = Counter::default();
    assert_eq!(counter.lane(&"a".to_owned()), "a");
    assert_eq!(counter.rank(&"a".to_owned()), 0);
}
