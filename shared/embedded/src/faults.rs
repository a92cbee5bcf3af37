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
    body::{Body, HttpBody, to_bytes},
    extract::{Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use serde_json::Value;

use crate::{
    koji,
    server::{HangUp, Server},
};

/// Requests remembered; past it the oldest is forgotten.
const SEEN_MAX: usize = 10_000;

/// How long a body pauses before it is cut: while it does, the server sends what it holds, which it would drop with the
/// connection otherwise, head and all.
const FLUSH_PAUSE: Duration = Duration::from_millis(20);

/// Largest call that a hook sees the body of, in bytes.
const CALL_BYTES_MAX: usize = 256 << 10;

/// Largest answer that is edited, in bytes.
const EDIT_BYTES_MAX: usize = 64 << 20;

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
    /// Its body where that says what is asked, as a call of XML-RPC does; empty for everything else.
    pub body: Bytes,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)?;
        if self.query.is_empty() { Ok(()) } else { write!(f, "?{}", self.query) }
    }
}

impl Seen {
    /// Whether the body has these letters anywhere: the name of a call, or of a build.
    pub fn mentions(&self, text: &str) -> bool {
        !text.is_empty() && self.body.windows(text.len()).any(|part| part == text.as_bytes())
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
    /// Handled, and this header of the answer says something else.
    SetHeader(HeaderName, HeaderValue),
    /// Handled at once, and answered so much later.
    Late(Duration),
    /// Handled, and the body of the answer is another one.
    Edit(Edit),
    /// Handled, and `Content-Length` is so many bytes: the body is cut there, or breaks off before.
    Length(u64),
    /// Handled as if this path and query had been asked: a mount without its query, another tag.
    Instead {
        /// Path and query.
        target: String,
    },
    /// Handled by another server: one that knows what was known once, or nothing.
    By(Server),
}

impl Fault {
    /// Answered by a status and nothing else.
    pub fn status(status: StatusCode) -> Self {
        Self::Answer { status, headers: Vec::new(), body: String::new() }
    }

    /// Answered by a status, and by how long to wait.
    pub fn retry_after(status: StatusCode, wait: Duration) -> Self {
        let headers = vec![(header::RETRY_AFTER, wait.as_secs().into())];
        Self::Answer { status, headers, body: String::new() }
    }

    /// Answered by a fault of XML-RPC.
    pub fn rpc_fault(code: i32, text: &str) -> Self {
        let body = koji::fault(code, text);
        let headers = vec![(header::CONTENT_TYPE, HeaderValue::from_static("text/xml"))];
        Self::Answer { status: StatusCode::OK, headers, body }
    }

    /// Handled, and the bytes of the answer are changed.
    pub fn edit(change: impl Fn(Bytes) -> Bytes + Send + Sync + 'static) -> Self {
        Self::Edit(Edit(Arc::new(change)))
    }

    /// Handled, and the JSON of the answer is changed; an answer that is none stays as it is.
    pub fn json(change: impl Fn(&mut Value) + Send + Sync + 'static) -> Self {
        Self::edit(move |bytes| {
            let Ok(mut value) = serde_json::from_slice(&bytes) else { return bytes };
            change(&mut value);
            value.to_string().into()
        })
    }

    /// Handled, and what a call of XML-RPC returned is changed; a fault stays as it is.
    pub fn rpc(change: impl Fn(&mut Value) + Send + Sync + 'static) -> Self {
        Self::edit(move |bytes| koji::changed(&bytes, &change).map_or(bytes, Bytes::from))
    }
}

/// A change of an answer's body.
#[derive(Clone)]
pub struct Edit(Arc<dyn Fn(Bytes) -> Bytes + Send + Sync>);

impl fmt::Debug for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Edit")
    }
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

    /// Puts the layer over a server, before it has looked at where a request goes: a fault may send it elsewhere.
    pub(crate) fn over(self, router: Router) -> Router {
        Router::new().fallback_service(router).layer(middleware::from_fn_with_state(self, pass))
    }

    fn note(&self, request: &Request, body: Bytes) -> Fault {
        let mut inner = self.lock();
        inner.count += 1;
        let seen = Seen {
            number: inner.count,
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            query: request.uri().query().unwrap_or_default().to_owned(),
            headers: request.headers().clone(),
            body,
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
    let (request, body) = read_call(request).await;
    match faults.note(&request, body) {
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
        Fault::SetHeader(name, value) => {
            let mut answer = next.run(request).await;
            answer.headers_mut().insert(name, value);
            answer
        }
        Fault::Late(wait) => {
            let answer = next.run(request).await;
            tokio::time::sleep(wait).await;
            answer
        }
        Fault::Edit(edit) => edited(next.run(request).await, &edit).await,
        Fault::Length(bytes) => mislabelled(next.run(request).await, bytes),
        Fault::Instead { target } => next.run(asking(request, &target)).await,
        Fault::By(server) => server.answer(request).await,
    }
}

/// Whether the body says what is asked, and is short.
fn is_call(headers: &HeaderMap) -> bool {
    let told = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let length = told(header::CONTENT_LENGTH).and_then(|length| length.parse::<usize>().ok());
    told(header::CONTENT_TYPE) == Some("text/xml") && length.is_some_and(|length| length <= CALL_BYTES_MAX)
}

async fn read_call(request: Request) -> (Request, Bytes) {
    if !is_call(request.headers()) {
        return (request, Bytes::new());
    }
    let (parts, body) = request.into_parts();
    match to_bytes(body, CALL_BYTES_MAX).await {
        Ok(bytes) => (Request::from_parts(parts, bytes.clone().into()), bytes),
        Err(error) => {
            let broken = Body::from_stream(stream::iter([Err::<Bytes, _>(error)]));
            (Request::from_parts(parts, broken), Bytes::new())
        }
    }
}

async fn edited(answer: Response, edit: &Edit) -> Response {
    let (mut parts, body) = answer.into_parts();
    match to_bytes(body, EDIT_BYTES_MAX).await {
        Ok(bytes) => {
            parts.headers.remove(header::CONTENT_LENGTH);
            Response::from_parts(parts, (edit.0)(bytes).into())
        }
        Err(_) => hang_up(),
    }
}

/// The length is unknown to who sends it, and so what is said of it stands.
fn mislabelled(answer: Response, bytes: u64) -> Response {
    let mut answer = answer.map(|body| Body::from_stream(body.into_data_stream()));
    answer.headers_mut().insert(header::CONTENT_LENGTH, bytes.into());
    answer
}

/// The same request for something else. A target that is none changes nothing.
fn asking(mut request: Request, target: &str) -> Request {
    if let Ok(uri) = target.parse() {
        *request.uri_mut() = uri;
    }
    request
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
