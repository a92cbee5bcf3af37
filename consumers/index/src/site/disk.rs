//! Small things with files and folders. What isn't there is an answer, not a failure.

use std::{
    fs, io,
    io::Read as _,
    path::{Path, PathBuf},
};

use flatbus_oci::Digest;
use sha2::{Digest as _, Sha256};

use super::listing::{File, Listing};
use crate::weave::{At as _, Error, Stamp};

const CHUNK_BYTES: usize = 512 << 10;

/// What was found where a listing stands.
pub(super) enum Read {
    Whole(Listing),
    Nothing,
    Torn(serde_json::Error),
}

pub(super) fn read_listing(path: &Path) -> Result<Read, Error> {
    let Some(bytes) = there(fs::read(path), path)? else { return Ok(Read::Nothing) };
    Ok(match serde_json::from_slice::<Listing>(&bytes) {
        Ok(mut listing) => {
            listing.sort();
            Read::Whole(listing)
        }
        Err(error) => Read::Torn(error),
    })
}

/// Whether this file stands there, by its size and time.
pub(super) fn is(path: &Path, file: &File) -> Result<bool, Error> {
    let metadata = there(fs::symlink_metadata(path), path)?;
    Ok(metadata.is_some_and(|there| {
        there.is_file() && there.len() == file.size && Stamp::of(&there) == Some(Stamp(file.mtime_us))
    }))
}

/// A file's time, rounded up to whole microseconds.
pub(super) fn stamp(path: &Path) -> Result<Option<i64>, Error> {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = there(fs::symlink_metadata(path), path)?;
    Ok(metadata.map(|there| there.mtime() * 1_000_000 + (there.mtime_nsec() + 999) / 1000))
}

/// Size and digest of a file.
pub(super) fn digest(path: &Path) -> Result<Option<(u64, Digest)>, Error> {
    let Some(mut file) = there(fs::File::open(path), path)? else { return Ok(None) };
    let (mut sum, mut size, mut chunk) = (Sha256::new(), 0, vec![0; CHUNK_BYTES]);
    loop {
        let read = file.read(&mut chunk).at(path)?;
        if read == 0 {
            return Ok(Some((size, Digest::from_sha256(sum.finalize().into()))));
        }
        sum.update(&chunk[..read]);
        size += read as u64;
    }
}

pub(super) fn size(path: &Path) -> Result<Option<u64>, Error> {
    Ok(there(fs::symlink_metadata(path), path)?.map(|there| there.len()))
}

pub(super) fn make_folder(path: &Path) -> Result<(), Error> {
    fs::create_dir_all(path).at(path)
}

/// Regular files in a folder, in order.
pub(super) fn files(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    entries(folder, |kind| kind.is_file())
}

/// Folders in a folder, in order.
pub(super) fn folders(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    entries(folder, |kind| kind.is_dir())
}

fn entries(folder: &Path, wanted: impl Fn(fs::FileType) -> bool) -> Result<Vec<PathBuf>, Error> {
    let Some(listing) = there(fs::read_dir(folder), folder)? else { return Ok(Vec::new()) };
    let mut paths = Vec::new();
    for entry in listing {
        let entry = entry.at(folder)?;
        if wanted(entry.file_type().at(folder)?) {
            paths.push(entry.path());
        }
    }
    paths.sort_unstable();
    Ok(paths)
}

pub(super) fn remove(path: &Path) -> Result<(), Error> {
    there(fs::remove_file(path), path).map(drop)
}

pub(super) fn there<T>(result: io::Result<T>, path: &Path) -> Result<Option<T>, Error> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.at(path).map(Some),
    }
}
