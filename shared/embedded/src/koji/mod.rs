//! A Koji hub in this process: XML-RPC answers from build records, in exactly Koji's shapes.
//!
//! Only reads, and only the calls that say what a build is: `getBuild`, `listBuilds`, `listArchives`,
//! `getAPIVersion`, `multiCall`. What it was not told of it does not know: nil, as the real hub answers.

mod builds;
mod calls;
mod xml;

use std::{fmt, io, net::SocketAddr, sync::Arc};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use http::{Method, StatusCode, header};

pub use builds::{Builds, NoRecord};

use crate::{
    faults::Faults,
    server::{self, Handle},
};

/// Longest call, in bytes.
const CALL_BYTES_MAX: usize = 4 << 20;

/// What a hub is like.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Port on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// The builds it knows; may change while it runs.
    pub builds: Arc<Builds>,
    /// Faults on demand.
    pub faults: Faults,
}

/// A running hub.
pub struct Koji {
    /// Where it listens.
    pub address: SocketAddr,
    /// The builds it knows.
    pub builds: Arc<Builds>,
    /// Faults on demand, and what was asked.
    pub faults: Faults,
    handle: Handle,
}

impl fmt::Debug for Koji {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Koji").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Koji {
    /// The hub's address: `http://127.0.0.1:5000/kojihub`.
    pub fn url(&self) -> String {
        format!("{}/kojihub", self.handle.url())
    }

    /// Stops accepting, lets running calls finish for a moment, then ends them.
    pub async fn stop(self) {
        self.handle.stop().await;
    }
}

/// Starts a hub.
///
/// # Errors
/// When the port can't be had.
pub async fn start(settings: Settings) -> io::Result<Koji> {
    let Settings { port, builds, faults } = settings;
    let handle = server::start(port, |_| {
        let router = Router::new().fallback(answer).with_state(builds.clone());
        faults.clone().over(router)
    })
    .await?;
    Ok(Koji { address: handle.address, builds, faults, handle })
}

async fn answer(State(builds): State<Arc<Builds>>, request: Request) -> Response {
    if request.method() != Method::POST || !request.uri().path().starts_with("/kojihub") {
        return StatusCode::NOT_FOUND.into_response();
    }
    let Ok(bytes) = to_bytes(request.into_body(), CALL_BYTES_MAX).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let outcome = xml::read_call(&bytes).and_then(|(method, params)| calls::call(&builds, &method, params));
    match xml::write_answer(&outcome) {
        Ok(text) => ([(header::CONTENT_TYPE, "text/xml")], Body::from(text)).into_response(),
        Err(error) => {
            tracing::error!(%error, "The embedded Koji could not write its answer");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
