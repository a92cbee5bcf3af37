//! Files whose names are their contents' digests: made durable, and listed by shard.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

use flatbus_oci::Digest;

use super::{
    Error, Site, Step, disk,
    listing::{File, List, ListRef, Listing, Shard, What},
    path::SitePath,
    publication::{Changes, Content},
};
use crate::weave::{At as _, Stamp, is_waiting, seal, sync_folder, waiting, write};

/// Where lists stand.
pub(super) const LISTS: &str = "lists";

impl Site {
    /// All files of a kind that are listed.
    ///
    /// # Errors
    /// When a list is damaged or can't be read.
    pub fn listed(&self, what: What) -> Result<Vec<File>, Error> {
        let lists = self.listing.lists.iter().filter(|list| list.what == what);
        lists.map(|list| self.read_list(list)).collect::<Result<Vec<_>, _>>().map(|lists| lists.concat())
    }

    /// The files of one list.
    pub(super) fn read_list(&self, list: &ListRef) -> Result<Vec<File>, Error> {
        let bad = |why: String| Error::BadList { path: list.file.path.clone(), why };
        let place = self.place(&list.file.path);
        let bytes = disk::there(fs::read(&place), &place)?.ok_or_else(|| bad("it isn't there".to_owned()))?;
        if Digest::of(&bytes) != list.file.sha256 {
            return Err(bad("it has another digest".to_owned()));
        }
        serde_json::from_slice(&bytes).map(|list: List| list.files).map_err(|error| bad(error.to_string()))
    }

    /// Lists what is named from now on. What is listed already keeps its time, whoever wrote it again.
    pub(super) fn prepare_content(
        &mut self,
        what: What,
        changes: Changes,
        stamp: Stamp,
        next: &mut Listing,
    ) -> Result<(), Error> {
        let mut folders = BTreeSet::new();
        if changes.anew {
            next.lists.retain(|list| list.what != what);
        }
        for (shard, changes) in changes.shards {
            let listed =
                next.list(what, shard).map(|list| self.read_list(list)).transpose()?.unwrap_or_default();
            let mut files: BTreeMap<SitePath, File> =
                listed.into_iter().map(|file| (file.path.clone(), file)).collect();
            for (path, content) in changes {
                let known = files.remove(&path);
                let Some(content) = content else { continue };
                let file = match known {
                    Some(known) if known.sha256 == content.sha256 && self.in_place(&known)? => known,
                    Some(known) => self.secure(what, content, Stamp(known.mtime_us), &mut folders)?,
                    None => self.secure(what, content, stamp, &mut folders)?,
                };
                files.insert(path, file);
            }
            let list = List { files: files.into_values().collect() };
            let file = if list.files.is_empty() { None } else { Some(self.write_list(&list, stamp)?) };
            next.put_list(what, shard, file);
        }
        if !folders.is_empty() {
            folders.extend([self.dir.join(what.folder()), self.dir.clone()]);
        }
        folders.iter().try_for_each(|folder| Ok(sync_folder(folder)?))
    }

    /// Makes sure that a file is there, durable, and of a time that servers trust.
    fn secure(
        &mut self,
        what: What,
        content: Content,
        stamp: Stamp,
        folders: &mut BTreeSet<PathBuf>,
    ) -> Result<File, Error> {
        let Content { path, size, sha256 } = content;
        self.unnamed.named(&path);
        if !is_of(what, &path, &sha256) {
            return Err(Error::BadPlace { path: path.to_string() });
        }
        let place = self.place(&path);
        self.step(Step::SecureContent, &place)?;
        let missing = || Error::Missing { path: path.clone() };
        let file = disk::there(fs::File::open(&place), &place)?.ok_or_else(missing)?;
        let metadata = file.metadata().at(&place)?;
        if metadata.len() != size {
            return Err(missing());
        }
        let mtime_us = match Stamp::of(&metadata) {
            Some(kept) if kept <= stamp => {
                file.sync_all().at(&place)?;
                kept.0
            }
            Some(_) | None => {
                seal(&file, &place, stamp)?;
                stamp.0
            }
        };
        folders.extend(place.parent().map(ToOwned::to_owned));
        Ok(File { path, size, sha256, mtime_us })
    }

    fn write_list(&mut self, list: &List, stamp: Stamp) -> Result<File, Error> {
        let folder = self.dir.join(LISTS);
        let fail = |error: serde_json::Error| crate::weave::Error::from_io(&folder, error.into());
        let bytes = serde_json::to_vec(list).map_err(fail)?;
        let (size, sha256) = (bytes.len() as u64, Digest::of(&bytes));
        let named = format!("{LISTS}/{}.json", sha256.hex());
        let path: SitePath = named.parse().map_err(|_| Error::BadPlace { path: named.clone() })?;
        let place = self.place(&path);
        self.unnamed.named(&path);
        self.step(Step::WriteList, &place)?;
        let known =
            fs::metadata(&place).ok().and_then(|metadata| Stamp::of(&metadata)).filter(|kept| *kept <= stamp);
        if let Some(kept) = known
            && disk::digest(&place)? == Some((size, sha256))
        {
            return Ok(File { path, size, sha256, mtime_us: kept.0 }); // The same was listed before.
        }
        let (temp, _) = write(waiting(&place, stamp), &bytes, stamp)?;
        fs::rename(temp.path(), &place).at(&place)?;
        temp.leave();
        sync_folder(&folder)?;
        Ok(File { path, size, sha256, mtime_us: stamp.0 })
    }

    /// Files that stand where a kind's shard does, by path.
    pub(super) fn standing(&self, what: What, shard: Shard) -> Result<Vec<SitePath>, Error> {
        let folder = format!("{}/{shard}", what.folder());
        self.standing_in(&folder)
    }

    /// Files of ours in a folder, by path.
    pub(super) fn standing_in(&self, folder: &str) -> Result<Vec<SitePath>, Error> {
        let files = disk::files(&self.dir.join(folder))?;
        let names =
            files.iter().filter(|path| !is_waiting(path)).filter_map(|path| path.file_name()?.to_str());
        Ok(names.filter_map(|name| format!("{folder}/{name}").parse().ok()).collect())
    }
}

/// Whether a path is `<folder>/<2 digits>/<62 digits><ending>`.
fn is_of(what: What, path: &SitePath, sha256: &Digest) -> bool {
    let hex = sha256.hex();
    let (first, rest) = hex.split_at(2);
    let ending = path.as_str().strip_prefix(&format!("{}/{first}/{rest}", what.folder()));
    ending.is_some_and(|ending| ending.starts_with('.') && !ending.contains('/'))
}
