//! The survey beside the event path: every key that ought to be true, looked at again, slowly.
//!
//! It is owed at first start, after an unclean stop, after a gap, when marks collapsed, on a timer and by hand. What is
//! owed is durable; a survey cut short is owed still and goes on after the last key it recorded.

use std::{collections::BTreeSet, pin::pin, str::FromStr, sync::Arc, time::Duration};

use flatbus_base::chain;
use flatbus_ledger::{Origin, Position};
use flatbus_telemetry::metrics::Counter;
use futures::StreamExt;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use crate::{Consumer, Ctx, SurveyScope, engine::Engine};

/// How often it is looked whether a survey is due: one that is owed waits for its gap alone.
const LOOK_EVERY: Duration = Duration::from_secs(60);
const LOOK_EVERY_WHEN_OWED: Duration = Duration::from_secs(5);
/// Keys recorded in one commit.
const SURVEY_BATCH: usize = 32;
/// First wait after a survey that failed; the gap setting is the least.
const RETRY_MIN: Duration = Duration::from_secs(10);
/// A surveyed key is not added while this many wait already: truth read now would be stale before its turn.
const BACKLOG_MAX: usize = 1000;

/// Makes surveys until told to stop.
pub(crate) async fn run<C: Consumer>(engine: Arc<Engine<C>>) {
    let stop = engine.world.stop.clone();
    while !stop.is_cancelled() {
        if let Some(scope) = due(&engine)
            && let Err(reason) = one(&engine, scope).await
        {
            warn!(error = %reason, "A survey failed and is owed still: {reason}");
            engine.world.metrics.count(Counter::SurveysFailed, 1u64);
            engine.board.survey_failed(reason);
            let wait = tokio::time::sleep(engine.world.random.jitter(RETRY_MIN * 2));
            tokio::select! { biased; () = stop.cancelled() => {}, () = wait => {} }
        }
        let owed = engine.ledger().survey().owed.is_some();
        let turn = tokio::time::sleep(if owed { LOOK_EVERY_WHEN_OWED } else { LOOK_EVERY });
        tokio::select! { biased; () = stop.cancelled() => {}, () = engine.survey.notified() => {}, () = turn => {} }
    }
}

/// The survey that is due now, if any.
pub(crate) fn due<C: Consumer>(engine: &Engine<C>) -> Option<SurveyScope> {
    let state = engine.ledger().survey();
    let now = engine.now().wall;
    let settings = &engine.settings;
    // A time to come is one of a clock that was wrong: as good as long ago.
    let since = |at: Option<Timestamp>| {
        at.map(|at| Duration::try_from(now.duration_since(at)).unwrap_or(Duration::MAX))
    };
    if since(state.last_started).is_some_and(|gone| gone < settings.survey_gap_min) {
        return None;
    }
    let full_due = since(state.last_full).is_none_or(|gone| gone >= settings.survey_full_every);
    let changes_due = since(state.last_complete).is_none_or(|gone| gone >= settings.survey_every);
    let full = full_due || state.owed.as_ref().is_some_and(|owed| owed.full);
    match (full, state.last_complete.filter(|last| *last <= now)) {
        (true, _) | (false, None) => Some(SurveyScope::Full),
        (false, Some(last)) => (changes_due || state.owed.is_some()).then_some(SurveyScope::Since(last)),
    }
}

/// Makes one survey, or goes on with the one that was cut short. The error is for the status page; whatever was recorded
/// before it stays recorded.
pub(crate) async fn one<C: Consumer>(engine: &Arc<Engine<C>>, scope: SurveyScope) -> Result<u64, String> {
    let now = engine.now();
    let full = scope == SurveyScope::Full;
    let resumed = Bookmark::read(engine).filter(|bookmark| bookmark.goes_on(full, now.wall, engine));
    let bookmark = resumed.unwrap_or(Bookmark { full, started: now.wall, after: None });
    engine.watch(engine.ledger().survey_started(now).await);
    engine.world.metrics.count(Counter::SurveysStarted, 1u64);
    engine.board.surveying(true);
    info!(full, after = bookmark.after.as_deref(), "Survey begins");
    let started = bookmark.started;
    let outcome = keys(engine, scope, bookmark).await;
    engine.board.surveying(false);
    let found = outcome?;
    engine.watch(engine.ledger().survey_done(full, started, engine.now()).await);
    engine.world.metrics.count(Counter::SurveysComplete, 1u64);
    engine.board.surveyed(found, engine.now());
    info!(full, keys = found, "Survey complete: {found} keys looked at again");
    Ok(found)
}

/// Where a survey that was cut short goes on. Kept as a replay's position is: in the commit of the keys before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Bookmark {
    full: bool,
    started: Timestamp,
    after: Option<String>,
}

/// What the position is kept under.
const BOOKMARK: &str = "survey";

impl Bookmark {
    fn read<C: Consumer>(engine: &Engine<C>) -> Option<Self> {
        let text = engine.ledger().position(BOOKMARK).ok().flatten()?;
        serde_json::from_str(&text).ok()
    }

    /// Keys recorded long ago, or after what the survey is owed for happened, must be looked at again.
    fn goes_on<C: Consumer>(&self, full: bool, now: Timestamp, engine: &Engine<C>) -> bool {
        let age = Duration::try_from(now.duration_since(self.started)).unwrap_or(Duration::MAX);
        let owed_since = engine.ledger().survey().owed.map_or(Timestamp::MIN, |owed| owed.since);
        self.after.is_some()
            && self.full == full
            && age < engine.settings.survey_every
            && owed_since <= self.started
    }

    fn after<K: FromStr>(&self) -> Option<K> {
        self.after.as_ref().and_then(|text| text.parse().ok())
    }

    fn at(&self, after: Option<String>) -> Option<Position> {
        let bookmark = Self { after, ..self.clone() };
        serde_json::to_string(&bookmark)
            .ok()
            .map(|position| Position { source: BOOKMARK.to_owned(), position })
    }
}

async fn keys<C: Consumer>(
    engine: &Arc<Engine<C>>,
    scope: SurveyScope,
    bookmark: Bookmark,
) -> Result<u64, String> {
    let ctx = Ctx::new(Arc::clone(&engine.world));
    let batch = SURVEY_BATCH.min(engine.settings.doubtful_max / 2).max(1);
    let mut keys = pin!(engine.consumer.survey(&ctx, scope).ready_chunks(batch));
    let stop = engine.world.stop.clone();
    let done: Option<C::Key> = bookmark.after();
    let mut found = 0;
    loop {
        let next = tokio::select! {
            biased;
            () = stop.cancelled() => return Err("stopped before it was complete".to_owned()),
            next = keys.next() => next,
        };
        let Some(chunk) = next else { break };
        let mut chunk: Vec<C::Key> =
            chunk.into_iter().collect::<Result<_, _>>().map_err(|failure| chain(&failure))?;
        chunk.retain(|key| done.as_ref().is_none_or(|done| key > done));
        found += chunk.len() as u64;
        record(engine, &chunk, &bookmark).await?;
        let pace = Duration::from_secs_f64(chunk.len() as f64 / f64::from(engine.settings.survey_keys_per_s));
        tokio::select! { biased; () = stop.cancelled() => {}, () = tokio::time::sleep(pace) => {} }
    }
    engine.watch(engine.mark(&[], &[], bookmark.at(None)).await);
    Ok(found)
}

/// Marks a chunk and moves the bookmark behind it, in one commit.
async fn record<C: Consumer>(
    engine: &Arc<Engine<C>>,
    chunk: &[C::Key],
    bookmark: &Bookmark,
) -> Result<(), String> {
    let Some(last) = chunk.last() else { return Ok(()) };
    engine.world.metrics.count(Counter::SurveyKeys, chunk.len() as u64);
    room(engine, chunk.len()).await?;
    let position = bookmark.at(Some(last.to_string()));
    match engine.watch(engine.mark(&engine.marks(chunk, Origin::Survey), &[], position).await) {
        true => Ok(()),
        false => Err("the ledger can't be written".to_owned()),
    }
}

/// Waits until `keys` more fit: a survey whose marks collapsed would owe itself again, for ever.
async fn room<C: Consumer>(engine: &Arc<Engine<C>>, keys: usize) -> Result<(), String> {
    let stop = engine.world.stop.clone();
    loop {
        let counts = engine.ledger().counts();
        if counts.due < BACKLOG_MAX && counts.to_settle() + keys <= engine.settings.doubtful_max {
            return Ok(());
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return Err("stopped before it was complete".to_owned()),
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
    }
}

/// What a settle would do to one key, for a dry run.
pub(crate) struct Dry {
    pub key: String,
    pub would: Vec<String>,
    pub failure: Option<String>,
}

/// Looks at every key of a survey and tells what settling it would do; changes and records nothing.
pub(crate) async fn dry<C: Consumer>(
    engine: &Arc<Engine<C>>,
    tell: &mut (dyn FnMut(Dry) + Send),
) -> Result<u64, String> {
    let ctx = Ctx::new(Arc::clone(&engine.world)).dry();
    let mut keys = pin!(engine.consumer.survey(&ctx, SurveyScope::Full));
    let mut looked_at = BTreeSet::new();
    while let Some(next) = keys.next().await {
        let mut waiting = vec![next.map_err(|failure| chain(&failure))?];
        while let Some(key) = waiting.pop() {
            if looked_at.insert(key.clone()) {
                waiting.extend(dry_one(engine, key, tell).await);
            }
        }
    }
    Ok(looked_at.len() as u64)
}

async fn dry_one<C: Consumer>(
    engine: &Arc<Engine<C>>,
    key: C::Key,
    tell: &mut (dyn FnMut(Dry) + Send),
) -> Vec<C::Key> {
    let ctx = Ctx::new(Arc::clone(&engine.world)).dry();
    let batch = [key];
    let result = engine.consumer.settle(&ctx, &batch).await.pop();
    let would = ctx.take_scratch().deeds;
    let [key] = batch;
    let (also, failure) = match result {
        Some(Ok(settled)) => (settled.also, None),
        Some(Err(failure)) => (Vec::new(), Some(chain(&failure))),
        None => (Vec::new(), Some("no result".to_owned())),
    };
    tell(Dry { key: key.to_string(), would, failure });
    also
}
