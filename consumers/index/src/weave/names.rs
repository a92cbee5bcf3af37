//! How files are called: each encoding a file of its own, each generation with a time of its own.

use std::{
    ffi::OsString,
    fs::{FileTimes, Metadata},
    ops::{Index, IndexMut},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// What ends the name of a file that isn't whole yet, or not yet at its place.
const NEXT: &str = ".next";

/// How a file's bytes stand for its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Encoding {
    /// As they are.
    Plain,
    /// One gzip member: the clients' decoder stops at the first one's end.
    Gzip,
    /// Zstandard frames in a row.
    Zstd,
}

impl Encoding {
    /// All of them, in the order in which they are written.
    pub const ALL: [Self; 3] = [Self::Plain, Self::Gzip, Self::Zstd];

    /// What stands behind the plain file's name.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Gzip => ".gz",
            Self::Zstd => ".zst",
        }
    }

    /// The path of the file in this encoding, by the plain file's.
    pub fn path(self, plain: &Path) -> PathBuf {
        let mut path = OsString::from(plain);
        path.push(self.suffix());
        path.into()
    }
}

/// One of each encoding.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Each<T>([T; 3]);

impl<T> Each<T> {
    /// One of each, made one after the other.
    pub fn make(make: impl FnMut(Encoding) -> T) -> Self {
        Self(Encoding::ALL.map(make))
    }

    /// One of each, or the first failure.
    ///
    /// # Errors
    /// What the making failed with.
    pub fn try_make<E>(mut make: impl FnMut(Encoding) -> Result<T, E>) -> Result<Self, E> {
        Ok(Self([make(Encoding::Plain)?, make(Encoding::Gzip)?, make(Encoding::Zstd)?]))
    }

    /// Another of each, or the first failure.
    ///
    /// # Errors
    /// What the making failed with.
    pub fn try_map<U, E>(self, mut map: impl FnMut(Encoding, T) -> Result<U, E>) -> Result<Each<U>, E> {
        let [plain, gzip, zstd] = self.0;
        Ok(Each([map(Encoding::Plain, plain)?, map(Encoding::Gzip, gzip)?, map(Encoding::Zstd, zstd)?]))
    }

    /// Another of each.
    pub fn map<U>(self, map: impl FnMut(T) -> U) -> Each<U> {
        Each(self.0.map(map))
    }

    /// Each with its encoding.
    pub fn iter(&self) -> impl Iterator<Item = (Encoding, &T)> {
        Encoding::ALL.into_iter().zip(&self.0)
    }
}

impl<A, B> Each<(A, B)> {
    /// Both sides apart.
    pub fn unzip(self) -> (Each<A>, Each<B>) {
        let [(a0, b0), (a1, b1), (a2, b2)] = self.0;
        (Each([a0, a1, a2]), Each([b0, b1, b2]))
    }
}

impl<T> IntoIterator for Each<T> {
    type Item = (Encoding, T);
    type IntoIter = std::iter::Zip<std::array::IntoIter<Encoding, 3>, std::array::IntoIter<T, 3>>;

    fn into_iter(self) -> Self::IntoIter {
        Encoding::ALL.into_iter().zip(self.0)
    }
}

impl<T> Index<Encoding> for Each<T> {
    type Output = T;

    fn index(&self, encoding: Encoding) -> &T {
        &self.0[encoding as usize]
    }
}

impl<T> IndexMut<Encoding> for Each<T> {
    fn index_mut(&mut self, encoding: Encoding) -> &mut T {
        &mut self.0[encoding as usize]
    }
}

/// The modification time of a published file in whole microseconds since 1970, which is what web servers make names of
/// content from. Of one path it only grows, so that it names a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp(pub i64);

impl Stamp {
    /// What a file has; `None` where it isn't a whole microsecond, which is no time of ours.
    pub fn of(metadata: &Metadata) -> Option<Self> {
        let nanoseconds = metadata.mtime_nsec();
        (nanoseconds % 1000 == 0).then(|| Self(metadata.mtime() * 1_000_000 + nanoseconds / 1000))
    }

    /// To be set on a file. Times before 1970 become its beginning.
    pub fn times(self) -> FileTimes {
        let since = Duration::from_micros(u64::try_from(self.0).unwrap_or(0));
        FileTimes::new().set_modified(SystemTime::UNIX_EPOCH + since)
    }
}

/// Where a file is to stand, in all its encodings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The plain file.
    pub path: PathBuf,
    /// What all three get as their time.
    pub stamp: Stamp,
}

impl Target {
    /// Where a file waits for its turn: beside the one that it will replace, under a name of its generation.
    pub fn waiting(&self, encoding: Encoding) -> PathBuf {
        waiting(&encoding.path(&self.path), self.stamp)
    }
}

/// Where the next file at `path` waits.
pub fn waiting(path: &Path, stamp: Stamp) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{:x}{NEXT}", stamp.0));
    path.with_file_name(name)
}

/// Whether a file of this name waits, or was left by a process that was killed.
pub fn is_waiting(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    name.starts_with(b".") && name.ends_with(NEXT.as_bytes())
}
