//! The consumer: what it is made of, and how the runtime's questions reach the parts that answer them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use flatbus_oci::{
    Location, Registry, Repository,
    copy::{Copier, CopySettings},
};
use flatbus_runtime::{Change, Consumer, Ctx, Failure, Settled, SurveyScope};
use flatbus_schemas::{Announcement, FedoraEvent};
use flatbus_upstream::{bodhi::Bodhi, koji::Koji, quay::Quay};
use futures::Stream;
use tokio::sync::Semaphore;

use crate::{
    builds::Builds, catalogue::Catalogue, config::Config, event, key::Key, pacer::Pacer, quiet::Quiet,
    telling,
};

/// The registries that the mirror reads and writes.
#[derive(Clone)]
pub struct Registries {
    /// Where tags are made true, with credentials.
    pub destination: Arc<dyn Registry>,
    /// The same registry as anybody sees it.
    pub anonymous: Arc<dyn Registry>,
    /// Where bytes come from, by host as an image reference names it. The destination's host need not be here.
    pub sources: BTreeMap<String, Arc<dyn Registry>>,
}

/// Makes the public registry's tags equal Koji's and Bodhi's truth.
pub struct Mirror {
    pub(crate) config: Config,
    pub(crate) registries: Registries,
    pub(crate) unhurried: Arc<dyn Registry>,
    pub(crate) koji: Arc<dyn Koji>,
    pub(crate) bodhi: Arc<dyn Bodhi>,
    pub(crate) quay: Option<Arc<dyn Quay>>,
    pub(crate) builds: Builds,
    pub(crate) catalogue: Catalogue,
    pub(crate) copier: Copier,
    pub(crate) copies: Semaphore,
    pub(crate) imports: Pacer,
    pub(crate) quiet: Quiet,
    pub(crate) staging_bytes: Mutex<BTreeMap<String, u64>>,
    runtimes: Mutex<BTreeSet<Repository>>,
    foreign: AtomicU64,
}

impl Mirror {
    /// A mirror of these parts.
    pub fn new(
        config: Config,
        registries: Registries,
        koji: Arc<dyn Koji>,
        bodhi: Arc<dyn Bodhi>,
        quay: Option<Arc<dyn Quay>>,
    ) -> Self {
        Self {
            builds: Builds::new(Arc::clone(&koji)),
            catalogue: Catalogue::new(Arc::clone(&bodhi), config.sources.clone(), config.releases.clone()),
            copier: Copier::new(CopySettings::default()),
            copies: Semaphore::new(usize::try_from(config.copies_max.get()).unwrap_or(1)),
            imports: Pacer::new(config.imports_per_s),
            quiet: Quiet::default(),
            staging_bytes: Mutex::default(),
            runtimes: Mutex::default(),
            foreign: AtomicU64::new(0),
            config,
            unhurried: Arc::clone(&registries.destination),
            registries,
            koji,
            bodhi,
            quay,
        }
    }

    /// The same mirror with other bounds on copying.
    #[must_use]
    pub fn with_copies(mut self, settings: CopySettings) -> Self {
        self.copier = Copier::new(settings);
        self
    }

    /// The same mirror, with a client of the destination that lets all others go first: what only a survey wants to see is
    /// asked through it.
    #[must_use]
    pub fn with_unhurried(mut self, destination: Arc<dyn Registry>) -> Self {
        self.unhurried = destination;
        self
    }

    /// Its settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Messages dropped because they were of another Koji hub.
    pub fn foreign_messages(&self) -> u64 {
        self.foreign.load(Ordering::Relaxed)
    }

    /// The client of the registry at a location.
    pub(crate) fn registry_at(&self, location: &Location) -> Result<Arc<dyn Registry>, Failure> {
        let host = location.host();
        match self.registries.sources.get(&host) {
            Some(registry) => Ok(Arc::clone(registry)),
            None if host == self.config.destination.host() => Ok(Arc::clone(&self.registries.destination)),
            None => Err(Failure::park(format!(
                "there is no client for {host}: this is a fault of flatbus, please report it"
            ))),
        }
    }

    /// A repository's full name in the destination.
    pub(crate) fn full_name(&self, repository: &Repository) -> Result<Repository, Failure> {
        let too_long = || {
            Failure::park(format!(
                "{}/{repository} is longer than a repository's name may be",
                self.config.destination
            ))
        };
        self.config.destination.repository(repository).ok_or_else(too_long)
    }

    /// Notes that a repository holds a runtime: from now on it goes first.
    pub(crate) fn note_runtime(&self, repository: &Repository) {
        self.runtimes.lock().unwrap_or_else(PoisonError::into_inner).insert(repository.clone());
    }

    fn is_runtime(&self, repository: &Repository) -> bool {
        self.config.runtimes.iter().any(|glob| glob.matches(repository.as_str()))
            || self.runtimes.lock().unwrap_or_else(PoisonError::into_inner).contains(repository)
    }

    async fn settle_one(&self, ctx: &Ctx, key: &Key) -> Result<Settled<Key>, Failure> {
        match key {
            Key::Build(nvr) => self.settle_build(ctx, nvr).await,
            Key::Import(nvr) => self.settle_import(ctx, nvr).await,
            Key::Repository(repository) => self.settle_repository(ctx, repository).await,
            Key::Again(repository) => self.settle_again(ctx, repository).await,
            Key::Withheld(nvr) => self.settle_withheld(ctx, nvr).await,
            Key::Stage(nvr) => self.settle_stage(ctx, nvr).await,
            Key::Adopt(repository) => self.settle_adopt(ctx, repository).await,
        }
    }
}

impl Consumer for Mirror {
    const NAME: &'static str = "mirror";
    type Event = FedoraEvent;
    type Key = Key;

    fn affected(&self, event: &FedoraEvent) -> Vec<Key> {
        if event::is_foreign(event, &self.config.koji_base_urls) {
            self.foreign.fetch_add(1, Ordering::Relaxed);
            return Vec::new();
        }
        event::affected(event)
    }

    fn lane(&self, key: &Key) -> String {
        key.lane()
    }

    /// Runtimes before what needs them, imports after everything else.
    fn rank(&self, key: &Key) -> u8 {
        match key {
            Key::Adopt(_) => 0,
            Key::Repository(repository) | Key::Again(repository) if self.is_runtime(repository) => 1,
            Key::Build(_) => 2,
            Key::Repository(_) | Key::Again(_) => 3,
            Key::Withheld(_) => 4,
            Key::Stage(_) => 5,
            Key::Import(_) => 6,
        }
    }

    async fn settle(&self, ctx: &Ctx, batch: &[Key]) -> Vec<Result<Settled<Key>, Failure>> {
        let mut results = Vec::with_capacity(batch.len());
        for key in batch {
            results.push(self.settle_one(ctx, key).await);
        }
        results
    }

    fn survey(&self, ctx: &Ctx, scope: SurveyScope) -> impl Stream<Item = Result<Key, Failure>> + Send {
        self.survey_keys(ctx.clone(), scope)
    }

    fn announce(&self, change: &Change) -> Option<Announcement> {
        telling::announcement(change)
    }
}
