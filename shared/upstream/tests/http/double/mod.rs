//! Koji, Bodhi and quay over HTTP, answering from the captured records, and badly when told to.

pub mod bodhi;
pub mod koji;
pub mod quay;

use std::{
    collections::VecDeque,
    fs,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::{Request, State},
    http::StatusCode,
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use flatbus_base::Random;
use flatbus_http::{Client, HostList, Settings, Url};
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinSet};

/// An answer given in place of the real one.
#[derive(Debug, Clone)]
pub enum Canned {
    /// This status and body.
    Answer(u16, String),
    /// Silence for this long, then the real answer.
    Late(Duration),
    /// A redirect.
    Redirect(String),
    /// The real answer.
    Real,
}

/// What all doubles share: canned answers, and the requests they got.
#[derive(Debug, Clone, Default)]
pub struct Script {
    canned: Arc<Mutex<VecDeque<Canned>>>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Script {
    /// The next request gets this.
    pub fn then(&self, canned: Canned) {
        self.canned.lock().unwrap().push_back(canned);
    }

    /// Method, path and query of each request, in order.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

/// A double on a free port, stopped when dropped.
pub struct Served {
    pub url: Url,
    pub script: Script,
    _server: JoinSet<()>,
}

pub async fn serve(router: Router) -> Served {
    let script = Script::default();
    let router = router.layer(middleware::from_fn_with_state(script.clone(), follow));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    let mut server = JoinSet::new();
    server.spawn(async move { axum::serve(listener, router).await.unwrap() });
    Served { url, script, _server: server }
}

async fn follow(State(script): State<Script>, request: Request, next: Next) -> Response {
    script.requests.lock().unwrap().push(format!("{} {}", request.method(), request.uri()));
    let canned = script.canned.lock().unwrap().pop_front();
    match canned {
        None | Some(Canned::Real) => next.run(request).await,
        Some(Canned::Late(late)) => {
            tokio::time::sleep(late).await;
            next.run(request).await
        }
        Some(Canned::Answer(status, body)) => (StatusCode::from_u16(status).unwrap(), body).into_response(),
        Some(Canned::Redirect(to)) => (StatusCode::FOUND, [("location", to)]).into_response(),
    }
}

/// A client that gives up at once, so that a test of failures doesn't wait for retries.
pub fn client() -> Client {
    let settings = Settings {
        hosts: HostList::new(["127.0.0.1:*"]),
        attempts_max: 1,
        connect_timeout: Duration::from_secs(10),
        read_timeout: Duration::from_secs(10),
        ..Settings::default()
    };
    Client::new(settings, Random::from_seed(1)).unwrap()
}

/// A client that waits for next to nothing.
pub fn impatient() -> Client {
    let settings = Settings {
        hosts: HostList::new(["127.0.0.1:*"]),
        attempts_max: 1,
        read_timeout: Duration::from_millis(100),
        ..Settings::default()
    };
    Client::new(settings, Random::from_seed(1)).unwrap()
}

/// Captured records, by file name.
pub fn samples(folder: &str) -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas/samples").join(folder);
    let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "no samples in {}", folder.display());
    files.iter().map(|file| serde_json::from_slice(&fs::read(file).unwrap()).unwrap()).collect()
}

pub fn text(body: &Bytes) -> &str {
    std::str::from_utf8(body).unwrap()
}
