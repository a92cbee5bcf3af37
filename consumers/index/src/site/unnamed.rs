//! Since when files stand there that no list names. Losing that starts their grace periods anew.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

use flatbus_oci::Digest;
use serde::{Deserialize, Serialize};

use super::{disk, listing::Listing, path::SitePath};
use crate::weave::{At as _, Error, Stamp, waiting, write};

/// What stands there unnamed, and where that is kept.
#[derive(Debug)]
pub(super) struct Unnamed {
    place: PathBuf,
    /// Whether something was named again that is unnamed in what was saved.
    outdated: bool,
    pub marks: Marks,
}

/// Times are microseconds since 1970.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Marks {
    /// Under the content's digest: icons, deltas, lists.
    pub content: Since<SitePath>,
    /// Under names that stay.
    pub files: Since<SitePath>,
    /// What was replaced, by its digest.
    pub digests: Since<Digest>,
}

/// Since when each is unnamed.
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent, bound(deserialize = "K: Ord + Deserialize<'de>"))]
pub(super) struct Since<K>(BTreeMap<K, i64>);

impl<K> Default for Since<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord + Clone> Since<K> {
    /// These are all that stand unnamed. Those that weren't known are since now; none is since a time to come.
    pub(super) fn see(&mut self, standing: &BTreeSet<K>, now: i64) {
        self.0.retain(|key, _| standing.contains(key));
        for key in standing {
            let since = self.0.entry(key.clone()).or_insert(now);
            *since = now.min(*since);
        }
    }

    /// Those that are unnamed, the last ones first.
    pub(super) fn newest_first(&self) -> Vec<(K, i64)> {
        let mut all: Vec<_> = self.0.iter().map(|(key, since)| (key.clone(), *since)).collect();
        all.sort_by_key(|(_, since)| std::cmp::Reverse(*since));
        all
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &K> {
        self.0.keys()
    }

    pub(super) fn mark(&mut self, key: K, now: i64) {
        self.0.insert(key, now);
    }

    pub(super) fn forget(&mut self, key: &K) -> bool {
        self.0.remove(key).is_some()
    }
}

impl Unnamed {
    /// What was saved; nothing where that can't be understood.
    pub(super) fn load(place: PathBuf) -> Result<Self, Error> {
        let bytes = disk::there(fs::read(&place), &place)?.unwrap_or_default();
        Ok(Self { place, outdated: false, marks: serde_json::from_slice(&bytes).unwrap_or_default() })
    }

    pub(super) fn save(&mut self) -> Result<(), Error> {
        let stamp = Stamp(0);
        let json =
            serde_json::to_vec(&self.marks).map_err(|error| Error::from_io(&self.place, error.into()))?;
        let (temp, _) = write(waiting(&self.place, stamp), &json, stamp)?;
        fs::rename(temp.path(), &self.place).at(&self.place)?;
        temp.leave();
        self.outdated = false;
        Ok(())
    }

    /// It is named: should it be unnamed once more, then that is another time.
    pub(super) fn named(&mut self, path: &SitePath) {
        self.outdated |= self.marks.content.forget(path) | self.marks.files.forget(path);
    }

    /// Saves, if what was saved would let a file's time begin too early.
    pub(super) fn save_named(&mut self) -> Result<(), Error> {
        if self.outdated { self.save() } else { Ok(()) }
    }

    /// One listing was published after another.
    pub(super) fn replaced(&mut self, last: &Listing, next: &Listing, now: i64) {
        let named: BTreeSet<&Digest> = next.files.iter().map(|file| &file.sha256).collect();
        for file in &last.files {
            if next.file(&file.path).is_none() {
                self.marks.files.mark(file.path.clone(), now);
            }
            if !named.contains(&file.sha256) {
                self.marks.digests.mark(file.sha256, now);
            }
        }
    }
}
