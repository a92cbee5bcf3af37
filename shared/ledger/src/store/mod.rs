//! The small trait behind which the embedded database stands, and its errors. Knows nothing of what is recorded.

#[cfg(any(test, feature = "testing"))]
pub mod conformance;
mod disk;
mod memory;

pub use disk::{OpenedStore, SledStore, StoreOptions};
pub use memory::{Fault, MemoryStore};

use std::{
    io,
    path::{Path, PathBuf},
};

use flatbus_base::{Remediable, Remedy};
use futures::future::BoxFuture;

/// Puts and deletes that become durable together or not at all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch(pub Vec<(Vec<u8>, Option<Vec<u8>>)>);

impl Batch {
    /// Bytes of all keys and values.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len)).sum()
    }
}

/// One record: its key and its value.
pub type Record = (Vec<u8>, Vec<u8>);

/// An ordered map of bytes with one atomic, durable batch.
pub trait Store: Send + Sync + 'static {
    /// The value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;
    /// Records whose key starts with `prefix` and is greater than `after` (if given), in order, at most `limit`.
    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Record>, StoreError>;
    /// Applies the batch. Answers once it is durable; an answer of `Ok` survives `kill -9` and a power cut. Batches
    /// become visible and durable in the order of the calls. After an error the batch stands whole or not at all:
    /// write it again.
    fn commit(&self, batch: Batch) -> BoxFuture<'static, Result<(), StoreError>>;
    /// Size on disk in bytes, as far as known.
    fn disk_bytes(&self) -> u64;
    /// The store's folder, for messages to people.
    fn path(&self) -> PathBuf;
}

/// What can go wrong in a store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No space left: nothing was written; free some and it goes on by itself.
    #[error("no space left for the ledger in {}: free some, nothing is lost meanwhile", path.display())]
    Full {
        /// The store's folder.
        path: PathBuf,
    },
    /// The files are damaged.
    #[error("the ledger in {} is corrupt: {what}", path.display())]
    Corrupt {
        /// The store's folder.
        path: PathBuf,
        /// What the database said.
        what: String,
    },
    /// Another process has it open.
    #[error("the ledger in {} is in use by another process; use the running unit's socket instead", path.display())]
    Locked {
        /// The store's folder.
        path: PathBuf,
    },
    /// Reading or writing failed.
    #[error("reading or writing the ledger in {}: {source}", path.display())]
    Io {
        /// The store's folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The folder is on a network file system, where locks and syncs don't hold.
    #[error("{} is on a network file system ({kind}): put the ledger on a local disk, or set allow_network_fs", path.display())]
    NetworkFs {
        /// The store's folder.
        path: PathBuf,
        /// The file system's name.
        kind: String,
    },
}

impl StoreError {
    /// The same error for another who waited for the same write. (An `io::Error` can't be cloned.)
    #[must_use]
    pub fn again(&self) -> Self {
        match self {
            Self::Full { path } => Self::Full { path: path.clone() },
            Self::Corrupt { path, what } => Self::Corrupt { path: path.clone(), what: what.clone() },
            Self::Locked { path } => Self::Locked { path: path.clone() },
            Self::Io { path, source } => {
                Self::Io { path: path.clone(), source: io::Error::new(source.kind(), source.to_string()) }
            }
            Self::NetworkFs { path, kind } => Self::NetworkFs { path: path.clone(), kind: kind.clone() },
        }
    }

    /// Sorts what the system said: a full disk is told apart, since freeing space is all it takes.
    #[must_use]
    pub fn from_io(path: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { path: path.to_owned() },
            _ => Self::Io { path: path.to_owned(), source },
        }
    }
}

impl Remediable for StoreError {
    fn remedy(&self) -> Remedy {
        match self {
            Self::Full { .. } | Self::Io { .. } | Self::Locked { .. } => Remedy::Retry,
            Self::Corrupt { .. } | Self::NetworkFs { .. } => Remedy::Fatal,
        }
    }
}

#[cfg(test)]
mod tests;
