//! Messages from RabbitMQ. A state machine that its owner drives by asking for the next event: no task of its own, so
//! nothing to join, and a delivery goes from lapin to the caller without a detour.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use async_trait::async_trait;
use flatbus_base::{Random, chain};
use flatbus_schemas::Limits;
use futures::{Stream as _, future::BoxFuture};
use lapin::options::BasicAckOptions;
use tokio::time::{sleep, timeout};

use super::{
    connect::Link,
    topology::{Consuming, Topology},
    trouble::Trouble,
    wire,
};
use crate::{Config, Delivery, Receipt, Source, SourceError, SourceEvent, decode};

/// Longest wait between two attempts, unless the configuration begins with a longer one: with the time-outs of an attempt,
/// what keeps a broker that is well again from being consumed.
const RETRY_WAIT_MAX: Duration = Duration::from_secs(2);
/// Attempts that fail for the same reason before that is told once more: a line a minute in the log, not forty.
const ATTEMPTS_UNTOLD_MAX: u32 = 40;
/// Time for an acknowledgement to be written; what takes longer is a lost connection.
const ACK_TIMEOUT: Duration = Duration::from_secs(15);

/// Consumes the queues of a configuration, for ever, through every loss of the broker.
pub struct AmqpSource {
    config: Arc<Config>,
    random: Random,
    app: String,
    limits: Limits,
    topology: Topology,
    /// Attempts that failed since the last connection.
    failures: u32,
    /// The reason told last, and how many attempts failed for it since.
    told: Option<(String, u32)>,
    session: u64,
    state: State,
}

enum State {
    /// Until the next attempt.
    Waiting(BoxFuture<'static, ()>),
    Connecting(BoxFuture<'static, (Topology, Result<Session, Trouble>)>),
    Consuming(Box<Session>),
    /// An acknowledgement failed: to be told by the next event.
    Lost(Trouble),
    Paused,
    Closed,
}

struct Session {
    consuming: Consuming,
    /// After the channel, so that it is dropped last.
    link: Link,
    /// Which queue is looked at first, so that a busy one starves no other.
    first: usize,
    /// What was acknowledged last: the broker closes a channel that says so twice.
    acked: u64,
}

impl AmqpSource {
    /// A source that connects when it is first asked for an event; `app` is the connection's name at the broker.
    ///
    /// # Errors
    /// When the configuration names no queue that could be consumed.
    pub fn new(config: Config, random: Random, app: &str, limits: Limits) -> Result<Self, SourceError> {
        if config.queues.is_empty() {
            return Err(SourceError::Config("[queues] is empty: there is nothing to consume".into()));
        }
        if config.queues.iter().any(|queue| queue.passive && queue.name.is_empty()) {
            let reason =
                "passive_declares needs [queues] to name the queue that the broker's administrators made";
            return Err(SourceError::Config(reason.into()));
        }
        let config = Arc::new(config);
        let topology = Topology::new(Arc::clone(&config), random.clone());
        let mut source = Self {
            config,
            random,
            app: app.to_owned(),
            limits,
            topology,
            failures: 0,
            told: None,
            session: 0,
            state: State::Paused,
        };
        source.state = source.connecting();
        Ok(source)
    }

    /// One change of state, and what there is to tell of it. Cancel safe: what is waited for is kept in the state.
    async fn step(&mut self) -> Option<SourceEvent> {
        match &mut self.state {
            State::Waiting(wait) => {
                wait.await;
                self.state = self.connecting();
                None
            }
            State::Connecting(attempt) => {
                let (topology, outcome) = attempt.await;
                self.topology = topology;
                match outcome {
                    Ok(session) => Some(self.connected(session)),
                    Err(trouble) => self.disconnected(&trouble),
                }
            }
            State::Consuming(session) => match session.next(&self.topology).await {
                Ok(delivery) => Some(SourceEvent::Delivery(self.delivery(delivery))),
                Err(trouble) => self.disconnected(&trouble),
            },
            State::Lost(_) => match std::mem::replace(&mut self.state, State::Paused) {
                State::Lost(trouble) => self.disconnected(&trouble),
                _ => None,
            },
            State::Paused => std::future::pending().await,
            State::Closed => Some(SourceEvent::Ended),
        }
    }

    fn connecting(&self) -> State {
        let (config, app, mut topology) = (Arc::clone(&self.config), self.app.clone(), self.topology.clone());
        State::Connecting(Box::pin(async move {
            let session = attempt(&config, &app, &mut topology).await;
            (topology, session)
        }))
    }

    /// The wait before the next attempt, doubled with each failure and spread so that many don't return together.
    fn waiting(&mut self) -> State {
        let wait = wait_after(self.failures, self.config.broker.retry_delay);
        self.failures = self.failures.saturating_add(1);
        State::Waiting(Box::pin(sleep(self.random.jitter(wait))))
    }

    /// What to tell, unless it was told of late.
    fn disconnected(&mut self, trouble: &Trouble) -> Option<SourceEvent> {
        self.topology.gap |= trouble.loses_messages();
        self.state = self.waiting();
        let reason = chain(trouble);
        match &mut self.told {
            Some((told, untold)) if *told == reason && *untold < ATTEMPTS_UNTOLD_MAX => {
                *untold += 1;
                None
            }
            told => {
                *told = Some((reason.clone(), 0));
                Some(SourceEvent::Disconnected { reason })
            }
        }
    }

    fn connected(&mut self, session: Session) -> SourceEvent {
        self.failures = 0;
        self.told = None;
        self.session += 1;
        self.state = State::Consuming(Box::new(session));
        SourceEvent::Connected { gap: std::mem::take(&mut self.topology.gap) }
    }

    fn delivery(&self, delivery: lapin::message::Delivery) -> Delivery {
        let receipt = Receipt { session: self.session, tag: delivery.delivery_tag };
        let redelivered = delivery.redelivered;
        let received = wire::received(delivery, &self.limits);
        Delivery { receipt, redelivered, cursor: None, message: decode::told(received, &self.limits) }
    }

    /// Ends the connection; what was not acknowledged goes back to the queue.
    async fn hang_up(&mut self, then: State) {
        if let State::Consuming(session) = std::mem::replace(&mut self.state, then) {
            session.link.close().await;
        }
    }
}

fn wait_after(failures: u32, first: Duration) -> Duration {
    first.saturating_mul(1 << failures.min(10)).min(RETRY_WAIT_MAX.max(first))
}

async fn attempt(config: &Config, app: &str, topology: &mut Topology) -> Result<Session, Trouble> {
    let link = Link::open(config, app, None).await?;
    let consuming = topology.set_up(&link).await?;
    Ok(Session { consuming, link, first: 0, acked: 0 })
}

impl Session {
    /// The next delivery of any queue, or why there are no more. Cancel safe: a stream's poll is.
    async fn next(&mut self, topology: &Topology) -> Result<lapin::message::Delivery, Trouble> {
        let (queue, item) = poll_fn(|context| self.poll(context)).await;
        match item {
            Some(Ok(delivery)) => Ok(delivery),
            Some(Err(error)) => Err(topology.lost(&error)),
            // Without a reason: a cancelled consumer, or a connection that was closed in good order.
            None if self.link.connected() => {
                let queue =
                    self.consuming.consumers.get(queue).map(|(name, _)| name.clone()).unwrap_or_default();
                Err(Trouble::Cancelled { queue })
            }
            None => Err(topology.closed()),
        }
    }

    fn poll(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<(usize, Option<lapin::Result<lapin::message::Delivery>>)> {
        let queues = self.consuming.consumers.len();
        for offset in 0..queues {
            let index = (self.first + offset) % queues;
            let (_, consumer) = &mut self.consuming.consumers[index];
            if let Poll::Ready(item) = Pin::new(consumer).poll_next(context) {
                self.first = index + 1;
                return Poll::Ready((index, item));
            }
        }
        Poll::Pending
    }

    async fn ack(&mut self, tag: u64, topology: &Topology) -> Result<(), Trouble> {
        if tag <= self.acked {
            return Ok(());
        }
        self.acked = tag;
        let acking = self.consuming.channel.basic_ack(tag, BasicAckOptions { multiple: true });
        match timeout(ACK_TIMEOUT, acking).await {
            Ok(acked) => acked.map_err(|error| topology.lost(&error)),
            Err(_) => Err(topology.stuck(ACK_TIMEOUT)),
        }
    }
}

#[async_trait]
impl Source for AmqpSource {
    async fn next(&mut self) -> SourceEvent {
        loop {
            if let Some(event) = self.step().await {
                return event;
            }
        }
    }

    fn window(&self) -> usize {
        self.config.prefetch_count.get().into()
    }

    async fn ack(&mut self, through: Receipt) {
        if through.session != self.session {
            return;
        }
        if let State::Consuming(session) = &mut self.state
            && let Err(trouble) = session.ack(through.tag, &self.topology).await
        {
            self.state = State::Lost(trouble);
        }
    }

    async fn pause(&mut self) {
        if !matches!(self.state, State::Closed) {
            self.hang_up(State::Paused).await;
        }
    }

    async fn resume(&mut self) {
        if matches!(self.state, State::Paused) {
            self.told = None; // Since then it was told that we are paused.
            self.state = self.connecting();
        }
    }

    async fn close(&mut self) {
        self.hang_up(State::Closed).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROMISE: Duration = Duration::from_secs(10);

    fn source() -> AmqpSource {
        let text = "[queues.q]\ndurable = true\nauto_delete = false\nexclusive = false\narguments = {}\n\
                    [[bindings]]\nqueue = 'q'\nexchange = 'amq.topic'\nrouting_keys = ['#']";
        let config = Config::from_toml(text, "test.toml".as_ref()).unwrap().0;
        AmqpSource::new(config, Random::from_seed(1), "test", Limits::default()).unwrap()
    }

    #[test]
    fn however_long_the_outage_the_next_answer_comes_within_the_promise() {
        let broker = source().config.broker.clone();
        let wait = (0..1000).map(|failures| wait_after(failures, broker.retry_delay)).max().unwrap();
        for phase in [broker.connect_timeout, broker.handshake_timeout] {
            assert!(wait + phase < PROMISE, "{wait:?}, then {phase:?} of silence");
        }
    }

    #[test]
    fn a_longer_first_wait_that_is_asked_for_is_kept_to() {
        let first = Duration::from_secs(20);
        assert_eq!((wait_after(0, first), wait_after(9, first)), (first, first));
    }

    #[tokio::test]
    async fn a_reason_that_stays_the_same_is_told_again_only_after_a_while() {
        let mut source = source();
        let lost = |said: &str| Trouble::Lost { address: "broker:5672".into(), said: said.into() };
        let mut told = |said: &str| source.disconnected(&lost(said)).is_some();
        assert!(told("reset"));
        assert!((0..ATTEMPTS_UNTOLD_MAX).all(|_| !told("reset")));
        assert!(told("reset"));
        assert!(told("refused"));
        assert!(!told("refused"));
        source.pause().await;
        source.resume().await;
        assert!(source.disconnected(&lost("refused")).is_some(), "meanwhile it was told that it pauses");
    }
}
