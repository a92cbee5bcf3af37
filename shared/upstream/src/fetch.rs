//! One request and its whole body, with what each status means to a person. Never retries: the HTTP client does.

use bytes::Bytes;
use flatbus_http::{Client, Request, Response, StatusCode};

use crate::{Error, shape::clip};

/// Most of an answer that is read only to be quoted in an error, in bytes.
const SAID_BYTES_MAX: usize = 4096;

/// Asks, and takes the body of a success. Everything else is an error.
pub(crate) async fn success(
    client: &Client,
    request: Request,
    what: &str,
    bytes_max: usize,
) -> Result<Bytes, Error> {
    let response = client.send(request).await?;
    if response.status.is_success() {
        return Ok(response.bytes(bytes_max).await?);
    }
    Err(unexpected(response, what, "nobody should have to log in to read this: check the URL").await)
}

/// The error for a status that is no answer. `advice` is what a person must do where we were refused.
pub(crate) async fn unexpected(response: Response, what: &str, advice: &str) -> Error {
    let (host, status) = (response.host().to_owned(), response.status);
    if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        return Error::Denied {
            host,
            what: what.to_owned(),
            status: status.as_u16(),
            advice: advice.to_owned(),
        };
    }
    let said = if status.is_redirection() {
        "a redirect, which is not followed: check the URL".to_owned()
    } else {
        said(response).await
    };
    Error::Unexpected { host, what: what.to_owned(), status: status.as_u16(), said }
}

/// The start of an answer's body, for a person to read.
pub(crate) async fn said(response: Response) -> String {
    match response.bytes(SAID_BYTES_MAX).await {
        Ok(body) => clip(&String::from_utf8_lossy(&body)),
        Err(_) => "(a body that could not be read)".to_owned(),
    }
}
