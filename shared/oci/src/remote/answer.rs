//! What a registry's answers mean.

use flatbus_http::{Response, StatusCode};
use serde::Deserialize;

use crate::Error;

/// Most of a refusal that is read, in bytes, and told, in characters.
const REFUSAL_BYTES_MAX: usize = 64 << 10;
const SAID_CHARS_MAX: usize = 300;

/// A 4xx, read.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) host: String,
    pub(super) status: StatusCode,
    /// The specification's error codes.
    pub(super) codes: Vec<String>,
    /// For people.
    pub(super) said: String,
}

#[derive(Deserialize)]
struct Errors {
    errors: Vec<OneError>,
}

#[derive(Deserialize)]
struct OneError {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// Reads what a registry says with its refusal.
pub(super) async fn refusal(response: Response) -> Refusal {
    let (host, status) = (response.host().to_owned(), response.status);
    // A refusal whose body can't be read is one all the same.
    let body = response.bytes(REFUSAL_BYTES_MAX).await.unwrap_or_default();
    let errors = serde_json::from_slice::<Errors>(&body).map(|errors| errors.errors).unwrap_or_default();
    let told: Vec<_> = errors.iter().map(|error| format!("{}: {}", error.code, error.message)).collect();
    let text = if told.is_empty() { String::from_utf8_lossy(&body).into_owned() } else { told.join("; ") };
    let words: Vec<_> =
        text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()).collect();
    let said = format!("{} {}", status.as_u16(), words.join(" ")).chars().take(SAID_CHARS_MAX).collect();
    Refusal { host, status, codes: errors.into_iter().map(|error| error.code).collect(), said }
}

impl Refusal {
    /// Whether it names one of these codes.
    pub(super) fn names(&self, codes: &[&str]) -> bool {
        self.codes.iter().any(|code| codes.contains(&code.as_str()))
    }

    /// What it means for something that was asked for or sent.
    pub(super) fn into_error(self, what: &str) -> Error {
        let (host, what, why) = (self.host, what.to_owned(), self.said);
        match self.status.as_u16() {
            401 => Error::Unauthorized { host, what, why },
            403 => Error::Denied { host, what: format!("have {what}"), why },
            404 | 410 => Error::NotFound { host, what: format!("{what}: {why}") },
            405 | 501 => Error::Unsupported { host, what: format!("do {what}"), why },
            413 => Error::TooLarge { host, what, why },
            // Whoever says yes to what wasn't asked (a page of a proxy's, mostly) has not done it.
            100..=299 => Error::Protocol { host, what, why: format!("that is no answer to it ({why})") },
            300..=399 => {
                Error::Protocol { host, what, why: format!("a redirect that can't be followed ({why})") }
            }
            400..=499 => Error::Refused { host, what, why },
            _ => flatbus_http::Error::Status { host, status: self.status, said: why }.into(),
        }
    }

    /// What it means that a registry's token server said it. Never that something isn't there.
    pub(super) fn of_token_server(self, registry: &str, what: &str) -> Error {
        if self.status.is_server_error() {
            return flatbus_http::Error::Status { host: self.host, status: self.status, said: self.said }
                .into();
        }
        let why = format!("its token server {} answered {}", self.host, self.said);
        Error::Protocol { host: registry.to_owned(), what: what.to_owned(), why }
    }
}

pub(super) fn unauthorized(host: &str, what: String, why: &str) -> Error {
    Error::Unauthorized { host: host.to_owned(), what, why: why.to_owned() }
}
