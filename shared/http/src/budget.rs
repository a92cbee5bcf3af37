//! How fast each host may be asked: a bucket of requests a host, halved by a 429 and raised slowly, the urgent first.
//!
//! Never drops a request: who gets none waits.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use flatbus_base::Clock;
use tokio::time::Instant;

use crate::{Budget, Urgency};

/// The rate never falls below this part of what is configured.
const FALL_MAX: f64 = 16.0;
/// A whole configured rate is regained in this time without a 429.
const REGAIN: Duration = Duration::from_secs(300);

/// What a host was asked, for the status page.
#[derive(Debug, Clone, PartialEq)]
pub struct HostUsage {
    /// The host, with its port where it isn't the scheme's own.
    pub host: String,
    /// Requests sent.
    pub requests: u64,
    /// Of these, answered by 429.
    pub limited: u64,
    /// Waiting for their turn now.
    pub waiting: usize,
    /// The rate allowed now; `None` without a budget.
    pub requests_per_s: Option<f64>,
}

/// Every host's budget.
pub(crate) struct Budgets {
    clock: Arc<dyn Clock>,
    configured: BTreeMap<String, Budget>,
    hosts: Mutex<BTreeMap<String, Arc<Host>>>,
}

struct Host {
    budget: Option<Budget>,
    state: Mutex<State>,
}

struct State {
    tokens: f64,
    rate: f64,
    refilled: Instant,
    /// Nobody asks before: the host said so.
    closed_until: Option<Instant>,
    waiting: BTreeSet<(Urgency, u64)>,
    tickets: u64,
    requests: u64,
    limited: u64,
}

impl Budgets {
    pub(crate) fn new(clock: Arc<dyn Clock>, configured: BTreeMap<String, Budget>) -> Self {
        Self { clock, configured, hosts: Mutex::default() }
    }

    /// Waits until it is this request's turn.
    pub(crate) async fn turn(&self, host: &str, urgency: Urgency) {
        let host = self.host(host);
        let Some(budget) = host.budget else {
            host.state().requests += 1;
            return;
        };
        let ticket = Ticket::draw(&host, urgency);
        while let Some(wait) = host.wait_of(ticket.place, budget, self.clock.monotonic()) {
            tokio::time::sleep(wait).await;
        }
    }

    /// The host answered 429, and perhaps for how long.
    pub(crate) fn limited(&self, host: &str, wait: Option<Duration>) {
        let host = self.host(host);
        let now = self.clock.monotonic();
        let mut state = host.state();
        state.limited += 1;
        if let Some(budget) = host.budget {
            state.refill(budget, now);
            let rate = f64::from(budget.requests_per_s.get());
            state.rate = (state.rate / 2.0).max(rate / FALL_MAX);
            state.tokens = state.tokens.min(0.0);
            state.closed_until = wait.map(|wait| now + wait);
        }
    }

    pub(crate) fn usage(&self) -> Vec<HostUsage> {
        let hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        hosts.iter().map(|(name, host)| host.usage(name)).collect()
    }

    fn host(&self, name: &str) -> Arc<Host> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let known = hosts.entry(name.to_owned()).or_insert_with(|| {
            Arc::new(Host::new(self.configured.get(name).copied(), self.clock.monotonic()))
        });
        known.clone()
    }
}

impl Host {
    fn new(budget: Option<Budget>, now: Instant) -> Self {
        let state = State {
            tokens: budget.map_or(0.0, |budget| f64::from(budget.burst.get())),
            rate: budget.map_or(0.0, |budget| f64::from(budget.requests_per_s.get())),
            refilled: now,
            closed_until: None,
            waiting: BTreeSet::new(),
            tickets: 0,
            requests: 0,
            limited: 0,
        };
        Self { budget, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None`: go, one request is taken. Else how long until it is worth asking again.
    fn wait_of(&self, place: (Urgency, u64), budget: Budget, now: Instant) -> Option<Duration> {
        let mut state = self.state();
        state.refill(budget, now);
        if let Some(wait) =
            state.closed_until.and_then(|until| until.checked_duration_since(now)).filter(|w| !w.is_zero())
        {
            return Some(wait);
        }
        let before = state.waiting.range(..place).count() as f64;
        let missing = before + 1.0 - state.tokens;
        if missing <= 0.0 {
            state.tokens -= 1.0;
            state.requests += 1;
            return None;
        }
        // One more millisecond than arithmetic asks for: rounding must not make a busy loop.
        Some(Duration::from_secs_f64(missing / state.rate) + Duration::from_millis(1))
    }

    fn usage(&self, name: &str) -> HostUsage {
        let state = self.state();
        HostUsage {
            host: name.to_owned(),
            requests: state.requests,
            limited: state.limited,
            waiting: state.waiting.len(),
            requests_per_s: self.budget.map(|_| state.rate),
        }
    }
}

impl State {
    fn refill(&mut self, budget: Budget, now: Instant) {
        let passed = now.saturating_duration_since(self.refilled).as_secs_f64();
        let full = f64::from(budget.requests_per_s.get());
        self.tokens = (self.tokens + passed * self.rate).min(f64::from(budget.burst.get()));
        self.rate = (self.rate + full * passed / REGAIN.as_secs_f64()).min(full);
        self.refilled = now;
    }
}

/// A place in the queue, given up on drop: a request that is cancelled holds nobody up.
struct Ticket<'a> {
    host: &'a Host,
    place: (Urgency, u64),
}

impl<'a> Ticket<'a> {
    fn draw(host: &'a Host, urgency: Urgency) -> Self {
        let mut state = host.state();
        state.tickets += 1;
        let place = (urgency, state.tickets);
        state.waiting.insert(place);
        Self { host, place }
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.host.state().waiting.remove(&self.place);
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use flatbus_base::SystemClock;

    use super::*;

    fn budgets(requests_per_s: u32, burst: u32) -> Arc<Budgets> {
        let nonzero = |n| NonZeroU32::new(n).unwrap();
        let budget = Budget { requests_per_s: nonzero(requests_per_s), burst: nonzero(burst) };
        Arc::new(Budgets::new(Arc::new(SystemClock), BTreeMap::from([("slow".to_owned(), budget)])))
    }

    async fn time_of(budgets: &Budgets, host: &str, requests: u32) -> Duration {
        let start = SystemClock.monotonic();
        for _ in 0..requests {
            budgets.turn(host, Urgency::Read).await;
        }
        SystemClock.monotonic() - start
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_goes_at_once_and_the_rest_at_the_rate() {
        let budgets = budgets(5, 20);
        assert_eq!(time_of(&budgets, "slow", 20).await, Duration::ZERO);
        let ten = time_of(&budgets, "slow", 10).await;
        assert!((1.9..2.2).contains(&ten.as_secs_f64()), "{ten:?}");
        assert_eq!(time_of(&budgets, "other", 1000).await, Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_429_halves_the_rate_which_is_regained_slowly() {
        let budgets = budgets(8, 1);
        budgets.limited("slow", Some(Duration::from_secs(3)));
        let rate = |budgets: &Budgets| budgets.usage()[0].requests_per_s.unwrap();
        assert!((rate(&budgets) - 4.0).abs() < 0.01);
        assert!(
            time_of(&budgets, "slow", 1).await >= Duration::from_secs(3),
            "the told wait holds for everybody"
        );
        tokio::time::sleep(REGAIN).await;
        budgets.turn("slow", Urgency::Read).await;
        assert!((rate(&budgets) - 8.0).abs() < 0.01);
    }

    #[tokio::test(start_paused = true)]
    async fn the_urgent_go_before_those_who_came_first() {
        let budgets = budgets(1, 1);
        budgets.turn("slow", Urgency::Read).await;
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut all = tokio::task::JoinSet::new();
        for urgency in [Urgency::Survey, Urgency::Read, Urgency::Push] {
            let (budgets, order) = (budgets.clone(), order.clone());
            all.spawn(async move {
                budgets.turn("slow", urgency).await;
                order.lock().unwrap().push(urgency);
            });
            tokio::task::yield_now().await;
        }
        all.join_all().await;
        assert_eq!(*order.lock().unwrap(), [Urgency::Push, Urgency::Read, Urgency::Survey]);
    }
}
