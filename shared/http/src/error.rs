//! What can go wrong between us and a host, sorted by what helps. Never holds a secret, a query value or user name.

use std::time::Duration;

use flatbus_base::{Remediable, Remedy};
use http::StatusCode;

/// A request that failed for good, as far as one call goes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No connection: refused, unreachable, unknown name.
    #[error("cannot connect to {host}: {why}")]
    Connect {
        /// Whom we asked.
        host: String,
        /// What the system said.
        why: String,
    },
    /// The secure connection failed: a certificate that isn't trusted, or a broken handshake.
    #[error("no trusted connection to {host}: {why}")]
    Tls {
        /// Whom we asked.
        host: String,
        /// What was wrong.
        why: String,
    },
    /// Silence for longer than allowed.
    #[error("{host} did not go on within {after:?} ({phase})")]
    Timeout {
        /// Whom we asked.
        host: String,
        /// What was waited for.
        phase: &'static str,
        /// How long.
        after: Duration,
    },
    /// The connection broke in the middle.
    #[error("the connection to {host} broke: {why}")]
    Cut {
        /// Whom we asked.
        host: String,
        /// What was wrong.
        why: String,
    },
    /// The host asked us to slow down for longer than one call waits.
    #[error("{host} asks us to wait {} s", wait.as_secs())]
    Limited {
        /// Who is limiting us.
        host: String,
        /// For how long.
        wait: Duration,
    },
    /// An answer that isn't one, after all retries.
    #[error("{host} answered {status}: {said}")]
    Status {
        /// Who answered.
        host: String,
        /// What it answered.
        status: StatusCode,
        /// The beginning of its body, printable.
        said: String,
    },
    /// A body larger than its limit.
    #[error("{host} sent more than {bytes_max} bytes where so much is never needed")]
    BodyTooLarge {
        /// Who sent it.
        host: String,
        /// The limit.
        bytes_max: usize,
    },
    /// A host that isn't on the list; most often named by a redirect or an answer.
    #[error(
        "{host} is not among the hosts that may be contacted: add it to the configuration if it is right"
    )]
    ForbiddenHost {
        /// Who would have been contacted.
        host: String,
    },
    /// Redirected too often.
    #[error("{host} redirects in a loop (more than {hops_max} times)")]
    RedirectLoop {
        /// The host first asked.
        host: String,
        /// The limit.
        hops_max: u32,
    },
    /// A redirect that must not be followed.
    #[error("{host} redirects badly: {why}")]
    BadRedirect {
        /// Who redirects.
        host: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A body that isn't what it should be.
    #[error("{host} sent something unreadable: {why}")]
    Decode {
        /// Who sent it.
        host: String,
        /// What is wrong with it.
        why: String,
    },
    /// The body to be sent gave out.
    #[error("the body for {host} ended: {why}")]
    Source {
        /// Who should have got it.
        host: String,
        /// Why it ended.
        why: String,
    },
    /// The request or the client can't be made: a setting is wrong.
    #[error("{why}")]
    Setup {
        /// What is wrong.
        why: String,
    },
}

impl Error {
    /// The host it is about; empty where it is about none.
    pub fn host(&self) -> &str {
        match self {
            Self::Connect { host, .. }
            | Self::Tls { host, .. }
            | Self::Timeout { host, .. }
            | Self::Cut { host, .. }
            | Self::Limited { host, .. }
            | Self::Status { host, .. }
            | Self::BodyTooLarge { host, .. }
            | Self::ForbiddenHost { host }
            | Self::RedirectLoop { host, .. }
            | Self::BadRedirect { host, .. }
            | Self::Decode { host, .. }
            | Self::Source { host, .. } => host,
            Self::Setup { .. } => "",
        }
    }

    /// The status, where the host answered with one.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Status { status, .. } => Some(*status),
            Self::Limited { .. } => Some(StatusCode::TOO_MANY_REQUESTS),
            _ => None,
        }
    }
}

impl Remediable for Error {
    fn remedy(&self) -> Remedy {
        match self {
            Self::Limited { wait, .. } => Remedy::RetryAfter(*wait),
            Self::Status { status, .. } => status_remedy(*status),
            // A certificate is renewed, a proxy's error page goes away: the runtime parks what stays.
            Self::Connect { .. }
            | Self::Tls { .. }
            | Self::Timeout { .. }
            | Self::Cut { .. }
            | Self::Decode { .. }
            | Self::Source { .. } => Remedy::Retry,
            Self::BodyTooLarge { .. }
            | Self::ForbiddenHost { .. }
            | Self::RedirectLoop { .. }
            | Self::BadRedirect { .. } => Remedy::Park,
            Self::Setup { .. } => Remedy::Fatal,
        }
    }
}

fn status_remedy(status: StatusCode) -> Remedy {
    let passes = status.is_server_error()
        || matches!(
            status,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
        );
    if passes { Remedy::Retry } else { Remedy::Park }
}
