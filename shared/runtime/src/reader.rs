//! From the source to the ledger: decode, mark, wait until it is durable, acknowledge. The only place that acknowledges.
//!
//! Nothing here works on a key. What comes within a moment is recorded in one commit and acknowledged together: a commit
//! costs as much for one message as for fifty.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use flatbus_bus::{Receipt, Source, SourceEvent};
use flatbus_ledger::StoreError;
use flatbus_telemetry::metrics::Counter;
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesOrdered};
use tokio::time::Instant;
use tracing::{info, warn};

use crate::{
    Consumer,
    engine::{Engine, Received},
};

/// Deliveries recorded but not yet acknowledged. The broker's prefetch is the real bound; this one holds for a file.
const UNACKED_MAX: usize = 4096;
/// Deliveries recorded in one commit, however many more are waiting to be read.
const GATHERED_MAX: usize = 128;
/// How long a delivery waits for the next one to be recorded with.
const GATHER_FOR: Duration = Duration::from_millis(2);
/// How long a delivery waits while others keep coming.
const GATHER_FOR_MAX: Duration = Duration::from_millis(20);
/// How often a store that can't be written is tried again.
const HEAL_EVERY: Duration = Duration::from_secs(2);

/// What became durable or not, and the delivery to acknowledge for it, where there is one.
type Outcome = (Option<Receipt>, Result<(), StoreError>);
type Recorded = BoxFuture<'static, Outcome>;

/// Reads until told to stop, or until the source ends.
pub(crate) async fn run<C: Consumer>(engine: Arc<Engine<C>>, mut source: Box<dyn Source>) {
    let window = source.window().min(UNACKED_MAX);
    let mut reader =
        Reader { engine: &engine, recorded: FuturesOrdered::new(), window, gathered: 0, until: None };
    reader.read(&mut *source).await;
    reader.finish(&mut *source).await;
    source.close().await;
}

struct Reader<'a, C: Consumer> {
    engine: &'a Arc<Engine<C>>,
    /// Not yet acknowledged, oldest first.
    recorded: FuturesOrdered<Recorded>,
    /// How many of these there may be before the source gives no more.
    window: usize,
    /// How many of these wait for others to be recorded with.
    gathered: usize,
    /// Until when they wait, and until when at the latest.
    until: Option<(Instant, Instant)>,
}

impl<C: Consumer> Reader<'_, C> {
    async fn read(&mut self, source: &mut dyn Source) {
        let stop = self.engine.world.stop.clone();
        loop {
            if self.must_pause() {
                self.pause(source).await;
            }
            if self.gathered_enough() {
                self.write(source).await;
            }
            let until = self.until.map(|(until, _)| until);
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                event = source.next(), if self.recorded.len() < UNACKED_MAX => {
                    if self.take(event) {
                        return;
                    }
                }
                () = wait_until(until) => self.write(source).await,
                Some(done) = self.recorded.next(), if until.is_none() => self.ack_from(done, source).await,
            }
        }
    }

    /// Most of a window at a time: while that is written, the rest is read.
    fn gathered_enough(&self) -> bool {
        self.gathered >= GATHERED_MAX.min(self.window - self.window / 4)
            || self.gathered > 0 && self.recorded.len() >= self.window
    }

    /// Holds the ledger back from the first delivery on.
    fn gather(&mut self) {
        let now = self.engine.now().monotonic;
        let latest = self.until.map(|(_, latest)| latest).unwrap_or_else(|| {
            self.engine.ledger().cork();
            now + GATHER_FOR_MAX
        });
        self.until = Some((latest.min(now + GATHER_FOR), latest));
        self.gathered += 1;
    }

    fn gather_no_more(&mut self) {
        self.engine.ledger().uncork();
        self.until = None;
        self.gathered = 0;
    }

    /// Writes what was gathered, and acknowledges what is durable by now.
    async fn write(&mut self, source: &mut dyn Source) {
        self.gather_no_more();
        if let Some(Some(done)) = self.recorded.next().now_or_never() {
            self.ack_from(done, source).await;
        }
    }

    /// Takes an event in; whether it was the last.
    fn take(&mut self, event: SourceEvent) -> bool {
        match event {
            SourceEvent::Delivery(delivery) => {
                let receipt = Some(delivery.receipt);
                self.gather();
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
            self.recorded.push_back(owed.map(|result| (None, result)).boxed());
            self.engine.survey.notify_one();
        }
    }

    /// Acknowledges up to the youngest delivery that is durable together with all before it.
    async fn ack_from(&mut self, first: Outcome, source: &mut dyn Source) {
        let mut through = None;
        let mut acked = 0;
        let mut next = Some(first);
        while let Some((receipt, result)) = next {
            if !self.engine.watch(result) {
                break; // Not durable: it and all after it will come again.
            }
            through = receipt.or(through);
            acked += u64::from(receipt.is_some());
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
        self.gather_no_more();
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
        self.gather_no_more();
        while let Some(done) = self.recorded.next().await {
            let durable = done.1.is_ok();
            self.ack_from(done, source).await;
            if !durable {
                return;
            }
        }
    }
}

/// Waits until a given time; for ever where none is given.
async fn wait_until(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}

/// Writes what could not be written, once it can be: after a full disk was emptied, say.
pub(crate) async fn keep<C: Consumer>(engine: Arc<Engine<C>>) {
    let stop = engine.world.stop.clone();
    while !stop.is_cancelled() {
        if !engine.unwritable.load(Ordering::Relaxed) {
            tokio::select! { biased; () = stop.cancelled() => return, () = engine.unwell.notified() => {} }
        }
        let turn = tokio::time::sleep(HEAL_EVERY);
        tokio::select! { biased; () = stop.cancelled() => return, () = turn => {} }
        if engine.ledger().sync().await.is_ok() {
            info!("The ledger can be written again; reading goes on");
            engine.board.unwritable(None);
            engine.unwritable.store(false, Ordering::Relaxed);
            engine.work.notify_one();
            engine.post.notify_one();
        }
    }
}
