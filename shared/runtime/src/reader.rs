//! From the source to the ledger: decode, mark, wait until it is durable, acknowledge. The only place that acknowledges.
//!
//! Nothing here works on a key. Commits are waited for in order and acknowledged many at a time, so that the store's
//! group commit and the broker's `multiple` do their work.

use std::{sync::Arc, time::Duration};

use flatbus_bus::{Receipt, Source, SourceEvent};
use flatbus_ledger::StoreError;
use flatbus_telemetry::metrics::Counter;
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesOrdered};
use std::sync::atomic::Ordering;
use tracing::{info, warn};

use crate::{
    Consumer,
    engine::{Engine, Received},
};

/// Deliveries recorded but not yet acknowledged. The broker's prefetch is the real bound; this one holds for a file.
const UNACKED_MAX: usize = 4096;
/// Acknowledgements are looked at after this many deliveries, even when more are waiting to be read.
const ACK_EVERY: usize = 32;
/// How often a store that can't be written is tried again.
const HEAL_EVERY: Duration = Duration::from_secs(2);

type Recorded = BoxFuture<'static, (Receipt, Result<(), StoreError>)>;

/// Reads until told to stop, or until the source ends.
pub(crate) async fn run<C: Consumer>(engine: Arc<Engine<C>>, mut source: Box<dyn Source>) {
    let mut reader = Reader { engine: &engine, recorded: FuturesOrdered::new(), unlooked: 0 };
    reader.read(&mut *source).await;
    reader.finish(&mut *source).await;
    source.close().await;
}

struct Reader<'a, C: Consumer> {
    engine: &'a Arc<Engine<C>>,
    recorded: FuturesOrdered<Recorded>,
    unlooked: usize,
}

impl<C: Consumer> Reader<'_, C> {
    async fn read(&mut self, source: &mut dyn Source) {
        let stop = self.engine.world.stop.clone();
        loop {
            if self.must_pause() {
                self.pause(source).await;
            }
            if self.unlooked >= ACK_EVERY {
                self.ack_ready(source).await;
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                event = source.next(), if self.recorded.len() < UNACKED_MAX => {
                    if self.take(event) {
                        return;
                    }
                }
                Some(done) = self.recorded.next() => self.ack_from(done, source).await,
            }
        }
    }

    /// Takes an event in; whether it was the last.
    fn take(&mut self, event: SourceEvent) -> bool {
        match event {
            SourceEvent::Delivery(delivery) => {
                let receipt = delivery.receipt;
                self.unlooked += 1;
                self.recorded.push_back(match self.engine.receive(delivery) {
                    Received::Marked(commit) | Received::Parked(commit) | Received::Moved(commit) => {
                        commit.map(move |result| (receipt, result)).boxed()
                    }
                    Received::Nothing => std::future::ready((receipt, Ok(()))).boxed(),
                });
            }
            SourceEvent::Connected { gap } => self.connected(gap),
            SourceEvent::Disconnected { reason } => {
                warn!(%reason, "Not consuming: {reason}");
                self.engine.world.metrics.count(Counter::Reconnects, 1);
                self.engine.board.consuming(Err(reason), self.engine.now());
            }
            SourceEvent::Ended => return true,
        }
        false
    }

    fn connected(&mut self, gap: bool) {
        info!(gap, "Consuming");
        self.engine.board.consuming(Ok(()), self.engine.now());
        if gap {
            let owed =
                self.engine.ledger().survey_owe(true, "messages may have been missed", self.engine.now());
            let receipt = Receipt { session: 0, tag: 0 }; // Of no delivery: acknowledging it does nothing.
            self.recorded.push_back(owed.map(move |result| (receipt, result)).boxed());
            self.engine.survey.notify_one();
        }
    }

    /// Acknowledges what is durable by now, without waiting.
    async fn ack_ready(&mut self, source: &mut dyn Source) {
        self.unlooked = 0;
        if let Some(Some(done)) = self.recorded.next().now_or_never() {
            self.ack_from(done, source).await;
        }
    }

    /// Acknowledges up to the youngest delivery that is durable together with all before it.
    async fn ack_from(&mut self, first: (Receipt, Result<(), StoreError>), source: &mut dyn Source) {
        let mut through = None;
        let mut acked = 0;
        let mut next = Some(first);
        while let Some((receipt, result)) = next {
            if !self.engine.watch(result) {
                break; // Not durable: it and all after it will come again.
            }
            through = Some(receipt).filter(|receipt| receipt.session > 0 || receipt.tag > 0).or(through);
            acked += 1;
            next = self.recorded.next().now_or_never().flatten();
        }
        if let Some(through) = through {
            source.ack(through).await;
            self.engine.world.metrics.count(Counter::Acked, acked);
        }
    }

    fn must_pause(&self) -> bool {
        self.engine.unwritable.load(Ordering::Relaxed) || (C::SHARES_QUEUE && self.engine.full())
    }

    /// Hands back what is unacknowledged and waits until something can be recorded again.
    async fn pause(&mut self, source: &mut dyn Source) {
        source.pause().await;
        self.recorded.clear(); // Their deliveries come again; what is marked stays marked.
        self.unlooked = 0;
        self.engine
            .board
            .consuming(Err("paused: nothing can be recorded at the moment".to_owned()), self.engine.now());
        let stop = self.engine.world.stop.clone();
        while self.must_pause() && !stop.is_cancelled() {
            let turn = tokio::time::sleep(HEAL_EVERY / 4);
            tokio::select! { biased; () = stop.cancelled() => {}, () = turn => {} }
        }
        source.resume().await;
    }

    /// Waits for what was read and acknowledges it.
    async fn finish(&mut self, source: &mut dyn Source) {
        while let Some(done) = self.recorded.next().await {
            let durable = done.1.is_ok();
            self.ack_from(done, source).await;
            if !durable {
                return;
            }
        }
    }
}

/// Writes what could not be written, once it can be: after a full disk was emptied, say.
pub(crate) async fn keep<C: Consumer>(engine: Arc<Engine<C>>) {
    let stop = engine.world.stop.clone();
    while !stop.is_cancelled() {
        let turn = tokio::time::sleep(HEAL_EVERY);
        tokio::select! { biased; () = stop.cancelled() => return, () = turn => {} }
        if !engine.unwritable.load(Ordering::Relaxed) {
            continue;
        }
        if engine.ledger().heal().await.is_ok() {
            info!("The ledger can be written again; reading goes on");
            engine.board.unwritable(None);
            engine.unwritable.store(false, Ordering::Relaxed);
            engine.work.notify_one();
            engine.post.notify_one();
        }
    }
}
