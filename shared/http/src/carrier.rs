//! The way requests go, and what becomes of those that are not answered: sockets and TLS by reqwest, or a
//! [`Transport`]. Decides nothing about a request: that is [`crate::Client`]'s.

use std::{error::Error as _, fs, io, sync::Arc, time::Duration};

use flatbus_base::chain;
use http::{HeaderMap, Method};
use url::Url;

use crate::{Chunks, Error, NotCarried, Settings, Transport, body::Outgoing, retry::Ended};

/// Connections kept open to one host between requests.
const IDLE_CONNECTIONS_MAX: usize = 16;
/// How long they are kept: below the minute or so after which most servers close them under our feet.
const IDLE_TIMEOUT: Duration = Duration::from_secs(45);

/// The way requests go.
pub(crate) enum Carrier {
    Sockets(reqwest::Client),
    Other(Arc<dyn Transport>),
}

impl Carrier {
    /// Sockets and TLS as the settings want them.
    pub(crate) fn sockets(settings: &Settings) -> Result<Self, Error> {
        let mut builder = reqwest::Client::builder()
            .connect_timeout(settings.connect_timeout)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .tcp_nodelay(true)
            // Ours, where they can be bounded, counted and tested.
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .referer(false);
        if let Some(path) = &settings.ca_file {
            let setup = |why: String| Error::Setup {
                why: format!("cannot use {} as CA file: {why}", path.display()),
            };
            let pem = fs::read(path).map_err(|error| setup(error.to_string()))?;
            let certificates =
                reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| setup(chain(&error)))?;
            if certificates.is_empty() {
                return Err(setup("it holds no certificate".to_owned()));
            }
            builder = builder.tls_certs_merge(certificates);
        }
        let http = builder.build();
        http.map(Self::Sockets)
            .map_err(|error| Error::Setup { why: format!("cannot set up HTTP: {}", chain(&error)) })
    }

    pub(crate) async fn carry(&self, wire: Wire, host: &str) -> Result<reqwest::Response, Failed> {
        match self {
            Self::Sockets(http) => {
                http.execute(wire.over_sockets()).await.map_err(|error| failed(host, error))
            }
            Self::Other(transport) => {
                let request = wire.request(host)?;
                let answer = transport.carry(request).await.map_err(|error| not_carried(host, error))?;
                Ok(answer.map(reqwest::Body::wrap_stream).into())
            }
        }
    }
}

fn not_carried(host: &str, error: NotCarried) -> Failed {
    let host = host.to_owned();
    match error {
        NotCarried::Refused(why) => Failed { ended: Ended::NotSent, error: Error::Connect { host, why } },
        NotCarried::Cut(why) => Failed { ended: Ended::Unknown, error: Error::Cut { host, why } },
    }
}

/// An attempt that brought no answer.
pub(crate) struct Failed {
    pub(crate) ended: Ended,
    pub(crate) error: Error,
}

/// A request as it leaves.
pub(crate) struct Wire {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Outgoing,
}

impl Wire {
    fn over_sockets(self) -> reqwest::Request {
        let mut request = reqwest::Request::new(self.method, self.url);
        *request.headers_mut() = self.headers;
        *request.body_mut() = self.body.over_sockets();
        request
    }

    fn request(self, host: &str) -> Result<http::Request<Chunks>, Failed> {
        let request = http::Request::builder().method(self.method).uri(self.url.as_str());
        let mut request = request.body(self.body.chunks()).map_err(|error| Failed {
            ended: Ended::Hopeless,
            error: Error::Setup { why: format!("cannot ask {host}: {error}") },
        })?;
        *request.headers_mut() = self.headers;
        Ok(request)
    }
}

/// Sorts what sockets and TLS report. Its URL is taken out: it may hold a signature.
pub(crate) fn failed(host: &str, error: reqwest::Error) -> Failed {
    let error = error.without_url();
    let (host, why) = (host.to_owned(), chain(&error));
    if let Some(tls) = find::<rustls::Error>(&error) {
        let certificate = matches!(tls, rustls::Error::InvalidCertificate(_));
        let ended = if certificate { Ended::Hopeless } else { Ended::NotSent };
        return Failed { ended, error: Error::Tls { host, why: tls.to_string() } };
    }
    if error.is_builder() {
        return Failed {
            ended: Ended::Hopeless,
            error: Error::Setup { why: format!("cannot ask {host}: {why}") },
        };
    }
    if error.is_connect() {
        return Failed { ended: Ended::NotSent, error: Error::Connect { host, why } };
    }
    Failed { ended: Ended::Unknown, error: Error::Cut { host, why } }
}

/// The first cause of this type; looks into `io::Error`s, which hide what they wrap from `source`.
fn find<'a, T: std::error::Error + 'static>(error: &'a reqwest::Error) -> Option<&'a T> {
    let mut next: Option<&'a (dyn std::error::Error + 'static)> = error.source();
    while let Some(cause) = next {
        if let Some(found) = cause.downcast_ref::<T>() {
            return Some(found);
        }
        let wrapped = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => cause.source(),
        };
    }
    None
}
