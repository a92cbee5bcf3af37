//! Messages that could not be decoded: kept with their bodies, within limits, for a person to look at.

use flatbus_base::Moment;

use super::{
    Ledger,
    entry::bounded,
    record::{self, Content},
    state::{Body, State},
    types::{Commit, ParkedMessage, ParkedShown, Position},
};
use crate::{FILE_BYTES_MAX, StoreError, space::Space};

/// Larger bodies are files.
pub(super) const BODY_INLINE_BYTES_MAX: usize = 64 << 10;
/// Longest id, topic or reason kept.
const TEXT_BYTES_MAX: usize = 1024;

impl Ledger {
    /// Keeps a message that could not be decoded. Past the limits the oldest goes, and is counted.
    pub fn park_message(&self, message: ParkedMessage, position: Option<Position>, _now: Moment) -> Commit {
        self.write(|state| {
            state.park(message);
            state.put_position(position);
        })
        .1
    }

    /// Parked messages in order, from the one after `after` on.
    ///
    /// # Errors
    /// When the store can't be read.
    pub fn parked_messages(&self, after: Option<u64>, limit: usize) -> Result<Vec<ParkedShown>, StoreError> {
        let numbers = self.state().parked_after(after, limit);
        let shown = numbers.into_iter().map(|number| Ok(self.read_parked(number)?.map(|(shown, _)| shown)));
        shown.filter_map(Result::transpose).collect()
    }

    /// One parked message with its body.
    ///
    /// # Errors
    /// When the store can't be read.
    pub fn parked_message(&self, number: u64) -> Result<Option<ParkedMessage>, StoreError> {
        let Some((shown, content)) = self.read_parked(number)? else { return Ok(None) };
        let ParkedShown { id, topic, reason, at, .. } = shown;
        let body = self.read_content(content)?.unwrap_or_default();
        Ok(Some(ParkedMessage { id, topic, reason, at, body }))
    }

    /// Forgets a parked message: it was replayed, or nobody needs it.
    pub fn drop_message(&self, number: u64) -> Commit {
        self.write(|state| state.unpark(number)).1
    }

    fn read_parked(&self, number: u64) -> Result<Option<(ParkedShown, Content)>, StoreError> {
        let Some(record) = self.record(&Space::Parked.numbered(number))? else { return Ok(None) };
        record::read_parked(number, &record).map(Some).map_err(self.unreadable(Space::Parked))
    }
}

impl State {
    fn parked_after(&self, after: Option<u64>, limit: usize) -> Vec<u64> {
        let from = after.map_or(0, |after| after.saturating_add(1));
        self.parked.range(from..).map(|(number, _)| *number).take(limit).collect()
    }

    fn park(&mut self, message: ParkedMessage) {
        let number = self.parked_next;
        self.parked_next += 1;
        let bytes = message.body.len() as u64;
        let kept = bytes <= self.limits.parked_bytes_max && message.body.len() <= FILE_BYTES_MAX;
        let content =
            if kept { self.place(message.body.clone(), BODY_INLINE_BYTES_MAX) } else { Content::Gone };
        self.parked_dropped += u64::from(!kept);
        let message = ParkedMessage {
            id: bounded(&message.id, TEXT_BYTES_MAX).to_owned(),
            topic: bounded(&message.topic, TEXT_BYTES_MAX).to_owned(),
            reason: bounded(&message.reason, TEXT_BYTES_MAX).to_owned(),
            ..message
        };
        self.journal.put(Space::Parked.numbered(number), record::parked(&message, &content));
        self.admit_parked(number, Body { bytes: if kept { bytes } else { 0 }, file: content.file() });
        self.make_room();
    }

    pub(super) fn admit_parked(&mut self, number: u64, body: Body) {
        self.parked_bytes += body.bytes;
        self.parked.insert(number, body);
    }

    fn make_room(&mut self) {
        while self.parked.len() > self.limits.parked_messages_max
            || self.parked_bytes > self.limits.parked_bytes_max
        {
            let Some((&oldest, _)) = self.parked.first_key_value() else { return };
            self.unpark(oldest);
            self.parked_dropped += 1;
        }
    }

    fn unpark(&mut self, number: u64) {
        let Some(body) = self.parked.remove(&number) else { return };
        self.parked_bytes -= body.bytes;
        if let Some(file) = body.file {
            self.journal.unname_file(file);
        }
        self.journal.delete(Space::Parked.numbered(number));
    }
}
