//! What happens to a key that failed: a pure decision.

use std::time::Duration;

use flatbus_base::{Random, Remedy};
use flatbus_ledger::{Next, Taken};
use jiff::Timestamp;

use crate::Settings;

/// Doublings after which the wait no longer grows, whatever the settings.
const DOUBLINGS_MAX: u32 = 16;

/// What a failure leads to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Verdict {
    /// Recorded in the ledger.
    Key(Next),
    /// The process ends; the key stays doubtful.
    Fatal,
}

/// Decides for one failed key. Waits grow with jitter from seconds to minutes; a key that keeps failing for
/// `park_after` is parked.
pub(crate) fn verdict(
    remedy: Remedy,
    taken: &Taken,
    now: Timestamp,
    settings: &Settings,
    random: &Random,
) -> Verdict {
    match remedy {
        Remedy::Fatal => Verdict::Fatal,
        Remedy::Park => Verdict::Key(Next::Park),
        Remedy::Retry | Remedy::RetryAfter(_) if failed_too_long(taken, now, settings) => {
            Verdict::Key(Next::Park)
        }
        Remedy::Retry => {
            Verdict::Key(Next::Wait { wait: random.jitter(backoff(taken.attempts, settings)), told: false })
        }
        Remedy::RetryAfter(told) => {
            let wait = told.max(random.jitter(backoff(taken.attempts, settings)));
            Verdict::Key(Next::Wait { wait: wait.min(settings.park_after), told: true })
        }
    }
}

fn failed_too_long(taken: &Taken, now: Timestamp, settings: &Settings) -> bool {
    let Some(since) = taken.failing_since else { return false };
    Duration::try_from(now.duration_since(since)).unwrap_or_default() >= settings.park_after
}

fn backoff(attempts: u32, settings: &Settings) -> Duration {
    let doubled = settings.retry_wait_min.saturating_mul(1 << attempts.min(DOUBLINGS_MAX));
    doubled.min(settings.retry_wait_max)
}
