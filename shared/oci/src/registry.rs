//! What flatbus asks of a registry, in the terms of the OCI distribution specification.

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use crate::{
    Error,
    name::{Digest, Reference, Repository, Tag},
};

/// A manifest or index exactly as a registry sent it: never parsed and written again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The raw bytes.
    pub bytes: Bytes,
    /// As sent in `Content-Type`.
    pub media_type: String,
    /// Computed from `bytes`, and equal to what was asked for or told.
    pub digest: Digest,
}

/// What a HEAD tells of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestHead {
    /// From `Docker-Content-Digest`.
    pub digest: Digest,
    /// From `Content-Type`.
    pub media_type: String,
    /// From `Content-Length`, in bytes, where told.
    pub size: Option<u64>,
}

/// A blob's bytes from an offset on.
pub struct BlobStream {
    /// Offset of the first byte: 0 where the registry ignored the asked range.
    pub offset: u64,
    /// Size of the whole blob in bytes, where told.
    pub size: Option<u64>,
    /// The bytes; an error ends the stream. They are not verified here.
    pub chunks: BoxStream<'static, Result<Bytes, Error>>,
}

/// An open upload. Opaque to its user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// Where the next request of this upload goes: an absolute URL, or a key of the in-memory adapter.
    pub location: String,
    /// The smallest chunk the registry asks for (`OCI-Chunk-Min-Length`), in bytes; 0 where it asks for none.
    pub chunk_min: u64,
}

/// Answer to a mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mounted {
    /// 201: the blob is there now.
    Mounted,
    /// 202: not mounted; this upload was begun instead.
    Upload(Upload),
}

/// Answer to the deletion of a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TagDeleted {
    /// Gone now, or gone before.
    Deleted,
    /// The registry can't delete a tag without its manifest (docker-registry 2.x answers 400 or 405).
    Unsupported,
}

/// A registry. Every method is one idempotent step; `http` behind it retries for seconds.
#[async_trait]
pub trait Registry: Send + Sync + 'static {
    /// Host and port as an image reference names it: `quay.io`, `127.0.0.1:5000`.
    fn host(&self) -> &str;
    /// The manifest, or `None` where the repository or manifest is unknown. Asked with every manifest media type.
    async fn manifest_get(
        &self,
        repository: &Repository,
        reference: &Reference,
    ) -> Result<Option<Manifest>, Error>;
    /// Digest and size of a manifest, or `None`.
    async fn manifest_head(
        &self,
        repository: &Repository,
        reference: &Reference,
    ) -> Result<Option<ManifestHead>, Error>;
    /// Puts raw bytes under a tag or digest. The registry's digest is compared with ours.
    async fn manifest_put(
        &self,
        repository: &Repository,
        reference: &Reference,
        manifest: &Manifest,
    ) -> Result<(), Error>;
    /// Size in bytes of a blob that the repository holds, or `None`.
    async fn blob_head(&self, repository: &Repository, digest: &Digest) -> Result<Option<u64>, Error>;
    /// A blob's bytes from `offset` on; redirects to a CDN are followed without credentials.
    async fn blob_get(
        &self,
        repository: &Repository,
        digest: &Digest,
        offset: u64,
    ) -> Result<BlobStream, Error>;
    /// Begins an upload.
    async fn upload_begin(&self, repository: &Repository) -> Result<Upload, Error>;
    /// Asks the registry to take a blob over from another repository of its own.
    async fn mount(
        &self,
        repository: &Repository,
        digest: &Digest,
        from: &Repository,
    ) -> Result<Mounted, Error>;
    /// Sends one chunk that starts at `offset`; the upload moves to the answered location.
    async fn upload_patch(
        &self,
        repository: &Repository,
        upload: &mut Upload,
        offset: u64,
        chunk: Bytes,
    ) -> Result<(), Error>;
    /// Sends everything from `offset` to the blob's end (at `size`, where known) in one request, without holding it in
    /// memory. An error of `chunks` breaks the request off. What arrived before a failure is told by
    /// [`Self::upload_status`].
    async fn upload_stream(
        &self,
        repository: &Repository,
        upload: &mut Upload,
        offset: u64,
        size: Option<u64>,
        chunks: BoxStream<'static, Result<Bytes, String>>,
    ) -> Result<(), Error>;
    /// How many bytes the registry holds of this upload; `None` where it no longer knows the upload.
    async fn upload_status(&self, repository: &Repository, upload: &mut Upload)
    -> Result<Option<u64>, Error>;
    /// Ends an upload, with the last bytes if any. The registry verifies the digest.
    async fn upload_put(
        &self,
        repository: &Repository,
        upload: Upload,
        digest: &Digest,
        last: Option<(u64, Bytes)>,
    ) -> Result<(), Error>;
    /// Gives an upload up. Best effort.
    async fn upload_cancel(&self, repository: &Repository, upload: Upload);
    /// Every tag, all pages; empty where the repository is unknown. Expensive on quay: never polled.
    async fn tags(&self, repository: &Repository) -> Result<Vec<Tag>, Error>;
    /// Deletes a tag, never the manifest under it.
    async fn tag_delete(&self, repository: &Repository, tag: &Tag) -> Result<TagDeleted, Error>;
}
