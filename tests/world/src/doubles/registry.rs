//! A registry behind the gate. Whoever moves a tag of it is watched.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use flatbus_http::{Error as HttpError, StatusCode};
use flatbus_oci::{
    BlobStream, Digest, Error, Manifest, ManifestHead, MemoryRegistry, Mounted, Reference, Registry,
    Repository, Tag, TagDeleted, Upload,
    memory::{Fault as Meets, Op},
};
use futures::stream::BoxStream;

use crate::{
    fault::Fault,
    gate::{Line, Service, UnderWay, Verb},
    witness::Witness,
};

/// How long a client waits for a silent registry.
const PATIENCE: Duration = Duration::from_secs(60);
/// What a registry asks for that is told to say so.
const RETRY_AFTER: Duration = Duration::from_secs(120);

/// A registry as one process sees it.
pub struct GatedRegistry {
    inner: MemoryRegistry,
    service: Service,
    line: Line,
    witness: Witness,
}

impl GatedRegistry {
    /// The twin behind the gate.
    pub fn new(inner: MemoryRegistry, service: Service, line: Line, witness: Witness) -> Self {
        Self { inner, service, line, witness }
    }

    /// The registry as this call meets it.
    async fn ask(
        &self,
        op: Op,
        repository: &Repository,
        subject: &(dyn std::fmt::Display + Sync),
    ) -> (MemoryRegistry, UnderWay) {
        let what = || format!("{} {repository} {subject}", said(op));
        let under_way = self.line.under_way(self.service);
        let fault = self.line.pass(self.service, Verb::Registry(op), what).await;
        self.witness.calls(self.service, op);
        let met = self.meet(fault, op).await;
        (self.inner.meeting(met), under_way)
    }

    /// What a fault of the world means to the twin. What lies below the trait arrives as the error that the real client
    /// makes of it, once its own retries are used up.
    async fn meet(&self, fault: Option<Fault>, op: Op) -> Option<Meets> {
        let host = || self.inner.host().to_owned();
        let fail = |error: Error| Some(Meets::Fail(error));
        let http = |error: HttpError| Some(Meets::Fail(error.into()));
        let status =
            |status: StatusCode| http(HttpError::Status { host: host(), status, said: "as ordered".into() });
        let protocol =
            |why: &str| fail(Error::Protocol { host: host(), what: said(op).into(), why: why.into() });
        match fault? {
            Fault::Unauthorized => {
                fail(Error::Unauthorized { host: host(), what: said(op).into(), why: "token expired".into() })
            }
            Fault::LimitedForATime => http(HttpError::Limited { host: host(), wait: RETRY_AFTER }),
            Fault::Limited => status(StatusCode::TOO_MANY_REQUESTS),
            Fault::Answered500 => status(StatusCode::INTERNAL_SERVER_ERROR),
            Fault::Answered502 => status(StatusCode::BAD_GATEWAY),
            Fault::Answered503 => status(StatusCode::SERVICE_UNAVAILABLE),
            Fault::Answered504 => status(StatusCode::GATEWAY_TIMEOUT),
            Fault::BodyCut => Some(Meets::Cut { after: 10 }),
            Fault::BodyStalled => {
                tokio::time::sleep(PATIENCE).await;
                http(HttpError::Timeout { host: host(), phase: "reading the body", after: PATIENCE })
            }
            Fault::BytesWrong => Some(Meets::Garble),
            Fault::LengthWrong => protocol("the body is shorter than it says"),
            Fault::LocationMissing => protocol("no Location"),
            Fault::MountDeclined => Some(Meets::Decline),
            Fault::RangeRefused => {
                fail(Error::UploadLost { host: host(), what: said(op).into(), why: "416".into() })
            }
            Fault::UploadExpired => {
                self.inner.expire_uploads();
                None
            }
            Fault::AnswerLost => {
                Some(Meets::FailAfter(HttpError::Cut { host: host(), why: "reset".into() }.into()))
            }
            Fault::RedirectLoop => http(HttpError::RedirectLoop { host: host(), hops_max: 5 }),
            Fault::RedirectForbidden => http(HttpError::ForbiddenHost { host: "evil.example".into() }),
            Fault::Outage => http(HttpError::Connect { host: host(), why: "connection refused".into() }),
            other => protocol(&format!("{other} is no fault of a registry")),
        }
    }
}

fn said(op: Op) -> &'static str {
    match op {
        Op::ManifestGet => "GET manifest",
        Op::ManifestHead => "HEAD manifest",
        Op::ManifestPut => "PUT manifest",
        Op::BlobHead => "HEAD blob",
        Op::BlobGet { .. } => "GET blob",
        Op::UploadBegin => "POST upload",
        Op::Mount => "POST mount",
        Op::UploadPatch { .. } => "PATCH upload",
        Op::UploadStream { .. } => "PATCH (streamed) upload",
        Op::UploadStatus => "GET upload",
        Op::UploadPut => "PUT upload",
        Op::UploadCancel => "DELETE upload",
        Op::Tags => "GET tags",
        Op::TagDelete => "DELETE tag",
    }
}

#[async_trait]
impl Registry for GatedRegistry {
    fn host(&self) -> &str {
        self.inner.host()
    }

    async fn manifest_get(
        &self,
        name: &Repository,
        reference: &Reference,
    ) -> Result<Option<Manifest>, Error> {
        let (registry, _under_way) = self.ask(Op::ManifestGet, name, reference).await;
        registry.manifest_get(name, reference).await
    }

    async fn manifest_head(
        &self,
        name: &Repository,
        reference: &Reference,
    ) -> Result<Option<ManifestHead>, Error> {
        let (registry, _under_way) = self.ask(Op::ManifestHead, name, reference).await;
        registry.manifest_head(name, reference).await
    }

    async fn manifest_put(
        &self,
        name: &Repository,
        reference: &Reference,
        manifest: &Manifest,
    ) -> Result<(), Error> {
        let (registry, _under_way) = self.ask(Op::ManifestPut, name, reference).await;
        let result = registry.manifest_put(name, reference, manifest).await;
        if let (Service::Public, Reference::Tag(tag)) = (self.service, reference) {
            self.witness.tag_may_have_moved(name, tag, Some(manifest.digest));
        }
        result
    }

    async fn blob_head(&self, name: &Repository, digest: &Digest) -> Result<Option<u64>, Error> {
        let (registry, _under_way) = self.ask(Op::BlobHead, name, digest).await;
        registry.blob_head(name, digest).await
    }

    async fn blob_get(&self, name: &Repository, digest: &Digest, offset: u64) -> Result<BlobStream, Error> {
        let (registry, _under_way) = self.ask(Op::BlobGet { offset }, name, digest).await;
        registry.blob_get(name, digest, offset).await
    }

    async fn upload_begin(&self, name: &Repository) -> Result<Upload, Error> {
        let (registry, _under_way) = self.ask(Op::UploadBegin, name, &"").await;
        registry.upload_begin(name).await
    }

    async fn mount(&self, name: &Repository, digest: &Digest, from: &Repository) -> Result<Mounted, Error> {
        let (registry, _under_way) = self.ask(Op::Mount, name, digest).await;
        registry.mount(name, digest, from).await
    }

    async fn upload_patch(
        &self,
        name: &Repository,
        upload: &mut Upload,
        offset: u64,
        chunk: Bytes,
    ) -> Result<(), Error> {
        let (registry, _under_way) = self.ask(Op::UploadPatch { offset }, name, &upload.location).await;
        registry.upload_patch(name, upload, offset, chunk).await
    }

    async fn upload_stream(
        &self,
        name: &Repository,
        upload: &mut Upload,
        offset: u64,
        size: Option<u64>,
        chunks: BoxStream<'static, Result<Bytes, String>>,
    ) -> Result<(), Error> {
        let (registry, _under_way) = self.ask(Op::UploadStream { offset }, name, &upload.location).await;
        registry.upload_stream(name, upload, offset, size, chunks).await
    }

    async fn upload_status(&self, name: &Repository, upload: &mut Upload) -> Result<Option<u64>, Error> {
        let (registry, _under_way) = self.ask(Op::UploadStatus, name, &upload.location).await;
        registry.upload_status(name, upload).await
    }

    async fn upload_put(
        &self,
        name: &Repository,
        upload: Upload,
        digest: &Digest,
        last: Option<(u64, Bytes)>,
    ) -> Result<(), Error> {
        let (registry, _under_way) = self.ask(Op::UploadPut, name, digest).await;
        registry.upload_put(name, upload, digest, last).await
    }

    async fn upload_cancel(&self, name: &Repository, upload: Upload) {
        let (registry, _under_way) = self.ask(Op::UploadCancel, name, &upload.location).await;
        registry.upload_cancel(name, upload).await;
    }

    async fn tags(&self, name: &Repository) -> Result<Vec<Tag>, Error> {
        let (registry, _under_way) = self.ask(Op::Tags, name, &"").await;
        registry.tags(name).await
    }

    async fn tag_delete(&self, name: &Repository, tag: &Tag) -> Result<TagDeleted, Error> {
        let (registry, _under_way) = self.ask(Op::TagDelete, name, tag).await;
        let result = registry.tag_delete(name, tag).await;
        if self.service == Service::Public {
            self.witness.tag_may_have_moved(name, tag, None);
        }
        result
    }
}
