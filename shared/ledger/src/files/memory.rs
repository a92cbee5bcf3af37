//! The in-memory twin of the files beside the store.

use std::{
    collections::BTreeMap,
    fmt, io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::future::BoxFuture;

use super::{FILE_BYTES_MAX, FileName, Files};
use crate::StoreError;

/// Files in memory. Clones are handles on the same files; every put is durable at once, so a crash loses none.
#[derive(Clone, Default)]
pub struct MemoryFiles(Arc<Mutex<Shelf>>);

#[derive(Default)]
struct Shelf {
    files: BTreeMap<FileName, Vec<u8>>,
    full: bool,
}

impl MemoryFiles {
    /// No files.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Refuses every put, as on a full disk, until told otherwise.
    pub fn set_full(&self, full: bool) {
        self.shelf().full = full;
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Files for MemoryFiles {
    fn put(&self, content: Vec<u8>) -> BoxFuture<'static, Result<FileName, StoreError>> {
        let files = self.clone();
        Box::pin(async move {
            let mut shelf = files.shelf();
            if content.len() > FILE_BYTES_MAX {
                return Err(StoreError::Io { path: place(), source: io::ErrorKind::FileTooLarge.into() });
            }
            if shelf.full {
                return Err(StoreError::Full { path: place() });
            }
            let name = FileName::of(&content);
            shelf.files.insert(name, content);
            Ok(name)
        })
    }

    fn get(&self, name: FileName) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.shelf().files.get(&name).cloned())
    }

    fn remove(&self, name: FileName) -> Result<(), StoreError> {
        self.shelf().files.remove(&name);
        Ok(())
    }

    fn list(&self) -> Result<Vec<FileName>, StoreError> {
        Ok(self.shelf().files.keys().copied().collect())
    }
}

impl fmt::Debug for MemoryFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryFiles").field("files", &self.shelf().files.len()).finish()
    }
}

fn place() -> PathBuf {
    PathBuf::from("memory")
}
