//! The only place that may read the clock. Wall time and monotonic time are told apart.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// What time it is. Waiting is `tokio::time::sleep`, which obeys a paused runtime.
pub trait Clock: Send + Sync + 'static {
    /// Wall time: for what is stored or shown. May jump both ways.
    fn wall(&self) -> Timestamp;
    /// Monotonic time: for what is waited for or measured within this process.
    fn monotonic(&self) -> Instant;
    /// Both, read together.
    fn now(&self) -> Moment {
        Moment { wall: self.wall(), monotonic: self.monotonic() }
    }
}

/// One instant on both clocks: stored and shown as wall time, waited for as monotonic time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Wall time. May jump.
    pub wall: Timestamp,
    /// Monotonic time of this process.
    pub monotonic: Instant,
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

#[expect(clippy::disallowed_methods, reason = "this is the one place that may")]
impl Clock for SystemClock {
    fn wall(&self) -> Timestamp {
        Timestamp::now()
    }

    fn monotonic(&self) -> Instant {
        Instant::now()
    }
}

/// A clock for simulated worlds: wall time runs with tokio's (paused) clock from a given start, and can be made to jump.
#[derive(Debug, Clone)]
pub struct SimClock {
    started: Instant,
    wall_at_start: Arc<Mutex<Timestamp>>,
}

impl SimClock {
    /// A clock that shows `wall` now. Call it inside a tokio runtime.
    pub fn starting_at(wall: Timestamp) -> Self {
        #[expect(clippy::disallowed_methods, reason = "this is the one place that may")]
        let started = Instant::now();
        Self { started, wall_at_start: Arc::new(Mutex::new(wall)) }
    }

    /// Moves wall time, forwards or backwards, as a badly synchronised machine does.
    pub fn jump(&self, by: SignedDuration) {
        let mut wall = self.wall_at_start.lock().unwrap_or_else(PoisonError::into_inner);
        *wall = wall.checked_add(by).unwrap_or(*wall);
    }
}

impl Clock for SimClock {
    fn wall(&self) -> Timestamp {
        let elapsed = self.monotonic().saturating_duration_since(self.started);
        let start = *self.wall_at_start.lock().unwrap_or_else(PoisonError::into_inner);
        start.checked_add(SignedDuration::try_from(elapsed).unwrap_or(SignedDuration::MAX)).unwrap_or(start)
    }

    #[expect(clippy::disallowed_methods, reason = "this is the one place that may")]
    fn monotonic(&self) -> Instant {
        Instant::now()
    }
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn wall(&self) -> Timestamp {
        (**self).wall()
    }

    fn monotonic(&self) -> Instant {
        (**self).monotonic()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn simulated_wall_time_runs_with_the_paused_clock_and_jumps() {
        let clock = SimClock::starting_at(Timestamp::UNIX_EPOCH);
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(clock.wall().as_second(), 5);
        clock.jump(SignedDuration::from_secs(-3));
        assert_eq!(clock.wall().as_second(), 2);
    }
}
