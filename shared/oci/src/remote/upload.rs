//! Uploads: begun, filled, asked about, ended, given up.

use std::time::Duration;

use bytes::Bytes;
use flatbus_http::{Body, Error as HttpError, HeaderName, Request, Response, StatusCode, Url, header};
use futures::stream::BoxStream;

use super::{
    HttpRegistry,
    answer::{Refusal, refusal},
    auth::Need,
    told_digest,
};
use crate::{Digest, Error, Mounted, Repository, Upload};

const CHUNK_MIN: HeaderName = HeaderName::from_static("oci-chunk-min-length");
/// A registry that got a blob may write it to a disk or join its parts in S3 before it answers.
const STORING_MAX: Duration = Duration::from_secs(300);
const OCTETS: &str = "application/octet-stream";

impl HttpRegistry {
    pub(super) async fn begin(&self, repository: &Repository) -> Result<Upload, Error> {
        let what = format!("an upload to {repository}");
        // Asked twice, it leaves an empty upload behind, which the registry clears away.
        let make = || Request::post(self.url(repository, "blobs/uploads/"), Bytes::new()).idempotent();
        let answer = self.ask(&Need::write(repository), make).await?;
        if answer.status != StatusCode::ACCEPTED {
            return Err(refused(answer, &what).await);
        }
        self.begun(&answer, &what)
    }

    /// 201, or an upload: the one the registry began, or a new one where it refuses to mount at all.
    pub(super) async fn mount_or_begin(
        &self,
        repository: &Repository,
        digest: &Digest,
        from: &Repository,
    ) -> Result<Mounted, Error> {
        let mut url = self.url(repository, "blobs/uploads/");
        url.query_pairs_mut().append_pair("mount", &digest.to_string()).append_pair("from", from.as_str());
        // One token for both: without the right to read the source, the registry answers as if it had nothing there.
        let need = Need { also_read: Some(from.clone()), ..Need::write(repository) };
        let answer = self.ask(&need, || Request::post(url.clone(), Bytes::new()).idempotent()).await?;
        match answer.status {
            StatusCode::CREATED => match told_digest(&answer) {
                Some(got) => self
                    .same(&format!("blob {repository}@{digest}"), Some(*digest), got)
                    .map(|()| Mounted::Mounted),
                None => Ok(Mounted::Mounted),
            },
            StatusCode::ACCEPTED => {
                self.begun(&answer, &format!("a mount to {repository}")).map(Mounted::Upload)
            }
            _ => self.begin(repository).await.map(Mounted::Upload),
        }
    }

    pub(super) async fn patch(
        &self,
        repository: &Repository,
        upload: &mut Upload,
        offset: u64,
        chunk: Bytes,
    ) -> Result<(), Error> {
        let what = format!("bytes from {offset} on of a blob of {repository}");
        let end = offset + chunk.len() as u64;
        let url = self.location(upload)?;
        let make = || {
            Request::patch(url.clone(), chunk.clone())
                .header(header::CONTENT_TYPE, OCTETS)
                .header(header::CONTENT_RANGE, format!("{offset}-{}", end.saturating_sub(1)))
                .patience(STORING_MAX)
        };
        let answer = self.ask_upload(repository, &url, make).await?;
        self.patched(answer, upload, end, &what).await
    }

    pub(super) async fn patch_stream(
        &self,
        repository: &Repository,
        upload: &mut Upload,
        offset: u64,
        size: Option<u64>,
        chunks: BoxStream<'static, Result<Bytes, String>>,
    ) -> Result<(), Error> {
        let what = format!("a blob of {repository} from byte {offset} on");
        let url = self.location(upload)?;
        let body = Body::stream(size.map(|size| size.saturating_sub(offset)), chunks);
        let mut request =
            Request::patch(url.clone(), body).header(header::CONTENT_TYPE, OCTETS).no_redirects();
        if let Some(size) = size.filter(|_| offset > 0) {
            // Without it some append, and quay starts at the beginning.
            request = request.header(header::CONTENT_RANGE, format!("{offset}-{}", size.saturating_sub(1)));
        }
        let request = request.urgency(self.urgency).patience(STORING_MAX);
        let need = Need::write(repository);
        let answer = if self.is_ours(&url) {
            // The body can't be sent twice. A token that is refused here is replaced when the upload's state is asked.
            self.client.send(self.auth.first(&need).await?.apply(request)).await?
        } else {
            self.client.send(request).await?
        };
        if answer.status.is_redirection() || matches!(answer.status.as_u16(), 411 | 413) {
            let why = format!("it answers {}", answer.status);
            return Err(Error::Unsupported {
                host: self.host.clone(),
                what: "take a blob as a stream".into(),
                why,
            });
        }
        self.patched(answer, upload, size.unwrap_or(u64::MAX), &what).await
    }

    async fn patched(
        &self,
        answer: Response,
        upload: &mut Upload,
        end: u64,
        what: &str,
    ) -> Result<(), Error> {
        if !answer.status.is_success() {
            return Err(lost_or_refused(refusal(answer).await, what));
        }
        self.moved(&answer, upload)?;
        match answer.header(&header::RANGE).and_then(range_end) {
            Some(held) if held != end && end != u64::MAX => {
                let why = format!("it holds {held} bytes where {end} were sent");
                Err(Error::UploadLost { host: self.host.clone(), what: what.to_owned(), why })
            }
            _ => Ok(()),
        }
    }

    pub(super) async fn status(
        &self,
        repository: &Repository,
        upload: &mut Upload,
    ) -> Result<Option<u64>, Error> {
        let url = self.location(upload)?;
        let answer = self.ask_upload(repository, &url, || Request::get(url.clone())).await?;
        if answer.status.is_client_error() {
            return Ok(None);
        }
        if !answer.status.is_success() {
            return Err(refused(answer, "the state of an upload").await);
        }
        self.moved(&answer, upload)?;
        // `0-0` is said of no byte and of one; were it one, the digest would tell.
        Ok(answer.header(&header::RANGE).and_then(range_end).map(|held| if held == 1 { 0 } else { held }))
    }

    pub(super) async fn put(
        &self,
        repository: &Repository,
        upload: &Upload,
        digest: &Digest,
        last: Option<(u64, Bytes)>,
    ) -> Result<(), Error> {
        let what = format!("blob {repository}@{digest}");
        let mut url = self.location(upload)?;
        url.query_pairs_mut().append_pair("digest", &digest.to_string());
        let make = || {
            let (offset, bytes) = last.clone().unwrap_or_default();
            let end = offset + bytes.len() as u64;
            let mut request = Request::put(url.clone(), bytes.clone()).patience(STORING_MAX);
            // Half of a body may have been appended when it fails: twice would be too much.
            request.idempotent = bytes.is_empty();
            let request = request.header(header::CONTENT_TYPE, OCTETS);
            if offset == 0 || bytes.is_empty() {
                return request;
            }
            request.header(header::CONTENT_RANGE, format!("{offset}-{}", end - 1))
        };
        let answer = self.ask_upload(repository, &url, make).await?;
        if !answer.status.is_success() {
            return Err(lost_or_refused(refusal(answer).await, &what));
        }
        match told_digest(&answer) {
            Some(got) => self.same(&what, Some(*digest), got),
            None => Ok(()),
        }
    }

    pub(super) async fn cancel(&self, repository: &Repository, upload: &Upload) -> Result<(), Error> {
        let url = self.location(upload)?;
        self.ask_upload(repository, &url, || Request::delete(url.clone())).await.map(drop)
    }

    /// Asks where an upload lives. Hosts other than the registry's own get no credentials.
    async fn ask_upload(
        &self,
        repository: &Repository,
        url: &Url,
        make: impl Fn() -> Request,
    ) -> Result<Response, Error> {
        if self.is_ours(url) {
            return self.ask(&Need::write(repository), make).await;
        }
        Ok(self.client.send(self.request(make())).await?)
    }

    fn is_ours(&self, url: &Url) -> bool {
        url.origin() == self.base.origin()
    }

    fn begun(&self, answer: &Response, what: &str) -> Result<Upload, Error> {
        let location = answer.header(&header::LOCATION);
        let location =
            location.ok_or_else(|| self.protocol(what, "it doesn't say where to send the bytes"))?;
        let location = self.absolute(&answer.url, location)?;
        let chunk_min = answer.header(&CHUNK_MIN).and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        Ok(Upload { location, chunk_min })
    }

    /// Uploads move with each answer; one that doesn't say so stays.
    fn moved(&self, answer: &Response, upload: &mut Upload) -> Result<(), Error> {
        if let Some(location) = answer.header(&header::LOCATION) {
            upload.location = self.absolute(&answer.url, location)?;
        }
        Ok(())
    }

    fn absolute(&self, asked: &Url, location: &str) -> Result<String, Error> {
        let mut url =
            asked.join(location).map_err(|_| self.protocol("an upload", "its location is no URL"))?;
        if self.base.scheme() == "https" && url.scheme() == "http" {
            // A registry behind a TLS proxy that doesn't know of it; never over an open connection.
            let mended = url.host_str() == self.base.host_str()
                && url.port().is_none()
                && url.set_scheme("https").is_ok();
            if !mended {
                return Err(self.protocol("an upload", "it wants the bytes over an open connection"));
            }
        }
        if !self.client.allows(&url) {
            return Err(
                HttpError::ForbiddenHost { host: url.host_str().unwrap_or_default().to_owned() }.into()
            );
        }
        Ok(url.into())
    }

    fn location(&self, upload: &Upload) -> Result<Url, Error> {
        Url::parse(&upload.location).map_err(|_| self.protocol("an upload", "its location is no URL"))
    }
}

/// `0-9` as the number of bytes held: 10.
pub(super) fn range_end(text: &str) -> Option<u64> {
    let (_, last) = text.trim().trim_start_matches("bytes=").split_once('-')?;
    last.trim().parse::<u64>().ok()?.checked_add(1)
}

async fn refused(answer: Response, what: &str) -> Error {
    refusal(answer).await.into_error(what)
}

/// An upload that is gone or stands elsewhere can be taken up or begun again; other refusals are final.
fn lost_or_refused(refused: Refusal, what: &str) -> Error {
    let lost = matches!(refused.status.as_u16(), 404 | 410 | 416)
        || refused.names(&["BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID", "RANGE_INVALID"]);
    if lost {
        return Error::UploadLost { host: refused.host, what: what.to_owned(), why: refused.said };
    }
    if refused.status == StatusCode::PAYLOAD_TOO_LARGE {
        let what = format!("take {what} in one request");
        return Error::Unsupported { host: refused.host, what, why: refused.said };
    }
    refused.into_error(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_range_is_a_count_of_bytes() {
        assert_eq!(range_end("0-9"), Some(10));
        assert_eq!(range_end("bytes=0-9"), Some(10));
        assert_eq!(range_end("nonsense"), None);
        assert_eq!(range_end(&format!("0-{}", u64::MAX)), None);
    }
}
