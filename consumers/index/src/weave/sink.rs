//! Writes one temporary file, and names what was written.

use std::{
    fs::{self, File},
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
};

use flatbus_oci::Digest;
use sha2::{Digest as _, Sha256};

use super::{
    error::{At as _, Error},
    layout::Whole,
    names::{Encoding, Stamp},
    packed::Piece,
};

/// How much of small parts is gathered before it is written. What is larger is written as it comes.
const GATHERED_BYTES: usize = 128 << 10;

/// A file that goes when this is dropped, unless it was left.
#[derive(Debug)]
pub struct Temp(Option<PathBuf>);

impl Temp {
    /// The file there, which need not exist yet.
    pub fn new(path: PathBuf) -> Self {
        Self(Some(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.as_deref().unwrap_or(Path::new(""))
    }

    /// Keeps the file: something durable knows of it now.
    pub fn leave(mut self) {
        self.0 = None;
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            let _ = fs::remove_file(path); // It is removed at the next start else.
        }
    }
}

/// A temporary file that is being written.
pub(super) struct Sink {
    temp: Temp,
    file: BufWriter<File>,
    sum: Sha256,
    size: u64,
}

impl Sink {
    pub(super) fn create(path: PathBuf) -> Result<Self, Error> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).at(folder)?;
        }
        let temp = Temp::new(path);
        let file = File::create(temp.path()).at(temp.path())?;
        Ok(Self { file: BufWriter::with_capacity(GATHERED_BYTES, file), temp, sum: Sha256::new(), size: 0 })
    }

    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.sum.update(bytes);
        self.size += bytes.len() as u64;
        self.file.write_all(bytes).at(self.temp.path())
    }

    pub(super) fn put_piece(&mut self, piece: &Piece, encoding: Encoding) -> Result<(), Error> {
        piece.parts.iter().try_for_each(|part| self.put(part.bytes(encoding)))
    }

    /// Gives the file its time and syncs it.
    pub(super) fn finish(self, stamp: Stamp) -> Result<(Temp, Whole), Error> {
        let file =
            self.file.into_inner().map_err(|error| Error::from_io(self.temp.path(), error.into_error()))?;
        seal(&file, self.temp.path(), stamp)?;
        Ok((self.temp, Whole { size: self.size, sha256: Digest::from_sha256(self.sum.finalize().into()) }))
    }
}

/// Gives a file its time and syncs it.
///
/// # Errors
/// When that fails, or the time isn't kept as given.
pub fn seal(file: &File, path: &Path, stamp: Stamp) -> Result<(), Error> {
    file.set_times(stamp.times()).at(path)?;
    file.sync_all().at(path)?;
    match Stamp::of(&file.metadata().at(path)?) {
        Some(kept) if kept == stamp => Ok(()),
        Some(_) | None => Err(Error::CoarseTimes { path: path.to_owned() }),
    }
}

/// Writes a whole file to where it waits, sealed.
///
/// # Errors
/// When it can't be written.
pub fn write(path: PathBuf, bytes: &[u8], stamp: Stamp) -> Result<(Temp, Whole), Error> {
    let mut sink = Sink::create(path)?;
    sink.put(bytes)?;
    sink.finish(stamp)
}

/// Makes what happened to a folder's names durable.
///
/// # Errors
/// When it can't be synced.
pub fn sync_folder(path: &Path) -> Result<(), Error> {
    File::open(path).and_then(|folder| folder.sync_all()).at(path)
}
