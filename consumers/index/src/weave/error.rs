//! What can go wrong with files, sorted by what helps.

use std::{
    io,
    path::{Path, PathBuf},
};

use flatbus_base::{Remediable, Remedy};

/// A file that could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No space left. What is published stays as it is.
    #[error("no space left for {}: free some, and it goes on by itself", path.display())]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// We may not.
    #[error("{} may not be written or read by this user: {source}", path.display())]
    Denied {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Anything else that the system says.
    #[error("writing or reading {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A published file isn't what was published: forget its layout and build it.
    #[error("{} is not as it was published: {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How that shows.
        why: &'static str,
    },
    /// The file system keeps other times than it is told, so that servers would name one content differently.
    #[error("the file system of {} keeps no modification times in microseconds", path.display())]
    CoarseTimes {
        /// The file.
        path: PathBuf,
    },
    /// Pieces that don't come in the order of their names, or one that is larger than a file can be.
    #[error("{name:?} can't be put into {}: {why}", path.display())]
    BadPiece {
        /// The file.
        path: PathBuf,
        /// The piece.
        name: String,
        /// What is wrong.
        why: &'static str,
    },
}

impl Error {
    /// Sorts what the system said.
    pub fn from_io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { path },
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::Denied { path, source }
            }
            _ => Self::Io { path, source },
        }
    }
}

impl Remediable for Error {
    fn remedy(&self) -> Remedy {
        match self {
            Self::Full { .. } | Self::Io { .. } | Self::Damaged { .. } => Remedy::Retry,
            Self::Denied { .. } | Self::CoarseTimes { .. } | Self::BadPiece { .. } => Remedy::Park,
        }
    }
}

/// Says which file an error of the system is about.
pub trait At<T> {
    /// The same result, its error with the path.
    fn at(self, path: &Path) -> Result<T, Error>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, path: &Path) -> Result<T, Error> {
        self.map_err(|source| Error::from_io(path, source))
    }
}
