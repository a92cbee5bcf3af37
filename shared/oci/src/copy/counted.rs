//! A registry that counts what is asked of it.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use super::progress::{Side, Tally};
use crate::{
    BlobStream, Digest, Error, Manifest, ManifestHead, Mounted, Reference, Registry, Repository, Tag,
    TagDeleted, Upload,
};

pub(super) struct Counted {
    inner: Arc<dyn Registry>,
    tally: Tally,
    side: Side,
}

impl Counted {
    pub(super) fn new(inner: Arc<dyn Registry>, tally: Tally, side: Side) -> Self {
        Self { inner, tally, side }
    }

    fn asked(&self) -> &dyn Registry {
        self.tally.request(self.side);
        self.inner.as_ref()
    }
}

#[async_trait]
impl Registry for Counted {
    fn host(&self) -> &str {
        self.inner.host()
    }

    async fn manifest_get(
        &self,
        repository: &Repository,
        reference: &Reference,
    ) -> Result<Option<Manifest>, Error> {
        self.asked().manifest_get(repository, reference).await
    }

    async fn manifest_head(
        &self,
        repository: &Repository,
        reference: &Reference,
    ) -> Result<Option<ManifestHead>, Error> {
        self.asked().manifest_head(repository, reference).await
    }

    async fn manifest_put(
        &self,
        repository: &Repository,
        reference: &Reference,
        manifest: &Manifest,
    ) -> Result<(), Error> {
        self.asked().manifest_put(repository, reference, manifest).await
    }

    async fn blob_head(&self, repository: &Repository, digest: &Digest) -> Result<Option<u64>, Error> {
        self.asked().blob_head(repository, digest).await
    }

    async fn blob_get(
        &self,
        repository: &Repository,
        digest: &Digest,
        offset: u64,
    ) -> Result<BlobStream, Error> {
        self.asked().blob_get(repository, digest, offset).await
    }

    async fn upload_begin(&self, repository: &Repository) -> Result<Upload, Error> {
        self.asked().upload_begin(repository).await
    }

    async fn mount(
        &self,
        repository: &Repository,
        digest: &Digest,
        from: &Repository,
    ) -> Result<Mounted, Error> {
        self.asked().mount(repository, digest, from).await
    }

    async fn upload_patch(
        &self,
        repository: &Repository,
        upload: &mut Upload,
        offset: u64,
        chunk: Bytes,
    ) -> Result<(), Error> {
        self.asked().upload_patch(repository, upload, offset, chunk).await
    }

    async fn upload_stream(
        &self,
        repository: &Repository,
        upload: &mut Upload,
        offset: u64,
        size: Option<u64>,
        chunks: BoxStream<'static, Result<Bytes, String>>,
    ) -> Result<(), Error> {
        self.asked().upload_stream(repository, upload, offset, size, chunks).await
    }

    async fn upload_status(
        &self,
        repository: &Repository,
        upload: &mut Upload,
    ) -> Result<Option<u64>, Error> {
        self.asked().upload_status(repository, upload).await
    }

    async fn upload_put(
        &self,
        repository: &Repository,
        upload: Upload,
        digest: &Digest,
        last: Option<(u64, Bytes)>,
    ) -> Result<(), Error> {
        self.asked().upload_put(repository, upload, digest, last).await
    }

    async fn upload_cancel(&self, repository: &Repository, upload: Upload) {
        self.asked().upload_cancel(repository, upload).await;
    }

    async fn tags(&self, repository: &Repository) -> Result<Vec<Tag>, Error> {
        self.asked().tags(repository).await
    }

    async fn tag_delete(&self, repository: &Repository, tag: &Tag) -> Result<TagDeleted, Error> {
        self.asked().tag_delete(repository, tag).await
    }
}
