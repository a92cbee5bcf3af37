//! Who asks before the ledger is open is told "alive, not ready": a probe that got no answer would kill a process that
//! only waits for the one before it to let go.

use std::{io, net::SocketAddr};

use axum::{Json, Router, http::StatusCode, routing::get};
use serde_json::json;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::serve_tcp;

/// Answers until it is closed.
pub struct Lobby {
    stop: CancellationToken,
    serving: JoinSet<io::Result<()>>,
}

impl Lobby {
    /// Opens on `monitoring`'s address; on none, nobody can ask.
    ///
    /// # Errors
    /// When the address can't be listened on.
    pub async fn open(address: Option<SocketAddr>) -> io::Result<Self> {
        let stop = CancellationToken::new();
        let mut serving = JoinSet::new();
        if let Some(address) = address {
            let named =
                |error: io::Error| io::Error::new(error.kind(), format!("monitoring on {address}: {error}"));
            let listener = TcpListener::bind(address).await.map_err(named)?;
            serving.spawn(serve_tcp(listener, routes(), stop.clone()));
        }
        Ok(Self { stop, serving })
    }

    /// Frees the address.
    pub async fn close(mut self) {
        self.stop.cancel();
        self.serving.shutdown().await;
    }
}

fn routes() -> Router {
    let waiting = json!({"consuming": false, "published": 0, "reason": "the ledger is not open yet"});
    Router::new()
        .route("/live", get(async || Json(json!({"status": "OK"}))))
        .route("/ready", get(async move || (StatusCode::SERVICE_UNAVAILABLE, Json(waiting))))
}
