//! What is to be published together, and what was.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use flatbus_oci::Digest;

use super::{
    listing::{File, Shard, What},
    path::SitePath,
};
use crate::weave::{Layout, Stamp, Target, Woven};

/// Files that change together. Dropped, nothing of it is left.
#[derive(Debug)]
pub struct Publication {
    pub(super) stamp: Stamp,
    pub(super) dir: PathBuf,
    pub(super) woven: Vec<Woven>,
    pub(super) files: BTreeMap<SitePath, Vec<u8>>,
    pub(super) withdrawn: BTreeSet<SitePath>,
    pub(super) content: BTreeMap<What, Changes>,
}

/// A file that stands where its kind does under its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// As [`What::path`] tells.
    pub path: SitePath,
    /// In bytes.
    pub size: u64,
    /// Of its content.
    pub sha256: Digest,
}

/// What changes in the lists of one kind.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Nothing that is listed now stays unless it is named again.
    pub anew: bool,
    /// By shard and path: `None` is no longer named.
    pub shards: BTreeMap<Shard, BTreeMap<SitePath, Option<Content>>>,
}

impl Publication {
    pub(super) fn new(stamp: Stamp, dir: &Path) -> Self {
        let dir = dir.to_owned();
        Self {
            stamp,
            dir,
            woven: Vec::new(),
            files: BTreeMap::new(),
            withdrawn: BTreeSet::new(),
            content: BTreeMap::new(),
        }
    }

    /// Where a file of this publication is to be woven, or built.
    pub fn target(&self, path: &SitePath) -> Target {
        Target { path: path.below(&self.dir), stamp: self.stamp }
    }

    /// Publishes the next generation of a file, made for [`Publication::target`].
    pub fn output(&mut self, woven: Woven) {
        self.woven.push(woven);
    }

    /// Publishes a small file. One that is the same already stays as it is.
    pub fn file(&mut self, path: SitePath, content: Vec<u8>) {
        self.files.insert(path, content);
    }

    /// Lists a file no more, nor its encodings. It stays there through the grace period.
    pub fn withdraw(&mut self, path: SitePath) {
        self.withdrawn.insert(path);
    }

    /// Lists a file under its digest, which must stand there. Listing it twice is harmless.
    pub fn name(&mut self, what: What, content: Content) {
        let shard = Shard::of(&content.sha256);
        self.changes(what, shard).insert(content.path.clone(), Some(content));
    }

    /// Lists a file no more. It stays there through the grace period.
    pub fn unname(&mut self, what: What, path: SitePath, sha256: &Digest) {
        self.changes(what, Shard::of(sha256)).insert(path, None);
    }

    /// Lists of this kind only what is named in this publication.
    pub fn relist(&mut self, what: What) {
        self.content.entry(what).or_default().anew = true;
    }

    fn changes(&mut self, what: What, shard: Shard) -> &mut BTreeMap<SitePath, Option<Content>> {
        self.content.entry(what).or_default().shards.entry(shard).or_default()
    }
}

/// What a publication came to.
#[derive(Debug, Default)]
pub struct Published {
    /// Of the listing that holds now. Where nothing changed, the one before.
    pub serial: u64,
    /// The files with another content, in order of their paths.
    pub changed: Vec<File>,
    /// What stands in each file that was handed in, by path.
    pub layouts: BTreeMap<SitePath, Layout>,
}
