//! What a registry holds: repositories with their tags, manifests and blobs. Checks that what is named is there.
//!
//! Knows nothing of HTTP: tests and the demo look into it, and put images straight into it.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;

use super::{Digest, Directory, Memory, Storage, manifests};

/// A manifest or index as it was put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Of its bytes.
    pub digest: Digest,
    /// As told when it was put.
    pub media_type: String,
    /// Its bytes.
    pub bytes: Bytes,
}

/// Why a manifest was not put.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotPut {
    /// It is none.
    #[error("manifest invalid: {0}")]
    Invalid(String),
    /// It names something that the repository does not hold.
    #[error("blob unknown to registry: {0}")]
    Unknown(Digest),
}

#[derive(Debug, Default)]
struct Repository {
    blobs: BTreeSet<Digest>,
    manifests: BTreeMap<Digest, Manifest>,
    tags: BTreeMap<String, Digest>,
    private: bool,
}

impl Repository {
    fn holds(&self, needed: &manifests::Needed) -> Result<(), NotPut> {
        let missing = needed.blobs.iter().find(|digest| !self.blobs.contains(*digest));
        let missing =
            missing.or_else(|| needed.manifests.iter().find(|digest| !self.manifests.contains_key(*digest)));
        missing.map_or(Ok(()), |digest| Err(NotPut::Unknown(digest.clone())))
    }
}

/// What a registry holds.
#[derive(Debug)]
pub struct Content {
    pub(crate) storage: Arc<dyn Storage>,
    private_by_default: bool,
    repositories: Mutex<BTreeMap<String, Repository>>,
}

impl Content {
    /// Nothing yet; blobs will be in memory.
    pub fn in_memory() -> Arc<Self> {
        Self::with(Arc::new(Memory::default()), false)
    }

    /// Nothing yet; blobs will be in a directory.
    ///
    /// # Errors
    /// When the directory can't be made or written to.
    pub fn in_directory(root: &Path) -> io::Result<Arc<Self>> {
        Ok(Self::with(Arc::new(Directory::new(root)?), false))
    }

    /// Nothing yet. With `private_by_default` a repository that a push makes is private, as on quay.
    pub fn with(storage: Arc<dyn Storage>, private_by_default: bool) -> Arc<Self> {
        Arc::new(Self { storage, private_by_default, repositories: Mutex::default() })
    }

    /// Names of all repositories, in order.
    pub fn repositories(&self) -> Vec<String> {
        self.lock().keys().cloned().collect()
    }

    /// Tags of a repository, in order, or `None` where there is no such repository.
    pub fn tags(&self, repository: &str) -> Option<BTreeMap<String, Digest>> {
        self.lock().get(repository).map(|repository| repository.tags.clone())
    }

    /// What a tag points at.
    pub fn tag(&self, repository: &str, tag: &str) -> Option<Digest> {
        self.lock().get(repository)?.tags.get(tag).cloned()
    }

    /// A manifest of a repository.
    pub fn manifest(&self, repository: &str, digest: &Digest) -> Option<Manifest> {
        self.lock().get(repository)?.manifests.get(digest).cloned()
    }

    /// Whether a repository holds a blob.
    pub fn has_blob(&self, repository: &str, digest: &Digest) -> bool {
        self.lock().get(repository).is_some_and(|repository| repository.blobs.contains(digest))
    }

    /// Whether a repository is there.
    pub fn has_repository(&self, repository: &str) -> bool {
        self.lock().contains_key(repository)
    }

    /// Whether a repository is there and private.
    pub fn is_private(&self, repository: &str) -> bool {
        self.lock().get(repository).is_some_and(|repository| repository.private)
    }

    /// Makes a repository private or public; one that is missing is made.
    pub fn set_private(&self, repository: &str, private: bool) {
        self.in_repository(repository, |repository| repository.private = private);
    }

    /// Puts a blob without a request. Blocks on the storage.
    ///
    /// # Errors
    /// When the storage fails.
    pub fn put_blob(&self, repository: &str, bytes: &[u8]) -> io::Result<Digest> {
        let digest = Digest::of(bytes);
        let mut draft = self.storage.begin()?;
        draft.append(bytes)?;
        draft.keep(&digest)?;
        self.link_blob(repository, digest.clone());
        Ok(digest)
    }

    /// Puts a manifest, under a tag too where one is given.
    ///
    /// # Errors
    /// When it is no manifest, or names what the repository does not hold.
    pub fn put_manifest(
        &self,
        repository: &str,
        tag: Option<&str>,
        media_type: &str,
        bytes: Bytes,
    ) -> Result<Digest, NotPut> {
        let needed = manifests::needed(media_type, &bytes).map_err(NotPut::Invalid)?;
        let digest = Digest::of(&bytes);
        let manifest = Manifest { digest: digest.clone(), media_type: media_type.to_owned(), bytes };
        self.in_repository(repository, |repository| {
            repository.holds(&needed)?;
            repository.manifests.insert(digest.clone(), manifest);
            if let Some(tag) = tag {
                repository.tags.insert(tag.to_owned(), digest.clone());
            }
            Ok(digest)
        })
    }

    /// Takes a tag away, leaving its manifest. False where it was not there.
    pub fn remove_tag(&self, repository: &str, tag: &str) -> bool {
        self.lock().get_mut(repository).is_some_and(|repository| repository.tags.remove(tag).is_some())
    }

    /// Takes a manifest away with every tag on it. False where it was not there.
    pub fn remove_manifest(&self, repository: &str, digest: &Digest) -> bool {
        self.lock().get_mut(repository).is_some_and(|repository| {
            repository.tags.retain(|_, tagged| tagged != digest);
            repository.manifests.remove(digest).is_some()
        })
    }

    /// Takes a blob from a repository. Its bytes stay in the storage. False where it was not there.
    pub fn remove_blob(&self, repository: &str, digest: &Digest) -> bool {
        self.lock().get_mut(repository).is_some_and(|repository| repository.blobs.remove(digest))
    }

    /// Makes a blob of the storage one of a repository.
    pub(crate) fn link_blob(&self, repository: &str, digest: Digest) {
        self.in_repository(repository, |repository| repository.blobs.insert(digest));
    }

    fn in_repository<T>(&self, name: &str, change: impl FnOnce(&mut Repository) -> T) -> T {
        let mut repositories = self.lock();
        let made = || Repository { private: self.private_by_default, ..Repository::default() };
        change(repositories.entry(name.to_owned()).or_insert_with(made))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Repository>> {
        self.repositories.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
