//! The in-memory twin of the store: the same promises, without a disk. Deterministic; crashes, fills up and fails when
//! told to. What simulated worlds and the demo run on.

use std::{
    collections::BTreeMap,
    fmt, io,
    ops::Bound,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::future::BoxFuture;

use super::{Batch, Record, Store, StoreError};

/// What a [`MemoryStore`] can be told to suffer from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The disk is full: commits fail.
    Full,
    /// The disk fails: everything fails.
    Io,
    /// The files are damaged: everything fails, and so does opening.
    Corrupt,
    /// Another process holds the store: opening fails.
    Locked,
}

/// An ordered map of bytes in memory. Clones are handles on the same store.
#[derive(Clone, Default)]
pub struct MemoryStore(Arc<Mutex<Disk>>);

#[derive(Default)]
struct Disk {
    /// What a crash leaves.
    durable: BTreeMap<Vec<u8>, Vec<u8>>,
    /// What reads see: `durable` with the batches that wait applied.
    visible: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Batches that are not durable yet, in order of their numbers.
    waiting: BTreeMap<u64, Batch>,
    next: u64,
    commits: u64,
    fault: Option<Fault>,
    slow: Option<Duration>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens it as a starting process would: another handle, or the error it was told to fail with.
    ///
    /// # Errors
    /// When told to be corrupt, locked, or to fail.
    pub fn open(&self) -> Result<Self, StoreError> {
        match self.disk().fault {
            Some(fault @ (Fault::Io | Fault::Corrupt | Fault::Locked)) => Err(error(fault)),
            Some(Fault::Full) | None => Ok(self.clone()),
        }
    }

    /// A power cut: a new store with only what was durable. The old one lives on apart, for whoever still holds it.
    #[must_use]
    pub fn crash(&self) -> Self {
        self.crash_keeping(0)
    }

    /// A power cut that left the first `batches` of those not yet answered on the disk, as can happen.
    #[must_use]
    pub fn crash_keeping(&self, batches: usize) -> Self {
        let disk = self.disk();
        let mut durable = disk.durable.clone();
        for batch in disk.waiting.values().take(batches) {
            apply(&mut durable, batch);
        }
        Self(Arc::new(Mutex::new(Disk { visible: durable.clone(), durable, ..Disk::default() })))
    }

    /// How many batches are visible but not durable.
    #[must_use]
    pub fn undurable(&self) -> usize {
        self.disk().waiting.len()
    }

    /// How many commits became durable, for tests that count writes.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.disk().commits
    }

    /// Suffers from `fault` from now on; `None` heals it.
    pub fn set_fault(&self, fault: Option<Fault>) {
        self.disk().fault = fault;
    }

    /// Takes this long to make a batch durable, by tokio's clock.
    pub fn set_slow(&self, slow: Option<Duration>) {
        self.disk().slow = slow;
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn readable(&self) -> Result<MutexGuard<'_, Disk>, StoreError> {
        let disk = self.disk();
        match disk.fault {
            Some(fault @ (Fault::Io | Fault::Corrupt)) => Err(error(fault)),
            Some(Fault::Full | Fault::Locked) | None => Ok(disk),
        }
    }
}

impl Disk {
    /// Makes the batch durable and all before it, or takes it back.
    fn flush(&mut self, number: u64) -> Result<(), StoreError> {
        if !self.waiting.contains_key(&number) {
            return Ok(()); // A later batch took it along.
        }
        match self.fault {
            Some(fault @ (Fault::Full | Fault::Io | Fault::Corrupt)) => {
                self.waiting.remove(&number);
                self.rebuild();
                Err(error(fault))
            }
            Some(Fault::Locked) | None => {
                let later = self.waiting.split_off(&(number + 1));
                for batch in std::mem::replace(&mut self.waiting, later).values() {
                    apply(&mut self.durable, batch);
                    self.commits += 1;
                }
                Ok(())
            }
        }
    }

    fn rebuild(&mut self) {
        self.visible = self.durable.clone();
        for batch in self.waiting.values() {
            apply(&mut self.visible, batch);
        }
    }
}

impl Store for MemoryStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.readable()?.visible.get(key).cloned())
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Record>, StoreError> {
        let disk = self.readable()?;
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            Some(_) | None => Bound::Included(prefix),
        };
        let records = disk.visible.range::<[u8], _>((from, Bound::Unbounded));
        let matching = records.take_while(|(key, _)| key.starts_with(prefix)).take(limit);
        Ok(matching.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'static, Result<(), StoreError>> {
        let store = self.clone();
        let (number, slow) = {
            let mut disk = self.disk();
            let number = disk.next;
            disk.next += 1;
            apply(&mut disk.visible, &batch);
            disk.waiting.insert(number, batch);
            (number, disk.slow)
        };
        Box::pin(async move {
            if let Some(slow) = slow {
                tokio::time::sleep(slow).await;
            }
            store.disk().flush(number)
        })
    }

    fn disk_bytes(&self) -> u64 {
        self.disk().durable.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum()
    }

    fn path(&self) -> PathBuf {
        place()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let disk = self.disk();
        f.debug_struct("MemoryStore")
            .field("durable", &disk.durable.len())
            .field("fault", &disk.fault)
            .finish()
    }
}

fn apply(map: &mut BTreeMap<Vec<u8>, Vec<u8>>, batch: &Batch) {
    for (key, value) in &batch.0 {
        match value {
            Some(value) => map.insert(key.clone(), value.clone()),
            None => map.remove(key),
        };
    }
}

fn place() -> PathBuf {
    PathBuf::from("memory")
}

fn error(fault: Fault) -> StoreError {
    let path = place();
    match fault {
        Fault::Full => StoreError::Full { path },
        Fault::Io => StoreError::Io { path, source: io::Error::other("told to fail") },
        Fault::Corrupt => StoreError::Corrupt { path, what: "told to be".to_owned() },
        Fault::Locked => StoreError::Locked { path },
    }
}
