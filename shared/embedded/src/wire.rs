//! A network inside this process: requests go from a client to the servers on it as calls, without sockets, threads or real
//! time, so that one seed and paused time repeat a run to the byte.
//!
//! It frames bodies as a connection does, breaks them as a connection breaks, and knows which hosts are down. There is no
//! TLS: `http://name/` and `https://name/` are the same server, which is told only the scheme. Never answers anything
//! itself.

mod body;

use std::{
    collections::BTreeMap,
    fmt,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, HttpBody as _},
    response::Response,
};
use flatbus_base::{Clock, Random};
use flatbus_http::{Chunks, Client, NotCarried, Settings, Transport};
use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream};
use http::{HeaderValue, Method, Request, StatusCode, header};
use tokio::{
    runtime::Handle as Runtime,
    task::{JoinSet, yield_now},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use self::body::Framed;
use crate::server::{Handle, Server, unless_hung_up};

/// How long a host that is silent is waited for: what a client's time-out for connecting is by default.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a server goes on with a request whose asker is gone, as one does that notices late or not at all.
const ORPHAN_TIMEOUT: Duration = Duration::from_secs(2);

/// Most such requests at once; more end with their askers.
const ORPHANS_MAX: usize = 1_000;

/// A network. Clones are the same network.
#[derive(Clone, Default)]
pub struct Wire(Arc<Inner>);

#[derive(Default)]
struct Inner {
    hosts: Mutex<BTreeMap<String, Host>>,
    latency: Mutex<Option<(Random, Duration)>>,
    orphans: Mutex<JoinSet<()>>,
}

#[derive(Default)]
struct Host {
    reach: Reach,
    plugged: Option<Plugged>,
    asked: u64,
}

#[derive(Clone)]
struct Plugged {
    server: Server,
    /// Ends with the server.
    gone: CancellationToken,
    /// Ends what is under way.
    cut: CancellationToken,
}

impl Plugged {
    fn cut(&mut self) {
        std::mem::replace(&mut self.cut, self.gone.child_token()).cancel();
    }
}

/// A server's place on a wire; it is there no more when this is dropped.
pub(crate) struct Plug {
    wire: Weak<Inner>,
    name: String,
    gone: CancellationToken,
}

impl fmt::Debug for Plug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Plug").field(&self.name).finish()
    }
}

impl Drop for Plug {
    fn drop(&mut self) {
        self.gone.cancel();
        let Some(wire) = self.wire.upgrade() else { return };
        let mut hosts = lock(&wire.hosts);
        let host = hosts.get_mut(&self.name);
        // Dropped once the lock is open: the server may hold what uses this wire.
        let gone = host.and_then(|host| host.plugged.take_if(|plugged| plugged.gone.is_cancelled()));
        drop(hosts);
        drop(gone);
    }
}

/// Whether a host can be reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reach {
    /// It can, if a server is there.
    #[default]
    Up,
    /// Connections are refused.
    Refused,
    /// Nobody answers to a connection, which is given up after ten seconds.
    Silent,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("hosts", &lock(&self.0.hosts).keys().collect::<Vec<_>>()).finish()
    }
}

impl Wire {
    /// A network without a host.
    pub fn new() -> Self {
        Self::default()
    }

    /// A client on this network.
    ///
    /// # Errors
    /// When the user agent is no header's value.
    pub fn client(
        &self,
        settings: Settings,
        random: Random,
        clock: Arc<dyn Clock>,
    ) -> Result<Client, flatbus_http::Error> {
        Client::over(settings, random, clock, Arc::new(self.clone()))
    }

    /// Every request takes a part of so long, chosen by `random`, to arrive: those made together arrive in any order.
    pub fn set_latency(&self, random: Random, latency_max: Duration) {
        *lock(&self.0.latency) = Some((random, latency_max));
    }

    /// Whether a host can be reached from now on. What is under way goes on.
    pub fn set(&self, host: &str, reach: Reach) {
        self.host(host, |host| host.reach = reach);
    }

    /// Breaks everything that is under way with a host.
    pub fn cut(&self, host: &str) {
        self.host(host, |host| host.plugged.iter_mut().for_each(Plugged::cut));
    }

    /// Breaks everything that is under way.
    pub fn cut_all(&self) {
        lock(&self.0.hosts).values_mut().filter_map(|host| host.plugged.as_mut()).for_each(Plugged::cut);
    }

    /// How often each host was asked, also those that are not there.
    pub fn asked(&self) -> BTreeMap<String, u64> {
        let hosts = lock(&self.0.hosts);
        let asked = hosts.iter().filter(|(_, host)| host.asked > 0);
        asked.map(|(name, host)| (name.clone(), host.asked)).collect()
    }

    /// Puts a server under a name; one that was there before is there no more.
    pub(crate) fn serve(&self, name: &str, router: Router) -> Handle {
        let name = name.to_ascii_lowercase();
        let gone = CancellationToken::new();
        let plugged = Plugged { server: Server::new(router), cut: gone.child_token(), gone: gone.clone() };
        let before = self.host(&name, |host| host.plugged.replace(plugged));
        if let Some(before) = before {
            before.gone.cancel();
        }
        let plug = Plug { wire: Arc::downgrade(&self.0), name: name.clone(), gone };
        Handle::on_wire(name, plug)
    }

    fn host<T>(&self, name: &str, change: impl FnOnce(&mut Host) -> T) -> T {
        let mut hosts = lock(&self.0.hosts);
        change(hosts.entry(name.to_ascii_lowercase()).or_default())
    }

    async fn exchange(self, request: Request<Chunks>) -> Result<http::Response<Chunks>, NotCarried> {
        let name = request.uri().authority().map(ToString::to_string).unwrap_or_default();
        self.host(&name, |host| host.asked += 1);
        self.on_its_way().await;
        let Plugged { server, gone, cut } = self.connect(&name).await?;
        let line = cut.child_token();
        let bodiless = *request.method() == Method::HEAD;
        let (request, fell_short) = arriving(request, &name, &line);
        let work = Some(server.answer(request).boxed());
        let asked = Asked { work, line: line.clone(), gone, wire: self };
        let broken = |why: &str| NotCarried::Cut(why.to_owned());
        let answer = line.run_until_cancelled(asked).await.ok_or_else(|| broken("it was cut"))?;
        let answer = unless_hung_up(answer).map_err(|error| broken(&error.to_string()))?;
        if fell_short.load(Ordering::Relaxed) {
            return Err(broken("the request's body broke off"));
        }
        Ok(returning(answer, bodiless, &line))
    }

    async fn connect(&self, name: &str) -> Result<Plugged, NotCarried> {
        let (reach, plugged) = self.host(name, |host| (host.reach, host.plugged.clone()));
        let refused = |why: &str| NotCarried::Refused(why.to_owned());
        match (reach, plugged) {
            (Reach::Up, Some(plugged)) => Ok(plugged),
            (Reach::Up, None) => Err(refused("no such host")),
            (Reach::Refused, _) => Err(refused("connection refused")),
            (Reach::Silent, _) => {
                sleep(CONNECT_TIMEOUT).await;
                Err(refused("nobody answers"))
            }
        }
    }

    /// A network always lets others go on meanwhile.
    async fn on_its_way(&self) {
        let wait = lock(&self.0.latency).as_ref().map(|(random, max)| {
            Duration::from_millis(random.below(u64::try_from(max.as_millis()).unwrap_or(u64::MAX)))
        });
        match wait {
            Some(wait) => sleep(wait).await,
            None => yield_now().await,
        }
    }
}

impl Transport for Wire {
    fn carry(
        &self,
        request: Request<Chunks>,
    ) -> BoxFuture<'static, Result<http::Response<Chunks>, NotCarried>> {
        self.clone().exchange(request).boxed()
    }
}

/// A request that its server works on. Where its asker goes first, the body breaks off and the server goes on for a
/// moment: what it got until then it may keep, and what it was asked it may do.
struct Asked {
    work: Option<BoxFuture<'static, Response>>,
    line: CancellationToken,
    gone: CancellationToken,
    wire: Wire,
}

impl Future for Asked {
    type Output = Response;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response> {
        let Some(work) = &mut self.work else { return Poll::Pending };
        let answer = ready!(work.poll_unpin(cx));
        self.work = None;
        Poll::Ready(answer)
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let Some(work) = self.work.take() else { return };
        self.line.cancel();
        let gone = self.gone.clone();
        let rest = async move { drop(gone.run_until_cancelled(timeout(ORPHAN_TIMEOUT, work)).await) };
        let Ok(runtime) = Runtime::try_current() else { return };
        let mut orphans = lock(&self.wire.0.orphans);
        while orphans.try_join_next().is_some() {}
        if orphans.len() < ORPHANS_MAX {
            orphans.spawn_on(rest, &runtime);
        } else {
            drop(orphans); // What ends with the rest may be an asker too.
        }
    }
}

/// A request as a server sees it.
fn arriving(
    request: Request<Chunks>,
    name: &str,
    line: &CancellationToken,
) -> (Request<Body>, Arc<AtomicBool>) {
    let (mut parts, chunks) = request.into_parts();
    if let Ok(name) = HeaderValue::from_str(name) {
        parts.headers.entry(header::HOST).or_insert(name);
    }
    let (body, fell_short) = Framed::request(chunks, &parts.headers, line);
    (Request::from_parts(parts, body), fell_short)
}

/// An answer as its asker sees it.
fn returning(answer: Response, bodiless: bool, line: &CancellationToken) -> http::Response<Chunks> {
    let (mut parts, body) = answer.into_parts();
    // A length is told of a body that does not come, too; but never that nothing doesn't come.
    if let Some(size) = body.size_hint().exact().filter(|size| *size > 0 || !bodiless) {
        parts.headers.entry(header::CONTENT_LENGTH).or_insert(size.into());
    }
    if parts.status == StatusCode::NO_CONTENT {
        parts.headers.remove(header::CONTENT_LENGTH);
    }
    if bodiless || matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        return http::Response::from_parts(parts, stream::empty().boxed());
    }
    let chunks = Framed::answer(body, &parts.headers, line);
    http::Response::from_parts(parts, chunks)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
