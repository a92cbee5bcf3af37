//! Brings a build's bytes to a repository under a holding tag, from the first source that has them.

use std::sync::Arc;

use flatbus_oci::{
    Digest, Error, Registry, Repository, Tag,
    copy::{Destination, Progress, Source},
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
    fn is(&self, other: &Self) -> bool {
        self.registry.host() == other.registry.host() && self.repository == other.repository
    }

    fn shown(&self) -> String {
        format!("{}/{}", self.registry.host(), self.repository)
    }
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

    /// Brings an image to a repository of the destination and puts `tag` on it. Where the digest is there already, no
    /// source is asked.
    pub(super) async fn bring(
        &self,
        ctx: &Ctx,
        build: &Placed,
        to: &Repository,
        tag: &Tag,
    ) -> Result<Brought, Failure> {
        let doing = || format!("copying {} to {to}", build.fact.nvr);
        let here = self.here(to);
        let held = self.look_here(&here, build).await.map_err(|failure| failure.context(doing()))?;
        if let Some(verdict) = held {
            let brought = self.take(ctx, &here, verdict, &build.digest, to, tag).await;
            return brought.map_err(|error| Failure::from(error).context(doing()));
        }
        let mut asked = Vec::new();
        let mut failed: Option<Error> = None;
        for place in self.places(build)?.iter().filter(|place| !place.is(&here)) {
            match self.bring_from(ctx, place, &build.digest, to, tag).await {
                Ok(Some(brought)) => return Ok(brought),
                Ok(None) => asked.push(place.shown()),
                Err(error) => {
                    warn!(%error, nvr = %build.fact.nvr, "{} does not come from {}: {error}", build.fact.nvr, place.shown());
                    let hopeless = host_of(&error) == Some(here.registry.host());
                    failed.get_or_insert(error);
                    if hopeless {
                        break; // Another source would fail at the destination just so.
                    }
                }
            }
        }
        match failed {
            Some(error) => Err(Failure::from(error).context(doing())),
            None => Ok(Brought::Short(Shortcoming::Unavailable { asked })),
        }
    }

    fn here(&self, to: &Repository) -> Place {
        Place { registry: Arc::clone(&self.registries.destination), repository: to.clone() }
    }

    /// What the destination holds under the digest. A part of an image is nothing that can be built upon.
    async fn look_here(&self, here: &Place, build: &Placed) -> Result<Option<Verdict>, Failure> {
        let root = match here.registry.manifest_get(&here.repository, &build.digest.into()).await {
            Ok(Some(root)) => root,
            Ok(None) | Err(Error::Unauthorized { .. } | Error::Denied { .. }) => return Ok(None), // Not there yet.
            Err(error) => return Err(error.into()),
        };
        let verdict = image::inspect_manifest(&*here.registry, &here.repository, &root).await?;
        verdict.map(Some).ok_or_else(|| {
            Failure::retry(format!(
                "{}@{} is there with parts missing: delete it there",
                here.shown(),
                build.digest
            ))
        })
    }

    /// `None` where the place has none, or only a part.
    async fn bring_from(
        &self,
        ctx: &Ctx,
        place: &Place,
        digest: &Digest,
        to: &Repository,
        tag: &Tag,
    ) -> Result<Option<Brought>, Error> {
        let Some(verdict) = image::inspect(&*place.registry, &place.repository, digest).await? else {
            return Ok(None);
        };
        match self.take(ctx, place, verdict, digest, to, tag).await {
            Ok(brought) => Ok(Some(brought)),
            Err(Error::NotFound { host, .. }) if host == place.registry.host() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Takes what was looked at, if it is a Flatpak.
    async fn take(
        &self,
        ctx: &Ctx,
        place: &Place,
        verdict: Verdict,
        digest: &Digest,
        to: &Repository,
        tag: &Tag,
    ) -> Result<Brought, Error> {
        match verdict {
            Verdict::Other(found) => Ok(Brought::Short(Shortcoming::Refused { found })),
            Verdict::Flatpak(seen) => {
                let changed = self.copy(ctx, place, digest, to, tag).await?;
                Ok(Brought::There { seen, changed })
            }
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
        let watcher = Watcher { ctx, what: &what };
        let copied = self.copier.copy(from, into, std::slice::from_ref(tag), &watcher).await;
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
        let here = self.here(to);
        if let Some(verdict) = self.look_here(&here, build).await? {
            return Ok(Some(verdict));
        }
        let mut failed: Option<Error> = None;
        for place in self.places(build)?.iter().filter(|place| !place.is(&here)) {
            match image::inspect(&*place.registry, &place.repository, &build.digest).await {
                Ok(Some(verdict)) => return Ok(Some(verdict)),
                Ok(None) => {}
                Err(error) => drop(failed.get_or_insert(error)),
            }
        }
        failed.map_or(Ok(None), |error| Err(error.into()))
    }
}

/// Which host an error is of.
fn host_of(error: &Error) -> Option<&str> {
    match error {
        Error::Http(error) => Some(error.host()),
        Error::Unauthorized { host, .. }
        | Error::Denied { host, .. }
        | Error::NotFound { host, .. }
        | Error::WrongDigest { host, .. }
        | Error::WrongSize { host, .. }
        | Error::Manifest { host, .. }
        | Error::TooLarge { host, .. }
        | Error::Protocol { host, .. }
        | Error::UploadLost { host, .. }
        | Error::Unsupported { host, .. }
        | Error::Refused { host, .. } => Some(host),
        Error::Name(_) | Error::Setup { .. } => None,
    }
}

/// Passes a copy's progress on to whoever watches the process.
struct Watcher<'a> {
    ctx: &'a Ctx,
    what: &'a str,
}

impl Progress for Watcher<'_> {
    fn bytes_came(&self, bytes: u64) {
        self.ctx.progress().advance(self.what, bytes);
    }
}
