//! Faults on demand: a layer over any server here that answers wrongly, late or not at all when its hook says so, and
//! remembers what was asked.
//!
//! The servers themselves know nothing of it: without a hook every request passes unchanged.

use std::{
    collections::VecDeque,
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, HttpBody},
    extract::{Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use crate::server::HangUp;

/// Requests remembered; past it the oldest is forgotten.
const SEEN_MAX: usize = 10_000;

/// How long a body pauses before it is cut: while it does, the server sends what it holds, which it would drop with the
/// connection otherwise, head and all.
const FLUSH_PAUSE: Duration = Duration::from_millis(20);

/// A request as the hook sees it, before anybody handled it.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Counts from 1 in order of arrival.
    pub number: u64,
    /// Its method.
    pub method: Method,
    /// Its path as sent.
    pub path: String,
    /// Its query as sent; empty where there is none.
    pub query: String,
    /// Its headers.
    pub headers: HeaderMap,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)?;
        if self.query.is_empty() { Ok(()) } else { write!(f, "?{}", self.query) }
    }
}

/// What happens to one request.
#[derive(Debug, Clone, Default)]
pub enum Fault {
    /// Nothing: it is handled.
    #[default]
    None,
    /// Answered so, and not handled.
    Answer {
        /// The status.
        status: StatusCode,
        /// Headers beside the body's own.
        headers: Vec<(HeaderName, HeaderValue)>,
        /// The body.
        body: String,
    },
    /// The connection is closed without an answer; not handled.
    HangUp,
    /// Handled, and the connection is closed without an answer: the work is done and the asker does not know.
    HangUpAfter,
    /// No answer ever; not handled.
    Stall,
    /// The server sees the request's body break off after so many bytes.
    CutRequest {
        /// Bytes that arrive.
        after: u64,
    },
    /// The answer's body breaks off after so many bytes, its `Content-Length` notwithstanding.
    CutAnswer {
        /// Bytes that are sent.
        after: u64,
    },
    /// The answer's body stops after so many bytes, and the connection stays open.
    StallAnswer {
        /// Bytes that are sent.
        after: u64,
    },
    /// The first byte of the answer's body is another one.
    Corrupt,
    /// 307 to the same path and query under another address (`http://127.0.0.1:5001`), as to a CDN; not handled.
    Redirect {
        /// Scheme, host and port.
        base: String,
    },
    /// Handled, and this header is missing from the answer.
    DropHeader(HeaderName),
}

type Hook = Box<dyn FnMut(&Seen) -> Fault + Send>;

/// Decides the fault of each request, and remembers the requests. Clones share both.
#[derive(Clone, Default)]
pub struct Faults(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    hook: Option<Hook>,
    seen: VecDeque<Seen>,
    count: u64,
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults").field("count", &self.lock().count).finish_non_exhaustive()
    }
}

impl Faults {
    /// Asks `hook` about every request from now on. It runs under a lock: it must not wait.
    pub fn set(&self, hook: impl FnMut(&Seen) -> Fault + Send + 'static) {
        self.lock().hook = Some(Box::new(hook));
    }

    /// No more faults.
    pub fn clear(&self) {
        self.lock().hook = None;
    }

    /// The requests that came, oldest first: the last ten thousand.
    pub fn seen(&self) -> Vec<Seen> {
        self.lock().seen.iter().cloned().collect()
    }

    /// Forgets the requests that came; numbers go on.
    pub fn forget(&self) {
        self.lock().seen.clear();
    }

    /// Puts the layer over a server.
    pub(crate) fn over(self, router: Router) -> Router {
        router.layer(middleware::from_fn_with_state(self, pass))
    }

    fn note(&self, request: &Request) -> Fault {
        let mut inner = self.lock();
        inner.count += 1;
        let seen = Seen {
            number: inner.count,
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            query: request.uri().query().unwrap_or_default().to_owned(),
            headers: request.headers().clone(),
        };
        let fault = inner.hook.as_mut().map_or(Fault::None, |hook| hook(&seen));
        if inner.seen.len() == SEEN_MAX {
            inner.seen.pop_front();
        }
        inner.seen.push_back(seen);
        fault
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn pass(State(faults): State<Faults>, request: Request, next: Next) -> Response {
    match faults.note(&request) {
        Fault::None => next.run(request).await,
        Fault::Answer { status, headers, body } => {
            let mut answer = (status, body).into_response();
            answer.headers_mut().extend(headers);
            answer
        }
        Fault::HangUp => hang_up(),
        Fault::HangUpAfter => {
            drop(next.run(request).await);
            hang_up()
        }
        Fault::Stall => std::future::pending().await,
        Fault::CutRequest { after } => next.run(request.map(|body| limited(body, after, End::Cut))).await,
        Fault::CutAnswer { after } => limit_answer(next.run(request).await, after, End::Cut),
        Fault::StallAnswer { after } => limit_answer(next.run(request).await, after, End::Stall),
        Fault::Corrupt => corrupt(next.run(request).await),
        Fault::Redirect { base } => redirect(&base, &request),
        Fault::DropHeader(name) => {
            let mut answer = next.run(request).await;
            answer.headers_mut().remove(name);
            answer
        }
    }
}

fn hang_up() -> Response {
    let mut answer = Response::new(Body::empty());
    answer.extensions_mut().insert(HangUp);
    answer
}

fn redirect(base: &str, request: &Request) -> Response {
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, format!("{base}{target}"))]).into_response()
}

/// How a limited body ends.
#[derive(Clone, Copy)]
enum End {
    Cut,
    Stall,
}

fn limit_answer(answer: Response, after: u64, end: End) -> Response {
    keep_length(answer, |body| limited(body, after, end))
}

fn corrupt(answer: Response) -> Response {
    keep_length(answer, |body| {
        let mut first = true;
        Body::from_stream(body.into_data_stream().map(move |chunk| {
            let chunk = chunk?;
            if !first || chunk.is_empty() {
                return Ok::<_, axum::Error>(chunk);
            }
            first = false;
            let mut bytes = chunk.to_vec();
            bytes[0] ^= 1;
            Ok(Bytes::from(bytes))
        }))
    })
}

/// Changes a body and tells its length before the change: a body that is not what its headers say.
fn keep_length(answer: Response, change: impl FnOnce(Body) -> Body) -> Response {
    let length = answer.body().size_hint().exact();
    let mut answer = answer.map(change);
    if let (Some(length), false) = (length, answer.headers().contains_key(header::CONTENT_LENGTH)) {
        answer.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    answer
}

fn limited(body: Body, after: u64, end: End) -> Body {
    let chunks = body.into_data_stream();
    Body::from_stream(stream::unfold(Some((chunks, after)), move |state| async move {
        let (mut chunks, left) = state?;
        if left == 0 {
            return match end {
                End::Cut => {
                    tokio::time::sleep(FLUSH_PAUSE).await;
                    Some((Err(io::Error::other("cut as told")), None))
                }
                End::Stall => std::future::pending().await,
            };
        }
        let mut chunk = match chunks.next().await? {
            Ok(chunk) => chunk,
            Err(error) => return Some((Err(io::Error::other(error)), None)),
        };
        chunk.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        let left = left - chunk.len() as u64;
        Some((Ok(chunk), Some((chunks, left))))
    }))
}
