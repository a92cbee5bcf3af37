//! One queue of the bus: what waits in it, and what each of its sources holds.

use std::collections::{BTreeMap, VecDeque};

use flatbus_schemas::Message;

use super::REMEMBERED_MAX;
use crate::{Delivery, Receipt, SourceEvent, Undecodable};

/// A queue and its sources.
pub(super) struct Queue {
    routing_keys: Vec<String>,
    /// By order of publication, so that what comes back stands in front again.
    waiting: BTreeMap<u64, Item>,
    published: u64,
    acked: VecDeque<String>,
    sources: BTreeMap<u64, Holder>,
}

#[derive(Clone)]
struct Item {
    redelivered: bool,
    content: Result<Message, Undecodable>,
}

/// What one source is told and holds.
#[derive(Default)]
struct Holder {
    paused: bool,
    connected: bool,
    /// Receipts of earlier ones are void.
    session: u64,
    tag: u64,
    told: VecDeque<SourceEvent>,
    unacked: BTreeMap<u64, (u64, Item)>,
}

impl Queue {
    pub fn new(routing_keys: &[&str]) -> Self {
        Self {
            routing_keys: routing_keys.iter().map(|&key| key.to_owned()).collect(),
            waiting: BTreeMap::new(),
            published: 0,
            acked: VecDeque::new(),
            sources: BTreeMap::new(),
        }
    }

    pub fn wants(&self, topic: &str) -> bool {
        self.routing_keys.iter().any(|key| matches(key, topic))
    }

    pub fn push(&mut self, content: Result<Message, Undecodable>) {
        self.published += 1;
        self.waiting.insert(self.published, Item { redelivered: false, content });
    }

    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub fn unacked(&self) -> usize {
        self.sources.values().map(|source| source.unacked.len()).sum()
    }

    pub fn acked(&self) -> Vec<String> {
        self.acked.iter().cloned().collect()
    }

    pub fn empty(&mut self) {
        self.waiting.clear();
    }

    /// The next event for a source, if there is one.
    pub fn next(&mut self, source: u64, prefetch_count: usize) -> Option<SourceEvent> {
        let holder = self.sources.entry(source).or_insert_with(Holder::connecting);
        if holder.paused {
            return None;
        }
        if let Some(told) = holder.told.pop_front() {
            return Some(told);
        }
        if !holder.connected || holder.unacked.len() >= prefetch_count {
            return None;
        }
        let (order, item) = self.waiting.pop_first()?;
        holder.tag += 1;
        let delivery = Delivery {
            receipt: Receipt { session: holder.session, tag: holder.tag },
            redelivered: item.redelivered,
            cursor: None,
            message: item.content.clone(),
        };
        holder.unacked.insert(holder.tag, (order, item));
        Some(SourceEvent::Delivery(delivery))
    }

    pub fn ack(&mut self, source: u64, through: Receipt) {
        let Some(holder) = self.sources.get_mut(&source) else { return };
        if holder.session != through.session {
            return;
        }
        while let Some(entry) = holder.unacked.first_entry().filter(|entry| *entry.key() <= through.tag) {
            let (_, item) = entry.remove();
            self.acked.push_back(item.content.map_or_else(|error| error.id, |message| message.id));
            if self.acked.len() > REMEMBERED_MAX {
                self.acked.pop_front();
            }
        }
    }

    pub fn pause(&mut self, source: u64) {
        self.give_back(source);
        let holder = self.sources.entry(source).or_insert_with(Holder::connecting);
        holder.paused = true;
    }

    pub fn resume(&mut self, source: u64) {
        if let Some(holder) = self.sources.get_mut(&source).filter(|holder| holder.paused) {
            holder.paused = false;
            if holder.connected {
                holder.told = [SourceEvent::Connected { gap: false }].into();
            }
        }
    }

    pub fn close(&mut self, source: u64) {
        self.give_back(source);
        self.sources.remove(&source);
    }

    pub fn disconnect(&mut self, reason: &str) {
        for source in self.sources.keys().copied().collect::<Vec<_>>() {
            self.give_back(source);
        }
        for holder in self.sources.values_mut() {
            holder.connected = false;
            holder.told.push_back(SourceEvent::Disconnected { reason: reason.to_owned() });
        }
    }

    pub fn connect(&mut self, gap: bool) {
        for holder in self.sources.values_mut().filter(|holder| !holder.connected) {
            holder.connected = true;
            holder.told.push_back(SourceEvent::Connected { gap });
        }
    }

    /// What a source holds waits again, marked as perhaps seen; its receipts are void.
    fn give_back(&mut self, source: u64) {
        let Some(holder) = self.sources.get_mut(&source) else { return };
        holder.session += 1;
        for (order, item) in std::mem::take(&mut holder.unacked).into_values() {
            self.waiting.insert(order, Item { redelivered: true, ..item });
        }
    }
}

impl Holder {
    fn connecting() -> Self {
        Self { connected: true, told: [SourceEvent::Connected { gap: false }].into(), ..Self::default() }
    }
}

/// Whether a topic exchange would route `topic` to a queue bound with `key`.
fn matches(key: &str, topic: &str) -> bool {
    fn words(key: &[&str], topic: &[&str]) -> bool {
        match (key.split_first(), topic.split_first()) {
            (None, None) => true,
            (Some((&"#", rest)), None) => words(rest, topic),
            (Some((&"#", rest)), Some((_, after))) => words(rest, topic) || words(key, after),
            (Some((&"*", rest)), Some((_, after))) => words(rest, after),
            (Some((word, rest)), Some((said, after))) => word == said && words(rest, after),
            (None, Some(_)) | (Some(_), None) => false,
        }
    }
    words(&key.split('.').collect::<Vec<_>>(), &topic.split('.').collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn routing_keys_match_as_a_topic_exchange_matches() {
        for (key, topic, routed) in [
            ("#", "a.b.c", true),
            ("a.*", "a.b", true),
            ("a.*", "a.b.c", false),
            ("a.#", "a", true),
            ("#.bodhi.#", "org.fedoraproject.prod.bodhi.update.request.stable", true),
            ("#.bodhi.#", "org.fedoraproject.prod.bodhix", false),
            ("*.b.#.d", "a.b.d", true),
            ("", "a", false),
        ] {
            assert_eq!(matches(key, topic), routed, "{key} {topic}");
        }
    }
}
