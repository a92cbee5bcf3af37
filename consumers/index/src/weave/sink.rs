//! Writes one temporary file, and names what was written.

use std::{
    fmt,
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

/// How often the state of a sum is kept.
const SUM_EVERY_BYTES: u64 = 256 << 10;

/// The states of a file's sum as it was written, and how many bytes each is of. What the next generation begins with just
/// as this one need not be summed again. A help, not a fact: it is lost at a restart, and all are equal.
#[derive(Clone, Default)]
pub(super) struct Sums(Vec<(u64, Sha256)>);

impl PartialEq for Sums {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Sums {}

impl fmt::Debug for Sums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sums").field(&self.0.len()).finish()
    }
}

impl Sums {
    /// Those of the first bytes.
    fn within(&self, bytes: u64) -> Self {
        Self(self.0.iter().take_while(|(of, _)| *of <= bytes).cloned().collect())
    }
}

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
    /// How many of the first bytes are in the sum already.
    known: u64,
    sums: Sums,
    size: u64,
}

/// What was written: the file, what it holds, and the states of its sum.
pub(super) struct Written {
    pub temp: Temp,
    pub whole: Whole,
    pub sums: Sums,
}

impl Sink {
    pub(super) fn create(path: PathBuf) -> Result<Self, Error> {
        Self::begun(path, &Sums::default(), 0)
    }

    /// The first bytes will be those of a file with these sums.
    pub(super) fn begun(path: PathBuf, sums: &Sums, bytes: u64) -> Result<Self, Error> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).at(folder)?;
        }
        let temp = Temp::new(path);
        let file = File::create(temp.path()).at(temp.path())?;
        let file = BufWriter::with_capacity(GATHERED_BYTES, file);
        let sums = sums.within(bytes);
        let (known, sum) = sums.0.last().cloned().unwrap_or_default();
        Ok(Self { temp, file, sum, known, sums, size: 0 })
    }

    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.add(bytes);
        self.size += bytes.len() as u64;
        self.file.write_all(bytes).at(self.temp.path())
    }

    /// Sums what isn't summed yet.
    fn add(&mut self, bytes: &[u8]) {
        let known = usize::try_from(self.known.saturating_sub(self.size)).unwrap_or(usize::MAX);
        let mut rest = &bytes[known.min(bytes.len())..];
        let mut done = self.size + (bytes.len() - rest.len()) as u64;
        while !rest.is_empty() {
            let room = usize::try_from(SUM_EVERY_BYTES - done % SUM_EVERY_BYTES).unwrap_or(usize::MAX);
            let (now, later) = rest.split_at(room.min(rest.len()));
            self.sum.update(now);
            done += now.len() as u64;
            rest = later;
            if done.is_multiple_of(SUM_EVERY_BYTES) {
                self.sums.0.push((done, self.sum.clone()));
            }
        }
    }

    pub(super) fn put_piece(&mut self, piece: &Piece, encoding: Encoding) -> Result<(), Error> {
        piece.parts.iter().try_for_each(|part| self.put(part.bytes(encoding)))
    }

    /// Gives the file its time and syncs it.
    pub(super) fn finish(self, stamp: Stamp) -> Result<Written, Error> {
        let file =
            self.file.into_inner().map_err(|error| Error::from_io(self.temp.path(), error.into_error()))?;
        seal(&file, self.temp.path(), stamp)?;
        let whole = Whole { size: self.size, sha256: Digest::from_sha256(self.sum.finalize().into()) };
        Ok(Written { temp: self.temp, whole, sums: self.sums })
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
    let Written { temp, whole, .. } = sink.finish(stamp)?;
    Ok((temp, whole))
}

/// Makes what happened to a folder's names durable.
///
/// # Errors
/// When it can't be synced.
pub fn sync_folder(path: &Path) -> Result<(), Error> {
    File::open(path).and_then(|folder| folder.sync_all()).at(path)
}
