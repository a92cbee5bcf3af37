//! What can go wrong with a site, sorted by what helps.

use std::io;

use flatbus_base::{Remediable, Remedy};

use super::path::SitePath;
use crate::weave;

/// Something that was not published, or not cleared away. What is published stays whole.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] weave::Error),
    /// A file that was to be named isn't there, or has another size: put it there again.
    #[error("{path} is to be published, and is not there as told")]
    Missing {
        /// The file.
        path: SitePath,
    },
    /// It was made from a generation that is no more the published one: make it again.
    #[error("{path} was made from what is no more published")]
    Stale {
        /// The file.
        path: SitePath,
    },
    /// A list of the site's can't be read: nothing is cleared away on the strength of it.
    #[error("the list {path} of published files is damaged: {why}")]
    BadList {
        /// The list.
        path: SitePath,
        /// What is wrong.
        why: String,
    },
    /// A file that was to be published isn't below the site, or not where its kind stands.
    #[error("{path:?} is no place for a published file")]
    BadPlace {
        /// As it was given.
        path: String,
    },
    /// The file system has no hard links.
    #[error(
        "the site's file system takes no hard links, which files are kept by for those who fetch them: {source}"
    )]
    NoLinks {
        /// What the system said.
        source: io::Error,
    },
}

impl Remediable for Error {
    fn remedy(&self) -> Remedy {
        match self {
            Self::File(error) => error.remedy(),
            Self::Missing { .. } | Self::Stale { .. } => Remedy::Retry,
            Self::BadList { .. } | Self::BadPlace { .. } | Self::NoLinks { .. } => Remedy::Park,
        }
    }
}
