//! Where a verb asks: the running unit's socket, or, when no unit runs, the same router in this process on the unit's store.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, anyhow, bail};
use axum::body::Body;
use flatbus_bus::Publisher;
use flatbus_runtime::{Progress, Unwatched, admin::Refusal};
use futures::StreamExt;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{net::UnixStream, task::JoinSet};
use tower::ServiceExt;

use super::{
    args::{Common, Name},
    wired::{AnyUnit, Loaded},
    wiring::{self, Opening},
};

/// Longest answer taken into memory, in bytes.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Somebody who answers.
pub struct Desk {
    place: Place,
}

enum Place {
    /// The unit runs: its socket.
    Socket(PathBuf),
    /// It doesn't: its store, in this process.
    Store(Box<dyn AnyUnit>),
}

impl Desk {
    /// Finds the running unit, or opens its store.
    pub async fn open(common: &Common, consumer: Name) -> anyhow::Result<Self> {
        let config = wiring::load(common, consumer)?;
        let socket = config.runtime.socket.clone();
        if let Some(place) = answering(&socket).await? {
            return Ok(Self { place });
        }
        let unit = wiring::open_unit(config, Opening::by_hand(Arc::new(Unwatched))).await?;
        Ok(Self { place: Place::Store(unit) })
    }

    /// Whether a running unit answers.
    pub fn is_running(&self) -> bool {
        matches!(self.place, Place::Socket(_))
    }

    /// Settles what is due in this process, told to `progress`. Only where no unit runs: the store is opened anew, with
    /// somebody who watches.
    pub async fn settle_here(
        self,
        config: Loaded,
        publisher: &dyn Publisher,
        progress: Arc<dyn Progress>,
        limit: Duration,
    ) -> anyhow::Result<Self> {
        self.close().await?;
        let unit = wiring::open_unit(config, Opening::by_hand(progress)).await?;
        // Cut short, what was in work is doubtful as before.
        let _ = tokio::time::timeout(limit, unit.settle_due(publisher)).await;
        Ok(Self { place: Place::Store(unit) })
    }

    /// The store's unit, when none runs.
    pub fn unit(&self) -> Option<&dyn AnyUnit> {
        match &self.place {
            Place::Socket(_) => None,
            Place::Store(unit) => Some(&**unit),
        }
    }

    /// Asks.
    pub async fn get<T: DeserializeOwned>(&self, path: &str, query: &impl Serialize) -> anyhow::Result<T> {
        let uri = format!("{path}?{}", serde_urlencoded::to_string(query)?);
        read(self.call(Request::get(uri).body(Body::empty())?).await?).await
    }

    /// Tells.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> anyhow::Result<T> {
        let request = Request::post(path)
            .header("content-type", "application/json")
            .body(Body::from(serde_json::to_vec(body)?))?;
        read(self.call(request).await?).await
    }

    /// Sends lines.
    pub async fn post_lines<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &impl Serialize,
        lines: Vec<u8>,
    ) -> anyhow::Result<T> {
        let uri = format!("{path}?{}", serde_urlencoded::to_string(query)?);
        read(self.call(Request::post(uri).body(Body::from(lines))?).await?).await
    }

    /// Reads an answer line by line as it comes.
    pub async fn lines(
        &self,
        request: Request<Body>,
        mut each: impl FnMut(&[u8]) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let answer = self.call(request).await?;
        if !answer.status().is_success() {
            return read::<()>(answer).await;
        }
        let mut pending = Vec::new();
        let mut chunks = answer.into_body().into_data_stream();
        while let Some(chunk) = chunks.next().await {
            pending.extend_from_slice(&chunk.context("the answer was cut")?);
            while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = pending.drain(..=end).collect();
                each(&line[..end])?;
            }
        }
        Ok(())
    }

    async fn call(&self, request: Request<Body>) -> anyhow::Result<Response<Body>> {
        match &self.place {
            Place::Socket(path) => call_socket(path, request)
                .await
                .with_context(|| format!("asking the unit on {}", path.display())),
            Place::Store(unit) => {
                Ok(unit.router().oneshot(request).await.unwrap_or_else(|never| match never {}))
            }
        }
    }

    /// Closes the store, where it was opened here.
    pub async fn close(self) -> anyhow::Result<()> {
        match self.place {
            Place::Socket(_) => Ok(()),
            Place::Store(unit) => Ok(unit.close().await?),
        }
    }
}

/// The socket, if somebody answers on it. A socket without anybody is as good as none.
async fn answering(socket: &std::path::Path) -> anyhow::Result<Option<Place>> {
    match UnixStream::connect(socket).await {
        Ok(_) => Ok(Some(Place::Socket(socket.to_owned()))),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            Ok(None)
        }
        Err(error) => {
            Err(anyhow!(error)
                .context(format!("the unit's socket {} (are you in its group?)", socket.display())))
        }
    }
}

async fn call_socket(path: &std::path::Path, request: Request<Body>) -> anyhow::Result<Response<Body>> {
    let stream = UnixStream::connect(path).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let mut driving = JoinSet::new();
    driving.spawn(connection);
    let answer = sender.send_request(host(request)?).await?;
    // The connection lives as long as the body is read.
    Ok(answer.map(|body| {
        Body::new(body.map_err(move |error| {
            let _ = &driving;
            error
        }))
    }))
}

/// HTTP/1.1 wants a host, also where there is none.
fn host(mut request: Request<Body>) -> anyhow::Result<Request<Body>> {
    request.headers_mut().insert("host", "flatbus".parse()?);
    Ok(request)
}

async fn read<T: DeserializeOwned>(answer: Response<Body>) -> anyhow::Result<T> {
    let status = answer.status();
    let bytes = http_body_util::Limited::new(answer.into_body(), ANSWER_BYTES_MAX)
        .collect()
        .await
        .map_err(|error| anyhow!("the answer could not be read: {error}"))?
        .to_bytes();
    if status.is_success() {
        return serde_json::from_slice(&bytes)
            .context("the answer is not what this version expects; is the unit of another version?");
    }
    match serde_json::from_slice::<Refusal>(&bytes) {
        Ok(refusal) => bail!("{}", refusal.error),
        Err(_) => bail!("{status}: {}", String::from_utf8_lossy(&bytes)),
    }
}
