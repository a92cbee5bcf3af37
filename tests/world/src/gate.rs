//! The gate: every call that a process makes of the outside goes through it. Here calls take their time, meet their
//! fault, are counted and told; and here a process dies between any two of them.
//!
//! Nothing passes for a process that was killed: its calls wait for ever and have no effect.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use flatbus_base::{Clock, Random, SimClock};
use flatbus_oci::memory::Op;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{fault::Fault, history::Blow, trace::Trace};

/// Calls of one history: more than any sane one makes, by far.
const CALLS_MAX: u64 = 2_000_000;

/// Who is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// Koji's hub.
    Koji,
    /// Bodhi.
    Bodhi,
    /// quay's API.
    Quay,
    /// The candidate registry.
    Candidate,
    /// The destination.
    Public,
    /// The ledger's store.
    Store,
    /// The broker.
    Broker,
}

/// What is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// A registry.
    Registry(Op),
    /// Koji.
    Koji,
    /// Bodhi, about one update or its composes.
    Bodhi,
    /// Bodhi's listing.
    BodhiListing,
    /// quay's API.
    Quay,
    /// The store: make a batch durable.
    Commit,
    /// The broker: an acknowledgement.
    Ack,
    /// The broker: a publication.
    Publish,
}

/// The gate of a world. Clones are the same gate.
#[derive(Clone)]
pub struct Gate(Arc<Shared>);

struct Shared {
    trace: Trace,
    clock: SimClock,
    state: Mutex<State>,
}

struct State {
    random: Random,
    hurry: bool,
    calls: u64,
    calls_of: BTreeMap<Service, u64>,
    life: Life,
    /// The process dies at this call.
    dies_at: Option<u64>,
    armed: Vec<Armed>,
    away: BTreeMap<Service, Instant>,
    struck: BTreeMap<Fault, u64>,
    /// Grows whenever the outside changes or lies.
    revision: u64,
    under_way: BTreeMap<Service, usize>,
    under_way_most: BTreeMap<Service, usize>,
}

struct Armed {
    blow: Blow,
    skip: u16,
    left: u16,
}

/// One life of a process, from its start to its death.
#[derive(Debug, Clone, Default)]
pub struct Life {
    /// Which one, counted from 1.
    pub number: u64,
    /// Cancelled when it is killed.
    pub killed: CancellationToken,
    /// Cancelled when it shall stop.
    pub stop: CancellationToken,
}

/// A process's way through the gate.
#[derive(Clone)]
pub struct Line {
    gate: Gate,
    life: u64,
}

impl Gate {
    /// A gate whose calls take their time by `seed`.
    pub fn new(seed: u64, clock: SimClock, trace: Trace) -> Self {
        let state = State {
            random: Random::from_seed(seed),
            hurry: false,
            calls: 0,
            calls_of: BTreeMap::new(),
            life: Life::default(),
            dies_at: None,
            armed: Vec::new(),
            away: BTreeMap::new(),
            struck: BTreeMap::new(),
            revision: 0,
            under_way: BTreeMap::new(),
            under_way_most: BTreeMap::new(),
        };
        Self(Arc::new(Shared { trace, clock, state: Mutex::new(state) }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells something.
    pub fn say(&self, line: impl FnOnce() -> String) {
        self.0.trace.line(self.0.clock.wall(), line);
    }

    /// Calls made so far, by all lives.
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// Calls made so far, by whom was called.
    pub fn calls_of(&self) -> BTreeMap<Service, u64> {
        self.state().calls_of.clone()
    }

    /// Most calls of one service that were under way at once.
    pub fn under_way_most(&self) -> BTreeMap<Service, usize> {
        self.state().under_way_most.clone()
    }

    /// How often each fault struck.
    pub fn struck(&self) -> BTreeMap<Fault, u64> {
        self.state().struck.clone()
    }

    /// Grows whenever the outside changes or lies.
    pub fn revision(&self) -> u64 {
        self.state().revision
    }

    /// The outside changed.
    pub fn changed(&self) {
        self.state().revision += 1;
    }

    /// A fault that strikes no single call did its work.
    pub fn count(&self, fault: Fault) {
        let mut state = self.state();
        *state.struck.entry(fault).or_default() += 1;
        state.revision += 1;
    }

    /// Waits for a call that it can strike.
    pub fn arm(&self, blow: Blow) {
        self.state().armed.push(Armed { blow, skip: blow.skip, left: blow.times.max(1) });
    }

    /// A service answers nobody until then.
    pub fn take_away(&self, service: Service, lasts: Duration) {
        let until = self.0.clock.monotonic() + lasts;
        self.state().away.insert(service, until);
        self.count(Fault::Outage);
    }

    /// No fault is left, and nothing takes long any more.
    pub fn heal(&self) {
        let mut state = self.state();
        state.armed.clear();
        state.away.clear();
        state.dies_at = None;
        state.hurry = true;
        state.revision += 1;
    }

    /// A process begins to live. Lines of the one before carry nothing any more.
    pub fn new_life(&self) -> (Line, Life) {
        let mut state = self.state();
        let number = state.life.number + 1;
        state.life = Life { number, ..Life::default() };
        state.under_way.clear();
        (Line { gate: self.clone(), life: number }, state.life.clone())
    }

    /// The process that lives.
    pub fn life(&self) -> Life {
        self.state().life.clone()
    }

    /// Kills the process that lives, now.
    pub fn kill(&self) {
        self.state().life.killed.cancel();
    }

    /// Kills it before the call after so many more.
    pub fn kill_after(&self, calls: u64) {
        let mut state = self.state();
        state.dies_at = Some(state.calls + calls);
    }
}

impl Line {
    /// The gate it leads through.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Lets a call pass in its own time. Gives back the fault that it meets. For a dead process it never ends.
    pub async fn pass(&self, service: Service, verb: Verb, what: impl Fn() -> String) -> Option<Fault> {
        if self.is_dead() {
            return std::future::pending().await;
        }
        let (delay, fault, number) = {
            let mut state = self.gate.state();
            let number = state.calls;
            state.calls += 1;
            *state.calls_of.entry(service).or_default() += 1;
            if number >= CALLS_MAX {
                state.life.killed.cancel(); // Somebody asks for ever; the world's end will say so.
            }
            if state.dies_at.is_some_and(|at| number >= at) {
                state.dies_at = None;
                state.life.killed.cancel();
            }
            (state.delay(), state.fault(service, verb, self.gate.0.clock.monotonic()), number)
        };
        if self.is_dead() {
            self.gate.say(|| format!("       killed before call {number}: {service} {}", what()));
            return std::future::pending().await;
        }
        self.gate.say(|| match fault {
            None => format!("       {service} {}", what()),
            Some(fault) => format!("     ! {service} {} meets: {fault}", what()),
        });
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if self.is_dead() { std::future::pending().await } else { fault }
    }

    /// Counts a call as under way until the guard is dropped.
    pub fn under_way(&self, service: Service) -> UnderWay {
        let mut state = self.gate.state();
        let now = state.under_way.entry(service).or_default();
        *now += 1;
        let now = *now;
        let most = state.under_way_most.entry(service).or_default();
        *most = now.max(*most);
        drop(state);
        UnderWay { line: self.clone(), service }
    }

    fn is_dead(&self) -> bool {
        let state = self.gate.state();
        state.life.number != self.life || state.life.killed.is_cancelled()
    }
}

/// A call under way.
pub struct UnderWay {
    line: Line,
    service: Service,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = self.line.gate.state();
        if state.life.number == self.line.life
            && let Some(now) = state.under_way.get_mut(&self.service)
        {
            *now = now.saturating_sub(1);
        }
    }
}

impl State {
    /// Most calls are quick; some take a while, so that others overtake them.
    fn delay(&self) -> Duration {
        if self.hurry {
            return Duration::ZERO;
        }
        match self.random.below(16) {
            0 => Duration::from_millis(self.random.below(3000)),
            1 | 2 => Duration::from_millis(1 + self.random.below(50)),
            _ => Duration::ZERO,
        }
    }

    fn fault(&mut self, service: Service, verb: Verb, now: Instant) -> Option<Fault> {
        if self.away.get(&service).is_some_and(|until| now < *until) {
            self.revision += 1;
            return Some(Fault::Outage);
        }
        let armed = self.armed.iter_mut().find(|armed| armed.concerns(service, verb))?;
        if armed.skip > 0 {
            armed.skip -= 1;
            return None;
        }
        armed.left -= 1;
        let fault = armed.blow.fault;
        self.armed.retain(|armed| armed.left > 0);
        *self.struck.entry(fault).or_default() += 1;
        self.revision += 1;
        Some(fault)
    }
}

impl Armed {
    fn concerns(&self, service: Service, verb: Verb) -> bool {
        let picked: BTreeSet<Service> = match (self.blow.pick % 3, verb) {
            (1, Verb::Registry(_)) => [Service::Candidate].into(),
            (2, Verb::Registry(_)) => [Service::Public].into(),
            (1, Verb::Koji | Verb::Bodhi | Verb::BodhiListing) => [Service::Koji].into(),
            (2, Verb::Koji | Verb::Bodhi | Verb::BodhiListing) => [Service::Bodhi].into(),
            _ => [service].into(),
        };
        picked.contains(&service) && self.blow.fault.strikes(verb)
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Koji => "koji",
            Self::Bodhi => "bodhi",
            Self::Quay => "quay",
            Self::Candidate => "candidate",
            Self::Public => "public",
            Self::Store => "store",
            Self::Broker => "broker",
        })
    }
}
