//! What is asked, of whom, how urgently, and whether asking twice is harmless.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use flatbus_base::Secret;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use url::Url;

use crate::Body;

/// Who goes first where a host's budget is short.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Urgency {
    /// Brings something to users now.
    Push,
    /// Everything else.
    #[default]
    Read,
    /// Surveys and verification.
    Survey,
}

/// What happens at a redirect. `Authorization` and `Cookie` never cross to another host, port or scheme, and nothing is
/// followed from https to http.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redirects {
    /// The redirect is the answer.
    None,
    /// Followed, to allowed hosts only. Anything but GET and HEAD follows 307 and 308 only, with its body sent again.
    Follow {
        /// Drop `Authorization` at the first redirect, even on the same host.
        drop_auth: bool,
    },
}

/// A request. Made by [`Request::get`] and its like.
#[derive(Debug)]
pub struct Request {
    /// Its method.
    pub method: Method,
    /// Where it goes; the host must be allowed.
    pub url: Url,
    /// Its headers. Sensitive values are marked so and never printed.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Body,
    /// Whether asking twice is harmless: only such requests are tried again once they may have been acted on.
    pub idempotent: bool,
    /// What happens at a redirect.
    pub redirects: Redirects,
    /// Who goes first where the host's budget is short.
    pub urgency: Urgency,
    /// Longest wait for the answer once all was sent, where that may be longer than
    /// [`crate::Settings::read_timeout`]: a server that stores what it got may take its time.
    pub patience: Option<Duration>,
    /// Why it can't be sent, found while it was made.
    pub(crate) invalid: Option<&'static str>,
}

impl Request {
    /// Any method. GET, HEAD, PUT, DELETE and OPTIONS are idempotent until told otherwise.
    pub fn new(method: Method, url: Url) -> Self {
        let idempotent = method.is_idempotent();
        let redirects = Redirects::Follow { drop_auth: true };
        Self {
            method,
            url,
            headers: HeaderMap::new(),
            body: Body::default(),
            idempotent,
            redirects,
            urgency: Urgency::default(),
            patience: None,
            invalid: None,
        }
    }

    /// GET.
    pub fn get(url: Url) -> Self {
        Self::new(Method::GET, url)
    }

    /// HEAD.
    pub fn head(url: Url) -> Self {
        Self::new(Method::HEAD, url)
    }

    /// DELETE.
    pub fn delete(url: Url) -> Self {
        Self::new(Method::DELETE, url)
    }

    /// POST; not idempotent until [`Self::idempotent`] says so.
    pub fn post(url: Url, body: impl Into<Body>) -> Self {
        Self::new(Method::POST, url).body(body)
    }

    /// PUT.
    pub fn put(url: Url, body: impl Into<Body>) -> Self {
        Self::new(Method::PUT, url).body(body)
    }

    /// PATCH; not idempotent until [`Self::idempotent`] says so.
    pub fn patch(url: Url, body: impl Into<Body>) -> Self {
        Self::new(Method::PATCH, url).body(body)
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self
    }

    /// Sets a header. A value that can't be one fails the request when it is sent.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: impl AsRef<str>) -> Self {
        match HeaderValue::from_str(value.as_ref()) {
            Ok(value) => {
                self.headers.insert(name, value);
            }
            Err(_) => self.invalid = Some("a header's value holds characters that no header can"),
        }
        self
    }

    /// Sends a bearer token.
    #[must_use]
    pub fn bearer(self, token: &Secret) -> Self {
        self.authorization(&format!("Bearer {}", token.expose()))
    }

    /// Sends a user name and password.
    #[must_use]
    pub fn basic(self, user: &str, password: &Secret) -> Self {
        let pair = STANDARD.encode(format!("{user}:{}", password.expose()));
        self.authorization(&format!("Basic {pair}"))
    }

    fn authorization(mut self, value: &str) -> Self {
        match HeaderValue::from_str(value) {
            Ok(mut value) => {
                value.set_sensitive(true);
                self.headers.insert(header::AUTHORIZATION, value);
            }
            Err(_) => self.invalid = Some("a credential holds characters that no header can"),
        }
        self
    }

    /// Asking twice is harmless.
    #[must_use]
    pub fn idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }

    /// Redirects are answers, not followed.
    #[must_use]
    pub fn no_redirects(mut self) -> Self {
        self.redirects = Redirects::None;
        self
    }

    /// Sets who goes first.
    #[must_use]
    pub fn urgency(mut self, urgency: Urgency) -> Self {
        self.urgency = urgency;
        self
    }

    /// Waits longer for the answer, once all was sent.
    #[must_use]
    pub fn patience(mut self, wait: Duration) -> Self {
        self.patience = Some(wait);
        self
    }

    /// The same request again, if its body can be sent again.
    pub(crate) fn again(&self) -> Option<Self> {
        Some(Self {
            method: self.method.clone(),
            url: self.url.clone(),
            headers: self.headers.clone(),
            body: self.body.again()?,
            ..*self
        })
    }
}
