//! The source of the bus in memory.

use async_trait::async_trait;
use tokio::sync::watch;

use super::MemoryBus;
use crate::{Receipt, Source, SourceEvent};

/// Consumes from a queue of a [`MemoryBus`]. Dropped without [`Source::close`], it gives back what it holds, as a
/// connection that breaks does.
pub struct MemorySource {
    bus: MemoryBus,
    queue: String,
    id: u64,
    changes: watch::Receiver<()>,
    closed: bool,
}

impl MemorySource {
    pub(super) fn new(bus: MemoryBus, queue: &str, id: u64) -> Self {
        let changes = bus.0.changed.subscribe();
        Self { bus, queue: queue.to_owned(), id, changes, closed: false }
    }

    fn on_queue<T>(&self, act: impl FnOnce(&mut super::Queue, usize) -> T) -> Option<T> {
        let mut inner = self.bus.lock();
        let prefetch_count = inner.prefetch_count;
        inner.queues.get_mut(&self.queue).map(|queue| act(queue, prefetch_count))
    }

    fn change(&self, act: impl FnOnce(&mut super::Queue, u64)) {
        let id = self.id;
        self.bus.change(|inner| {
            if let Some(queue) = inner.queues.get_mut(&self.queue) {
                act(queue, id);
            }
        });
    }
}

#[async_trait]
impl Source for MemorySource {
    async fn next(&mut self) -> SourceEvent {
        if self.closed {
            return SourceEvent::Ended;
        }
        loop {
            self.changes.mark_unchanged();
            if let Some(event) = self.on_queue(|queue, prefetch| queue.next(self.id, prefetch)).flatten() {
                return event;
            }
            // We hold the bus: its sender can't be gone.
            let _ = self.changes.changed().await;
        }
    }

    fn window(&self) -> usize {
        self.bus.lock().prefetch_count
    }

    async fn ack(&mut self, through: Receipt) {
        self.change(|queue, id| queue.ack(id, through));
    }

    async fn pause(&mut self) {
        if !self.closed {
            self.change(super::Queue::pause);
        }
    }

    async fn resume(&mut self) {
        self.change(super::Queue::resume);
    }

    async fn close(&mut self) {
        self.closed = true;
        self.change(super::Queue::close);
    }
}

impl Drop for MemorySource {
    fn drop(&mut self) {
        self.change(super::Queue::close);
    }
}
