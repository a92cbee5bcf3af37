//! Bodhi's REST API in this process: updates, releases and composes, from records in exactly Bodhi's shape.
//!
//! Only reads. Where Bodhi has quirks that a client must live with, so has this: pages over a list that may shift, a
//! `content_type` that looks at builds, a package's name that redirects to a list, dates without an offset.

mod filter;
mod handlers;
mod updates;

use std::{fmt, io, sync::Arc};

use axum::{Router, routing::get};

pub use updates::{NoUpdate, Updates};

use crate::{
    Wire,
    faults::Faults,
    server::{self, Handle, Server},
};

/// What a Bodhi is like.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Port on 127.0.0.1; 0 takes a free one. A wire has none.
    pub port: u16,
    /// What it knows; may change while it runs.
    pub updates: Arc<Updates>,
    /// Faults on demand.
    pub faults: Faults,
}

/// A running Bodhi.
pub struct Bodhi {
    /// What it knows.
    pub updates: Arc<Updates>,
    /// Faults on demand, and what was asked.
    pub faults: Faults,
    handle: Handle,
}

impl fmt::Debug for Bodhi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bodhi").field("host", &self.handle.host()).finish_non_exhaustive()
    }
}

impl Bodhi {
    /// `http://127.0.0.1:5000`, without a slash at its end.
    pub fn url(&self) -> String {
        self.handle.url()
    }

    /// Stops accepting, lets running requests finish for a moment, then ends them.
    pub async fn stop(self) {
        self.handle.stop().await;
    }
}

/// Starts a Bodhi.
///
/// # Errors
/// When the port can't be had.
pub async fn start(settings: Settings) -> io::Result<Bodhi> {
    let slot = server::bind(settings.port).await?;
    Ok(on(settings, |router| slot.serve(router)))
}

/// Puts a Bodhi on a wire, under a name.
pub fn start_on(wire: &Wire, host: &str, settings: Settings) -> Bodhi {
    on(settings, |router| wire.serve(host, router))
}

/// A Bodhi that knows these updates, for [`crate::Fault::By`].
pub fn answering(updates: Arc<Updates>) -> Server {
    Server::new(router(updates))
}

fn on(settings: Settings, serve: impl FnOnce(Router) -> Handle) -> Bodhi {
    let Settings { updates, faults, .. } = settings;
    let handle = serve(faults.clone().over(router(updates.clone())));
    Bodhi { updates, faults, handle }
}

fn router(updates: Arc<Updates>) -> Router {
    Router::new()
        .route("/updates/", get(handlers::list_updates))
        .route("/updates/{alias}", get(handlers::one_update))
        .route("/releases/", get(handlers::list_releases))
        .route("/releases/{name}", get(handlers::one_release))
        .route("/composes/", get(handlers::list_composes))
        .with_state(updates)
}
