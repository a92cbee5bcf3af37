//! A server that does what a test tells it to, and remembers what it was asked.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Body, extract::Request, response::Response};
use bytes::Bytes;
use flatbus_base::Random;
use flatbus_http::{Client, HeaderMap, HostList, Method, Settings, Url};
use futures::{StreamExt as _, stream};
use tokio::task::JoinSet;

/// What was asked.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: Method,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

pub struct Double {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    /// Ends with the value.
    _tasks: JoinSet<()>,
}

impl Double {
    /// Answers in turn; past the last with 200.
    pub async fn answering(answers: impl IntoIterator<Item = Response>) -> Self {
        let answers = Mutex::new(answers.into_iter().collect::<VecDeque<_>>());
        Self::with(move |_| answers.lock().unwrap().pop_front().unwrap_or_else(|| status(200))).await
    }

    pub async fn with(answer: impl Fn(&Seen) -> Response + Send + Sync + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::on(listener, answer)
    }

    /// Answers 200 so long after the last byte.
    pub async fn slow(wait: Duration) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::waiting(listener, wait, |_| status(200))
    }

    pub fn on(
        listener: tokio::net::TcpListener,
        answer: impl Fn(&Seen) -> Response + Send + Sync + 'static,
    ) -> Self {
        Self::waiting(listener, Duration::ZERO, answer)
    }

    fn waiting(
        listener: tokio::net::TcpListener,
        wait: Duration,
        answer: impl Fn(&Seen) -> Response + Send + Sync + 'static,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (answer, all) = (Arc::new(answer), seen.clone());
        let serve = move |request: Request| {
            let (answer, all) = (answer.clone(), all.clone());
            async move {
                let (parts, body) = request.into_parts();
                let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
                let path = parts.uri.path_and_query().unwrap().to_string();
                let seen = Seen { method: parts.method, path, headers: parts.headers, body };
                all.lock().unwrap().push(seen.clone());
                tokio::time::sleep(wait).await;
                answer(&seen)
            }
        };
        let app = Router::new().fallback(serve);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { address, seen, _tasks: tasks }
    }

    pub fn url(&self, path: &str) -> Url {
        Url::parse(&format!("http://{}{path}", self.address)).unwrap()
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

pub fn status(status: u16) -> Response {
    Response::builder().status(status).body(Body::from("said")).unwrap()
}

pub fn with_header(code: u16, name: &str, value: &str) -> Response {
    Response::builder().status(code).header(name, value).body(Body::empty()).unwrap()
}

/// A body that goes on with what it has, then breaks off or stands still.
pub fn unfinished(has: &'static [u8], breaks: bool) -> Response {
    let first = stream::iter([Ok(Bytes::from_static(has))]);
    let body = if breaks {
        // Time for what it has to leave.
        let cut = stream::once(async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            Err(std::io::Error::other("cut"))
        });
        Body::from_stream(first.chain(cut))
    } else {
        Body::from_stream(first.chain(stream::pending::<Result<Bytes, std::io::Error>>()))
    };
    Response::new(body)
}

pub fn settings() -> Settings {
    Settings {
        hosts: HostList::new(["127.0.0.1:*"]),
        read_timeout: Duration::from_millis(300),
        attempts_max: 3,
        elapsed_max: Duration::from_secs(10),
        retry_wait_max: Duration::from_secs(2),
        ..Settings::default()
    }
}

pub fn client() -> Client {
    Client::new(settings(), Random::from_seed(1)).unwrap()
}
