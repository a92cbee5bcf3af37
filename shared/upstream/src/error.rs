//! What can go wrong between us and Koji, Bodhi or quay's API, sorted by what helps.

use std::time::Duration;

use flatbus_base::{Remediable, Remedy};

/// A failed question. Never an answer: nothing may be deleted or withdrawn on the strength of one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No answer: connection, time-out, limit, a status that the client gave up on.
    #[error(transparent)]
    Http(#[from] flatbus_http::Error),
    /// Koji's hub took the call and refused it.
    #[error("koji answered {call} with fault {code}: {text}")]
    Fault {
        /// The method, with what it was asked for.
        call: String,
        /// Koji's fault code (`koji.GenericError` is 1000; 1 is any exception nobody caught).
        code: i32,
        /// What the hub said, shortened.
        text: String,
    },
    /// An answer, but not in the shape we know. A half-written or stale answer mends itself, so it is asked for again
    /// first; one that stays wrong is parked by the ledger.
    #[error("{what} has a shape we do not know: {place}: {problem}")]
    WrongShape {
        /// What was asked for: `build eog-stable-1.1`, `update FEDORA-FLATPAK-2022-0123456789`.
        what: String,
        /// Where in the answer: `release.state`.
        place: String,
        /// What is wrong there.
        problem: String,
    },
    /// A listing changed under every attempt to read it.
    #[error("{listing} did not hold still in {attempts} readings: {problem}")]
    Unsettled {
        /// Which listing.
        listing: String,
        /// How often it was read.
        attempts: u32,
        /// What did not fit in the last reading.
        problem: String,
    },
    /// A question of several requests took longer than it may.
    #[error("{what} was not answered within {} s", limit.as_secs())]
    Slow {
        /// What was asked for.
        what: String,
        /// The limit that ran out.
        limit: Duration,
    },
    /// More than we are ready to read.
    #[error("{what} holds more than {limit} {unit}")]
    TooLarge {
        /// What was asked for.
        what: String,
        /// The limit.
        limit: u64,
        /// Of what: `bytes`, `pages`, `builds`.
        unit: &'static str,
    },
    /// A question that cannot be asked: a name outside its grammar, more builds than one call takes.
    #[error("cannot ask for {what}: {problem}")]
    BadQuestion {
        /// What was to be asked for.
        what: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The service refused us. A person must give us the right.
    #[error("{host} refused {what} ({status}): {advice}")]
    Denied {
        /// The service.
        host: String,
        /// What was refused.
        what: String,
        /// The HTTP status.
        status: u16,
        /// What a person must do.
        advice: String,
    },
    /// An HTTP status that belongs to no answer we know.
    #[error("{host} answered {what} with status {status}: {said}")]
    Unexpected {
        /// The service.
        host: String,
        /// What was asked for.
        what: String,
        /// The HTTP status.
        status: u16,
        /// The start of the body, shortened.
        said: String,
    },
}

/// Faults that asking again does not cure: the call itself is wrong, or forbidden. All others (a hub that is off line, a
/// lock, an exception nobody caught) pass.
const FAULTS_TO_PARK: [i32; 7] = [
    1000, // GenericError: "invalid format: …", "No such …".
    1002, // AuthError
    1004, // ActionNotAllowed
    1013, // FunctionDeprecated
    1019, // ParameterError
    1023, // GSSAPIAuthError
    1024, // NameValidationError
];

impl Remediable for Error {
    fn remedy(&self) -> Remedy {
        match self {
            Self::Http(error) => error.remedy(),
            Self::Fault { code, .. } if FAULTS_TO_PARK.contains(code) => Remedy::Park,
            Self::Fault { .. }
            | Self::WrongShape { .. }
            | Self::Unsettled { .. }
            | Self::Slow { .. }
            | Self::Unexpected { .. } => Remedy::Retry,
            Self::TooLarge { .. } | Self::BadQuestion { .. } | Self::Denied { .. } => Remedy::Park,
        }
    }
}
