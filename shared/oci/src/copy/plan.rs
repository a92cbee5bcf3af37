//! What an image consists of: its manifests level by level, and every blob they name, once.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::{CopySettings, Source};
use crate::{
    Digest, Error, Manifest,
    manifest::{Descriptor, Named},
};

/// Most levels of indexes within indexes, the image itself included.
const LEVELS_MAX: usize = 4;

/// An image, read.
pub(super) struct Plan {
    root: Manifest,
    /// Children of the root first; the root itself is not among them.
    levels: Vec<Vec<Manifest>>,
    blobs: Vec<Descriptor>,
}

impl Plan {
    /// Reads every manifest of the image from its source.
    pub(super) async fn read(from: &Source, settings: &CopySettings) -> Result<Self, Error> {
        let root = manifest(from, from.digest, None).await?;
        let mut reading = Reading {
            host: from.registry.host(),
            settings,
            seen: BTreeSet::from([root.digest]),
            blobs: BTreeMap::new(),
        };
        let mut levels = Vec::new();
        let mut next = reading.take(&root)?;
        while !next.is_empty() {
            if levels.len() + 1 == LEVELS_MAX {
                return Err(reading
                    .too_large(&root, format!("indexes within indexes, more than {LEVELS_MAX} levels")));
            }
            let reads: Vec<_> =
                next.iter().map(|child| manifest(from, child.digest, Some(child.size))).collect();
            let level: Vec<_> =
                stream::iter(reads).buffered(settings.blobs_at_once_max.max(1)).try_collect().await?;
            next = Vec::new();
            for manifest in &level {
                next.extend(reading.take(manifest)?);
            }
            levels.push(level);
        }
        let mut blobs: Vec<_> = reading.blobs.into_values().collect();
        // The largest first: with several at once, the last to end is then a small one.
        blobs.sort_by(|a, b| b.size.cmp(&a.size).then(a.digest.cmp(&b.digest)));
        Ok(Self { root, levels, blobs })
    }

    pub(super) fn blobs(&self) -> &[Descriptor] {
        &self.blobs
    }

    /// Manifests in the order in which they can be put: what is named before what names it, the root last.
    pub(super) fn levels_inside_out(&self) -> impl Iterator<Item = &[Manifest]> {
        self.levels.iter().rev().map(Vec::as_slice).chain([std::slice::from_ref(&self.root)])
    }

    pub(super) fn into_root(self) -> Manifest {
        self.root
    }
}

struct Reading<'a> {
    host: &'a str,
    settings: &'a CopySettings,
    seen: BTreeSet<Digest>,
    blobs: BTreeMap<Digest, Descriptor>,
}

impl Reading<'_> {
    /// Notes what a manifest names; gives back the manifests that are new.
    fn take(&mut self, manifest: &Manifest) -> Result<Vec<Descriptor>, Error> {
        match manifest.named(self.host)? {
            Named::Index(children) => {
                let new: Vec<_> =
                    children.into_iter().filter(|child| self.seen.insert(child.digest)).collect();
                if self.seen.len() > self.settings.manifests_max {
                    let why = format!("it has more than {} manifests", self.settings.manifests_max);
                    return Err(self.too_large(manifest, why));
                }
                Ok(new)
            }
            Named::Image(blobs) => {
                for blob in blobs.into_iter().filter(|blob| !blob.is_foreign()) {
                    self.note(manifest, blob)?;
                }
                Ok(Vec::new())
            }
        }
    }

    fn note(&mut self, manifest: &Manifest, blob: Descriptor) -> Result<(), Error> {
        let known = self.blobs.entry(blob.digest).or_insert_with(|| blob.clone());
        if known.size == blob.size {
            return Ok(());
        }
        let (host, what) = (self.host.to_owned(), manifest.digest.to_string());
        let why = format!("it gives {} two sizes, {} and {}", blob.digest, known.size, blob.size);
        Err(Error::Manifest { host, what, why })
    }

    fn too_large(&self, manifest: &Manifest, why: String) -> Error {
        Error::TooLarge { host: self.host.to_owned(), what: manifest.digest.to_string(), why }
    }
}

/// A manifest from the source, which must be what was named.
async fn manifest(from: &Source, digest: Digest, size: Option<u64>) -> Result<Manifest, Error> {
    let host = || from.registry.host().to_owned();
    let what = || format!("manifest {}@{digest}", from.repository);
    let found = from.registry.manifest_get(&from.repository, &digest.into()).await?;
    let manifest = found.ok_or_else(|| Error::NotFound { host: host(), what: what() })?;
    if manifest.digest != digest {
        return Err(Error::WrongDigest {
            host: host(),
            what: what(),
            expected: digest,
            got: manifest.digest,
        });
    }
    let got = manifest.bytes.len() as u64;
    match size {
        Some(expected) if expected != got => {
            Err(Error::WrongSize { host: host(), what: what(), expected, got })
        }
        _ => Ok(manifest),
    }
}
