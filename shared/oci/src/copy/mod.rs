//! The copy engine: an image from one registry to another, byte for byte, its tags last.
//!
//! Looks before it acts, so that twice is harmless: an unchanged image is one HEAD, a second tag one PUT. Bytes stream from
//! source to destination, hashed on their way; they never touch the disk, and memory is bounded by
//! [`CopySettings::copy_bytes_in_flight_max`], whatever a layer's size. Never deletes, never tags what isn't complete.

mod blob;
mod counted;
mod flights;
mod plan;
mod progress;
mod reading;

use std::{sync::Arc, time::Duration};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use tokio::sync::Semaphore;
use tracing::debug;

pub use self::progress::{BlobEnd, NoProgress, Progress};
use self::{
    blob::BlobCopy,
    counted::Counted,
    flights::Flights,
    plan::Plan,
    progress::{Side, Tally},
};
use crate::{Digest, Error, Manifest, Reference, Registry, Repository, Tag};

/// Bounds of the engine. One engine a process: its budget is for all copies together.
#[derive(Debug, Clone)]
pub struct CopySettings {
    /// Most bytes in memory for all copies together. A blob that gets none waits.
    pub copy_bytes_in_flight_max: usize,
    /// Largest blob that goes in one piece from memory, in bytes.
    pub small_blob_bytes_max: usize,
    /// How large blobs are sent.
    pub upload: UploadMode,
    /// Most blobs, manifests and tags of one image on their way at once.
    pub blobs_at_once_max: usize,
    /// Most manifests of one image, its index included.
    pub manifests_max: usize,
    /// How often a transfer that broke without having come further is taken up again.
    pub resumes_max: u32,
    /// Longest wait, told or ours, before a transfer is taken up again; a longer one is the ledger's.
    pub resume_wait_max: Duration,
}

impl Default for CopySettings {
    fn default() -> Self {
        Self {
            copy_bytes_in_flight_max: 32 << 20,
            small_blob_bytes_max: 4 << 20,
            upload: UploadMode::default(),
            blobs_at_once_max: 4,
            manifests_max: 128,
            resumes_max: 4,
            resume_wait_max: Duration::from_secs(30),
        }
    }
}

/// How a large blob is sent. Both take up where they broke.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum UploadMode {
    /// One request that streams the whole blob, as docker, podman and skopeo do; what was lost is read again from the
    /// source. Falls back to chunks where the destination wants them.
    #[default]
    Stream,
    /// Requests of this many bytes each, kept in memory until taken: for destinations behind a limit on bodies.
    Chunks {
        /// Size of a chunk; at least 5 MiB where the destination keeps them as parts in S3.
        bytes: usize,
    },
}

/// What to copy.
#[derive(Clone)]
pub struct Source {
    /// Where it is.
    pub registry: Arc<dyn Registry>,
    /// In which repository.
    pub repository: Repository,
    /// The index or manifest.
    pub digest: Digest,
}

/// Where to copy it.
#[derive(Clone)]
pub struct Destination {
    /// The registry.
    pub registry: Arc<dyn Registry>,
    /// The repository.
    pub repository: Repository,
    /// Repositories of the same registry that may hold the blobs already: they are asked to be mounted from there.
    pub mount_from: Vec<Repository>,
}

/// What a copy did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Copied {
    /// Bytes of blobs sent.
    pub bytes: u64,
    /// Blobs sent.
    pub blobs_copied: u64,
    /// Blobs taken over from another repository of the destination.
    pub blobs_mounted: u64,
    /// Blobs that were there.
    pub blobs_present: u64,
    /// Manifests put, by digest or tag.
    pub manifests: u64,
    /// Steps asked of both registries, without retries.
    pub requests: u64,
    /// Of these, asked of the destination.
    pub destination_requests: u64,
}

impl Copied {
    /// Whether anything was written.
    pub fn changed(&self) -> bool {
        self.manifests > 0
    }
}

/// The engine. Clones share one budget.
#[derive(Clone)]
pub struct Copier {
    settings: Arc<CopySettings>,
    budget: Arc<Semaphore>,
    flights: Flights,
}

impl Copier {
    /// An engine with these bounds.
    pub fn new(settings: CopySettings) -> Self {
        let permits = blob::permits(settings.copy_bytes_in_flight_max).max(1) as usize;
        Self {
            settings: Arc::new(settings),
            budget: Arc::new(Semaphore::new(permits)),
            flights: Flights::default(),
        }
    }

    /// Makes the tags of the destination name the image, and brings what of it is missing. Without tags, brings it only.
    ///
    /// # Errors
    /// When a step failed for good; tags are as they were, but for those of `tags` already moved.
    pub async fn copy(
        &self,
        from: Source,
        to: Destination,
        tags: &[Tag],
        progress: &dyn Progress,
    ) -> Result<Copied, Error> {
        let job = Job::new(self, from, to, progress);
        let missing = job.tags_to_move(tags).await?;
        if missing.is_empty() && !tags.is_empty() {
            return Ok(job.tally.copied());
        }
        let root = job.bring().await?;
        let puts: Vec<_> = missing.into_iter().map(|tag| job.put(tag.into(), &root)).collect();
        stream::iter(puts).buffer_unordered(job.at_once()).try_collect::<()>().await?;
        Ok(job.tally.copied())
    }
}

/// One copy under way.
struct Job<'a> {
    engine: &'a Copier,
    from: Source,
    to: Destination,
    progress: &'a dyn Progress,
    tally: Tally,
}

impl<'a> Job<'a> {
    fn new(engine: &'a Copier, mut from: Source, mut to: Destination, progress: &'a dyn Progress) -> Self {
        let tally = Tally::default();
        let same = from.registry.host() == to.registry.host();
        if same && from.repository != to.repository && !to.mount_from.contains(&from.repository) {
            to.mount_from.insert(0, from.repository.clone());
        }
        from.registry = Arc::new(Counted::new(from.registry, tally.clone(), Side::Source));
        to.registry = Arc::new(Counted::new(to.registry, tally.clone(), Side::Destination));
        Self { engine, from, to, progress, tally }
    }

    fn at_once(&self) -> usize {
        self.engine.settings.blobs_at_once_max.max(1)
    }

    /// Those of the tags that don't name the image yet.
    async fn tags_to_move(&self, tags: &[Tag]) -> Result<Vec<Tag>, Error> {
        let looks: Vec<_> = tags.iter().map(|tag| self.to_move(tag)).collect();
        let looked: Vec<_> = stream::iter(looks).buffered(self.at_once()).try_collect().await?;
        Ok(looked.into_iter().flatten().collect())
    }

    /// The tag, if it doesn't name the image yet.
    async fn to_move(&self, tag: &Tag) -> Result<Option<Tag>, Error> {
        let head = self.to.registry.manifest_head(&self.to.repository, &tag.clone().into()).await;
        let right = or_unseen(head)?.is_some_and(|head| head.digest == self.from.digest);
        Ok((!right).then(|| tag.clone()))
    }

    /// The image's own manifest, after all it names is at the destination.
    async fn bring(&self) -> Result<Manifest, Error> {
        let held = self.to.registry.manifest_get(&self.to.repository, &self.from.digest.into()).await;
        if let Some(held) = or_unseen(held)? {
            return Ok(held);
        }
        let plan = Plan::read(&self.from, &self.engine.settings).await?;
        if let Err(error) = self.bring_all(&plan).await {
            // Registries collect what no tag holds (quay after an hour): a long copy may have to look twice.
            if !matches!(&error, Error::NotFound { host, .. } if host == self.to.registry.host()) {
                return Err(error);
            }
            debug!(%error, "Looking again for what is missing at the destination");
            self.bring_all(&plan).await?;
        }
        Ok(plan.into_root())
    }

    /// Blobs, then manifests from the innermost out.
    async fn bring_all(&self, plan: &Plan) -> Result<(), Error> {
        let at_once = self.at_once();
        let blobs: Vec<_> = plan.blobs().iter().map(|blob| BlobCopy::new(self, blob).run()).collect();
        stream::iter(blobs).buffer_unordered(at_once).try_collect::<()>().await?;
        for level in plan.levels_inside_out() {
            let puts: Vec<_> =
                level.iter().map(|manifest| self.put(manifest.digest.into(), manifest)).collect();
            stream::iter(puts).buffer_unordered(at_once).try_collect::<()>().await?;
        }
        Ok(())
    }

    async fn put(&self, reference: Reference, manifest: &Manifest) -> Result<(), Error> {
        self.to.registry.manifest_put(&self.to.repository, &reference, manifest).await?;
        self.tally.manifest();
        Ok(())
    }
}

/// A destination that doesn't let us look may still let us write: quay answers 401 for a repository that isn't there.
fn or_unseen<T>(looked: Result<Option<T>, Error>) -> Result<Option<T>, Error> {
    match looked {
        Err(Error::Denied { .. } | Error::Unauthorized { .. }) => Ok(None),
        looked => looked,
    }
}

#[cfg(test)]
mod tests;
