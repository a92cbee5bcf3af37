//! An answer: its head, and its body under a limit and under watch.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, stream, stream::BoxStream};
use http::{HeaderMap, HeaderName, StatusCode, header};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout, timeout_at};
use url::Url;

use crate::{Error, carrier::failed};

/// Most of an error's body that is read, in bytes, and told, in characters.
const SAID_BYTES_MAX: usize = 4 << 10;
const SAID_CHARS_MAX: usize = 512;

/// An answer whose body has not been read yet.
#[derive(Debug)]
pub struct Response {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Where it came from, after redirects.
    pub url: Url,
    pub(crate) host: String,
    pub(crate) inner: reqwest::Response,
    pub(crate) read_timeout: Duration,
    pub(crate) deadline: Option<Instant>,
}

impl Response {
    /// The host that answered, with its port where it isn't the scheme's own.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// A header's value, where it is there and text.
    pub fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// What `Content-Length` says; also of an answer to HEAD.
    pub fn content_length(&self) -> Option<u64> {
        self.header(&header::CONTENT_LENGTH)?.trim().parse().ok()
    }

    /// The whole body, if it has at most `bytes_max` bytes.
    ///
    /// # Errors
    /// When the body is larger, breaks off or stands still.
    pub async fn bytes(mut self, bytes_max: usize) -> Result<Bytes, Error> {
        let too_large = Error::BodyTooLarge { host: self.host.clone(), bytes_max };
        if self.content_length().is_some_and(|told| told > bytes_max as u64) {
            return Err(too_large);
        }
        let Some(first) = self.chunk().await? else { return Ok(Bytes::new()) };
        let Some(second) = self.chunk().await? else {
            return if first.len() > bytes_max { Err(too_large) } else { Ok(first) };
        };
        let mut all = BytesMut::from(first);
        let mut next = Some(second);
        while let Some(chunk) = next {
            if all.len() + chunk.len() > bytes_max {
                return Err(too_large);
            }
            all.extend_from_slice(&chunk);
            next = self.chunk().await?;
        }
        Ok(all.freeze())
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// As [`Self::bytes`], and when it isn't what is expected.
    pub async fn json<T: DeserializeOwned>(self, bytes_max: usize) -> Result<T, Error> {
        let host = self.host.clone();
        let bytes = self.bytes(bytes_max).await?;
        let read = serde_json::from_slice(&bytes);
        // The error quotes what it read, however long that is.
        read.map_err(|error| Error::Decode { host, why: printable(error.to_string().as_bytes()) })
    }

    /// The body as it comes. An error ends it.
    pub fn stream(self) -> BoxStream<'static, Result<Bytes, Error>> {
        let next = async |state: Option<Self>| {
            let mut response = state?;
            match response.chunk().await {
                Ok(None) => None,
                Ok(Some(chunk)) => Some((Ok(chunk), Some(response))),
                Err(error) => Some((Err(error), None)),
            }
        };
        stream::unfold(Some(self), next).boxed()
    }

    /// The answer, if its status is a success; else [`Error::Status`] with the beginning of its body.
    ///
    /// # Errors
    /// When the status is no success.
    pub async fn success(self) -> Result<Self, Error> {
        if self.status.is_success() { Ok(self) } else { Err(self.into_error().await) }
    }

    /// The answer as an error, with the beginning of its body.
    pub async fn into_error(mut self) -> Error {
        let mut said = Vec::new();
        while said.len() < SAID_BYTES_MAX {
            match self.chunk().await {
                Ok(Some(chunk)) => said.extend_from_slice(&chunk),
                Ok(None) | Err(_) => break,
            }
        }
        said.truncate(SAID_BYTES_MAX);
        Error::Status { host: self.host, status: self.status, said: printable(&said) }
    }

    async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        const PHASE: &str = "reading its answer";
        let silent = |after| Error::Timeout { host: self.host.clone(), phase: PHASE, after };
        let read = timeout(self.read_timeout, self.inner.chunk());
        let read = match self.deadline {
            None => read.await,
            Some(deadline) => timeout_at(deadline, read).await.map_err(|_| silent(self.read_timeout))?,
        };
        read.map_err(|_| silent(self.read_timeout))?.map_err(|error| failed(&self.host, error).error)
    }
}

/// One line a person can read, whatever the bytes.
fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let line = words.collect::<Vec<_>>().join(" ");
    if line.is_empty() { "(nothing)".to_owned() } else { line.chars().take(SAID_CHARS_MAX).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_host_said_is_one_short_printable_line() {
        assert_eq!(printable(b"a\r\n\tb\x1b[31m\xff"), "a b [31m\u{fffd}");
        assert_eq!(printable(b"\n"), "(nothing)");
        assert_eq!(printable("é".repeat(2000).as_bytes()).chars().count(), SAID_CHARS_MAX);
    }
}
