//! Files in a folder: written beside, synced, renamed, and the folder synced, so that a name always means all of it.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use futures::future::BoxFuture;

use super::{FILE_BYTES_MAX, FileName, Files};
use crate::StoreError;

/// What the names of unfinished files begin with.
const UNFINISHED: &str = "unfinished-";

/// Files in one folder, which is this process' alone.
#[derive(Debug, Clone)]
pub struct DirFiles {
    dir: Arc<PathBuf>,
    unfinished: Arc<AtomicU64>,
}

impl DirFiles {
    /// Opens a folder of files, creating it where there is none, and removes what a killed process left unfinished.
    ///
    /// # Errors
    /// When the folder can't be read or written.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let failed = |error| StoreError::from_io(dir, error);
        fs::create_dir_all(dir).map_err(failed)?;
        for entry in fs::read_dir(dir).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.file_name().as_encoded_bytes().starts_with(UNFINISHED.as_bytes()) {
                fs::remove_file(entry.path()).map_err(failed)?;
            }
        }
        Ok(Self { dir: Arc::new(dir.to_owned()), unfinished: Arc::default() })
    }

    fn write(&self, content: &[u8]) -> io::Result<FileName> {
        if content.len() > FILE_BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let name = FileName::of(content);
        let path = self.dir.join(name.to_string());
        if !path.exists() {
            self.write_anew(&path, content)?; // One that exists was whole and synced when it got its name.
        }
        File::open(self.dir.as_path())?.sync_all()?;
        Ok(name)
    }

    fn write_anew(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let number = self.unfinished.fetch_add(1, Ordering::Relaxed);
        let unfinished = self.dir.join(format!("{UNFINISHED}{number}"));
        let written = write_synced(&unfinished, content).and_then(|()| fs::rename(&unfinished, path));
        if written.is_err() {
            let _ = fs::remove_file(&unfinished); // The space is needed; what failed is told either way.
        }
        written
    }

    fn failed(&self, error: io::Error) -> StoreError {
        StoreError::from_io(&self.dir, error)
    }
}

fn write_synced(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(content)?;
    file.sync_all()
}

impl Files for DirFiles {
    fn put(&self, content: Vec<u8>) -> BoxFuture<'static, Result<FileName, StoreError>> {
        let files = self.clone();
        Box::pin(async move {
            let theirs = files.clone();
            let written = match tokio::runtime::Handle::try_current() {
                Ok(_) => tokio::task::spawn_blocking(move || theirs.write(&content))
                    .await
                    .unwrap_or_else(|ended| Err(io::Error::other(ended))),
                Err(_) => theirs.write(&content), // Polled outside a runtime: nobody else is kept waiting.
            };
            written.map_err(|error| files.failed(error))
        })
    }

    fn get(&self, name: FileName) -> Result<Option<Vec<u8>>, StoreError> {
        let content = match fs::read(self.dir.join(name.to_string())) {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.failed(error)),
        };
        if FileName::of(&content) != name {
            tracing::error!(file = %name, "A file does not hold what its name says: removed");
            self.remove(name)?; // So that the next put writes it anew.
            return Ok(None);
        }
        Ok(Some(content))
    }

    fn remove(&self, name: FileName) -> Result<(), StoreError> {
        match fs::remove_file(self.dir.join(name.to_string())) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.failed(error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn list(&self) -> Result<Vec<FileName>, StoreError> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.dir.as_path()).map_err(|error| self.failed(error))? {
            let name = entry.map_err(|error| self.failed(error))?.file_name();
            names.extend(name.to_str().and_then(|name| name.parse::<FileName>().ok()));
        }
        names.sort_unstable();
        Ok(names)
    }
}
