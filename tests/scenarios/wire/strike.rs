//! Faults that wait for their requests, and everything that was asked, with its time.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use flatbus_base::{Clock, SimClock};
use flatbus_embedded::{Fault, Seen};
use http::Method;
use tokio::time::Instant;

/// Whichever host is asked.
pub const ANYBODY: &str = "";
/// A fault that strikes for as long as it is there.
pub const ALWAYS: u64 = u64::MAX;

/// All strikes of a story, and its requests. Clones are the same.
#[derive(Clone)]
pub struct Strikes {
    began: Instant,
    clock: SimClock,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    armed: Vec<Strike>,
    asked: Vec<Asked>,
    broken: Vec<String>,
}

struct Strike {
    host: &'static str,
    times: u64,
    struck: u64,
    kind: Box<dyn FnMut(&Seen) -> bool + Send>,
    fault: Box<dyn FnMut(&Seen) -> Fault + Send>,
}

/// A request that arrived.
pub struct Asked {
    pub host: &'static str,
    /// Since the story began.
    pub at: Duration,
    pub request: Seen,
    /// Whether a fault struck it.
    pub struck: bool,
}

impl Strikes {
    pub fn new(clock: &SimClock) -> Self {
        Self { began: clock.monotonic(), clock: clock.clone(), inner: Arc::default() }
    }

    /// A fault waits for so many requests of a kind.
    pub fn arm(
        &self,
        host: &'static str,
        times: u64,
        kind: impl FnMut(&Seen) -> bool + Send + 'static,
        fault: impl FnMut(&Seen) -> Fault + Send + 'static,
    ) {
        let (kind, fault) = (Box::new(kind), Box::new(fault));
        self.inner().armed.push(Strike { host, times, struck: 0, kind, fault });
    }

    /// A request arrives: what happens to it.
    pub fn arrives(&self, host: &'static str, seen: &Seen) -> Fault {
        let at = self.clock.monotonic() - self.began;
        let mut inner = self.inner();
        let mut due = inner.armed.iter_mut().filter(|strike| strike.waits_for(host));
        let fault = due.find_map(|strike| strike.meets(seen));
        inner.asked.push(Asked { host, at, request: seen.clone(), struck: fault.is_some() });
        fault.unwrap_or_default()
    }

    /// A promise was broken.
    pub fn breaks(&self, what: String) {
        self.inner().broken.push(what);
    }

    /// Nothing strikes any more. Every fault must have struck as often as it was to, and no promise was broken.
    pub fn finish(&self) {
        assert_eq!(self.inner().broken, Vec::<String>::new());
        for strike in std::mem::take(&mut self.inner().armed) {
            let enough =
                if strike.times == ALWAYS { strike.struck > 0 } else { strike.struck == strike.times };
            assert!(
                enough,
                "a fault of {} struck {} times only: the story shows nothing",
                strike.host, strike.struck
            );
        }
    }

    /// What was asked of a host so far.
    pub fn asked<T>(&self, of: impl FnMut(&Asked) -> Option<T>) -> Vec<T> {
        self.inner().asked.iter().filter_map(of).collect()
    }

    /// Everything that was asked, a line a request.
    pub fn told(&self) -> String {
        let line = |asked: &Asked| {
            let mark = if asked.struck { '!' } else { ' ' };
            format!("{:>12.3} {mark} {:<14} {}\n", asked.at.as_secs_f64(), asked.host, asked.request)
        };
        self.inner().asked.iter().map(line).collect()
    }

    /// Everything that was asked, each byte of it.
    pub fn exactly(&self) -> String {
        let whole = |asked: &Asked| {
            let Seen { headers, body, .. } = &asked.request;
            format!("{:?} {} {} {headers:?} {body:?}\n", asked.at, asked.host, asked.request)
        };
        self.inner().asked.iter().map(whole).collect()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Strike {
    fn waits_for(&self, host: &str) -> bool {
        [host, ANYBODY].contains(&self.host) && self.struck < self.times
    }

    fn meets(&mut self, seen: &Seen) -> Option<Fault> {
        (self.kind)(seen).then(|| {
            self.struck += 1;
            (self.fault)(seen)
        })
    }
}

/// Every request.
pub fn any(_: &Seen) -> bool {
    true
}

/// Requests of this method whose path has this part.
pub fn is(method: Method, part: impl Into<String>) -> impl Fn(&Seen) -> bool + Clone + Send + 'static {
    let part = part.into();
    move |seen| seen.method == method && seen.path.contains(&part)
}

/// Bodhi's list of updates is asked for.
pub fn updates(seen: &Seen) -> bool {
    seen.path == "/updates/"
}

/// A call of Koji's, alone or among others.
pub fn call(name: &'static str) -> impl Fn(&Seen) -> bool + Clone + Send + 'static {
    move |seen| seen.mentions(name)
}
