//! The engine as a door: what each question does.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use flatbus_ledger::{Deed, Ledger, Origin, Position, StoreError};
use flatbus_schemas::{Limits, Message, Refused};
use futures::future::join_all;
use tokio::sync::mpsc;

use super::{DryEnd, DryKey, KeysDone, ReplayQuery, Replayed, routes::Door};
use crate::{
    Consumer,
    engine::{Engine, Received},
    status::{Ready, Status},
    survey,
};

/// Deeds of shadow mode shown.
const DEEDS_SHOWN: usize = 1000;

#[async_trait]
impl<C: Consumer> Door for Engine<C> {
    fn ledger(&self) -> &Ledger {
        &self.world.ledger
    }

    fn status(&self) -> Status {
        self.status_page()
    }

    fn ready(&self) -> Ready {
        self.board.ready(self.now(), self.settings.alive_within)
    }

    fn alive(&self) -> bool {
        self.board.alive(self.now(), self.settings.alive_within)
    }

    fn metrics(&self) -> String {
        self.gauge();
        (self.world.gather)(&self.world.metrics);
        self.world.metrics.encode()
    }

    fn shadow_deeds(&self) -> Result<Vec<Deed>, StoreError> {
        self.ledger().deeds(DEEDS_SHOWN)
    }

    async fn mark(&self, keys: Vec<String>) -> Result<KeysDone, StoreError> {
        let mut said = KeysDone::default();
        let mut parsed = Vec::new();
        for text in keys {
            match text.parse::<C::Key>() {
                Ok(key) => {
                    parsed.push(key);
                    said.done.push(text);
                }
                Err(error) => said.wrong.push(format!("{text}: {error}")),
            }
        }
        Engine::mark(self, &self.marks(&parsed, Origin::Hand), &[], None).await?;
        Ok(said)
    }

    async fn retry(&self, keys: Vec<String>) -> Result<KeysDone, StoreError> {
        let said = each(keys, |key| self.ledger().retry(key, self.now())).await?;
        self.work.notify_one();
        Ok(said)
    }

    async fn drop_keys(&self, keys: Vec<String>) -> Result<KeysDone, StoreError> {
        each(keys, |key| self.ledger().drop_key(key)).await
    }

    async fn survey(&self, full: bool) -> Result<(), StoreError> {
        self.ledger().survey_owe(full, "asked for by hand", self.now()).await?;
        self.survey.notify_one();
        Ok(())
    }

    async fn replay(&self, lines: &[u8], query: ReplayQuery) -> Result<Replayed, StoreError> {
        let mut said = Replayed::default();
        let mut commits = Vec::new();
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
            said.messages += 1;
            let received = match Message::from_record(line, &Limits::default()) {
                Ok(received) => self.receive_message(received.message, None),
                Err(Refused { malformed: bad, body }) => self.park(bad.topic, bad.id, bad.reason, body, None),
            };
            match received {
                Received::Marked(commit) => {
                    said.marked += 1;
                    commits.push(commit);
                }
                Received::Parked(commit) => {
                    said.parked += 1;
                    commits.push(commit);
                }
                Received::Moved(commit) => commits.push(commit),
                Received::Nothing => {}
            }
        }
        if let (Some(source), Some(position)) = (query.source, query.position) {
            // Behind the marks in the store's order: durable only when they are.
            commits.push(Engine::mark(self, &[], &[], Some(Position { source, position })));
        }
        join_all(commits).await.into_iter().collect::<Result<(), _>>()?;
        Ok(said)
    }

    async fn retry_message(&self, number: u64) -> Result<bool, StoreError> {
        let Some(parked) = self.ledger().parked_message(number)? else { return Ok(false) };
        let message = Message {
            topic: parked.topic,
            id: parked.id,
            headers: serde_json::Map::new(),
            severity: flatbus_schemas::Severity::Info,
            sent_at: None,
            priority: None,
            body: parked.body,
        };
        // Parked anew, under a new number, where it still can't be understood.
        match self.receive_message(message, None) {
            Received::Marked(commit) | Received::Parked(commit) | Received::Moved(commit) => commit.await?,
            Received::Nothing => {}
        }
        self.ledger().drop_message(number).await?;
        Ok(true)
    }

    async fn drop_message(&self, number: u64) -> Result<bool, StoreError> {
        let known = self.ledger().parked_message(number)?.is_some();
        self.ledger().drop_message(number).await?;
        Ok(known)
    }

    async fn dry(self: Arc<Self>, lines: mpsc::Sender<Bytes>) {
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let mut tell = |dry| drop(sender.send(dry));
        let look = survey::dry(&self, &mut tell);
        let mut look = std::pin::pin!(look);
        let end = loop {
            tokio::select! {
                biased;
                Some(dry) = receiver.recv() => {
                    let line = DryKey { key: dry.key, would: dry.would, failure: dry.failure };
                    if send(&lines, &line).await.is_err() {
                        return;
                    }
                }
                outcome = &mut look => break outcome,
            }
        };
        while let Ok(dry) = receiver.try_recv() {
            let _ = send(&lines, &DryKey { key: dry.key, would: dry.would, failure: dry.failure }).await;
        }
        let end = match end {
            Ok(keys) => DryEnd { keys, failure: None },
            Err(failure) => DryEnd { keys: 0, failure: Some(failure) },
        };
        let _ = send(&lines, &end).await;
    }
}

async fn send(lines: &mpsc::Sender<Bytes>, line: &impl serde::Serialize) -> Result<(), ()> {
    let mut text = serde_json::to_vec(line).map_err(drop)?;
    text.push(b'\n');
    lines.send(Bytes::from(text)).await.map_err(drop)
}

async fn each(
    keys: Vec<String>,
    act: impl Fn(&str) -> Option<flatbus_ledger::Commit>,
) -> Result<KeysDone, StoreError> {
    let mut said = KeysDone::default();
    for key in keys {
        match act(&key) {
            Some(commit) => {
                commit.await?;
                said.done.push(key);
            }
            None => said.unknown.push(key),
        }
    }
    Ok(said)
}
