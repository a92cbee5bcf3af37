//! Brings a build's bytes to a repository under a holding tag, from the first source that has them.

use std::sync::Arc;

use flatbus_oci::{
    Digest, Error, Registry, Repository, Tag,
    copy::{Copied, Copier, Destination, Progress, Source},
};
use flatbus_runtime::{Ctx, Failure};
use flatbus_telemetry::metrics::Counter;
use tracing::{info, warn};

use crate::{
    image::{self, Seen, Verdict},
    memory::Shortcoming,
    mirror::Mirror,
    sources::Placed,
};

/// What came of bringing.
pub(super) enum Brought {
    /// It is there, complete, and held by its tag.
    There {
        /// What it is.
        seen: Seen,
        /// Whether anything was written.
        changed: bool,
    },
    /// It can't be had, or must not.
    Short(Shortcoming),
}

/// Somewhere bytes may be.
pub(super) struct Place {
    pub registry: Arc<dyn Registry>,
    pub repository: Repository,
}

impl Place {
    fn shown(&self) -> String {
        format!("{}/{}", self.registry.host(), self.repository)
    }
}

/// What a place answered.
enum Answer {
    Brought(Brought),
    /// It has none, or only a part.
    Nothing,
}

impl Mirror {
    /// Where a build's bytes may be, in the order to ask: staging, then as its source says.
    pub(super) fn places(&self, build: &Placed) -> Result<Vec<Place>, Failure> {
        let staging = self.config.staging.iter().map(|staging| &staging.at);
        let locations = staging.chain(self.config.sources.places(&build.fact));
        let mut places = Vec::new();
        for location in locations {
            if let Some(repository) = location.repository(&build.repository) {
                places.push(Place { registry: self.registry_at(location)?, repository });
            }
        }
        Ok(places)
    }

    /// Brings an image and puts `tag` on it; asks no source where the destination holds the digest already. A repository
    /// of the destination itself is `to`.
    pub(super) async fn bring(
        &self,
        ctx: &Ctx,
        build: &Placed,
        to: &Repository,
        tag: &Tag,
    ) -> Result<Brought, Failure> {
        let here = Place { registry: Arc::clone(&self.registries.destination), repository: to.clone() };
        let mut asked = Vec::new();
        let mut failed: Option<Error> = None;
        let is_here = |place: &Place| {
            place.registry.host() == here.registry.host() && place.repository == here.repository
        };
        let others = self.places(build)?.into_iter().filter(|place| !is_here(place)).collect::<Vec<_>>();
        for (place, own) in std::iter::once((&here, true)).chain(others.iter().map(|place| (place, false))) {
            match self.bring_from(ctx, place, own, &build.digest, to, tag).await {
                Ok(Answer::Brought(brought)) => return Ok(brought),
                Ok(Answer::Nothing) if own => {}
                Ok(Answer::Nothing) => asked.push(place.shown()),
                Err(error) if own => return Err(error.into()),
                Err(error) => {
                    warn!(%error, nvr = %build.fact.nvr, "{} does not come from {}: {error}", build.fact.nvr, place.shown());
                    failed.get_or_insert(error); // Another source may have it all the same.
                }
            }
        }
        match failed {
            Some(error) => {
                Err(Failure::from(error).context(format_args!("copying {} to {to}", build.fact.nvr)))
            }
            None => Ok(Brought::Short(Shortcoming::Unavailable { asked })),
        }
    }

    async fn bring_from(
        &self,
        ctx: &Ctx,
        place: &Place,
        own: bool,
        digest: &Digest,
        to: &Repository,
        tag: &Tag,
    ) -> Result<Answer, Error> {
        let seen = match image::inspect(&*place.registry, &place.repository, digest).await {
            Ok(Some(Verdict::Flatpak(seen))) => seen,
            Ok(Some(Verdict::Other(found))) => {
                return Ok(Answer::Brought(Brought::Short(Shortcoming::Refused { found })));
            }
            Ok(None) => return Ok(Answer::Nothing),
            Err(Error::Unauthorized { .. } | Error::Denied { .. }) if own => return Ok(Answer::Nothing), // Not there yet.
            Err(error) => return Err(error),
        };
        match self.copy(ctx, place, digest, to, tag).await {
            Ok(changed) => Ok(Answer::Brought(Brought::There { seen, changed })),
            Err(Error::NotFound { host, .. }) if host == place.registry.host() && !own => Ok(Answer::Nothing),
            Err(error) => Err(error),
        }
    }

    async fn copy(
        &self,
        ctx: &Ctx,
        place: &Place,
        digest: &Digest,
        to: &Repository,
        tag: &Tag,
    ) -> Result<bool, Error> {
        let _turn = self.copies.acquire().await; // Never closed.
        let from = Source {
            registry: Arc::clone(&place.registry),
            repository: place.repository.clone(),
            digest: *digest,
        };
        let into = Destination {
            registry: Arc::clone(&self.registries.destination),
            repository: to.clone(),
            mount_from: Vec::new(),
        };
        let what = format!("{to}:{tag}");
        ctx.progress().begin(&what, None);
        let watcher = Watcher { progress: Arc::clone(ctx.progress()), what: what.clone() };
        let copied = copy(self.copier.clone(), from, into, tag.clone(), watcher).await;
        ctx.progress().end(&what);
        let copied = copied?;
        ctx.metrics().count(Counter::CopiedBytes, copied.bytes);
        if copied.bytes > 0 {
            info!(image.repository = %to, image.digest = %digest, copied_bytes = copied.bytes, mounted = copied.blobs_mounted, "Copied {digest} from {} to {to}", place.shown());
        }
        Ok(copied.changed())
    }

    /// The first place that has an image, without copying it; `None` where none has.
    pub(super) async fn find(&self, build: &Placed, to: &Repository) -> Result<Option<Verdict>, Failure> {
        let here = Place { registry: Arc::clone(&self.registries.destination), repository: to.clone() };
        let mut failed: Option<Error> = None;
        for (n, place) in std::iter::once(here).chain(self.places(build)?).enumerate() {
            match image::inspect(&*place.registry, &place.repository, &build.digest).await {
                Ok(Some(verdict)) => return Ok(Some(verdict)),
                Ok(None) => {}
                Err(Error::Unauthorized { .. } | Error::Denied { .. }) if n == 0 => {} // Not there yet.
                Err(error) => drop(failed.get_or_insert(error)),
            }
        }
        failed.map_or(Ok(None), |error| Err(error.into()))
    }
}

/// INTERIM: the engine's future is not `Send` for the compiler.
async fn copy(
    copier: Copier,
    from: Source,
    to: Destination,
    tag: Tag,
    watcher: Watcher,
) -> Result<Copied, Error> {
    let handle = tokio::runtime::Handle::current();
    let copying =
        tokio::task::spawn_blocking(move || handle.block_on(copier.copy(from, to, &[tag], &watcher)));
    match copying.await {
        Ok(result) => result,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Passes a copy's progress on to whoever watches the process.
struct Watcher {
    progress: Arc<dyn flatbus_runtime::Progress>,
    what: String,
}

impl Progress for Watcher {
    fn bytes_came(&self, bytes: u64) {
        self.progress.advance(&self.what, bytes);
    }
}
