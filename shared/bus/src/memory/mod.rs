//! A bus in this process: for tests, simulated worlds and the demo. It behaves as the broker does (order, prefetch,
//! redelivery, lost connections, lost queues), says what happened, and fails on command. Nothing in it waits for a
//! clock, draws a number or does I/O.

mod publisher;
mod queue;
mod source;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, VecDeque},
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use flatbus_schemas::Message;
use tokio::sync::watch;

use self::queue::Queue;
pub use self::{publisher::MemoryPublisher, source::MemorySource};
use crate::{Outgoing, Undecodable};

/// Unacknowledged deliveries a source is given where nothing else is asked for: fedora-messaging's default.
const PREFETCH_COUNT: NonZeroUsize = NonZeroUsize::new(10).unwrap();
/// Acknowledged ids and announcements remembered; the oldest go.
const REMEMBERED_MAX: usize = 100_000;

/// A handle to the bus. Clones are handles to the same one.
#[derive(Clone)]
pub struct MemoryBus(Arc<Shared>);

struct Shared {
    inner: Mutex<Inner>,
    /// Marked at each change, so that every source and waiter looks again.
    changed: watch::Sender<()>,
}

struct Inner {
    queues: BTreeMap<String, Queue>,
    announced: VecDeque<Outgoing>,
    publishing: VecDeque<Fault>,
    prefetch_count: usize,
    loops_back: bool,
    sources: u64,
}

/// What happens to a publication that is to fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The message never arrives.
    Unreachable(String),
    /// The message arrives, but its confirm is lost: it will be sent again.
    ConfirmLost,
    /// The broker says no.
    Refused(String),
}

impl Default for MemoryBus {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryBus {
    /// A bus without queues.
    pub fn new() -> Self {
        let inner = Inner {
            queues: BTreeMap::new(),
            announced: VecDeque::new(),
            publishing: VecDeque::new(),
            prefetch_count: PREFETCH_COUNT.get(),
            loops_back: false,
            sources: 0,
        };
        Self(Arc::new(Shared { inner: Mutex::new(inner), changed: watch::Sender::new(()) }))
    }

    /// How many deliveries a source may leave unacknowledged.
    pub fn set_prefetch_count(&self, prefetch_count: NonZeroUsize) {
        self.change(|inner| inner.prefetch_count = prefetch_count.get());
    }

    /// Whether announcements are messages on this bus, as on a real one.
    pub fn set_loops_back(&self, loops_back: bool) {
        self.change(|inner| inner.loops_back = loops_back);
    }

    /// Makes a queue that gets what is published from now on under one of `routing_keys` (`*` is one word, `#` any
    /// number). A queue that is there keeps its bindings.
    pub fn declare(&self, queue: &str, routing_keys: &[&str]) {
        self.change(|inner| inner.declare(queue, routing_keys));
    }

    /// A source on a queue, which is made and bound to everything if it is not there. Several on one queue compete.
    pub fn source(&self, queue: &str) -> MemorySource {
        let id = self.change(|inner| {
            inner.declare(queue, &["#"]);
            inner.sources += 1;
            inner.sources
        });
        MemorySource::new(self.clone(), queue, id)
    }

    /// A publisher that puts `topic_prefix` and a dot in front of topics, unless it is empty.
    pub fn publisher(&self, topic_prefix: &str) -> MemoryPublisher {
        MemoryPublisher::new(self.clone(), topic_prefix)
    }

    /// Publishes a message to every queue bound to its topic.
    pub fn publish(&self, message: Message) {
        self.change(|inner| inner.route(&message));
    }

    /// Delivers bytes that are no message to every queue.
    pub fn publish_undecodable(&self, undecodable: &Undecodable) {
        self.change(|inner| {
            for queue in inner.queues.values_mut() {
                queue.push(Err(undecodable.clone()));
            }
        });
    }

    /// Cuts every source's connection: unacknowledged deliveries go back, and nothing is delivered until
    /// [`Self::connect`].
    pub fn disconnect(&self, reason: &str) {
        self.change(|inner| inner.queues.values_mut().for_each(|queue| queue.disconnect(reason)));
    }

    /// Connects every source again; `gap` as the source will tell it.
    pub fn connect(&self, gap: bool) {
        self.change(|inner| inner.queues.values_mut().for_each(|queue| queue.connect(gap)));
    }

    /// Deletes what is in a queue and makes it anew: its sources lose their connection, and are told of a gap.
    pub fn lose_queue(&self, queue: &str) {
        self.change(|inner| {
            if let Some(queue) = inner.queues.get_mut(queue) {
                queue.disconnect("the queue was deleted");
                queue.empty();
                queue.connect(true);
            }
        });
    }

    /// The next publications meet these faults, in this order, one each.
    pub fn fail_publishing(&self, faults: impl IntoIterator<Item = Fault>) {
        self.change(|inner| inner.publishing.extend(faults));
    }

    /// What was announced and not yet taken, oldest first; what was sent twice is here twice.
    pub fn announced(&self) -> Vec<Outgoing> {
        self.lock().announced.iter().cloned().collect()
    }

    /// Takes what was announced.
    pub fn take_announced(&self) -> Vec<Outgoing> {
        self.change(|inner| std::mem::take(&mut inner.announced).into())
    }

    /// Messages in a queue that no source has been given, or whose source has lost them.
    pub fn waiting(&self, queue: &str) -> usize {
        self.lock().queues.get(queue).map_or(0, Queue::waiting)
    }

    /// Deliveries not yet acknowledged.
    pub fn unacked(&self, queue: &str) -> usize {
        self.lock().queues.get(queue).map_or(0, Queue::unacked)
    }

    /// Ids of acknowledged deliveries, in the order of acknowledgement.
    pub fn acked(&self, queue: &str) -> Vec<String> {
        self.lock().queues.get(queue).map(Queue::acked).unwrap_or_default()
    }

    /// Waits until a queue has nothing waiting and nothing unacknowledged.
    pub async fn drained(&self, queue: &str) {
        let mut changes = self.0.changed.subscribe();
        while self.waiting(queue) + self.unacked(queue) > 0 {
            // We hold the sender: it can't be gone.
            let _ = changes.changed().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        let result = change(&mut self.lock());
        self.0.changed.send_replace(());
        result
    }
}

impl Inner {
    fn declare(&mut self, queue: &str, routing_keys: &[&str]) {
        self.queues.entry(queue.to_owned()).or_insert_with(|| Queue::new(routing_keys));
    }

    fn route(&mut self, message: &Message) {
        for queue in self.queues.values_mut().filter(|queue| queue.wants(&message.topic)) {
            queue.push(Ok(message.clone()));
        }
    }
}
