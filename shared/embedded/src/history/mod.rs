//! Plays a real history: before each message is handed on, Koji and Bodhi come to the state of its moment.
//!
//! Messages are handed on in order of time and exactly as recorded, whatever they hold; what says nothing about a build
//! or an update changes nothing. Some changes came without a message (Bodhi obsoletes an update in silence): they
//! happen at their time, or at the end.

mod state;
mod stories;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use flatbus_schemas::{Limits, Message};
use jiff::Timestamp;
use serde_json::Value;

pub use stories::{NoModel, Story, StoryBuild, beside_the_timeline};

use crate::{Samples, bodhi::Updates, images::Image, koji::Builds, times};

/// A line of the timeline is no message.
#[derive(Debug, thiserror::Error)]
#[error("line {line} of the timeline is no message: {problem}")]
pub struct BadLine {
    /// Which, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: String,
}

/// Plays a history on a Koji and a Bodhi.
#[derive(Debug)]
pub struct Player {
    messages: VecDeque<Message>,
    played: usize,
    /// Changes without a message, by time.
    silent: VecDeque<(Timestamp, String)>,
    state: state::State,
}

impl Player {
    /// A player at the beginning of its history: Koji and Bodhi are told nothing yet.
    ///
    /// # Errors
    /// When a line of the timeline is no message.
    pub fn new(samples: Samples, koji: Arc<Builds>, bodhi: Arc<Updates>) -> Result<Self, BadLine> {
        let mut messages = Vec::with_capacity(samples.timeline.len());
        for (number, line) in samples.timeline.iter().enumerate() {
            let bad = |problem| BadLine { line: number + 1, problem };
            let received = Message::from_record(line.as_bytes(), &Limits::default());
            messages.push(received.map_err(|refused| bad(refused.to_string()))?.message);
        }
        messages.sort_by_key(|message| message.sent_at); // Stable: messages of one second keep their order.
        let silent = silent_changes(&messages, &samples.updates);
        let state = state::State::new(samples, koji, bodhi);
        Ok(Self { messages: messages.into(), played: 0, silent, state })
    }

    /// Updates stay locked, and composes under way, until the message that a compose is complete. Otherwise an update is
    /// unlocked as soon as its own message says that it is pushed.
    #[must_use]
    pub fn with_composes(mut self) -> Self {
        self.state.composes = true;
        self
    }

    /// How many messages were handed on.
    pub fn played(&self) -> usize {
        self.played
    }

    /// How many messages the history has.
    pub fn total(&self) -> usize {
        self.played + self.messages.len()
    }

    /// Brings Koji and Bodhi to the moment of the next message, and hands it out.
    pub fn step(&mut self) -> Option<Message> {
        let message = self.messages.pop_front()?;
        self.played += 1;
        let due = |(at, _): &(Timestamp, String)| message.sent_at.is_some_and(|now| *at <= now);
        while self.silent.front().is_some_and(due) {
            if let Some((_, alias)) = self.silent.pop_front() {
                self.state.conclude(&alias);
            }
        }
        self.state.apply(&message);
        Some(message)
    }

    /// The end of the history: every update is as its last record says.
    pub fn finish(&mut self) {
        self.silent.clear();
        self.state.conclude_all();
    }

    /// Plays what is left, handing each message to `sink`, and finishes. Answers how many were handed on.
    ///
    /// # Errors
    /// When `sink` fails: the message it failed on is lost, and the rest can be played.
    pub async fn play<E>(&mut self, mut sink: impl AsyncFnMut(Message) -> Result<(), E>) -> Result<usize, E> {
        let before = self.played;
        while let Some(message) = self.step() {
            sink(message).await?;
        }
        self.finish();
        Ok(self.played - before)
    }
}

impl Samples {
    /// Makes the records name these images on `host` (`127.0.0.1:5000`) instead of what Koji's records name.
    pub fn name_images(&mut self, images: &BTreeMap<i64, Image>, host: &str) {
        for (id, image) in images {
            let Some(build) = self.builds.get_mut(id) else { continue };
            *build = image.build_record(build, host);
            let archives = self.archives.entry(*id).or_default();
            *archives = image.archive_records(build, archives, host);
        }
    }
}

/// Updates whose last record says another status than their last message: when they came to it, where a comment tells.
fn silent_changes(messages: &[Message], updates: &BTreeMap<String, Value>) -> VecDeque<(Timestamp, String)> {
    let mut told: BTreeMap<String, Value> = BTreeMap::new();
    for message in messages.iter().filter(|message| message.name().starts_with("bodhi.update.")) {
        let body: Value = serde_json::from_slice(&message.body).unwrap_or_default();
        if let Some(alias) = body.pointer("/update/alias").and_then(Value::as_str) {
            told.insert(alias.to_owned(), body["update"]["status"].clone());
        }
    }
    let differs = updates
        .iter()
        .filter(|(alias, update)| told.get(*alias).is_some_and(|told| *told != update["status"]));
    let mut silent: Vec<(Timestamp, String)> =
        differs.filter_map(|(alias, update)| Some((commented(update)?, alias.clone()))).collect();
    silent.sort();
    silent.into()
}

/// When Bodhi commented that an update came to its present status.
fn commented(update: &Value) -> Option<Timestamp> {
    let status = update["status"].as_str()?;
    let comments = update["comments"].as_array()?.iter().rev();
    let says = |comment: &&Value| {
        comment["user"]["name"] == "bodhi"
            && comment["text"].as_str().is_some_and(|text| text.contains(status))
    };
    times::parse(comments.into_iter().find(says)?["timestamp"].as_str()?)
}

#[cfg(test)]
mod tests;
