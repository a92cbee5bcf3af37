//! Where blobs' bytes are: in memory, or in a directory by content. Knows neither repositories nor HTTP.
//!
//! A call may block on a disk; the registry then makes it on a thread that may.

use std::{
    collections::BTreeMap,
    fmt, fs,
    io::{self, Cursor, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use tempfile::NamedTempFile;

use super::Digest;

/// Holds blobs by digest.
pub trait Storage: fmt::Debug + Send + Sync + 'static {
    /// Whether calls can block, and so are made on threads of their own. Where they can't, nothing leaves the thread
    /// that serves: what happens in which order is then the same each time.
    fn blocks(&self) -> bool {
        true
    }
    /// Begins a blob whose digest is not known yet.
    ///
    /// # Errors
    /// When the storage fails.
    fn begin(&self) -> io::Result<Box<dyn Draft>>;
    /// Size of a blob in bytes, or `None` where it is not held.
    ///
    /// # Errors
    /// When the storage fails.
    fn size(&self, digest: &Digest) -> io::Result<Option<u64>>;
    /// A blob's bytes from an offset on.
    ///
    /// # Errors
    /// When it is not held, or the storage fails.
    fn open(&self, digest: &Digest, offset: u64) -> io::Result<Box<dyn Read + Send>>;
}

/// A blob on its way. Dropped without [`Draft::keep`], it leaves nothing behind.
pub trait Draft: Send {
    /// Adds bytes at its end.
    ///
    /// # Errors
    /// When the storage fails.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Keeps it under a digest that its bytes were found to have.
    ///
    /// # Errors
    /// When the storage fails.
    fn keep(self: Box<Self>, digest: &Digest) -> io::Result<()>;
}

type Blobs = Arc<Mutex<BTreeMap<Digest, Bytes>>>;

/// Blobs in memory: for small ones.
#[derive(Debug, Default)]
pub struct Memory(Blobs);

impl Storage for Memory {
    fn blocks(&self) -> bool {
        false
    }

    fn begin(&self) -> io::Result<Box<dyn Draft>> {
        Ok(Box::new(MemoryDraft { bytes: Vec::new(), blobs: self.0.clone() }))
    }

    fn size(&self, digest: &Digest) -> io::Result<Option<u64>> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).get(digest).map(|bytes| bytes.len() as u64))
    }

    fn open(&self, digest: &Digest, offset: u64) -> io::Result<Box<dyn Read + Send>> {
        let blobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = blobs.get(digest).ok_or(io::ErrorKind::NotFound)?.clone();
        let mut reader = Cursor::new(bytes);
        reader.set_position(offset);
        Ok(Box::new(reader))
    }
}

struct MemoryDraft {
    bytes: Vec<u8>,
    blobs: Blobs,
}

impl Draft for MemoryDraft {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn keep(self: Box<Self>, digest: &Digest) -> io::Result<()> {
        self.blobs.lock().unwrap_or_else(PoisonError::into_inner).insert(digest.clone(), self.bytes.into());
        Ok(())
    }
}

/// Blobs in a directory, each in a file named by its digest. Nothing is synced: it holds what can be made again.
#[derive(Debug)]
pub struct Directory {
    root: PathBuf,
}

impl Directory {
    /// Uses a directory, which is made where it is missing.
    ///
    /// # Errors
    /// When it can't be made or written to.
    pub fn new(root: &Path) -> io::Result<Self> {
        fs::create_dir_all(root.join("uploads"))?;
        fs::create_dir_all(root.join("blobs"))?;
        Ok(Self { root: root.to_owned() })
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs").join(digest.hex())
    }
}

impl Storage for Directory {
    fn begin(&self) -> io::Result<Box<dyn Draft>> {
        let file = NamedTempFile::new_in(self.root.join("uploads"))?;
        Ok(Box::new(FileDraft { file, blobs: self.root.join("blobs") }))
    }

    fn size(&self, digest: &Digest) -> io::Result<Option<u64>> {
        match fs::metadata(self.path(digest)) {
            Ok(meta) => Ok(Some(meta.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn open(&self, digest: &Digest, offset: u64) -> io::Result<Box<dyn Read + Send>> {
        let mut file = fs::File::open(self.path(digest))?;
        file.seek(SeekFrom::Start(offset))?;
        Ok(Box::new(file))
    }
}

struct FileDraft {
    file: NamedTempFile,
    blobs: PathBuf,
}

impl Draft for FileDraft {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    fn keep(self: Box<Self>, digest: &Digest) -> io::Result<()> {
        self.file.persist(self.blobs.join(digest.hex())).map(drop).map_err(|error| error.error)
    }
}
