//! What the in-memory registry holds, and the checks a strict registry makes.

use std::collections::{BTreeMap, VecDeque};

use bytes::{Bytes, BytesMut};

use super::{Abilities, Call, Op};
use crate::{
    Digest, Error, Manifest, Mounted, Reference, Repository, Tag, TagDeleted, Upload,
    manifest::{Descriptor, Named},
};

/// Most calls remembered one by one.
const CALLS_MAX: usize = 10_000;

pub(super) struct State {
    abilities: Abilities,
    pub(super) repositories: BTreeMap<Repository, Held>,
    pub(super) uploads: BTreeMap<String, Open>,
    uploads_begun: u64,
    pub(super) calls: VecDeque<Call>,
    pub(super) counts: BTreeMap<Op, u64>,
}

#[derive(Default)]
pub(super) struct Held {
    pub(super) public: bool,
    pub(super) blobs: BTreeMap<Digest, Bytes>,
    pub(super) manifests: BTreeMap<Digest, Manifest>,
    pub(super) tags: BTreeMap<Tag, Digest>,
}

pub(super) struct Open {
    pub(super) bytes: BytesMut,
}

impl State {
    pub(super) fn new(abilities: Abilities) -> Self {
        Self {
            abilities,
            repositories: BTreeMap::new(),
            uploads: BTreeMap::new(),
            uploads_begun: 0,
            calls: VecDeque::new(),
            counts: BTreeMap::new(),
        }
    }

    pub(super) fn record(&mut self, call: &Call) {
        *self.counts.entry(call.op.counted()).or_default() += 1;
        if self.calls.len() == CALLS_MAX {
            self.calls.pop_front();
        }
        self.calls.push_back(call.clone());
    }

    pub(super) fn repository(&mut self, name: &Repository) -> &mut Held {
        let public = self.abilities.new_repositories_public;
        self.repositories.entry(name.clone()).or_insert_with(|| Held { public, ..Held::default() })
    }

    pub(super) fn blob(&self, repository: &Repository, digest: &Digest) -> Option<Bytes> {
        self.repositories.get(repository)?.blobs.get(digest).cloned()
    }

    pub(super) fn manifest(&self, repository: &Repository, reference: &Reference) -> Option<Manifest> {
        let held = self.repositories.get(repository)?;
        let digest = match reference {
            Reference::Tag(tag) => held.tags.get(tag)?,
            Reference::Digest(digest) => digest,
        };
        held.manifests.get(digest).cloned()
    }

    pub(super) fn is_complete(&self, repository: &Repository, digest: &Digest) -> bool {
        let Some(held) = self.repositories.get(repository) else { return false };
        let Some(Ok(named)) = held.manifests.get(digest).map(|manifest| manifest.named("")) else {
            return false;
        };
        first_missing(held, &named).is_none()
            && match named {
                Named::Index(children) => {
                    children.iter().all(|child| self.is_complete(repository, &child.digest))
                }
                Named::Image(_) => true,
            }
    }

    pub(super) fn manifest_put(
        &mut self,
        host: &str,
        repository: &Repository,
        reference: &Reference,
        manifest: &Manifest,
    ) -> Result<(), Error> {
        let what = format!("manifest {repository}:{reference}");
        let got = Digest::of(&manifest.bytes);
        let expected = match reference {
            Reference::Digest(digest) => *digest,
            Reference::Tag(_) => manifest.digest,
        };
        if got != expected {
            return Err(Error::WrongDigest { host: host.into(), what, expected, got });
        }
        let named = manifest.named(host)?;
        let held = self.repository(repository);
        if let Some(missing) = first_missing(held, &named) {
            let what = format!("{} that {what} names", missing.digest);
            return Err(Error::NotFound { host: host.into(), what });
        }
        held.manifests.insert(got, manifest.clone());
        if let Reference::Tag(tag) = reference {
            held.tags.insert(tag.clone(), got);
        }
        Ok(())
    }

    pub(super) fn upload_begin(&mut self, repository: &Repository) -> Upload {
        self.repository(repository);
        self.uploads_begun += 1;
        let location = format!("{repository}/uploads/{}", self.uploads_begun);
        self.uploads.insert(location.clone(), Open { bytes: BytesMut::new() });
        Upload { location, chunk_min: self.abilities.chunk_min }
    }

    pub(super) fn mount(&mut self, repository: &Repository, digest: &Digest, from: &Repository) -> Mounted {
        match self.blob(from, digest).filter(|_| self.abilities.mount) {
            None => Mounted::Upload(self.upload_begin(repository)),
            Some(bytes) => {
                self.repository(repository).blobs.insert(*digest, bytes);
                Mounted::Mounted
            }
        }
    }

    pub(super) fn upload_append(
        &mut self,
        host: &str,
        location: &str,
        offset: u64,
        chunk: &[u8],
    ) -> Result<(), Error> {
        let lost = |why: String| Error::UploadLost { host: host.into(), what: location.into(), why };
        let open = self.uploads.get_mut(location).ok_or_else(|| lost("it is not known".into()))?;
        if open.bytes.len() as u64 != offset {
            return Err(lost(format!("it is at byte {}, not {offset}", open.bytes.len())));
        }
        open.bytes.extend_from_slice(chunk);
        Ok(())
    }

    pub(super) fn upload_end(
        &mut self,
        host: &str,
        repository: &Repository,
        location: &str,
        digest: &Digest,
    ) -> Result<(), Error> {
        let lost =
            || Error::UploadLost { host: host.into(), what: location.into(), why: "it is not known".into() };
        let bytes = self.uploads.remove(location).ok_or_else(lost)?.bytes.freeze();
        let got = Digest::of(&bytes);
        if got != *digest {
            let what = format!("blob {repository}@{digest}");
            return Err(Error::WrongDigest { host: host.into(), what, expected: *digest, got });
        }
        self.repository(repository).blobs.insert(got, bytes);
        Ok(())
    }

    pub(super) fn tag_delete(&mut self, repository: &Repository, tag: &Tag) -> TagDeleted {
        if !self.abilities.tag_delete {
            return TagDeleted::Unsupported;
        }
        if let Some(held) = self.repositories.get_mut(repository) {
            held.tags.remove(tag);
        }
        TagDeleted::Deleted
    }
}

/// The first thing a manifest names that isn't there: docker-registry refuses such a manifest.
fn first_missing<'a>(held: &Held, named: &'a Named) -> Option<&'a Descriptor> {
    match named {
        Named::Index(children) => children.iter().find(|child| !held.manifests.contains_key(&child.digest)),
        Named::Image(blobs) => {
            blobs.iter().find(|blob| !blob.is_foreign() && !held.blobs.contains_key(&blob.digest))
        }
    }
}
