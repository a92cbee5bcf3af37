//! A registry in memory: for tests, simulated worlds and dry runs. As strict as docker-registry, and it can be made to
//! fail at any call.
//!
//! Never a cache of a real one: it holds only what was put into it.

mod fault;
mod state;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, stream::BoxStream};

pub use self::fault::{Call, Fault, Op};
use self::state::State;
use crate::{
    BlobStream, Digest, Error, Manifest, ManifestHead, Mounted, Reference, Registry, Repository, Tag,
    TagDeleted, Upload,
};

/// Size of the pieces a blob is read in, in bytes.
const PIECE_BYTES: usize = 64 << 10;

type Hook = Arc<dyn Fn(&Call) -> Option<Fault> + Send + Sync>;

/// A registry in memory. Clones are the same registry.
#[derive(Clone)]
pub struct MemoryRegistry {
    inner: Arc<Inner>,
    anonymous: bool,
    meets: Option<Fault>,
}

struct Inner {
    host: String,
    state: Mutex<State>,
    hook: Mutex<Option<Hook>>,
}

/// What a registry can and cannot do.
#[derive(Debug, Clone, Copy)]
pub struct Abilities {
    /// Whether a tag can be deleted without its manifest.
    pub tag_delete: bool,
    /// Whether blobs are taken over from other repositories; else a mount begins an upload.
    pub mount: bool,
    /// Whether a repository made by a push may be read by anybody.
    pub new_repositories_public: bool,
    /// Smallest chunk asked for (`OCI-Chunk-Min-Length`), in bytes; told, not enforced.
    pub chunk_min: u64,
}

impl Default for Abilities {
    fn default() -> Self {
        Self { tag_delete: true, mount: true, new_repositories_public: true, chunk_min: 0 }
    }
}

impl MemoryRegistry {
    /// An empty registry that can do everything.
    pub fn new(host: impl Into<String>) -> Self {
        Self::with(host, Abilities::default())
    }

    /// An empty registry that can do this much.
    pub fn with(host: impl Into<String>, abilities: Abilities) -> Self {
        let inner =
            Inner { host: host.into(), state: Mutex::new(State::new(abilities)), hook: Mutex::new(None) };
        Self { inner: Arc::new(inner), anonymous: false, meets: None }
    }

    /// The same registry, seen by somebody without credentials: reads of public repositories, nothing else.
    pub fn anonymous(&self) -> Self {
        Self { anonymous: true, ..self.clone() }
    }

    /// The same registry over a line of its own: every call through this handle meets this fault, if it is one.
    pub fn meeting(&self, fault: Option<Fault>) -> Self {
        Self { meets: fault, ..self.clone() }
    }

    /// Asked before each call what shall go wrong with it.
    pub fn set_fault(&self, hook: impl Fn(&Call) -> Option<Fault> + Send + Sync + 'static) {
        *self.inner.hook.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(hook));
    }

    /// Nothing goes wrong any more.
    pub fn clear_fault(&self) {
        *self.inner.hook.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Says who may read a repository; makes it if need be.
    pub fn set_public(&self, repository: &Repository, public: bool) {
        self.state().repository(repository).public = public;
    }

    /// Whether anybody may read a repository; `None` where it isn't there.
    pub fn is_public(&self, repository: &Repository) -> Option<bool> {
        self.state().repositories.get(repository).map(|held| held.public)
    }

    /// Puts a blob there, past all faults.
    pub fn put_blob(&self, repository: &Repository, bytes: impl Into<Bytes>) -> Digest {
        let bytes = bytes.into();
        let digest = Digest::of(&bytes);
        self.state().repository(repository).blobs.insert(digest, bytes);
        digest
    }

    /// Puts a manifest there under its digest and these tags, past all faults and checks.
    pub fn put_manifest(&self, repository: &Repository, manifest: &Manifest, tags: &[Tag]) {
        let mut state = self.state();
        let held = state.repository(repository);
        held.manifests.insert(manifest.digest, manifest.clone());
        held.tags.extend(tags.iter().map(|tag| (tag.clone(), manifest.digest)));
    }

    /// Takes a manifest away, with every tag of it, as garbage collection does.
    pub fn remove_manifest(&self, repository: &Repository, digest: &Digest) {
        let mut state = self.state();
        let held = state.repository(repository);
        held.manifests.remove(digest);
        held.tags.retain(|_, named| named != digest);
    }

    /// Takes a blob away.
    pub fn remove_blob(&self, repository: &Repository, digest: &Digest) {
        self.state().repository(repository).blobs.remove(digest);
    }

    /// Points a tag somewhere else, as a stranger might.
    pub fn set_tag(&self, repository: &Repository, tag: &Tag, digest: Digest) {
        self.state().repository(repository).tags.insert(tag.clone(), digest);
    }

    /// Every repository.
    pub fn repositories(&self) -> BTreeSet<Repository> {
        self.state().repositories.keys().cloned().collect()
    }

    /// Every tag of a repository with what it names.
    pub fn tags_of(&self, repository: &Repository) -> BTreeMap<Tag, Digest> {
        self.state().repositories.get(repository).map(|held| held.tags.clone()).unwrap_or_default()
    }

    /// What a tag names.
    pub fn named(&self, repository: &Repository, tag: &Tag) -> Option<Digest> {
        self.state().repositories.get(repository)?.tags.get(tag).copied()
    }

    /// Whether a manifest is there with everything that it names, however deep.
    pub fn is_complete(&self, repository: &Repository, digest: &Digest) -> bool {
        self.state().is_complete(repository, digest)
    }

    /// Digests of every manifest of a repository.
    pub fn manifests_of(&self, repository: &Repository) -> BTreeSet<Digest> {
        let state = self.state();
        state
            .repositories
            .get(repository)
            .map(|held| held.manifests.keys().copied().collect())
            .unwrap_or_default()
    }

    /// Digests of every blob of a repository.
    pub fn blobs_of(&self, repository: &Repository) -> BTreeSet<Digest> {
        let state = self.state();
        state
            .repositories
            .get(repository)
            .map(|held| held.blobs.keys().copied().collect())
            .unwrap_or_default()
    }

    /// Uploads that were begun and neither ended nor given up.
    pub fn open_uploads(&self) -> usize {
        self.state().uploads.len()
    }

    /// Forgets every open upload, as a restart does.
    pub fn expire_uploads(&self) {
        self.state().uploads.clear();
    }

    /// The last calls (at most 10,000), oldest first, since [`Self::forget_calls`].
    pub fn calls(&self) -> Vec<Call> {
        self.state().calls.iter().cloned().collect()
    }

    /// How often something was called since [`Self::forget_calls`].
    pub fn count(&self, op: Op) -> u64 {
        self.state().counts.get(&op).copied().unwrap_or(0)
    }

    /// Starts counting anew.
    pub fn forget_calls(&self) {
        let mut state = self.state();
        state.calls.clear();
        state.counts.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One call: recorded, made to fail if so told, allowed or not, then done.
    async fn call<T>(
        &self,
        op: Op,
        repository: &Repository,
        subject: String,
        act: impl FnOnce(&mut State) -> Result<T, Error>,
    ) -> Result<(T, Option<Fault>), Error> {
        tokio::task::yield_now().await; // A real registry always lets others go on meanwhile.
        let call = Call { op, repository: repository.clone(), subject, anonymous: self.anonymous };
        self.state().record(&call);
        let hook = self.inner.hook.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let fault = self.meets.clone().or_else(|| hook.and_then(|hook| hook(&call)));
        match &fault {
            Some(Fault::Fail(error)) => return Err(error.clone()),
            Some(Fault::Delay(wait)) => tokio::time::sleep(*wait).await,
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::FailAfter(_) | Fault::Cut { .. } | Fault::Garble | Fault::Decline) | None => {}
        }
        self.allow(&call)?;
        let done = act(&mut self.state())?;
        match fault {
            Some(Fault::FailAfter(error)) => Err(error),
            fault => Ok((done, fault)),
        }
    }

    /// As quay: anonymous reads of public repositories; 401 for private and unknown ones and for every write.
    fn allow(&self, call: &Call) -> Result<(), Error> {
        let public = || self.is_public(&call.repository).unwrap_or(false);
        if !self.anonymous || (call.op.reads() && public()) {
            return Ok(());
        }
        let what = format!("{:?} {}", call.op, call.repository);
        Err(Error::Unauthorized { host: self.inner.host.clone(), what, why: "anonymous".into() })
    }
}

#[async_trait]
impl Registry for MemoryRegistry {
    fn host(&self) -> &str {
        &self.inner.host
    }

    async fn manifest_get(
        &self,
        repository: &Repository,
        reference: &Reference,
    ) -> Result<Option<Manifest>, Error> {
        let (found, fault) = self
            .call(Op::ManifestGet, repository, reference.to_string(), |state| {
                Ok(state.manifest(repository, reference))
            })
            .await?;
        let Some(mut manifest) = found else { return Ok(None) };
        if matches!(fault, Some(Fault::Garble)) {
            manifest.bytes = fault::garbled(&manifest.bytes);
        }
        let got = Digest::of(&manifest.bytes);
        if got != manifest.digest {
            let (host, what) =
                (self.inner.host.clone(), format!("manifest {repository}@{}", manifest.digest));
            return Err(Error::WrongDigest { host, what, expected: manifest.digest, got });
        }
        Ok(Some(manifest))
    }

    async fn manifest_head(
        &self,
        repository: &Repository,
        reference: &Reference,
    ) -> Result<Option<ManifestHead>, Error> {
        let (found, _) = self
            .call(Op::ManifestHead, repository, reference.to_string(), |state| {
                Ok(state.manifest(repository, reference))
            })
            .await?;
        Ok(found.map(|manifest| ManifestHead {
            digest: manifest.digest,
            size: Some(manifest.bytes.len() as u64),
            media_type: manifest.media_type,
        }))
    }

    async fn manifest_put(
        &self,
        repository: &Repository,
        reference: &Reference,
        manifest: &Manifest,
    ) -> Result<(), Error> {
        let host = &self.inner.host;
        self.call(Op::ManifestPut, repository, reference.to_string(), |state| {
            state.manifest_put(host, repository, reference, manifest)
        })
        .await?;
        Ok(())
    }

    async fn blob_head(&self, repository: &Repository, digest: &Digest) -> Result<Option<u64>, Error> {
        let (size, _) = self
            .call(Op::BlobHead, repository, digest.to_string(), |state| {
                Ok(state.blob(repository, digest).map(|bytes| bytes.len() as u64))
            })
            .await?;
        Ok(size)
    }

    async fn blob_get(
        &self,
        repository: &Repository,
        digest: &Digest,
        offset: u64,
    ) -> Result<BlobStream, Error> {
        let missing =
            || Error::NotFound { host: self.inner.host.clone(), what: format!("blob {repository}@{digest}") };
        let (bytes, fault) = self
            .call(Op::BlobGet { offset }, repository, digest.to_string(), |state| {
                state.blob(repository, digest).ok_or_else(missing)
            })
            .await?;
        let size = bytes.len() as u64;
        let from = offset.min(size);
        let rest = bytes.slice(usize::try_from(from).unwrap_or(usize::MAX)..);
        let chunks = fault::pieces(&self.inner.host, rest, PIECE_BYTES, fault);
        Ok(BlobStream { offset: from, size: Some(size), chunks })
    }

    async fn upload_begin(&self, repository: &Repository) -> Result<Upload, Error> {
        let (upload, _) = self
            .call(Op::UploadBegin, repository, String::new(), |state| Ok(state.upload_begin(repository)))
            .await?;
        Ok(upload)
    }

    async fn mount(
        &self,
        repository: &Repository,
        digest: &Digest,
        from: &Repository,
    ) -> Result<Mounted, Error> {
        let declined = matches!(self.meets, Some(Fault::Decline));
        let (mounted, _) = self
            .call(Op::Mount, repository, digest.to_string(), |state| {
                Ok(match declined {
                    true => Mounted::Upload(state.upload_begin(repository)),
                    false => state.mount(repository, digest, from),
                })
            })
            .await?;
        Ok(mounted)
    }

    async fn upload_patch(
        &self,
        repository: &Repository,
        upload: &mut Upload,
        offset: u64,
        chunk: Bytes,
    ) -> Result<(), Error> {
        let host = &self.inner.host;
        self.call(Op::UploadPatch { offset }, repository, upload.location.clone(), |state| {
            state.upload_append(host, &upload.location, offset, &chunk)
        })
        .await?;
        Ok(())
    }

    async fn upload_stream(
        &self,
        repository: &Repository,
        upload: &mut Upload,
        offset: u64,
        _size: Option<u64>,
        mut chunks: BoxStream<'static, Result<Bytes, String>>,
    ) -> Result<(), Error> {
        let host = &self.inner.host;
        let check = |state: &mut State| state.upload_append(host, &upload.location, offset, &Bytes::new());
        let (_, fault) =
            self.call(Op::UploadStream { offset }, repository, upload.location.clone(), check).await?;
        let mut at = offset;
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|why| flatbus_http::Error::Source { host: host.clone(), why })?;
            if let Some(Fault::Cut { after }) = fault
                && at + chunk.len() as u64 > offset + after
            {
                return Err(fault::cut(host));
            }
            self.state().upload_append(host, &upload.location, at, &chunk)?;
            at += chunk.len() as u64;
        }
        Ok(())
    }

    async fn upload_status(
        &self,
        repository: &Repository,
        upload: &mut Upload,
    ) -> Result<Option<u64>, Error> {
        let (held, _) = self
            .call(Op::UploadStatus, repository, upload.location.clone(), |state| {
                Ok(state.uploads.get(&upload.location).map(|open| open.bytes.len() as u64))
            })
            .await?;
        Ok(held)
    }

    async fn upload_put(
        &self,
        repository: &Repository,
        upload: Upload,
        digest: &Digest,
        last: Option<(u64, Bytes)>,
    ) -> Result<(), Error> {
        let host = &self.inner.host;
        self.call(Op::UploadPut, repository, digest.to_string(), |state| {
            if let Some((offset, bytes)) = &last {
                state.upload_append(host, &upload.location, *offset, bytes)?;
            }
            state.upload_end(host, repository, &upload.location, digest)
        })
        .await?;
        Ok(())
    }

    async fn upload_cancel(&self, repository: &Repository, upload: Upload) {
        let cancel = |state: &mut State| Ok(state.uploads.remove(&upload.location));
        // Best effort, as the trait says: a refusal changes nothing.
        let _ = self.call(Op::UploadCancel, repository, upload.location.clone(), cancel).await;
    }

    async fn tags(&self, repository: &Repository) -> Result<Vec<Tag>, Error> {
        let list = |state: &mut State| {
            Ok(state
                .repositories
                .get(repository)
                .map(|held| held.tags.keys().cloned().collect())
                .unwrap_or_default())
        };
        Ok(self.call(Op::Tags, repository, String::new(), list).await?.0)
    }

    async fn tag_delete(&self, repository: &Repository, tag: &Tag) -> Result<TagDeleted, Error> {
        let delete = |state: &mut State| Ok(state.tag_delete(repository, tag));
        Ok(self.call(Op::TagDelete, repository, tag.to_string(), delete).await?.0)
    }
}

#[cfg(test)]
mod tests;
