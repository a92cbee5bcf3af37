//! The proxy that a client's HTTP goes through, so that a test sees what was asked and answered, whoever serves. Changes
//! nothing, keeps nothing back, and passes nothing on to another machine. A server that doesn't answer is a 502 here.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::Served;

/// Largest body that a client may send; ours send none.
const REQUEST_BYTES_MAX: usize = 1 << 20;

/// A request of the client's, and what came of it.
#[derive(Debug, Clone)]
pub struct Asked {
    /// `GET`
    pub method: String,
    /// Whom: `127.0.0.1:5000`.
    pub host: String,
    /// Path and query, spelled as the client spells them.
    pub path: String,
    /// As it sent them.
    pub headers: HeaderMap,
    /// The answer's; none before there is one.
    pub status: Option<u16>,
    /// The answer's.
    pub answer: HeaderMap,
}

/// A running proxy.
pub struct Tap {
    book: Arc<Book>,
    served: Served,
}

#[derive(Default)]
struct Book(Mutex<Vec<Asked>>);

impl Tap {
    pub fn start() -> Self {
        let book = Arc::new(Book::default());
        let router = Router::new().fallback(pass).with_state(Arc::clone(&book));
        Self { book, served: Served::start(router) }
    }

    /// `127.0.0.1:8080`
    pub fn host(&self) -> String {
        self.served.address.to_string()
    }

    /// What was asked since this was last called.
    pub fn take(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.book.lines())
    }
}

impl Book {
    fn lines(&self) -> MutexGuard<'_, Vec<Asked>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Asked {
    /// A header of the request.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// `GET /v2/hello/blobs/sha256:… 200`
    pub fn line(&self) -> String {
        let status = self.status.map_or("?".to_owned(), |status| status.to_string());
        format!("{} {} {status}", self.method, self.path)
    }
}

async fn pass(State(book): State<Arc<Book>>, request: Request) -> Response {
    let mut asked = Asked {
        method: request.method().to_string(),
        host: request.uri().authority().map(ToString::to_string).unwrap_or_default(),
        path: request.uri().path_and_query().map(ToString::to_string).unwrap_or_default(),
        headers: request.headers().clone(),
        status: None,
        answer: HeaderMap::new(),
    };
    let answer = if request.uri().host() == Some("127.0.0.1") {
        let answer = ask(&asked.host, &asked.path, request).await;
        answer.unwrap_or_else(|error| (StatusCode::BAD_GATEWAY, error.to_string()).into_response())
    } else {
        (StatusCode::FORBIDDEN, "Tests stay on 127.0.0.1\n").into_response()
    };
    asked.status = Some(answer.status().as_u16());
    asked.answer = answer.headers().clone();
    book.lines().push(asked);
    answer
}

/// Headers that are about one connection. The client offers HTTP/2 with them, to whoever is next.
const HOPS: [HeaderName; 5] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("http2-settings"),
    HeaderName::from_static("proxy-connection"),
];

/// On a connection of its own: the server sees the client's request, and no trace of us.
async fn ask(host: &str, path: &str, request: Request) -> anyhow::Result<Response> {
    let (parts, body) = request.into_parts();
    let body = Full::new(to_bytes(body, REQUEST_BYTES_MAX).await?);
    let mut request = http::Request::builder().method(parts.method).uri(path).body(body)?;
    *request.headers_mut() = for_the_next(parts.headers);
    let stream = TokioIo::new(TcpStream::connect(host).await?);
    let (mut sender, connection) = http1::handshake::<_, Full<Bytes>>(stream).await?;
    let asking = async move {
        let (parts, body) = sender.send_request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        let mut answer = Response::new(Body::from(body));
        (*answer.status_mut(), *answer.headers_mut()) = (parts.status, for_the_next(parts.headers));
        anyhow::Ok(answer)
    };
    let (_, answer) = tokio::join!(connection, asking);
    answer
}

fn for_the_next(mut headers: HeaderMap) -> HeaderMap {
    for hop in HOPS {
        headers.remove(hop);
    }
    headers
}
