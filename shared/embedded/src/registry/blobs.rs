//! Requests about blobs and their uploads.

use std::{
    io::{self, Read},
    ops::Range,
    sync::Arc,
};

use axum::{
    body::{Body, HttpBody},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures::{Stream, stream};
use http::{HeaderMap, HeaderName, Method, StatusCode, header};

use super::{
    Digest,
    handlers::{Asked, CONTENT_DIGEST, Served, created, finish, unchanged},
    refusal::Refusal,
    route::is_repository,
    uploads::{NotTaken, Upload, blocking, where_it_may},
};

const UPLOAD_ID: HeaderName = HeaderName::from_static("docker-upload-uuid");

/// Bytes read from the storage at once.
const READ_BYTES: usize = 256 << 10;

impl Served {
    pub(crate) async fn blob(
        &self,
        repository: &str,
        digest: &Digest,
        asked: &Asked,
    ) -> Result<Response, Refusal> {
        let size = self.blob_size(repository, digest).await?;
        let etag = format!(r#""{digest}""#);
        let answer = Response::builder()
            .header(CONTENT_DIGEST, digest.as_str())
            .header(header::ETAG, &etag)
            .header(header::ACCEPT_RANGES, "bytes")
            .header(header::CACHE_CONTROL, "max-age=31536000");
        if unchanged(&asked.parts.headers, &etag) {
            return finish(answer.status(StatusCode::NOT_MODIFIED).body(Body::empty()));
        }
        let range = wanted(&asked.parts.headers, size).map_err(|()| unsatisfiable(size))?;
        let (status, part) =
            range.map_or((StatusCode::OK, 0..size), |part| (StatusCode::PARTIAL_CONTENT, part));
        let mut answer = answer
            .status(status)
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .header(header::CONTENT_LENGTH, part.end - part.start);
        if status == StatusCode::PARTIAL_CONTENT {
            answer =
                answer.header(header::CONTENT_RANGE, format!("bytes {}-{}/{size}", part.start, part.end - 1));
        }
        if asked.parts.method == Method::HEAD {
            return finish(answer.body(Body::empty()));
        }
        let (storage, digest) = (self.content.storage.clone(), digest.clone());
        let blocks = storage.blocks();
        let reader = blocking(&self.content.storage, move || storage.open(&digest, part.start)).await?;
        finish(answer.body(Body::from_stream(read(reader, part.end - part.start, blocks))))
    }

    async fn blob_size(&self, repository: &str, digest: &Digest) -> Result<u64, Refusal> {
        if !self.content.has_blob(repository, digest) {
            return Err(Refusal::blob_unknown());
        }
        let (storage, digest) = (self.content.storage.clone(), digest.clone());
        blocking(&self.content.storage, move || storage.size(&digest))
            .await?
            .ok_or_else(Refusal::blob_unknown)
    }

    pub(crate) fn delete_blob(&self, repository: &str, digest: &Digest) -> Result<Response, Refusal> {
        if self.content.remove_blob(repository, digest) {
            Ok(StatusCode::ACCEPTED.into_response())
        } else {
            Err(Refusal::blob_unknown())
        }
    }

    /// POST: mounts, takes a whole blob, or begins an upload.
    pub(crate) async fn begin_upload(
        &self,
        repository: &str,
        asked: &Asked,
        body: Body,
    ) -> Result<Response, Refusal> {
        let digest =
            |text: String| text.parse::<Digest>().map_err(|_| Refusal::digest_invalid("not a sha256 digest"));
        if let Some(mount) = asked.query("mount").map(digest).transpose()?
            && self.mount(repository, &mount, asked)
        {
            return self.blob_created(repository, &mount, asked);
        }
        let whole = asked.query("digest").map(digest).transpose()?;
        let (id, upload) = self.uploads.begin(repository, &self.content.storage).await?;
        let Some(digest) = whole else {
            return upload_state(StatusCode::ACCEPTED, repository, &id, &upload, asked);
        };
        let taken = upload.take(Some(0), body).await;
        self.uploads.remove(&id);
        taken.map_err(|error| refusal(error, repository, &id, &upload, asked))?;
        upload.finish(&digest).await?;
        self.content.link_blob(repository, digest.clone());
        self.blob_created(repository, &digest, asked)
    }

    /// Whether a blob could be taken over. Without the right to read it there, it could not (quay's way; docker-registry
    /// asks for that right).
    fn mount(&self, repository: &str, digest: &Digest, asked: &Asked) -> bool {
        let from = asked.query("from").filter(|from| is_repository(from));
        let held = from.is_some_and(|from| {
            self.content.has_blob(&from, digest) && self.access.may_pull(&asked.who, &from)
        });
        if held {
            self.content.link_blob(repository, digest.clone());
        }
        held
    }

    fn blob_created(&self, repository: &str, digest: &Digest, asked: &Asked) -> Result<Response, Refusal> {
        created(&format!("{}/v2/{repository}/blobs/{digest}", asked.base), digest)
    }

    pub(crate) async fn upload(
        &self,
        repository: &str,
        id: &str,
        method: &str,
        asked: &Asked,
        body: Body,
    ) -> Result<Response, Refusal> {
        if asked.query("_state").is_none() {
            let text = "the upload's address was not used as it was told";
            return Err(Refusal::new(StatusCode::BAD_REQUEST, "BLOB_UPLOAD_INVALID", text));
        }
        let upload = self.uploads.find(repository, id)?;
        match method {
            "GET" | "HEAD" => {
                upload.at_rest().await;
                upload_state(StatusCode::NO_CONTENT, repository, id, &upload, asked)
            }
            "PATCH" => {
                take(&upload, asked, body)
                    .await
                    .map_err(|error| refusal(error, repository, id, &upload, asked))?;
                upload_state(StatusCode::ACCEPTED, repository, id, &upload, asked)
            }
            "PUT" => self.end_upload(repository, id, &upload, asked, body).await,
            "DELETE" => {
                self.uploads.remove(id);
                Ok(StatusCode::NO_CONTENT.into_response())
            }
            _ => Err(Refusal::unsupported()),
        }
    }

    async fn end_upload(
        &self,
        repository: &str,
        id: &str,
        upload: &Arc<Upload>,
        asked: &Asked,
        body: Body,
    ) -> Result<Response, Refusal> {
        let digest = asked.query("digest").ok_or_else(|| Refusal::digest_invalid("no digest"))?;
        let digest: Digest = digest.parse().map_err(|_| Refusal::digest_invalid("not a sha256 digest"))?;
        take(upload, asked, body).await.map_err(|error| refusal(error, repository, id, upload, asked))?;
        self.uploads.remove(id);
        upload.finish(&digest).await?;
        self.content.link_blob(repository, digest.clone());
        self.blob_created(repository, &digest, asked)
    }
}

/// Takes a body where its `Content-Range` says, or at the end where it says nothing.
async fn take(upload: &Arc<Upload>, asked: &Asked, body: Body) -> Result<(), NotTaken> {
    let Some(said) = asked.parts.headers.get(header::CONTENT_RANGE) else {
        return upload.take(None, body).await;
    };
    let invalid = || Refusal::new(StatusCode::BAD_REQUEST, "BLOB_UPLOAD_INVALID", "invalid Content-Range");
    let range = said.to_str().ok().and_then(content_range).ok_or_else(invalid)?;
    if body.size_hint().exact().is_some_and(|length| length != range.end - range.start) {
        return Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            "SIZE_INVALID",
            "Content-Range and Content-Length differ",
        )
        .into());
    }
    upload.take(Some(range.start), body).await
}

/// `0-99`, both ends included; clients also write `bytes 0-99/*`.
fn content_range(text: &str) -> Option<Range<u64>> {
    let text = text.strip_prefix("bytes ").unwrap_or(text);
    let (start, end) = text.split('/').next()?.split_once('-')?;
    let (start, end) = (start.parse::<u64>().ok()?, end.parse::<u64>().ok()?.checked_add(1)?);
    (start < end).then_some(start..end)
}

fn refusal(error: NotTaken, repository: &str, id: &str, upload: &Upload, asked: &Asked) -> Refusal {
    match error {
        NotTaken::Refused(refusal) => refusal,
        NotTaken::OutOfStep => {
            let text = "these bytes do not start where the upload ends";
            Refusal::new(StatusCode::RANGE_NOT_SATISFIABLE, "BLOB_UPLOAD_INVALID", text)
                .with(header::LOCATION, &upload_location(repository, id, upload, asked))
                .with(header::RANGE, &received_range(upload))
                .with(UPLOAD_ID, id)
        }
    }
}

fn upload_state(
    status: StatusCode,
    repository: &str,
    id: &str,
    upload: &Upload,
    asked: &Asked,
) -> Result<Response, Refusal> {
    let answer = Response::builder()
        .status(status)
        .header(header::LOCATION, upload_location(repository, id, upload, asked))
        .header(header::RANGE, received_range(upload))
        .header(UPLOAD_ID, id);
    finish(answer.body(Body::empty()))
}

/// The address changes with every step, as docker-registry's does: a client must use the last one told, query and all.
fn upload_location(repository: &str, id: &str, upload: &Upload, asked: &Asked) -> String {
    format!("{}/v2/{repository}/blobs/uploads/{id}?_state={}", asked.base, upload.received())
}

/// Both ends included; nothing and one byte look alike, everywhere.
fn received_range(upload: &Upload) -> String {
    format!("0-{}", upload.received().saturating_sub(1))
}

fn unsatisfiable(size: u64) -> Refusal {
    Refusal::new(StatusCode::RANGE_NOT_SATISFIABLE, "RANGE_INVALID", "no such part of the blob")
        .with(header::CONTENT_RANGE, &format!("bytes */{size}"))
}

/// The part of a blob that is asked for. Several parts at once are answered by the whole.
fn wanted(headers: &HeaderMap, size: u64) -> Result<Option<Range<u64>>, ()> {
    let asked = headers
        .get(header::RANGE)
        .and_then(|range| range.to_str().ok())
        .and_then(|range| range.strip_prefix("bytes="));
    let Some((first, last)) =
        asked.and_then(|range| range.split_once('-')).filter(|(_, last)| !last.contains(','))
    else {
        return Ok(None);
    };
    let part = match (first.parse::<u64>().ok(), last.parse::<u64>().ok()) {
        (Some(first), Some(last)) => first..last.saturating_add(1).min(size),
        (Some(first), None) if last.is_empty() => first..size,
        (None, Some(tail)) if first.is_empty() => size.saturating_sub(tail)..size,
        _ => return Ok(None),
    };
    if part.start < part.end { Ok(Some(part)) } else { Err(()) }
}

/// Reads so many bytes, a piece at a time.
fn read(
    reader: Box<dyn Read + Send>,
    bytes: u64,
    blocks: bool,
) -> impl Stream<Item = io::Result<Bytes>> + Send + use<> {
    stream::try_unfold((reader.take(bytes), bytes), move |(mut reader, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        let (piece, reader) = where_it_may(blocks, move || {
            let mut piece = vec![0; READ_BYTES.min(usize::try_from(left).unwrap_or(READ_BYTES))];
            reader.read_exact(&mut piece)?;
            Ok((Bytes::from(piece), reader))
        })
        .await?;
        let left = left - piece.len() as u64;
        Ok(Some((piece, (reader, left))))
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn part(range: &'static str, size: u64) -> Result<Option<Range<u64>>, ()> {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, HeaderValue::from_static(range));
        wanted(&headers, size)
    }

    #[test]
    fn ranges_are_read_as_http_means_them() {
        assert_eq!(part("bytes=0-0", 10), Ok(Some(0..1)));
        assert_eq!(part("bytes=4-", 10), Ok(Some(4..10)));
        assert_eq!(part("bytes=-3", 10), Ok(Some(7..10)));
        assert_eq!(part("bytes=8-99", 10), Ok(Some(8..10)));
        assert_eq!(part("bytes=10-", 10), Err(()));
        assert_eq!(part("bytes=5-4", 10), Err(()));
        assert_eq!(part("bytes=0-1,3-4", 10), Ok(None));
        assert_eq!(part("lines=0-1", 10), Ok(None));
    }

    #[test]
    fn content_ranges_include_both_ends() {
        assert_eq!(content_range("0-99"), Some(0..100));
        assert_eq!(content_range("bytes 5-5/*"), Some(5..6));
        assert_eq!(content_range("5-4"), None);
        assert_eq!(content_range("x"), None);
    }
}
