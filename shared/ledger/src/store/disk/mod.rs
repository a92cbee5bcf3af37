//! The store on disk: sled, with everything it needs to be trusted. The only module that knows sled.
//!
//! One committer thread writes; nobody else does. An answer of `Ok` was flushed *and* synced, because sled's flush alone
//! does not survive a power cut. `flush_async` is never called: it deadlocks.

mod committer;
mod live;
mod open;
mod place;

use std::{
    fmt,
    fs::{self, File},
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use futures::{channel::oneshot, future::BoxFuture};
use jiff::Timestamp;

use self::{committer::Job, live::Live};
use super::{Batch, Record, Store, StoreError};
use crate::DirFiles;

/// Batches that may wait for the committer; a caller past it waits for a place.
const QUEUE_BATCHES_MAX: usize = 1024;
/// The folder within the store's that holds the files.
const FILES: &str = "files";

/// How a store is opened.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// Names the folder that a corrupt store is moved to.
    pub now: Timestamp,
    /// How long to wait for another process that holds the store; zero: not at all.
    pub lock_wait: Duration,
    /// Take a network file system too: somebody vouches for its locks and syncs.
    pub allow_network_fs: bool,
    /// Free space below which nothing is written and the store counts as full; zero: the disk's own word is waited for.
    pub room_bytes_min: u64,
    /// Memory for recently used records.
    pub cache_bytes: u64,
}

impl StoreOptions {
    /// What a unit runs with.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self {
            now,
            lock_wait: Duration::ZERO,
            allow_network_fs: false,
            room_bytes_min: 4 << 20,
            cache_bytes: 16 << 20,
        }
    }
}

/// A store, and what had to be done to open it.
#[derive(Debug)]
pub struct OpenedStore {
    /// The store.
    pub store: Arc<SledStore>,
    /// The files beside it.
    pub files: Arc<DirFiles>,
    /// The store was corrupt and is here now, files and all; `store` is a new one. Say so loudly, and survey.
    pub moved_aside: Option<PathBuf>,
}

/// The store on disk. Dropping it ends its thread and frees its lock.
pub struct SledStore {
    live: Arc<Live>,
    queue: Option<SyncSender<Job>>,
    committer: Option<JoinHandle<()>>,
    /// Held as long as the store is open. Its field comes last: it is freed last.
    _lock: File,
}

impl SledStore {
    /// Opens the store in `dir`, creating it where there is none. A corrupt one is moved to `<dir>.corrupt-<time>`,
    /// never deleted, and an empty one opened in its place. Blocks while it reads.
    ///
    /// # Errors
    /// When another process holds it, the file system is a network's, full or failing.
    pub fn open(dir: &Path, options: &StoreOptions) -> Result<OpenedStore, StoreError> {
        fs::create_dir_all(dir).map_err(|error| StoreError::from_io(dir, error))?;
        if !options.allow_network_fs {
            place::refuse_network(dir)?;
        }
        let lock = open::lock(dir, options.lock_wait)?;
        let (db, moved_aside) = open::open_or_move_aside(dir, options)?;
        let files = Arc::new(DirFiles::open(&dir.join(FILES))?);
        let live = Arc::new(Live::new(dir, options, db, File::sync_data)?);
        let store = Arc::new(Self::start(live, lock)?);
        Ok(OpenedStore { store, files, moved_aside })
    }

    fn start(live: Arc<Live>, lock: File) -> Result<Self, StoreError> {
        let (queue, jobs) = sync_channel(QUEUE_BATCHES_MAX);
        let theirs = live.clone();
        let committer = thread::Builder::new()
            .name("ledger-commit".to_owned())
            .spawn(move || committer::run(&theirs, &jobs))
            .map_err(|error| StoreError::from_io(live.dir(), error))?;
        Ok(Self { live, queue: Some(queue), committer: Some(committer), _lock: lock })
    }
}

impl Store for SledStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.live.read(|db| Ok(db.get(key)?.map(|value| value.to_vec())))
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Record>, StoreError> {
        let from = match after {
            Some(after) if after >= prefix => std::ops::Bound::Excluded(after),
            Some(_) | None => std::ops::Bound::Included(prefix),
        };
        self.live.read(|db| {
            let mut records = Vec::new();
            for record in db.range::<&[u8], _>((from, std::ops::Bound::Unbounded)).take(limit) {
                let (key, value) = record?;
                if !key.starts_with(prefix) {
                    break;
                }
                records.push((key.to_vec(), value.to_vec()));
            }
            Ok(records)
        })
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'static, Result<(), StoreError>> {
        let (answer, answered) = oneshot::channel();
        let sent = self.queue.as_ref().is_some_and(|queue| queue.send(Job { batch, answer }).is_ok());
        let dir = self.live.dir().to_owned();
        Box::pin(async move {
            let stopped =
                || StoreError::Io { path: dir, source: std::io::Error::other("the store is closed") };
            if !sent {
                return Err(stopped());
            }
            answered.await.unwrap_or_else(|_| Err(stopped()))
        })
    }

    fn disk_bytes(&self) -> u64 {
        self.live.read(|db| db.size_on_disk()).unwrap_or_default()
    }

    fn path(&self) -> PathBuf {
        self.live.dir().to_owned()
    }
}

impl Drop for SledStore {
    fn drop(&mut self) {
        drop(self.queue.take());
        let ended = self.committer.take().map(JoinHandle::join);
        if matches!(ended, Some(Err(_))) {
            tracing::error!("The ledger's committer thread panicked");
        }
        self.live.close();
    }
}

impl fmt::Debug for SledStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SledStore").field("dir", &self.live.dir()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
