//! Announcements on their way: recorded with the fact they tell, published with confirms afterwards, at least once.

use std::{sync::Arc, time::Duration};

use flatbus_base::Remediable;
use flatbus_bus::{Outgoing, Publisher};
use flatbus_schemas::{Announcement, Severity};
use flatbus_telemetry::metrics::Counter;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tracing::{debug, error, warn};

use crate::{Consumer, Failure, engine::Engine};

/// Announcements read from the ledger at once.
const OUTBOX_BATCH: usize = 32;
/// First and longest wait for a broker that does not take an announcement. The longest is what an announcement is late by
/// once the broker is well, however long it was not.
const WAIT_MIN: Duration = Duration::from_millis(200);
const WAIT_MAX: Duration = Duration::from_secs(3);

/// The record of an announcement in the ledger.
#[derive(Serialize, Deserialize)]
struct Letter {
    id: String,
    sent_at: Timestamp,
    causes: Vec<String>,
    topic: String,
    schema: String,
    severity: u8,
    body: Value,
}

pub(crate) fn encode(message: &Outgoing) -> Result<Vec<u8>, Failure> {
    let said = &message.announcement;
    let letter = Letter {
        id: message.id.clone(),
        sent_at: message.sent_at,
        causes: message.causes.clone(),
        topic: said.topic.clone(),
        schema: said.schema.clone(),
        severity: said.severity.number(),
        body: said.body.clone(),
    };
    serde_json::to_vec(&letter).map_err(|error| Failure::park(format!("announcing {}: {error}", said.topic)))
}

pub(crate) fn decode(bytes: &[u8]) -> Result<Outgoing, serde_json::Error> {
    let letter: Letter = serde_json::from_slice(bytes)?;
    let announcement = Announcement {
        topic: letter.topic,
        schema: letter.schema,
        severity: Severity::from_number(letter.severity.into()).unwrap_or_default(),
        body: letter.body,
    };
    Ok(Outgoing { id: letter.id, sent_at: letter.sent_at, causes: letter.causes, announcement })
}

/// Publishes what the outbox holds, in order, until told to stop.
pub(crate) async fn run<C: Consumer>(engine: Arc<Engine<C>>, publisher: Arc<dyn Publisher>) {
    let mut wait = WAIT_MIN;
    while !engine.world.stop.is_cancelled() {
        match flush(&engine, &*publisher).await {
            Ok(true) => wait = WAIT_MIN,
            Ok(false) => {
                wait = WAIT_MIN;
                tokio::select! { biased; () = engine.world.stop.cancelled() => {}, () = engine.post.notified() => {} }
            }
            Err(reason) => {
                engine.board.publishing(Some(reason));
                let pause = tokio::time::sleep(engine.world.random.jitter(wait));
                tokio::select! { biased; () = engine.world.stop.cancelled() => {}, () = pause => {} }
                wait = (wait * 2).min(WAIT_MAX);
            }
        }
    }
}

/// Publishes one batch. `Ok(false)`: there was nothing to publish. The error is for the status page.
pub(crate) async fn flush<C: Consumer>(
    engine: &Engine<C>,
    publisher: &dyn Publisher,
) -> Result<bool, String> {
    let letters = engine.ledger().outbox(OUTBOX_BATCH).map_err(|error| error.to_string())?;
    if letters.is_empty() {
        return Ok(false);
    }
    // What was told must never be forgotten: the way back would be told to nobody. The keeper wakes us once it can be kept.
    if !engine.watch(engine.ledger().sync().await) {
        return Ok(false);
    }
    let mut sent = Vec::with_capacity(letters.len());
    let mut trouble = None;
    for (number, bytes) in letters {
        match send(engine, publisher, &bytes).await {
            Ok(()) => sent.push(number),
            Err(reason) => {
                trouble = Some(reason);
                break; // In order: what comes after waits too.
            }
        }
    }
    if !sent.is_empty() {
        engine.watch(engine.ledger().outbox_sent(&sent).await);
    }
    match trouble {
        Some(reason) => Err(reason),
        None => {
            engine.board.publishing(None);
            Ok(true)
        }
    }
}

async fn send<C: Consumer>(
    engine: &Engine<C>,
    publisher: &dyn Publisher,
    bytes: &[u8],
) -> Result<(), String> {
    let message = match decode(bytes) {
        Ok(message) => message,
        Err(error) => {
            error!(%error, "An announcement in the outbox is unreadable and is dropped: {error}");
            return Ok(());
        }
    };
    let topic = &message.announcement.topic;
    match publisher.publish(&message).await {
        Ok(()) => {
            engine.world.metrics.count(Counter::AnnouncementsSent, 1);
            engine.board.announced(engine.now());
            debug!(message.topic = %topic, message.id = %message.id, "Announced {topic}");
            Ok(())
        }
        Err(failure) => {
            engine.world.metrics.count(Counter::AnnouncementsFailed, 1);
            let reason = failure.to_string();
            if engine.board.bus().publishing_trouble.as_ref() != Some(&reason) {
                warn!(message.topic = %topic, error = %failure, remedy = ?failure.remedy(), "An announcement waits: {reason}");
            }
            Err(reason)
        }
    }
}
