//! The client: budget, attempt, retry, redirect. Decisions are in [`crate::retry`]; here is the doing.

use std::{sync::Arc, time::Duration};

use flatbus_base::{Clock, Random, SystemClock};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use jiff::{Timestamp, fmt::rfc2822};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::debug;
use url::Url;

use crate::{
    Error, HostUsage, Redirects, Request, Response, Settings, Transport,
    body::Progress,
    budget::Budgets,
    carrier::{Carrier, Failed, Wire},
    redact::{host_of, redacted},
    retry::{Ended, Limits, Next, Tries, decide},
};

/// Most redirects of one request.
const HOPS_MAX: u32 = 5;

/// The process's HTTP client. Clones share connections and budgets.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    carrier: Carrier,
    /// Sent with every request that doesn't say otherwise.
    standing: HeaderMap,
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
        let carrier = Carrier::sockets(&settings)?;
        Self::with_carrier(settings, random, clock, carrier)
    }

    /// A client whose requests go another way than over sockets. All that is said of [`Settings`] and [`Request`] holds
    /// but [`Settings::connect_timeout`] and [`Settings::ca_file`], which are the sockets' own.
    ///
    /// # Errors
    /// When the user agent is no header's value.
    pub fn over(
        settings: Settings,
        random: Random,
        clock: Arc<dyn Clock>,
        transport: Arc<dyn Transport>,
    ) -> Result<Self, Error> {
        Self::with_carrier(settings, random, clock, Carrier::Other(transport))
    }

    fn with_carrier(
        settings: Settings,
        random: Random,
        clock: Arc<dyn Clock>,
        carrier: Carrier,
    ) -> Result<Self, Error> {
        let standing = standing(&settings)?;
        let limits = Limits {
            attempts_max: settings.attempts_max,
            elapsed_max: settings.elapsed_max,
            retry_wait_max: settings.retry_wait_max,
        };
        let budgets = Budgets::new(clock.clone(), settings.budgets.clone());
        Ok(Self(Arc::new(Inner { carrier, standing, settings, limits, random, clock, budgets })))
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
        let (wire, progress) = wire(request, &inner.standing);
        let attempt = inner.carrier.carry(wire, host);
        let attempt = watched(attempt, &progress, silence_max, patience, host);
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

fn why(outcome: &Result<Response, Failed>) -> String {
    match outcome {
        Ok(response) => response.status.to_string(),
        Err(failed) => failed.error.to_string(),
    }
}

fn standing(settings: &Settings) -> Result<HeaderMap, Error> {
    let setup = |_| Error::Setup { why: "the user agent is no header's value".to_owned() };
    let agent = HeaderValue::from_str(&settings.user_agent).map_err(setup)?;
    Ok(HeaderMap::from_iter([(header::USER_AGENT, agent), (header::ACCEPT, HeaderValue::from_static("*/*"))]))
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

fn wire(request: Request, standing: &HeaderMap) -> (Wire, Progress) {
    let Request { method, url, mut headers, body, .. } = request;
    let bodied = matches!(method, Method::POST | Method::PUT | Method::PATCH);
    let (body, size, progress) = body.wire();
    for (name, value) in standing {
        headers.entry(name).or_insert_with(|| value.clone());
    }
    if let Some(size) = size.filter(|_| bodied || !body.is_empty()) {
        headers.insert(header::CONTENT_LENGTH, size.into());
    }
    (Wire { method, url, headers, body }, progress)
}

/// Waits for the answer's head: as long as the body moves, and `patience` after its end.
async fn watched(
    attempt: impl Future<Output = Result<reqwest::Response, Failed>>,
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
            Ok(Err(_)) if let Some(why) = progress.gave_out() => return Err(gave_out(host, why)),
            Ok(outcome) => return outcome,
            Err(_) if progress.seen() != before => {}
            Err(_) => return Err(silence(host, "waiting for its answer", wait)),
        }
    }
}

/// Only its maker can make the body again.
fn gave_out(host: &str, why: &str) -> Failed {
    let error = Error::Source { host: host.to_owned(), why: why.to_owned() };
    Failed { ended: Ended::Hopeless, error }
}

fn silence(host: &str, phase: &'static str, after: Duration) -> Failed {
    Failed { ended: Ended::Unknown, error: Error::Timeout { host: host.to_owned(), phase, after } }
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
