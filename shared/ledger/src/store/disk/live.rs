//! The open database. After any error of a write sled refuses all further ones, also once the cause is gone: the
//! database is then opened anew, as soon as there is room to. Until then reads may fail too, so room is looked for
//! before each write: a disk that fills up slowly never gets that far.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    num::NonZeroU64,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{PoisonError, RwLock},
};

use super::{StoreOptions, open};
use crate::{Batch, StoreError};

/// sled grows by segments of 512 KiB and writes a snapshot when it opens: with less room than this it would fail again.
const REOPEN_BYTES_MIN: usize = 2 << 20;
/// The file that proves there is room.
const PROBE: &str = "room.probe";

/// Makes what was flushed survive a power cut: `File::sync_data`, but for tests.
pub(super) type Sync = fn(&File) -> io::Result<()>;

/// An open database and whether it can still be written.
pub(super) struct Live {
    dir: PathBuf,
    options: StoreOptions,
    sync: Sync,
    handle: RwLock<Handle>,
}

struct Handle {
    db: Option<sled::Db>,
    /// sled's own file, to be synced: its flush is no fsync.
    file: Option<File>,
    broken: bool,
}

impl Live {
    pub(super) fn new(
        dir: &Path,
        options: &StoreOptions,
        db: sled::Db,
        sync: Sync,
    ) -> Result<Self, StoreError> {
        let file = open::db_file(dir)?;
        let handle = RwLock::new(Handle { db: Some(db), file: Some(file), broken: false });
        Ok(Self { dir: dir.to_owned(), options: options.clone(), sync, handle })
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn read<R>(&self, read: impl FnOnce(&sled::Db) -> sled::Result<R>) -> Result<R, StoreError> {
        let handle = self.handle.read().unwrap_or_else(PoisonError::into_inner);
        let Some(db) = &handle.db else { return Err(self.closed()) };
        guarded(&self.dir, || read(db))
    }

    /// Makes the batches durable, in order, all or none. Only the committer calls this.
    pub(super) fn write(&self, batches: &[Batch]) -> Result<(), StoreError> {
        self.look_for_room(batches).map_err(|error| StoreError::from_io(&self.dir, error))?;
        if self.is_broken() {
            self.reopen()?;
        }
        let outcome = self.write_once(batches);
        if outcome.is_err() {
            self.handle.write().unwrap_or_else(PoisonError::into_inner).broken = true;
        }
        outcome
    }

    fn write_once(&self, batches: &[Batch]) -> Result<(), StoreError> {
        let handle = self.handle.read().unwrap_or_else(PoisonError::into_inner);
        let (Some(db), Some(file)) = (&handle.db, &handle.file) else { return Err(self.closed()) };
        guarded(&self.dir, || {
            db.apply_batch(joined(batches))?;
            db.flush()?;
            Ok(())
        })?;
        (self.sync)(file).map_err(|error| StoreError::from_io(&self.dir, error))
    }

    fn is_broken(&self) -> bool {
        let handle = self.handle.read().unwrap_or_else(PoisonError::into_inner);
        handle.broken || handle.db.is_none()
    }

    fn reopen(&self) -> Result<(), StoreError> {
        self.prove_room().map_err(|error| StoreError::from_io(&self.dir, error))?;
        let mut handle = self.handle.write().unwrap_or_else(PoisonError::into_inner);
        (handle.db, handle.file) = (None, None); // It holds sled's lock: drop it first.
        let db = open::open_again(&self.dir, self.options.cache_bytes)?;
        handle.file = Some(open::db_file(&self.dir)?);
        handle.db = Some(db);
        handle.broken = false;
        tracing::info!("The ledger in {} can be written again", self.dir.display());
        Ok(())
    }

    /// Asks the file system, which does not know of every quota.
    fn look_for_room(&self, batches: &[Batch]) -> io::Result<()> {
        let Some(least) = NonZeroU64::new(self.options.room_bytes_min) else { return Ok(()) };
        let written: usize = batches.iter().map(Batch::bytes).sum();
        let room = rustix::fs::statvfs(&self.dir)?;
        let enough =
            room.f_bavail.saturating_mul(room.f_frsize) >= least.get().saturating_add(2 * written as u64);
        if enough { Ok(()) } else { Err(io::ErrorKind::StorageFull.into()) }
    }

    /// Takes the room and gives it back: what no quota can hide.
    fn prove_room(&self) -> io::Result<()> {
        let probe = self.dir.join(PROBE);
        let written = File::create(&probe).and_then(|mut file| {
            file.write_all(&vec![0; REOPEN_BYTES_MIN])?;
            file.sync_data() // Some file systems find out that late.
        });
        let removed = fs::remove_file(&probe);
        written.and(removed)
    }

    pub(super) fn close(&self) {
        let mut handle = self.handle.write().unwrap_or_else(PoisonError::into_inner);
        (handle.db, handle.file) = (None, None);
    }

    fn closed(&self) -> StoreError {
        StoreError::Io {
            path: self.dir.clone(),
            source: io::Error::other("the store is not open at the moment"),
        }
    }
}

/// Calls sled, which panics on some damage, and sorts its errors.
pub(super) fn guarded<R>(dir: &Path, call: impl FnOnce() -> sled::Result<R>) -> Result<R, StoreError> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(answer) => answer.map_err(|error| sorted(dir, error)),
        Err(_) => Err(StoreError::Corrupt { path: dir.to_owned(), what: "the database panicked".to_owned() }),
    }
}

fn sorted(dir: &Path, error: sled::Error) -> StoreError {
    let path = dir.to_owned();
    match error {
        sled::Error::Io(error) => StoreError::from_io(dir, error),
        sled::Error::Corruption { .. } => {
            StoreError::Corrupt { path, what: "the database found damaged data".to_owned() }
        }
        sled::Error::CollectionNotFound(_) => {
            StoreError::Corrupt { path, what: "a tree is missing".to_owned() }
        }
        sled::Error::Unsupported(what) | sled::Error::ReportableBug(what) => {
            StoreError::Corrupt { path, what }
        }
    }
}

fn joined(batches: &[Batch]) -> sled::Batch {
    let mut joined = sled::Batch::default();
    for (key, value) in batches.iter().flat_map(|batch| &batch.0) {
        match value {
            Some(value) => joined.insert(key.as_slice(), value.as_slice()),
            None => joined.remove(key.as_slice()),
        }
    }
    joined
}
