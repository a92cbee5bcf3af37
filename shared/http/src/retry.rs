//! Whether to try again, decided by how far the attempt came. Pure: no clock, no network.

use std::time::Duration;

use http::StatusCode;

/// Waits between tries that nobody told us: 250 ms doubling.
const BACKOFF_FIRST: Duration = Duration::from_millis(250);

/// How an attempt ended short of an answer to hand over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Nothing was sent: asking again is harmless, whatever the request.
    NotSent,
    /// It may have been acted on.
    Unknown,
    /// Nothing can be changed by asking again: a bad certificate, a body that gave out.
    Hopeless,
    /// A status.
    Answered { status: StatusCode, retry_after: Option<Duration> },
}

/// The tries so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tries {
    /// Tries made, this one included.
    pub made: u32,
    /// Since the first began.
    pub elapsed: Duration,
    /// Whether asking twice is harmless.
    pub idempotent: bool,
    /// Whether the request can be made again at all.
    pub repeatable: bool,
}

/// The limits they keep to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub attempts_max: u32,
    pub elapsed_max: Duration,
    pub retry_wait_max: Duration,
}

/// What happens next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// The answer is handed over.
    Answer,
    /// Wait about this long (jitter is added by whoever waits), then try again.
    Again { wait: Duration, told: bool },
    /// The host named a wait that is too long for one call.
    Limited(Duration),
    /// Given up: the failure is handed over.
    GiveUp,
}

pub(crate) fn decide(ended: Ended, tries: Tries, limits: Limits) -> Next {
    let told = match ended {
        Ended::Answered { status, .. } if !passes(status) => return Next::Answer,
        Ended::Answered { retry_after, .. } => retry_after,
        Ended::NotSent | Ended::Unknown | Ended::Hopeless => None,
    };
    if let Some(wait) = told.filter(|wait| *wait > limits.retry_wait_max) {
        return Next::Limited(wait);
    }
    let wait = told.unwrap_or_else(|| backoff(tries.made).min(limits.retry_wait_max));
    let may = tries.repeatable && (harmless(ended) || tries.idempotent) && ended != Ended::Hopeless;
    if may && tries.made < limits.attempts_max && tries.elapsed + wait <= limits.elapsed_max {
        return Next::Again { wait, told: told.is_some() };
    }
    told.map_or(Next::GiveUp, Next::Limited)
}

/// A status that waiting may cure.
pub(crate) fn passes(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
}

/// The request was not acted on, so that even a request that isn't idempotent may be sent again.
fn harmless(ended: Ended) -> bool {
    match ended {
        Ended::NotSent => true,
        Ended::Answered { status, .. } => matches!(status.as_u16(), 408 | 429 | 503),
        Ended::Unknown | Ended::Hopeless => false,
    }
}

fn backoff(made: u32) -> Duration {
    BACKOFF_FIRST.saturating_mul(1_u32.checked_shl(made.saturating_sub(1)).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        attempts_max: 3,
        elapsed_max: Duration::from_secs(20),
        retry_wait_max: Duration::from_secs(10),
    };
    const FIRST: Tries = Tries { made: 1, elapsed: Duration::ZERO, idempotent: true, repeatable: true };

    fn answered(status: u16, retry_after: Option<u64>) -> Ended {
        let status = StatusCode::from_u16(status).unwrap();
        Ended::Answered { status, retry_after: retry_after.map(Duration::from_secs) }
    }

    fn again(ended: Ended, tries: Tries) -> bool {
        matches!(decide(ended, tries, LIMITS), Next::Again { .. })
    }

    #[test]
    fn answers_that_waiting_cannot_cure_are_handed_over() {
        for status in [200, 201, 301, 400, 401, 403, 404, 409, 416, 501] {
            assert_eq!(decide(answered(status, Some(1)), FIRST, LIMITS), Next::Answer, "{status}");
        }
    }

    #[test]
    fn what_may_have_been_acted_on_is_only_repeated_where_that_is_harmless() {
        let post = Tries { idempotent: false, ..FIRST };
        for (ended, twice) in [
            (Ended::NotSent, true),
            (Ended::Unknown, false),
            (answered(429, None), true),
            (answered(503, None), true),
            (answered(500, None), false),
            (answered(502, None), false),
        ] {
            assert_eq!(again(ended, post), twice, "{ended:?}");
            assert!(again(ended, FIRST), "{ended:?}");
        }
    }

    #[test]
    fn a_stream_is_never_sent_twice() {
        assert!(!again(Ended::NotSent, Tries { repeatable: false, ..FIRST }));
    }

    #[test]
    fn tries_end_by_count_and_by_time() {
        assert!(again(Ended::Unknown, Tries { made: 2, ..FIRST }));
        assert_eq!(decide(Ended::Unknown, Tries { made: 3, ..FIRST }, LIMITS), Next::GiveUp);
        assert_eq!(
            decide(Ended::Unknown, Tries { elapsed: Duration::from_secs(20), ..FIRST }, LIMITS),
            Next::GiveUp
        );
    }

    #[test]
    fn a_told_wait_is_obeyed_or_handed_over_never_shortened() {
        let wait = Duration::from_secs(9);
        assert_eq!(decide(answered(429, Some(9)), FIRST, LIMITS), Next::Again { wait, told: true });
        assert_eq!(decide(answered(503, Some(11)), FIRST, LIMITS), Next::Limited(Duration::from_secs(11)));
        let last = Tries { made: 3, ..FIRST };
        assert_eq!(decide(answered(429, Some(9)), last, LIMITS), Next::Limited(wait));
        assert_eq!(decide(answered(429, None), last, LIMITS), Next::GiveUp);
    }

    #[test]
    fn a_bad_certificate_is_not_tried_again() {
        assert_eq!(decide(Ended::Hopeless, FIRST, LIMITS), Next::GiveUp);
    }
}
