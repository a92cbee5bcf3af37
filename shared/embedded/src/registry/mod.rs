//! An OCI distribution registry in this process, good enough for skopeo and the docker clients to push to and pull from.
//!
//! Repositories, tags and manifests live in memory; blobs live in memory or in a directory, and go there as they come:
//! no layer is ever whole in memory when a directory is used. A registry starts with the [`Content`] it is given.
//!
//! It answers as docker-registry 2.8 does where that is known, and is kinder in these places: it never converts a
//! manifest to schema 1; it pages `tags/list`; it accepts an upload's older `_state`, so that an upload that was cut
//! can be resumed; it deletes single tags where [`Settings::tag_delete`] says so. It knows sha256 alone, and no referrers.

mod access;
mod blobs;
mod content;
mod digest;
mod handlers;
mod manifests;
mod refusal;
mod route;
mod storage;
mod uploads;

use std::{fmt, io, sync::Arc, time::Duration};

use axum::Router;
use flatbus_base::{Clock, Random, SystemClock};

pub use access::Access;
pub use content::{Content, Manifest, NotPut};
pub use digest::Digest;
pub use storage::{Directory, Draft, Memory, Storage};

use crate::{
    Wire,
    faults::Faults,
    server::{self, Handle},
};

/// What a registry is like.
#[derive(Clone)]
pub struct Settings {
    /// Port on 127.0.0.1; 0 takes a free one. A wire has none.
    pub port: u16,
    /// What it holds. Two registries that share it are one registry behind two addresses.
    pub content: Arc<Content>,
    /// Who may do what.
    pub access: Access,
    /// Faults on demand.
    pub faults: Faults,
    /// Bounds.
    pub limits: Limits,
    /// Whether a tag can be deleted without its manifest. docker-registry can't, and answers 400.
    pub tag_delete: bool,
    /// Whether an OCI manifest is unknown (404) to who does not name its type in `Accept`, as to docker-registry.
    pub accept_strict: bool,
    /// What time it is, for tokens and idle uploads.
    pub clock: Arc<dyn Clock>,
    /// Where ids and tokens come from.
    pub random: Random,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            port: 0,
            content: Content::in_memory(),
            access: Access::Open,
            faults: Faults::default(),
            limits: Limits::default(),
            tag_delete: true,
            accept_strict: true,
            clock: Arc::new(SystemClock),
            random: Random::from_system(),
        }
    }
}

/// Bounds of a registry.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Longest manifest, in bytes.
    pub manifest_bytes_max: usize,
    /// Largest blob, in bytes.
    pub blob_bytes_max: u64,
    /// Open uploads; more are answered 429.
    pub uploads_max: usize,
    /// An upload unused for so long is forgotten.
    pub upload_idle_max: Duration,
    /// Longest page of tags or repositories.
    pub page_max: usize,
    /// Valid tokens; past it the oldest goes.
    pub tokens_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            manifest_bytes_max: 4 << 20,
            blob_bytes_max: 16 << 30,
            uploads_max: 1_000,
            upload_idle_max: Duration::from_secs(3600),
            page_max: 1_000,
            tokens_max: 10_000,
        }
    }
}

/// A running registry.
pub struct Registry {
    /// What it holds.
    pub content: Arc<Content>,
    /// Faults on demand, and what was asked.
    pub faults: Faults,
    control: Control,
    handle: Handle,
}

/// What a registry's operator can do to it while it runs.
#[derive(Clone)]
pub struct Control(Arc<handlers::Served>);

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Control")
    }
}

impl Control {
    /// Makes every token invalid, as if its time were over.
    pub fn expire_tokens(&self) {
        self.0.access.expire_tokens();
    }

    /// Forgets every open upload, as a registry that was restarted does.
    pub fn forget_uploads(&self) {
        self.0.uploads.forget();
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("host", &self.handle.host()).finish_non_exhaustive()
    }
}

impl Registry {
    /// `127.0.0.1:5000`: the host as an image reference names it.
    pub fn host(&self) -> String {
        self.handle.host().to_owned()
    }

    /// `http://127.0.0.1:5000`, without a slash at its end.
    pub fn url(&self) -> String {
        self.handle.url()
    }

    /// Makes every token invalid, as if its time were over.
    pub fn expire_tokens(&self) {
        self.control.expire_tokens();
    }

    /// Forgets every open upload, as a registry that was restarted does.
    pub fn forget_uploads(&self) {
        self.control.forget_uploads();
    }

    /// The same, for what must not hold the registry itself: a hook of its faults.
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// Stops accepting, lets running requests finish for a moment, then ends them.
    pub async fn stop(self) {
        self.handle.stop().await;
    }
}

/// Starts a registry.
///
/// # Errors
/// When the port can't be had.
pub async fn start(settings: Settings) -> io::Result<Registry> {
    let slot = server::bind(settings.port).await?;
    let (registry, router) = Parts::new(settings, slot.host());
    Ok(registry.on(slot.serve(router)))
}

/// Puts a registry on a wire, under a name.
pub fn start_on(wire: &Wire, host: &str, settings: Settings) -> Registry {
    let (registry, router) = Parts::new(settings, host.to_owned());
    registry.on(wire.serve(host, router))
}

/// A registry that is not anywhere yet.
struct Parts {
    content: Arc<Content>,
    faults: Faults,
    control: Control,
}

impl Parts {
    fn new(settings: Settings, host: String) -> (Self, Router) {
        let (content, faults) = (settings.content.clone(), settings.faults.clone());
        let served = Arc::new(handlers::Served::new(settings, host));
        let router = Router::new().fallback(handlers::answer).with_state(served.clone());
        let router = faults.clone().over(router);
        (Self { content, faults, control: Control(served) }, router)
    }

    fn on(self, handle: Handle) -> Registry {
        let Self { content, faults, control } = self;
        Registry { content, faults, control, handle }
    }
}
