//! What can go wrong with a registry, sorted by what helps.

use flatbus_base::{Remediable, Remedy};

use crate::name::{Digest, NameError};

/// A step that failed. Cheap to clone: everybody who waits for the same blob gets it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The host could not be asked, or answered nothing usable.
    #[error(transparent)]
    Http(#[from] flatbus_http::Error),
    /// It wants credentials that we don't have, or refuses those we have.
    #[error("{host} refuses our credentials for {what}: {why}")]
    Unauthorized {
        /// The registry.
        host: String,
        /// What was asked for.
        what: String,
        /// What it said.
        why: String,
    },
    /// It knows us, and we may not.
    #[error("{host} does not let us {what}: {why}")]
    Denied {
        /// The registry.
        host: String,
        /// What was asked for.
        what: String,
        /// What it said, or what was granted.
        why: String,
    },
    /// Something that must be there isn't.
    #[error("{host} has no {what}")]
    NotFound {
        /// The registry.
        host: String,
        /// What was asked for.
        what: String,
    },
    /// The bytes are not those that were named.
    #[error("{host} gave {got} for {what} where {expected} was named")]
    WrongDigest {
        /// Who gave the bytes, or took them for something else.
        host: String,
        /// What was asked for.
        what: String,
        /// What it should be.
        expected: Digest,
        /// What it is.
        got: Digest,
    },
    /// The bytes are more or fewer than were named.
    #[error("{host} gave {got} bytes for {what} where {expected} were named")]
    WrongSize {
        /// Who gave the bytes.
        host: String,
        /// What was asked for.
        what: String,
        /// What it should be, in bytes.
        expected: u64,
        /// What it is, in bytes.
        got: u64,
    },
    /// A manifest that can't be read.
    #[error("the manifest {what} at {host} is not valid: {why}")]
    Manifest {
        /// Where it is.
        host: String,
        /// Which one.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// More or larger than ever needed.
    #[error("{what} at {host} is more than we take: {why}")]
    TooLarge {
        /// Where it is.
        host: String,
        /// What is too large.
        what: String,
        /// Which limit it breaks.
        why: String,
    },
    /// The registry broke the protocol.
    #[error("{host} answered {what} in a way no registry should: {why}")]
    Protocol {
        /// The registry.
        host: String,
        /// What was asked for.
        what: String,
        /// What was wrong.
        why: String,
    },
    /// An upload ended before its time: expired, or at another offset than ours.
    #[error("{host} lost the upload of {what}: {why}")]
    UploadLost {
        /// The registry.
        host: String,
        /// Which blob.
        what: String,
        /// What it said.
        why: String,
    },
    /// It can't do that at all.
    #[error("{host} cannot {what}: {why}")]
    Unsupported {
        /// The registry.
        host: String,
        /// What was asked for.
        what: String,
        /// What it said.
        why: String,
    },
    /// It refused what we sent.
    #[error("{host} refused {what}: {why}")]
    Refused {
        /// The registry.
        host: String,
        /// What was sent.
        what: String,
        /// What it said.
        why: String,
    },
    /// A name that is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Credentials or settings that can't be used.
    #[error("{why}")]
    Setup {
        /// What is wrong, and where.
        why: String,
    },
}

impl Remediable for Error {
    fn remedy(&self) -> Remedy {
        match self {
            Self::Http(error) => error.remedy(),
            // Rights are given, robots are renewed, caches catch up, and quay refuses a good manifest at times: the
            // runtime parks what stays.
            Self::Unauthorized { .. }
            | Self::NotFound { .. }
            | Self::WrongDigest { .. }
            | Self::WrongSize { .. }
            | Self::Protocol { .. }
            | Self::Refused { .. }
            | Self::UploadLost { .. } => Remedy::Retry,
            Self::Denied { .. }
            | Self::Manifest { .. }
            | Self::TooLarge { .. }
            | Self::Unsupported { .. }
            | Self::Name(_) => Remedy::Park,
            Self::Setup { .. } => Remedy::Fatal,
        }
    }
}
