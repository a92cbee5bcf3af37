//! Answers and their headers.

use std::{
    io::{self, SeekFrom},
    ops::Range,
};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures::stream;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts};
use jiff::{Timestamp, fmt::rfc2822::DateTimePrinter};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use super::{
    condition::{Verdict, Version, decide},
    encoding::Encoding,
    file::Found,
    path::Kind,
};

/// Bytes read from a file at once. Each client that reads holds two of these.
const READ_BYTES: usize = 64 << 10;

const MICROS: i64 = 1_000_000;

/// Something that is there: to be sent whole, in part, or not again.
pub(crate) struct Content {
    source: Source,
    content_type: &'static str,
    encoding: Option<Encoding>,
    etag: String,
    modified_s: Option<i64>,
    size: u64,
    kind: Kind,
}

enum Source {
    File(std::fs::File),
    Memory(Bytes),
}

impl Content {
    /// A file; its ETag is made as Apache makes one of `FileETag MTime Size`.
    pub(crate) fn file(found: Found, name: &str, kind: Kind) -> Self {
        Self {
            content_type: content_type(name),
            encoding: found.encoding,
            etag: format!("\"{:x}-{:x}\"", found.size, found.modified_us),
            modified_s: Some(found.modified_us.div_euclid(MICROS)),
            size: found.size,
            source: Source::File(found.file),
            kind,
        }
    }

    /// An index that is in no file.
    pub(crate) fn index(body: Bytes, etag: String) -> Self {
        Self {
            content_type: content_type(".json"),
            encoding: None,
            etag,
            modified_s: None,
            size: body.len() as u64,
            source: Source::Memory(body),
            kind: Kind::Index,
        }
    }

    /// Answers a GET or a HEAD.
    pub(crate) async fn answer(self, asked: &Parts) -> io::Result<Response> {
        let get = asked.method == Method::GET;
        let version = Version { etag: &self.etag, modified_s: self.modified_s, size: self.size };
        let (status, part) = match decide(&asked.headers, get, version) {
            Verdict::Whole => (StatusCode::OK, 0..self.size),
            Verdict::Part(part) => (StatusCode::PARTIAL_CONTENT, part),
            Verdict::NotModified => return Ok(self.unchanged()),
            Verdict::Refused => {
                let answer =
                    refused(StatusCode::PRECONDITION_FAILED, "This is not the version that was asked for.");
                return Ok(with(answer, header::CACHE_CONTROL, cache_control(self.kind)));
            }
            Verdict::Unsatisfiable => {
                let answer = refused(StatusCode::RANGE_NOT_SATISFIABLE, "There is no such part.");
                return Ok(with(answer, header::CONTENT_RANGE, &format!("bytes */{}", self.size)));
            }
        };
        let mut headers = self.headers(&part);
        if status == StatusCode::PARTIAL_CONTENT {
            let range = format!("bytes {}-{}/{}", part.start, part.end - 1, self.size);
            insert(&mut headers, header::CONTENT_RANGE, &range);
        }
        let body = if get { self.source.body(part).await? } else { Body::empty() };
        Ok((status, headers, body).into_response())
    }

    /// Its length is not told: that would be the file's, and is taken for the answer's.
    fn unchanged(&self) -> Response {
        let body = Body::from_stream(stream::empty::<io::Result<Bytes>>());
        (StatusCode::NOT_MODIFIED, self.validators(), body).into_response()
    }

    fn headers(&self, part: &Range<u64>) -> HeaderMap {
        let mut headers = self.validators();
        insert(&mut headers, header::CONTENT_TYPE, self.content_type);
        insert(&mut headers, header::CONTENT_LENGTH, &(part.end - part.start).to_string());
        if let Some(encoding) = self.encoding {
            insert(&mut headers, header::CONTENT_ENCODING, encoding.name());
        }
        headers
    }

    /// What an answer of no news says too.
    fn validators(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        insert(&mut headers, header::ETAG, &self.etag);
        insert(&mut headers, header::ACCEPT_RANGES, "bytes");
        insert(&mut headers, header::CACHE_CONTROL, cache_control(self.kind));
        if self.kind == Kind::Index {
            insert(&mut headers, header::VARY, "Accept-Encoding");
        }
        let modified = self.modified_s.and_then(|seconds| Timestamp::from_second(seconds).ok());
        let modified =
            modified.and_then(|time| DateTimePrinter::new().timestamp_to_rfc9110_string(&time).ok());
        if let Some(modified) = modified {
            insert(&mut headers, header::LAST_MODIFIED, &modified);
        }
        headers
    }
}

impl Source {
    /// A piece at a time, each read by a thread that is free again when it has been: a slow reader holds none.
    async fn body(self, part: Range<u64>) -> io::Result<Body> {
        let file = match self {
            Self::Memory(bytes) => {
                let end = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
                return Ok(Body::from(bytes.slice(end(part.start)..end(part.end))));
            }
            Self::File(file) => file,
        };
        let mut file = tokio::fs::File::from_std(file);
        if part.start > 0 {
            file.seek(SeekFrom::Start(part.start)).await?;
        }
        let rest = file.take(part.end - part.start);
        Ok(Body::from_stream(ReaderStream::with_capacity(rest, READ_BYTES)))
    }
}

/// Caches between are told how long; clients of the index ask each time.
fn cache_control(kind: Kind) -> &'static str {
    match kind {
        Kind::Index | Kind::Fleeting => "no-cache",
        Kind::Lasting => "public, max-age=31536000, immutable",
    }
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("json") => "application/json",
        Some("png") => "image/png",
        Some("tardiff") => "application/vnd.redhat.tar-diff",
        Some("gz") => "application/gzip",
        Some("zst") => "application/zstd",
        _ => "application/octet-stream",
    }
}

/// What is missing may come: caches between must not hold that back for long.
pub(crate) fn missing() -> Response {
    with(refused(StatusCode::NOT_FOUND, "There is no such file here."), header::CACHE_CONTROL, "max-age=60")
}

pub(crate) fn unsupported() -> Response {
    with(
        refused(StatusCode::METHOD_NOT_ALLOWED, "This is only read: GET or HEAD."),
        header::ALLOW,
        "GET, HEAD",
    )
}

/// Elsewhere, for now: not to be kept.
pub(crate) fn moved(to: &str) -> Response {
    with(StatusCode::FOUND.into_response(), header::LOCATION, to)
}

/// An answer of one sentence.
pub(crate) fn refused(status: StatusCode, sentence: &str) -> Response {
    (status, format!("{sentence}\n")).into_response()
}

fn with(mut answer: Response, name: HeaderName, value: &str) -> Response {
    insert(answer.headers_mut(), name, value);
    answer
}

/// Every value here is made of numbers and plain names.
fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
