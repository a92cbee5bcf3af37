//! The routes, over anything that is a [`Door`]: the engine of whatever consumer.

use std::sync::Arc;

use async_trait::async_trait;
use axum::{
    Json, Router,
    body::Body,
    extract::{DefaultBodyLimit, Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use bytes::Bytes;
use flatbus_ledger::{Deed, Filter, KeyState, Ledger, StoreError};
use futures::{Stream, StreamExt};
use serde::Serialize;
use serde_json::json;
use tokio::sync::mpsc;

use super::api::*;
use crate::status::{Ready, Status};

const JSON_LINES: &str = "application/jsonl";

/// What the routes need of the engine.
#[async_trait]
pub(crate) trait Door: Send + Sync + 'static {
    fn ledger(&self) -> &Ledger;
    fn status(&self) -> Status;
    fn ready(&self) -> Ready;
    fn alive(&self) -> bool;
    fn metrics(&self) -> String;
    fn shadow_deeds(&self) -> Result<Vec<Deed>, StoreError>;
    async fn mark(&self, keys: Vec<String>) -> Result<KeysDone, StoreError>;
    async fn retry(&self, keys: Vec<String>) -> Result<KeysDone, StoreError>;
    async fn drop_keys(&self, keys: Vec<String>) -> Result<KeysDone, StoreError>;
    async fn survey(&self, full: bool) -> Result<(), StoreError>;
    async fn replay(&self, lines: &[u8], query: ReplayQuery) -> Result<Replayed, StoreError>;
    async fn retry_message(&self, number: u64) -> Result<bool, StoreError>;
    async fn drop_message(&self, number: u64) -> Result<bool, StoreError>;
    /// Looks at everything, sending one line a key, and the end.
    async fn dry(self: Arc<Self>, lines: mpsc::Sender<Bytes>);
}

type Shared = State<Arc<dyn Door>>;

/// What anybody may ask, on the socket and on TCP.
pub(crate) fn reads(door: Arc<dyn Door>) -> Router {
    Router::new()
        .route("/live", get(live))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .route("/status", get(async |State(door): Shared| Json(door.status())))
        .route("/keys", get(keys))
        .route("/key", get(key))
        .with_state(door)
}

/// Everything: for the socket, and for the command line in process.
pub(crate) fn router(door: Arc<dyn Door>) -> Router {
    let writes = Router::new()
        .route(
            "/keys/mark",
            post(async |State(door): Shared, Json(asked): Json<Keys>| answer(door.mark(asked.keys).await)),
        )
        .route("/keys/retry", post(retry))
        .route("/keys/drop", post(drop_keys))
        .route("/survey", post(survey))
        .route("/survey/dry", post(dry))
        .route("/replay", post(replay).layer(DefaultBodyLimit::max(REPLAY_BYTES_MAX)))
        .route("/position", get(position))
        .route("/messages", get(messages))
        .route("/message", get(message))
        .route("/messages/retry", post(retry_message))
        .route("/messages/drop", post(drop_message))
        .route("/deeds", get(async |State(door): Shared| answer(door.shadow_deeds())))
        .route("/export", get(export))
        .with_state(Arc::clone(&door));
    reads(door).merge(writes)
}

fn refuse(status: StatusCode, error: impl ToString) -> Response {
    (status, Json(Refusal { error: error.to_string() })).into_response()
}

fn answer<T: Serialize>(result: Result<T, StoreError>) -> Response {
    match result {
        Ok(value) => Json(value).into_response(),
        Err(error) => refuse(StatusCode::SERVICE_UNAVAILABLE, error),
    }
}

async fn live(State(door): Shared) -> Response {
    if door.alive() {
        return Json(json!({"status": "OK"})).into_response();
    }
    let said = json!({"status": "nothing went through for too long"});
    (StatusCode::SERVICE_UNAVAILABLE, Json(said)).into_response()
}

async fn ready(State(door): Shared) -> Response {
    let ready = door.ready();
    let status = if ready.consuming { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(ready)).into_response()
}

async fn metrics(State(door): Shared) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], door.metrics()).into_response()
}

/// Every key in a state; the outer `None` is a state that isn't one.
fn filter(state: Option<&str>) -> Option<Filter> {
    let state = match state {
        None | Some("all") => None,
        Some("parked") => Some(KeyState::Parked),
        Some("waiting") => Some(KeyState::Waiting),
        Some("due") => Some(KeyState::Due),
        Some("in_flight") => Some(KeyState::InFlight),
        Some(_) => return None,
    };
    Some(Filter { state, prefix: String::new() })
}

async fn keys(State(door): Shared, Query(query): Query<KeyQuery>) -> Response {
    let Some(filter) = filter(query.state.as_deref()) else {
        return refuse(StatusCode::BAD_REQUEST, "state is one of: all, due, in_flight, parked, waiting");
    };
    let limit = query.limit.unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX);
    let keys = door.ledger().list(&filter, query.after.as_deref(), limit);
    let next = keys.last().filter(|_| keys.len() == limit).map(|shown| shown.key.clone());
    Json(KeyPage { keys, next }).into_response()
}

async fn key(State(door): Shared, Query(asked): Query<OneKey>) -> Response {
    match door.ledger().show(&asked.key) {
        Some(shown) => Json(shown).into_response(),
        None => refuse(StatusCode::NOT_FOUND, format!("{} is not doubtful and not parked", asked.key)),
    }
}

/// The keys named, with all parked ones where asked.
fn chosen(door: &dyn Door, asked: Keys) -> Vec<String> {
    let mut keys = asked.keys;
    if asked.all_parked {
        let parked = Filter { state: Some(KeyState::Parked), prefix: String::new() };
        keys.extend(door.ledger().list(&parked, None, usize::MAX).into_iter().map(|shown| shown.key));
    }
    keys
}

async fn retry(State(door): Shared, Json(asked): Json<Keys>) -> Response {
    let keys = chosen(&*door, asked);
    answer(door.retry(keys).await)
}

async fn drop_keys(State(door): Shared, Json(asked): Json<Keys>) -> Response {
    let keys = chosen(&*door, asked);
    answer(door.drop_keys(keys).await)
}

async fn survey(State(door): Shared, Json(asked): Json<SurveyRequest>) -> Response {
    answer(door.survey(asked.full).await.map(|()| json!({"owed": true})))
}

fn lines(stream: impl Stream<Item = Bytes> + Send + 'static) -> Response {
    let body = Body::from_stream(stream.map(Ok::<_, std::convert::Infallible>));
    ([(header::CONTENT_TYPE, JSON_LINES)], body).into_response()
}

async fn dry(State(door): Shared) -> Response {
    let (sender, receiver) = mpsc::channel::<Bytes>(64);
    // Driven by whoever reads the answer: a reader who goes away ends it.
    let work =
        futures::stream::once(async move { door.dry(sender).await }).filter_map(async |()| None::<Bytes>);
    let said =
        futures::stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver)));
    lines(futures::stream::select(work, said))
}

async fn replay(State(door): Shared, Query(query): Query<ReplayQuery>, body: Bytes) -> Response {
    if body.split(|byte| *byte == b'\n').count() > REPLAY_LINES_MAX + 1 {
        return refuse(StatusCode::PAYLOAD_TOO_LARGE, format!("at most {REPLAY_LINES_MAX} lines at once"));
    }
    answer(door.replay(&body, query).await)
}

async fn position(State(door): Shared, Query(asked): Query<ReplayPosition>) -> Response {
    answer(
        door.ledger()
            .position(&asked.source)
            .map(|position| ReplayPosition { source: asked.source, position }),
    )
}

async fn messages(State(door): Shared, Query(query): Query<KeyQuery>) -> Response {
    let after = query.after.and_then(|after| after.parse().ok());
    let found = door.ledger().parked_messages(after, query.limit.unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX));
    answer(found)
}

async fn message(State(door): Shared, Query(asked): Query<MessageNumber>) -> Response {
    match door.ledger().parked_message(asked.number) {
        Ok(Some(parked)) => Json(ParkedBody {
            number: asked.number,
            topic: parked.topic,
            id: parked.id,
            reason: parked.reason,
            at: parked.at,
            body: String::from_utf8_lossy(&parked.body).into_owned(),
        })
        .into_response(),
        Ok(None) => {
            refuse(StatusCode::NOT_FOUND, format!("no parked message has the number {}", asked.number))
        }
        Err(error) => refuse(StatusCode::SERVICE_UNAVAILABLE, error),
    }
}

async fn retry_message(State(door): Shared, Json(asked): Json<MessageNumber>) -> Response {
    answer(door.retry_message(asked.number).await.map(|found| json!({"found": found})))
}

async fn drop_message(State(door): Shared, Json(asked): Json<MessageNumber>) -> Response {
    answer(door.drop_message(asked.number).await.map(|found| json!({"found": found})))
}

/// A page at a time, as it is read. A store that fails in the middle cuts the answer, so that nobody takes it for whole.
async fn export(State(door): Shared) -> Response {
    let records = futures::stream::iter(
        door.ledger().export().map(|record| record.map(|line| Bytes::from(line + "\n"))),
    );
    ([(header::CONTENT_TYPE, JSON_LINES)], Body::from_stream(records)).into_response()
}
