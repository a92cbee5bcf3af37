//! Where a twin's calls arrive: they are counted, and the faults that were ordered are handed out.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use flatbus_http::StatusCode;

use crate::Error;

/// Calls kept for a look; older ones are only counted.
const CALLS_KEPT_MAX: usize = 10_000;

/// How a call goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nobody answers; the caller gives up after this long (of tokio's clock).
    TimeOut(Duration),
    /// The service answers with this HTTP status until the client gives up.
    Status(u16),
    /// The service asks to be left alone for this long.
    Limited(Duration),
    /// An answer in no known shape.
    WrongShape,
    /// A listing that would not hold still.
    Unsettled,
    /// A fault of the service itself: Koji's code.
    Refused(i32),
    /// A well-formed answer that is a lie: nothing there, nothing in the list.
    Empty,
    /// The answer as it was before the last change.
    Stale,
}

/// What a twin does instead of failing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Present,
    Empty,
    Stale,
}

type Hook<C> = Box<dyn FnMut(&C) -> Option<Fault> + Send>;

/// The calls of one twin, and the faults ordered for them.
pub struct Desk<C> {
    name: &'static str,
    state: Mutex<State<C>>,
}

struct State<C> {
    calls: VecDeque<C>,
    count: u64,
    next: VecDeque<Fault>,
    standing: Option<Fault>,
    hook: Option<Hook<C>>,
    latency: Option<Duration>,
}

impl<C: Clone + fmt::Debug> Desk<C> {
    pub(super) fn new(name: &'static str) -> Self {
        let (calls, next) = (VecDeque::new(), VecDeque::new());
        Self {
            name,
            state: Mutex::new(State { calls, count: 0, next, standing: None, hook: None, latency: None }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State<C>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every call since the start or the last [`Self::forget`], oldest first; at most the last 10,000.
    pub fn calls(&self) -> Vec<C> {
        self.state().calls.iter().cloned().collect()
    }

    /// How many calls there were, those no longer kept included.
    pub fn count(&self) -> u64 {
        self.state().count
    }

    /// Starts counting anew.
    pub fn forget(&self) {
        let mut state = self.state();
        state.calls.clear();
        state.count = 0;
    }

    /// The next `times` calls fail so, after those already ordered.
    pub fn fail_next(&self, times: usize, fault: Fault) {
        self.state().next.extend(std::iter::repeat_n(fault, times));
    }

    /// Every call fails so, until [`Self::heal`].
    pub fn fail_always(&self, fault: Fault) {
        self.state().standing = Some(fault);
    }

    /// Decides for each call whether it fails, after the faults ordered otherwise: how a seeded world orders them.
    pub fn fail_by(&self, hook: impl FnMut(&C) -> Option<Fault> + Send + 'static) {
        self.state().hook = Some(Box::new(hook));
    }

    /// Takes back every fault.
    pub fn heal(&self) {
        let mut state = self.state();
        state.next.clear();
        state.standing = None;
        state.hook = None;
    }

    /// How long each answer takes, of tokio's clock.
    pub fn set_latency(&self, latency: Duration) {
        self.state().latency = Some(latency);
    }

    /// Takes a call, and says how to answer it.
    pub(super) async fn take(&self, call: C) -> Result<Answer, Error> {
        let what = format!("{call:?}");
        let (fault, latency) = self.record(call);
        if let Some(latency) = latency {
            tokio::time::sleep(latency).await;
        }
        let host = self.name.to_owned();
        Err(match fault {
            None => return Ok(Answer::Present),
            Some(Fault::Empty) => return Ok(Answer::Empty),
            Some(Fault::Stale) => return Ok(Answer::Stale),
            Some(Fault::TimeOut(after)) => {
                tokio::time::sleep(after).await;
                flatbus_http::Error::Timeout { host, phase: "waiting for an answer", after }.into()
            }
            Some(Fault::Status(status)) => {
                let status = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
                flatbus_http::Error::Status { host, status, said: "as ordered".to_owned() }.into()
            }
            Some(Fault::Limited(wait)) => flatbus_http::Error::Limited { host, wait }.into(),
            Some(Fault::WrongShape) => crate::shape::wrong(&what, "body", "as ordered"),
            Some(Fault::Unsettled) => {
                Error::Unsettled { listing: what, attempts: 1, problem: "as ordered".to_owned() }
            }
            Some(Fault::Refused(code)) => Error::Fault { call: what, code, text: "as ordered".to_owned() },
        })
    }

    fn record(&self, call: C) -> (Option<Fault>, Option<Duration>) {
        let mut state = self.state();
        let ordered = state.next.pop_front().or(state.standing);
        let fault = ordered.or_else(|| state.hook.as_mut()?(&call));
        if state.calls.len() == CALLS_KEPT_MAX {
            state.calls.pop_front();
        }
        state.calls.push_back(call);
        state.count += 1;
        (fault, state.latency)
    }
}

impl<C> fmt::Debug for Desk<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A twin's records, and how they were before the last change.
#[derive(Debug, Clone, Default)]
pub(super) struct Versioned<T> {
    now: T,
    before: T,
}

impl<T: Clone + Default> Versioned<T> {
    /// Changes the records; what they were stays for stale answers.
    pub fn change(&mut self, change: impl FnOnce(&mut T)) {
        self.before = self.now.clone();
        change(&mut self.now);
    }

    /// The records as the answer should show them.
    pub fn seen(&self, answer: Answer) -> T {
        match answer {
            Answer::Present => self.now.clone(),
            Answer::Stale => self.before.clone(),
            Answer::Empty => T::default(),
        }
    }
}
