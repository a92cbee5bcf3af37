//! Everybody at work on one virtual host, and what is asked of them once the broker is well again.

use std::time::Duration;

use flatbus_base::{Clock as _, SystemClock};
use flatbus_telemetry::metrics::Counter;
use tokio::time::Instant;

use super::{
    Books, NAMED, QUEUE,
    crowd::{Client, Crowd, Ear, until_well},
    until,
    witness::Witness,
};
use crate::rabbitmq::Rabbit;

/// The promise: consuming again, seen from end to end, this soon after the broker is well.
pub const PROMISE: Duration = Duration::from_secs(10);
/// Longest wait for anything that was not promised to be quick.
pub const PATIENCE: Duration = Duration::from_secs(40);
/// Messages that are delivered and recorded, but not acknowledged, when the fault comes.
pub const UNACKED: usize = 10;

/// A witness, who publishes to it, and who hears it.
pub struct Stage {
    pub witness: Witness,
    pub crowd: Crowd,
    pub books: Books,
    pub url: String,
    vhost: String,
    ear: Ear,
    surveys: u32,
}

impl Stage {
    /// Sets the stage on a virtual host, with messages flowing. The witness may reach the broker by another `port`.
    pub async fn set(rabbit: &Rabbit, vhost: &str, port: u16, passive: bool) -> Self {
        let mut stage = Self::set_quiet(rabbit, vhost, port, passive).await;
        stage.crowd.talk();
        stage
    }

    /// As [`Self::set`], with nobody talking yet.
    pub async fn set_quiet(rabbit: &Rabbit, vhost: &str, port: u16, passive: bool) -> Self {
        let url = rabbit.url(vhost);
        Client::connect(&url).await.unwrap().make_queue(QUEUE, NAMED).await;
        let mut stage = Self::set_early(rabbit, vhost, port, passive).await;
        stage.flows().await;
        stage
    }

    /// Everybody but the queue, which may not be there yet.
    pub async fn set_early(rabbit: &Rabbit, vhost: &str, port: u16, passive: bool) -> Self {
        let (url, books) = (rabbit.url(vhost), Books::default());
        let (crowd, ear) = (Crowd::new(&url, &books), Ear::new(&url).await);
        let to = url.replace(&format!(":{}/", rabbit.amqp_port), &format!(":{port}/"));
        let witness = Witness::start(&to, passive, &books).await;
        Self { witness, crowd, books, url, vhost: vhost.to_owned(), ear, surveys: 0 }
    }

    /// Waits until messages go all the way, and the survey of the first start is over.
    async fn flows(&mut self) {
        let first = self.crowd.say(1).await;
        self.settled("the first message", PATIENCE, &first).await;
        let over = async || {
            let status = self.witness.status().await;
            let received = self.witness.metrics.get(Counter::Received) > 0;
            let rests = self.witness.unacknowledged() == 0 && status.ledger.outbox == 0;
            (status.bus.consuming && received && rests && status.survey.state.owed.is_none()).then_some(())
        };
        self.until("messages go all the way, and the first survey is over", PATIENCE, over).await;
        self.surveys = self.books.open().surveys;
    }

    /// From now on what is delivered is recorded and not acknowledged; waits until some is.
    pub async fn leave_unacknowledged(&self) {
        let none = async || (self.witness.unacknowledged() == 0).then_some(());
        self.until("it has caught up", PATIENCE, none).await;
        self.witness.hold();
        self.crowd.say(UNACKED).await;
        let some = async || (self.witness.unacknowledged() >= UNACKED as u64).then_some(());
        self.until("deliveries are unacknowledged", PATIENCE, some).await;
    }

    /// Waits until the witness says, to whoever looks at its page, that it does not consume and why.
    pub async fn says(&self, words: &[&str]) {
        let says = async || {
            let status = self.witness.status().await;
            let attention = status.attention.join("\n");
            let told = words.iter().all(|word| attention.contains(word));
            (!status.bus.consuming && attention.contains("Not consuming: ") && told).then_some(())
        };
        self.until("the status page tells", PATIENCE, says).await;
        assert!(!self.witness.gauged_as_consuming().await, "the gauge for alarms does not");
    }

    /// Waits until the broker is well.
    pub async fn until_well(&self) {
        tokio::time::timeout(2 * PATIENCE, until_well(&self.url)).await.expect("the broker recovers");
    }

    /// The broker is well from now on: what is published next is settled before the promised time is over.
    pub async fn consumes_again(&self, after: &str) {
        self.consumes_again_since(SystemClock.monotonic(), after).await;
    }

    /// As [`Self::consumes_again`], where the broker has been well for a while.
    pub async fn consumes_again_since(&self, well: Instant, after: &str) {
        let next = self.crowd.say(1).await;
        let left = PROMISE.saturating_sub(SystemClock.monotonic() - well);
        self.settled("a message of after the recovery", left, &next).await;
        let took = SystemClock.monotonic() - well;
        assert!(took <= PROMISE, "{after}: {took:?}");
        println!("consuming {:.1} s after the broker was well: {after}", took.as_secs_f64());
    }

    /// Waits until something is there; says how everybody stands if it takes too long.
    pub async fn until<T>(&self, what: &str, patience: Duration, look: impl AsyncFnMut() -> Option<T>) -> T {
        until(what, patience, async || self.tell().await, look).await
    }

    async fn tell(&self) -> String {
        let status = self.witness.status().await;
        let (unsettled, books) = (self.books.unsettled(), self.books.open());
        let some = &unsettled[..unsettled.len().min(5)];
        format!(
            "said {}, confirmed {}, settled {}, not settled {some:?}…\n{} unacknowledged\n{status:#?}",
            books.said.len(),
            books.confirmed.len(),
            books.settled.len(),
            self.witness.unacknowledged(),
        )
    }

    async fn settled(&self, what: &str, within: Duration, things: &[String]) {
        let all = async || {
            let books = self.books.open();
            things.iter().all(|thing| books.settled.contains_key(thing)).then_some(())
        };
        self.until(what, within, all).await;
    }

    /// As [`Self::ends_with_nothing_lost`], where no survey was needed for it.
    pub async fn loses_nothing(self, rabbit: &Rabbit) {
        let (books, surveys) = (self.books.clone(), self.surveys);
        self.ends_with_nothing_lost(rabbit).await;
        assert_eq!(books.open().surveys, surveys, "no message went missing, so no survey was owed");
    }

    /// As [`Self::ends_with_nothing_lost`], where the broker did lose messages, so that a survey was owed.
    pub async fn finds_what_the_broker_lost(self, rabbit: &Rabbit) {
        let (books, surveys) = (self.books.clone(), self.surveys);
        self.ends_with_nothing_lost(rabbit).await;
        assert!(books.open().surveys > surveys, "a gap owes a survey");
    }

    /// Ends the talk. All that was confirmed is settled and announced; the broker holds nothing, the ledger neither.
    async fn ends_with_nothing_lost(mut self, rabbit: &Rabbit) {
        self.crowd.hush().await;
        let confirmed: Vec<String> = self.books.open().confirmed.iter().cloned().collect();
        assert!(confirmed.len() > UNACKED, "messages flowed");
        self.settled("everything confirmed is settled", PATIENCE, &confirmed).await;
        self.is_calm().await;
        let heard = self.ear.heard().await;
        let silent: Vec<_> = confirmed.iter().filter(|thing| !heard.contains_key(*thing)).collect();
        let (sent, heard_of) =
            (self.witness.metrics.get(Counter::AnnouncementsSent), heard.values().sum::<u32>());
        assert!(
            silent.is_empty(),
            "{sent} announcements were confirmed, {heard_of} came, none of {silent:?}"
        );
        let strangers: Vec<_> =
            heard.keys().filter(|thing| !self.books.open().said.contains(*thing)).cloned().collect();
        assert!(strangers.is_empty(), "announced and never said: {strangers:?}");
        let left = async || (rabbit.messages(&self.vhost, QUEUE) == (0, 0)).then_some(());
        self.until("the broker holds nothing", PATIENCE, left).await;
        self.witness.end().await;
    }

    /// Nothing is doubtful, parked, to be announced or owed, and nobody need look.
    async fn is_calm(&self) {
        let calm = async || {
            let status = self.witness.status().await;
            let ledger = &status.ledger;
            let nothing = ledger.doubtful + ledger.parked + ledger.parked_messages + ledger.outbox == 0;
            (nothing && status.attention.is_empty() && status.survey.state.owed.is_none()).then_some(())
        };
        self.until("the witness has nothing to do", PATIENCE, calm).await;
    }
}
