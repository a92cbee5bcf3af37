//! Published files by their digest, for those who read `site.json` while it changes.

use std::{collections::BTreeSet, fs, io, os::unix::fs::MetadataExt as _, path::Path};

use flatbus_oci::Digest;
use jiff::Timestamp;

use super::{Error, Site, disk, microseconds, microseconds_of};
use crate::weave::{At as _, Stamp, is_waiting, waiting};

/// Where they stand, and the algorithm below it: `by-digest/sha256/<2 digits>/<62 digits>`.
pub(super) const FOLDER: &str = "by-digest";
const ALGORITHM: &str = "sha256";

/// Below the site.
fn path(digest: &Digest) -> String {
    let hex = digest.hex();
    let (first, rest) = hex.split_at(2);
    format!("{FOLDER}/{ALGORITHM}/{first}/{rest}")
}

impl Site {
    /// Links a file under its digest, whatever stood there.
    pub(super) fn link(&self, from: &Path, digest: &Digest) -> Result<(), Error> {
        let to = self.dir.join(path(digest));
        let inode =
            |path: &Path| Ok::<_, Error>(disk::there(fs::symlink_metadata(path), path)?.map(|it| it.ino()));
        if inode(&to)? == inode(from)? {
            return Ok(()); // Renaming one link over another of the same file would leave both.
        }
        if let Some(folder) = to.parent() {
            disk::make_folder(folder)?;
        }
        let waits = waiting(&to, Stamp(0));
        disk::remove(&waits)?;
        fs::hard_link(from, &waits).map_err(|source| link_failed(&to, source))?;
        Ok(fs::rename(&waits, &to).at(&to)?)
    }

    /// Links all files that are in place, and takes note of what isn't listed any more.
    pub(super) fn link_present(&mut self, now: Timestamp) -> Result<(), Error> {
        for file in &self.listing.files {
            let linked = disk::size(&self.dir.join(path(&file.sha256)))? == Some(file.size);
            if !linked && self.in_place(file)? {
                self.link(&self.place(&file.path), &file.sha256)?;
            }
        }
        let named = self.named_digests();
        let standing =
            self.standing_digests()?.into_iter().filter(|digest| !named.contains(digest)).collect();
        self.unnamed.marks.digests.see(&standing, microseconds(now));
        self.trim(now)
    }

    /// Removes what was replaced long ago, and the oldest of what is more than is kept. For after each publication, when all
    /// was told: removing gigabytes takes the file system a while.
    ///
    /// # Errors
    /// When something can't be removed.
    pub fn trim(&mut self, now: Timestamp) -> Result<(), Error> {
        let named = self.named_digests();
        let long_ago = microseconds(now).saturating_sub(microseconds_of(self.keep.time));
        let mut bytes = 0;
        for (digest, since) in self.unnamed.marks.digests.newest_first() {
            let place = self.dir.join(path(&digest));
            let is_named = named.contains(&digest);
            if !is_named {
                bytes += disk::size(&place)?.unwrap_or(0);
                if since > long_ago && bytes <= self.keep.bytes_max {
                    continue;
                }
                disk::remove(&place)?;
            }
            self.unnamed.marks.digests.forget(&digest);
        }
        Ok(())
    }

    fn named_digests(&self) -> BTreeSet<Digest> {
        self.listing.files.iter().map(|file| file.sha256).collect()
    }

    /// What stands there; what a killed process left unfinished is removed.
    fn standing_digests(&self) -> Result<Vec<Digest>, Error> {
        let mut standing = Vec::new();
        for folder in disk::folders(&self.dir.join(FOLDER).join(ALGORITHM))? {
            let first = folder.file_name().unwrap_or_default().to_string_lossy();
            for file in disk::files(&folder)? {
                let rest = file.file_name().unwrap_or_default().to_string_lossy();
                match format!("{ALGORITHM}:{first}{rest}").parse() {
                    Ok(digest) => standing.push(digest),
                    Err(_) if is_waiting(&file) => disk::remove(&file)?,
                    Err(_) => {}
                }
            }
        }
        Ok(standing)
    }
}

fn link_failed(path: &Path, source: io::Error) -> Error {
    match source.kind() {
        io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied | io::ErrorKind::CrossesDevices => {
            Error::NoLinks { source }
        }
        _ => crate::weave::Error::from_io(path, source).into(),
    }
}
