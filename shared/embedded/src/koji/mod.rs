//! A Koji hub in this process: XML-RPC answers from build records, in exactly Koji's shapes.
//!
//! Only reads, and only the calls that say what a build is: `getBuild`, `listBuilds`, `listArchives`,
//! `getAPIVersion`, `multiCall`. What it was not told of it does not know: nil, as the real hub answers.

mod builds;
mod calls;
mod xml;

use std::{fmt, io, sync::Arc};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use http::{Method, StatusCode, header};
use serde_json::Value;

pub use builds::{Builds, NoRecord};

use crate::{
    Wire,
    faults::Faults,
    server::{self, Handle, Server},
};

/// Longest call, in bytes.
const CALL_BYTES_MAX: usize = 4 << 20;

/// What a hub is like.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Port on 127.0.0.1; 0 takes a free one. A wire has none.
    pub port: u16,
    /// The builds it knows; may change while it runs.
    pub builds: Arc<Builds>,
    /// Faults on demand.
    pub faults: Faults,
}

/// A running hub.
pub struct Koji {
    /// The builds it knows.
    pub builds: Arc<Builds>,
    /// Faults on demand, and what was asked.
    pub faults: Faults,
    handle: Handle,
}

impl fmt::Debug for Koji {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Koji").field("host", &self.handle.host()).finish_non_exhaustive()
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
    let slot = server::bind(settings.port).await?;
    Ok(on(settings, |router| slot.serve(router)))
}

/// Puts a hub on a wire, under a name.
pub fn start_on(wire: &Wire, host: &str, settings: Settings) -> Koji {
    on(settings, |router| wire.serve(host, router))
}

/// A hub that knows these builds, for [`crate::Fault::By`].
pub fn answering(builds: Arc<Builds>) -> Server {
    Server::new(router(builds))
}

/// A fault as the hub writes it.
pub(crate) fn fault(code: i32, text: &str) -> String {
    xml::write_answer(&Err(dxr::Fault::new(code, text.to_owned()))).unwrap_or_default()
}

/// An answer with its value changed; `None` where it is a fault, or nothing that can be read.
pub(crate) fn changed(answer: &[u8], change: &dyn Fn(&mut Value)) -> Option<String> {
    let mut value = xml::read_answer(answer)?;
    change(&mut value);
    xml::write_answer(&Ok(value)).ok()
}

fn on(settings: Settings, serve: impl FnOnce(Router) -> Handle) -> Koji {
    let Settings { builds, faults, .. } = settings;
    let handle = serve(faults.clone().over(router(builds.clone())));
    Koji { builds, faults, handle }
}

fn router(builds: Arc<Builds>) -> Router {
    Router::new().fallback(answer).with_state(builds)
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
