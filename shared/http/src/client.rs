//! The client: budget, attempt, retry, redirect. Decisions are in [`crate::retry`]; here is the doing.

use std::{error::Error as _, fs, io, sync::Arc, time::Duration};

use flatbus_base::{Clock, Random, SystemClock, chain};
use http::{HeaderMap, Method, StatusCode, header};
use jiff::{Timestamp, fmt::rfc2822};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::debug;
use url::Url;

use crate::{
    Error, HostUsage, Redirects, Request, Response, Settings,
    body::{Progress, SourceEnded},
    budget::Budgets,
    redact::{host_of, redacted},
    retry::{Ended, Limits, Next, Tries, decide},
};

/// Most redirects of one request.
const HOPS_MAX: u32 = 5;
/// Connections kept open to one host between requests.
const IDLE_CONNECTIONS_MAX: usize = 16;
/// How long they are kept: below the minute or so after which most servers close them under our feet.
const IDLE_TIMEOUT: Duration = Duration::from_secs(45);

/// The process's HTTP client. Clones share connections and budgets.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    http: reqwest::Client,
    settings: Settings,
    limits: Limits,
    random: Random,
    clock: Arc<dyn Clock>,
    budgets: Budgets,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("hosts", &self.0.settings.hosts).finish_non_exhaustive()
    }
}

impl Client {
    /// A client of the given settings, on the machine's clock.
    ///
    /// # Errors
    /// When the certificate file can't be read or used.
    pub fn new(settings: Settings, random: Random) -> Result<Self, Error> {
        Self::with_clock(settings, random, Arc::new(SystemClock))
    }

    /// A client on another clock.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_clock(settings: Settings, random: Random, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let http = transport(&settings)?;
        let limits = Limits {
            attempts_max: settings.attempts_max,
            elapsed_max: settings.elapsed_max,
            retry_wait_max: settings.retry_wait_max,
        };
        let budgets = Budgets::new(clock.clone(), settings.budgets.clone());
        Ok(Self(Arc::new(Inner { http, settings, limits, random, clock, budgets })))
    }

    /// Whether the URL's host is among those that may be contacted.
    pub fn allows(&self, url: &Url) -> bool {
        self.0.settings.hosts.allows(url)
    }

    /// What each host was asked so far.
    pub fn usage(&self) -> Vec<HostUsage> {
        self.0.budgets.usage()
    }

    /// Sends a request, retries what waiting for seconds may cure, and follows redirects as told.
    ///
    /// Every answer that waiting can't cure is `Ok`, whatever its status.
    ///
    /// # Errors
    /// When no such answer came within the limits.
    pub async fn send(&self, request: Request) -> Result<Response, Error> {
        let asked = host_of(&request.url);
        let deadline = self.0.settings.total_timeout.map(|total| self.0.clock.monotonic() + total);
        let mut request = request;
        for _ in 0..=HOPS_MAX {
            let redirects = request.redirects;
            let (spare, response) = self.retried(request, deadline).await?;
            let Redirects::Follow { drop_auth } = redirects else { return Ok(response) };
            match spare.map(|spare| redirected(spare, &response, drop_auth)).transpose()?.flatten() {
                None => return Ok(response),
                Some(next) => request = next,
            }
        }
        Err(Error::RedirectLoop { host: asked, hops_max: HOPS_MAX })
    }

    /// The one retry loop. Gives back the request, if it can be sent again, with its answer.
    async fn retried(
        &self,
        mut request: Request,
        deadline: Option<Instant>,
    ) -> Result<(Option<Request>, Response), Error> {
        let inner = &self.0;
        let host = host_of(&request.url);
        let began = inner.clock.monotonic();
        let mut made = 0;
        loop {
            made += 1;
            let (spare, idempotent) = (request.again(), request.idempotent);
            let outcome = self.once(request, &host, deadline).await;
            let elapsed = inner.clock.monotonic().saturating_duration_since(began);
            let tries = Tries { made, elapsed, idempotent, repeatable: spare.is_some() };
            match (decide(self.ended(&outcome), tries, inner.limits), outcome, spare) {
                (Next::Answer, Ok(response), spare) => return Ok((spare, response)),
                (Next::Again { wait, told }, outcome, Some(spare)) => {
                    // A told wait is a minimum; jitter goes on top of it.
                    let wait =
                        if told { wait + inner.random.jitter(wait / 10) } else { inner.random.jitter(wait) };
                    debug!(http.host = %host, wait_ms = wait.as_millis(), made, "Trying again: {}", why(&outcome));
                    drop(outcome);
                    sleep(wait).await;
                    request = spare;
                }
                (Next::Limited(wait), ..) => return Err(Error::Limited { host, wait }),
                (_, Err(failed), _) => return Err(failed.error),
                (_, Ok(response), _) => return Err(response.into_error().await),
            }
        }
    }

    fn ended(&self, outcome: &Result<Response, Failed>) -> Ended {
        match outcome {
            Ok(response) => {
                let retry_after = retry_after(&response.headers, self.0.clock.wall());
                Ended::Answered { status: response.status, retry_after }
            }
            Err(failed) => failed.ended,
        }
    }

    /// One attempt, up to the answer's head.
    async fn once(
        &self,
        request: Request,
        host: &str,
        deadline: Option<Instant>,
    ) -> Result<Response, Failed> {
        let inner = &self.0;
        check(&request, inner.settings.hosts.allows(&request.url), host)?;
        inner.budgets.turn(host, request.urgency).await;
        let url = request.url.clone();
        let silence_max = inner.settings.read_timeout;
        let patience = request.patience.unwrap_or_default().max(silence_max);
        let (wire, progress) = wire(&inner.http, request).map_err(|error| failed(host, error))?;
        let attempt = watched(inner.http.execute(wire), &progress, silence_max, patience, host);
        let response = match deadline {
            None => attempt.await?,
            Some(deadline) => timeout_at(deadline, attempt).await.map_err(|_| {
                silence(host, "the whole of it", inner.settings.total_timeout.unwrap_or_default())
            })??,
        };
        let response = self.response(response, url, host, deadline);
        if response.status == StatusCode::TOO_MANY_REQUESTS {
            inner.budgets.limited(host, retry_after(&response.headers, inner.clock.wall()));
        }
        Ok(response)
    }

    fn response(
        &self,
        mut inner: reqwest::Response,
        url: Url,
        host: &str,
        deadline: Option<Instant>,
    ) -> Response {
        let headers = std::mem::take(inner.headers_mut());
        let read_timeout = self.0.settings.read_timeout;
        Response {
            status: inner.status(),
            headers,
            url,
            host: host.to_owned(),
            inner,
            read_timeout,
            deadline,
        }
    }
}

/// An attempt that brought no answer.
pub(crate) struct Failed {
    pub(crate) ended: Ended,
    pub(crate) error: Error,
}

fn why(outcome: &Result<Response, Failed>) -> String {
    match outcome {
        Ok(response) => response.status.to_string(),
        Err(failed) => failed.error.to_string(),
    }
}

fn transport(settings: &Settings) -> Result<reqwest::Client, Error> {
    let mut builder = reqwest::Client::builder()
        .user_agent(&settings.user_agent)
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
        let setup =
            |why: String| Error::Setup { why: format!("cannot use {} as CA file: {why}", path.display()) };
        let pem = fs::read(path).map_err(|error| setup(error.to_string()))?;
        let certificates =
            reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| setup(chain(&error)))?;
        if certificates.is_empty() {
            return Err(setup("it holds no certificate".to_owned()));
        }
        builder = builder.tls_certs_merge(certificates);
    }
    builder.build().map_err(|error| Error::Setup { why: format!("cannot set up HTTP: {}", chain(&error)) })
}

/// Refuses what must not leave this process.
fn check(request: &Request, allowed: bool, host: &str) -> Result<(), Failed> {
    let hopeless = |error| Err(Failed { ended: Ended::Hopeless, error });
    if let Some(why) = request.invalid {
        return hopeless(Error::Setup { why: format!("cannot ask {host}: {why}") });
    }
    if !matches!(request.url.scheme(), "http" | "https") || has_user(&request.url) {
        let why = format!("cannot ask {host}: only http and https, and no user name in the address");
        return hopeless(Error::Setup { why });
    }
    if allowed { Ok(()) } else { hopeless(Error::ForbiddenHost { host: host.to_owned() }) }
}

fn has_user(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

fn wire(http: &reqwest::Client, request: Request) -> Result<(reqwest::Request, Progress), reqwest::Error> {
    let bodied = matches!(request.method, Method::POST | Method::PUT | Method::PATCH);
    let (body, size, progress) = request.body.wire();
    let mut builder = http.request(request.method, request.url).headers(request.headers);
    if let Some(size) = size.filter(|_| bodied || body.is_some()) {
        builder = builder.header(header::CONTENT_LENGTH, size);
    }
    if let Some(body) = body {
        builder = builder.body(body);
    }
    Ok((builder.build()?, progress))
}

/// Waits for the answer's head: as long as the body moves, and `patience` after its end.
async fn watched(
    attempt: impl Future<Output = Result<reqwest::Response, reqwest::Error>>,
    progress: &Progress,
    silence_max: Duration,
    patience: Duration,
    host: &str,
) -> Result<reqwest::Response, Failed> {
    let mut attempt = std::pin::pin!(attempt);
    loop {
        let (before, ended) = (progress.seen(), progress.ended());
        let wait = if ended { patience } else { silence_max };
        match timeout(wait, &mut attempt).await {
            Ok(outcome) => return outcome.map_err(|error| failed(host, error)),
            Err(_) if progress.seen() != before => {}
            Err(_) => return Err(silence(host, "waiting for its answer", wait)),
        }
    }
}

fn silence(host: &str, phase: &'static str, after: Duration) -> Failed {
    Failed { ended: Ended::Unknown, error: Error::Timeout { host: host.to_owned(), phase, after } }
}

/// Sorts what the transport reports. Its URL is taken out: it may hold a signature.
pub(crate) fn failed(host: &str, error: reqwest::Error) -> Failed {
    let error = error.without_url();
    let (host, why) = (host.to_owned(), chain(&error));
    if let Some(ended) = find::<SourceEnded>(&error) {
        return Failed { ended: Ended::Hopeless, error: Error::Source { host, why: ended.0.clone() } };
    }
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

/// `Retry-After` as a wait: seconds, or a date.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(Duration::try_from(until.duration_since(now)).unwrap_or(Duration::ZERO))
}

/// The request after a redirect; `None` where the answer is no redirect to follow.
fn redirected(mut request: Request, response: &Response, drop_auth: bool) -> Result<Option<Request>, Error> {
    let read = matches!(request.method, Method::GET | Method::HEAD);
    let follows = match response.status.as_u16() {
        301..=303 => read,
        307 | 308 => true,
        _ => false,
    };
    if !follows {
        return Ok(None);
    }
    let bad = |why| Error::BadRedirect { host: response.host.clone(), why };
    let location = response.header(&header::LOCATION).ok_or_else(|| bad("it doesn't say where to"))?;
    let mut to = request.url.join(location).map_err(|_| bad("it names no URL"))?;
    to.set_fragment(None);
    if has_user(&to) {
        return Err(bad("it puts a user name in the address"));
    }
    if request.url.scheme() == "https" && to.scheme() != "https" {
        return Err(bad("it leads from https to an open connection"));
    }
    if drop_auth || to.origin() != request.url.origin() {
        for name in [header::AUTHORIZATION, header::COOKIE, header::PROXY_AUTHORIZATION] {
            request.headers.remove(name);
        }
    }
    debug!(http.host = %response.host, "Redirected to {}", redacted(&to));
    request.url = to;
    Ok(Some(request))
}
