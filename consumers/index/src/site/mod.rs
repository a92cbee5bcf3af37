//! The folder that is published: files under names that stay, others under their contents' digests, and `site.json`, which
//! lists them all.
//!
//! A publication replaces any number of files so that a reader, and a process killed at any instant, finds each of them
//! whole: the new ones wait, synced, beside those that they will replace; the next `site.json` waits too, and from then on
//! the publication is certain; each new file is linked under its digest and renamed to its place; `site.json` last. What
//! was interrupted is finished by the next start, or the next publication. Never makes content, never asks the time.

mod content;
mod digests;
mod disk;
mod error;
mod etag;
mod listing;
mod path;
mod publication;
mod publish;
mod settle;
mod sweep;
#[cfg(test)]
mod tests;
mod unnamed;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;
use tracing::warn;

pub use error::Error;
pub use etag::etag;
pub use listing::{File, List, ListRef, Listing, Shard, What};
pub use path::{BadPath, SitePath};
pub use publication::{Content, Publication, Published};
pub use publish::{Hook, Step};
pub use sweep::Swept;

use crate::weave::{Each, Encoding, Frame, Layout, Layouts, Stamp};
use unnamed::Unnamed;

/// How long ago a file must have changed for web servers to trust its time: they name content of this second only weakly.
const PAST: Duration = Duration::from_secs(2);
/// A last publication so far ahead was made by a clock that was wrong.
const AHEAD_MAX: Duration = Duration::from_secs(3600);

/// How long what was replaced can still be fetched by its digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Since it was replaced.
    pub time: Duration,
    /// All of it together: past this the oldest goes early.
    pub bytes_max: u64,
}

impl Default for Keep {
    fn default() -> Self {
        Self { time: Duration::from_secs(3600), bytes_max: 8 << 30 }
    }
}

/// The published folder. There is one for it, and one publication at a time.
pub struct Site {
    dir: PathBuf,
    keep: Keep,
    listing: Listing,
    layouts: Layouts,
    unnamed: Unnamed,
    /// Of the newest publication that was begun.
    last: Stamp,
    /// Whether all that was begun is finished.
    settled: bool,
    hook: Option<Hook>,
}

impl std::fmt::Debug for Site {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Site")
            .field("dir", &self.dir)
            .field("serial", &self.listing.serial)
            .finish_non_exhaustive()
    }
}

impl Site {
    /// Opens a site, with what is known of it in a folder of the consumer's own. Makes both where there are none, and
    /// finishes a publication that was interrupted.
    ///
    /// # Errors
    /// When they can't be read or written.
    pub fn open(dir: &Path, state: &Path, keep: Keep, now: Timestamp) -> Result<Self, Error> {
        disk::make_folder(dir)?;
        let layouts = Layouts::open(&state.join("layouts"))?;
        let unnamed = Unnamed::load(state.join("unnamed.json"))?;
        let listing = match disk::read_listing(&dir.join(Listing::PATH))? {
            disk::Read::Whole(listing) => listing,
            disk::Read::Nothing => Listing::default(),
            disk::Read::Torn(why) => {
                warn!(%why, "site.json is damaged: all files are built and listed anew");
                Listing::default()
            }
        };
        let last = Stamp(listing.mtime_us);
        let dir = dir.to_owned();
        let mut site = Self { dir, keep, listing, layouts, unnamed, last, settled: false, hook: None };
        site.settle(now)?;
        site.clear_waiting()?;
        if let Err(error) = site.link_present(now) {
            warn!(%error, "Files can't be fetched by their digest"); // The next publication says it again, and fails.
        }
        site.last = site.newest()?;
        Ok(site)
    }

    /// Asks a hook before each step of a publication. What it fails with is taken as the step's own failure.
    pub fn on_step(&mut self, hook: Hook) {
        self.hook = Some(hook);
    }

    /// What is published.
    pub fn listing(&self) -> &Listing {
        &self.listing
    }

    /// Where a published file stands on disk.
    pub fn place(&self, path: &SitePath) -> PathBuf {
        path.below(&self.dir)
    }

    /// Begins a publication. Only the one begun last can be published.
    ///
    /// # Errors
    /// When an earlier one was interrupted and can't be finished.
    pub fn begin(&mut self, now: Timestamp) -> Result<Publication, Error> {
        self.settle(now)?;
        let due = microseconds(now) - microseconds_of(PAST);
        self.last = if self.last.0 > due + microseconds_of(AHEAD_MAX) {
            warn!("Published files are of a time to come: the clock was wrong, or is");
            Stamp(due)
        } else {
            Stamp(due.max(self.last.0 + 1))
        };
        Ok(Publication::new(self.last, &self.dir))
    }

    /// What stands in a published file. `None` where that isn't known, or the file isn't as it was published: build it.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn layout(&mut self, path: &SitePath, frame: &Frame) -> Result<Option<Layout>, Error> {
        let listed = Each::try_make(|encoding| self.listing.file(&path.encoded(encoding)).cloned().ok_or(()));
        let Ok(listed) = listed else { return Ok(None) };
        for (_, file) in listed.iter() {
            if file.mtime_us != listed[Encoding::Plain].mtime_us || !self.in_place(file)? {
                return Ok(None);
            }
        }
        let stamp = Stamp(listed[Encoding::Plain].mtime_us);
        let layout = self.layouts.find(path.as_str(), stamp, frame)?;
        let same = |layout: &Layout| {
            layout.files().is_some_and(|files| {
                let whole = |(encoding, file): (Encoding, &File)| {
                    (files.each[encoding].size, files.each[encoding].sha256) == (file.size, file.sha256)
                };
                listed.iter().all(whole)
            })
        };
        Ok(layout.filter(same))
    }

    /// Forgets what stands in a file, since it isn't as it was published.
    ///
    /// # Errors
    /// When that can't be removed.
    pub fn forget_layout(&mut self, path: &SitePath) -> Result<(), Error> {
        Ok(self.layouts.forget_others(path.as_str(), None)?)
    }

    /// Reads a listed file, and its encodings, in full: whether each is what is listed.
    ///
    /// # Errors
    /// When one can't be read.
    pub fn verify(&self, path: &SitePath) -> Result<bool, Error> {
        for encoding in Encoding::ALL {
            let Some(file) = self.listing.file(&path.encoded(encoding)) else { continue };
            if disk::digest(&self.place(&file.path))? != Some((file.size, file.sha256)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The newest time of a published file. Where nothing is listed, what stands there is asked.
    fn newest(&self) -> Result<Stamp, Error> {
        let mut newest = self.listing.mtime_us;
        if self.listing.files.is_empty() {
            for folder in self.folders()? {
                for path in disk::files(&folder)? {
                    newest = newest.max(disk::stamp(&path)?.unwrap_or(0));
                }
            }
        }
        Ok(Stamp(newest))
    }

    /// The folders of files whose names stay, and of lists: their own files only.
    fn folders(&self) -> Result<Vec<PathBuf>, Error> {
        let mut folders = disk::folders(&self.dir)?;
        folders.retain(|folder| !folder.ends_with(digests::FOLDER));
        folders.push(self.dir.clone());
        Ok(folders)
    }

    /// Removes what waits for a turn that doesn't come.
    fn clear_waiting(&self) -> Result<(), Error> {
        for folder in self.folders()? {
            for path in disk::files(&folder)? {
                if crate::weave::is_waiting(&path) {
                    disk::remove(&path)?;
                }
            }
        }
        Ok(())
    }

    /// Whether a file stands where it is listed, by its size and time.
    fn in_place(&self, file: &File) -> Result<bool, Error> {
        Ok(disk::is(&self.place(&file.path), file)?)
    }

    fn step(&mut self, step: Step, path: &Path) -> Result<(), Error> {
        let failed = |source| Error::File(crate::weave::Error::from_io(path, source));
        self.hook.as_mut().map_or(Ok(()), |hook| hook(step)).map_err(failed)
    }
}

fn microseconds(time: Timestamp) -> i64 {
    time.as_microsecond()
}

fn microseconds_of(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}
