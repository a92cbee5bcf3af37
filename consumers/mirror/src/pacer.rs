//! Spreads calls over time: at most so many a second, first come, first served.

use std::{
    num::NonZeroU32,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use flatbus_base::Clock;
use tokio::time::{Instant, sleep_until};

/// Lets callers through one by one.
pub struct Pacer {
    gap: Duration,
    next: Mutex<Option<Instant>>,
}

impl Pacer {
    /// At most `per_s` callers a second.
    pub fn new(per_s: NonZeroU32) -> Self {
        Self { gap: Duration::from_secs(1) / per_s.get(), next: Mutex::default() }
    }

    /// Waits for the caller's turn.
    pub async fn turn(&self, clock: &dyn Clock) {
        let turn = self.draw(clock.monotonic());
        sleep_until(turn).await;
    }

    fn draw(&self, now: Instant) -> Instant {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = next.map_or(now, |next| next.max(now));
        *next = Some(turn + self.gap);
        turn
    }
}
