//! Files of the published folder, opened so that what was found is what is sent.

use std::{
    fs::File,
    io,
    os::{fd::OwnedFd, unix::fs::MetadataExt},
    path::PathBuf,
    sync::Arc,
};

use rustix::{
    fs::{Mode, OFlags, open, openat},
    io::Errno,
};

use super::encoding::Encoding;

/// The published folder.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    root: Arc<PathBuf>,
}

/// An open file, and what it was when it was opened.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) file: File,
    pub(crate) size: u64,
    /// Of the last change, in microseconds since 1970, which is as fine as Apache looks.
    pub(crate) modified_us: i64,
    /// `None`: as it is.
    pub(crate) encoding: Option<Encoding>,
}

impl Tree {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root: Arc::new(root) }
    }

    /// Opens a file, or the first of its compressed forms that is of its generation. `None`: no plain file is there.
    ///
    /// Those of one generation carry one time, to the microsecond. One that carries another, older or newer, was not
    /// replaced yet, or before the plain one was: it is another index than the one that others are sent. So the rename
    /// of the plain file is what publishes, for everybody.
    pub(crate) async fn open(&self, path: String, encodings: Vec<Encoding>) -> io::Result<Option<Found>> {
        let tree = self.clone();
        let opened = tokio::task::spawn_blocking(move || tree.open_now(&path, &encodings)).await;
        opened.unwrap_or_else(|failed| Err(io::Error::other(failed)))
    }

    fn open_now(&self, path: &str, encodings: &[Encoding]) -> io::Result<Option<Found>> {
        let Some(plain) = self.find(path)? else { return Ok(None) };
        for encoding in encodings {
            if let Some(found) = self.find(&format!("{path}.{}", encoding.ending()))?
                && found.modified_us == plain.modified_us
            {
                return Ok(Some(Found { encoding: Some(*encoding), ..found }));
            }
        }
        Ok(Some(plain))
    }

    /// Opens folder by folder and follows no symlink but the root, so that nothing leads out of it.
    fn find(&self, path: &str) -> io::Result<Option<Found>> {
        match self.reach(path) {
            Ok(handle) => found(File::from(handle)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NXIO) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn reach(&self, path: &str) -> rustix::io::Result<OwnedFd> {
        let folder = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        // A pipe that somebody put there is not waited for.
        let file = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mut at = open(&*self.root, folder, Mode::empty())?;
        let mut names = path.split('/').peekable();
        while let Some(name) = names.next() {
            let flags = if names.peek().is_some() { folder | OFlags::NOFOLLOW } else { file };
            at = openat(&at, name, flags, Mode::empty())?;
        }
        Ok(at)
    }
}

/// Folders, pipes and devices are not there.
fn found(file: File) -> io::Result<Option<Found>> {
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Ok(None);
    }
    let modified_us = meta.mtime() * 1_000_000 + meta.mtime_nsec() / 1000;
    Ok(Some(Found { size: meta.len(), modified_us, encoding: None, file }))
}
