//! Opening the database safely: our own lock first, then away with what sled trips over, then open under guard.

use std::{
    ffi::OsString,
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use super::{StoreOptions, live::guarded};
use crate::StoreError;

/// How often a lock is tried for while waiting.
const LOCK_EVERY: Duration = Duration::from_millis(100);
/// How often the database just closed is tried to be opened: its threads may hold its lock a moment longer.
const REOPEN_TRIES_MAX: u32 = 20;
const REOPEN_EVERY: Duration = Duration::from_millis(25);

/// Takes the lock beside the store. It stays when a corrupt store is moved, and holds before sled touches a file.
pub(super) fn lock(dir: &Path, wait: Duration) -> Result<File, StoreError> {
    let failed = |error| StoreError::from_io(dir, error);
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(beside(dir, ".lock"))
        .map_err(failed)?;
    let mut waited = Duration::ZERO;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if waited >= wait => {
                return Err(StoreError::Locked { path: dir.to_owned() });
            }
            Err(TryLockError::WouldBlock) => {
                thread::sleep(LOCK_EVERY);
                waited += LOCK_EVERY;
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
    }
}

/// Opens the database, or moves it aside and opens an empty one where it is damaged.
pub(super) fn open_or_move_aside(
    dir: &Path,
    options: &StoreOptions,
) -> Result<(sled::Db, Option<PathBuf>), StoreError> {
    // The lock beside the store is ours: sled's own can only be held by what this process closed just now.
    let what = match open_again(dir, options.cache_bytes) {
        Ok(db) => return Ok((db, None)),
        Err(StoreError::Corrupt { what, .. }) => what,
        Err(
            error @ (StoreError::Full { .. }
            | StoreError::Locked { .. }
            | StoreError::Io { .. }
            | StoreError::NetworkFs { .. }),
        ) => return Err(error),
    };
    let aside = move_aside(dir, options).map_err(|error| StoreError::from_io(dir, error))?;
    tracing::error!("The ledger in {} is corrupt ({what}); it is now {}", dir.display(), aside.display());
    Ok((open(dir, options.cache_bytes)?, Some(aside)))
}

/// Opens the database that this process held until just now.
pub(super) fn open_again(dir: &Path, cache_bytes: u64) -> Result<sled::Db, StoreError> {
    let mut tries = 0;
    loop {
        match open(dir, cache_bytes) {
            Err(StoreError::Locked { .. }) if tries < REOPEN_TRIES_MAX => {
                tries += 1;
                thread::sleep(REOPEN_EVERY);
            }
            answer => return answer,
        }
    }
}

/// sled's file, to be synced after its flush.
pub(super) fn db_file(dir: &Path) -> Result<File, StoreError> {
    File::options()
        .read(true)
        .write(true)
        .open(dir.join("db"))
        .map_err(|error| StoreError::from_io(dir, error))
}

fn open(dir: &Path, cache_bytes: u64) -> Result<sled::Db, StoreError> {
    sweep(dir).map_err(|error| StoreError::from_io(dir, error))?;
    let opened = guarded(dir, || sled::Config::new().path(dir).cache_capacity(cache_bytes).open());
    let db = opened.map_err(|error| match error {
        StoreError::Io { path, source } if source.to_string().contains("could not acquire lock") => {
            StoreError::Locked { path }
        }
        other => other,
    })?;
    sync_dir(dir).map_err(|error| StoreError::from_io(dir, error))?;
    Ok(db)
}

/// Removes snapshots that a killed process was still writing: sled takes them for whole ones and never opens again.
/// They are renamed only when whole and synced, so nothing is lost.
fn sweep(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        if name.starts_with(b"snap.") && name.ends_with(b".generating") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn move_aside(dir: &Path, options: &StoreOptions) -> io::Result<PathBuf> {
    let stem = options.now.strftime(".corrupt-%Y%m%dT%H%M%SZ").to_string();
    let free = (0..1000).map(|n| if n == 0 { stem.clone() } else { format!("{stem}.{n}") });
    let mut free = free.map(|suffix| beside(dir, &suffix)).filter(|aside| !aside.exists());
    let aside =
        free.next().ok_or_else(|| io::Error::other("a thousand corrupt ledgers lie beside this one"))?;
    fs::rename(dir, &aside)?;
    fs::create_dir(dir)?;
    if let Some(parent) = dir.parent() {
        sync_dir(parent)?;
    }
    Ok(aside)
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// A path beside the store's folder.
fn beside(dir: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(dir);
    name.push(suffix);
    PathBuf::from(name)
}
