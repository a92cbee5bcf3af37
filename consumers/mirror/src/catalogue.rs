//! Which packages feed which repository, and the last bulk listing of updates.
//!
//! Packages and repositories are many-to-many, and neither names the other: the map is complete only once every build of
//! every update was looked at. Until then no repository is settled: half a map would move tags back.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use flatbus_oci::Repository;
use flatbus_runtime::{Ctx, Failure};
use flatbus_upstream::bodhi::{Bodhi, Update, UpdateQuery};
use jiff::Timestamp;
use tracing::info;

use crate::{
    builds::Builds,
    memory,
    releases::Releases,
    sources::{Placed, Sources},
};

/// A listing older than this serves nobody any more.
const LISTING_AGE_MAX: Duration = Duration::from_secs(900);

/// Repositories and the packages that feed them.
pub type Feeds = BTreeMap<Repository, BTreeSet<String>>;

/// Knows the map.
pub struct Catalogue {
    bodhi: Arc<dyn Bodhi>,
    sources: Sources,
    releases: Releases,
    state: Mutex<State>,
    /// One listing for all who wait for it. Nothing else is held while somebody is asked: a push never waits for a survey.
    completing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    complete: bool,
    feeds: Feeds,
    listing: Option<Listing>,
    read_at: BTreeMap<Repository, Timestamp>,
}

/// All updates of one moment.
#[derive(Clone)]
struct Listing {
    begun: Timestamp,
    updates: Arc<Vec<Update>>,
}

/// What a bulk listing names.
pub struct Survey {
    /// Builds with a place.
    pub placed: Vec<Placed>,
    /// Flatpaks that counted updates name and that have no place: their keys park.
    pub unplaced: Vec<String>,
}

impl Catalogue {
    /// Reads this Bodhi.
    pub fn new(bodhi: Arc<dyn Bodhi>, sources: Sources, releases: Releases) -> Self {
        Self { bodhi, sources, releases, state: Mutex::default(), completing: tokio::sync::Mutex::default() }
    }

    /// The packages that feed a repository; the map is completed first where it isn't.
    ///
    /// # Errors
    /// When Koji, Bodhi or the ledger can't be read.
    pub async fn packages(
        &self,
        ctx: &Ctx,
        builds: &Builds,
        repository: &Repository,
    ) -> Result<BTreeSet<String>, Failure> {
        let mut packages: BTreeSet<String> =
            memory::all::<()>(ctx, &memory::feeds(repository))?.into_keys().collect();
        if !self.is_remembered(ctx)? {
            self.complete(ctx, builds).await?;
            self.remember(ctx)?;
        }
        let state = self.state();
        packages.extend(state.feeds.get(repository).into_iter().flatten().cloned());
        Ok(packages)
    }

    /// Notes what a build shows, for good.
    ///
    /// # Errors
    /// When the ledger can't be read.
    pub fn learn(&self, ctx: &Ctx, build: &Placed) -> Result<(), Failure> {
        let name = memory::feed(&build.repository, &build.fact.package);
        if ctx.memo::<()>(&name)?.is_none() {
            ctx.remember(&name, &())?;
        }
        self.state().note(build);
        Ok(())
    }

    /// Whether it is remembered for good that this package feeds this repository.
    ///
    /// # Errors
    /// When the ledger can't be read.
    pub fn is_learnt(&self, ctx: &Ctx, build: &Placed) -> Result<bool, Failure> {
        Ok(ctx.memo::<()>(&memory::feed(&build.repository, &build.fact.package))?.is_some())
    }

    /// Lists all updates and places their builds; afterwards the map is complete, and the listing serves settles that
    /// only a survey asked for.
    ///
    /// # Errors
    /// When Koji, Bodhi or the ledger can't be read.
    pub async fn survey(&self, ctx: &Ctx, builds: &Builds) -> Result<Survey, Failure> {
        let begun = ctx.now();
        self.state().listing = None; // If this one fails, what it was to replace is too old.
        let updates = Arc::new(self.bodhi.updates(&UpdateQuery::default()).await?);
        let survey = self.place(ctx, builds, &updates).await?;
        let mut state = self.state();
        state.note_all(&survey.placed);
        state.complete = true;
        state.listing = Some(Listing { begun, updates });
        Ok(survey)
    }

    /// What the updates changed since then name.
    ///
    /// # Errors
    /// When Koji, Bodhi or the ledger can't be read.
    pub async fn changed_since(
        &self,
        ctx: &Ctx,
        builds: &Builds,
        since: Timestamp,
    ) -> Result<Survey, Failure> {
        let query = UpdateQuery { modified_since: Some(since), ..UpdateQuery::default() };
        self.state().listing = None; // What changed since then is not in it.
        let updates = self.bodhi.updates(&query).await?;
        self.place(ctx, builds, &updates).await
    }

    /// Every update of these packages: from the last listing where only a survey asks and nothing fresher was read.
    ///
    /// # Errors
    /// When Bodhi can't be read.
    pub async fn updates(
        &self,
        ctx: &Ctx,
        repository: &Repository,
        packages: &BTreeSet<String>,
    ) -> Result<Vec<Update>, Failure> {
        let query = UpdateQuery { packages: packages.iter().cloned().collect(), ..UpdateQuery::default() };
        if ctx.for_survey()
            && let Some(listed) = self.listed(ctx, repository, &query)
        {
            return Ok(listed);
        }
        self.fresh_updates(ctx, repository, packages).await
    }

    /// As [`Self::updates`], asked for now.
    ///
    /// # Errors
    /// When Bodhi can't be read.
    pub async fn fresh_updates(
        &self,
        ctx: &Ctx,
        repository: &Repository,
        packages: &BTreeSet<String>,
    ) -> Result<Vec<Update>, Failure> {
        let query = UpdateQuery { packages: packages.iter().cloned().collect(), ..UpdateQuery::default() };
        let begun = ctx.now();
        let updates = self.bodhi.updates(&query).await?;
        self.state().read_at.insert(repository.clone(), begun);
        Ok(updates)
    }

    fn listed(&self, ctx: &Ctx, repository: &Repository, query: &UpdateQuery) -> Option<Vec<Update>> {
        let mut state = self.state();
        let listing = state.listing.clone()?;
        let age = Duration::try_from(ctx.now().duration_since(listing.begun)).unwrap_or(Duration::MAX);
        if age > LISTING_AGE_MAX {
            state.listing = None; // It can be large.
            return None;
        }
        let overtaken = state.read_at.get(repository).is_some_and(|read| *read >= listing.begun);
        drop(state);
        (!overtaken).then(|| listing.updates.iter().filter(|update| query.admits(update)).cloned().collect())
    }

    fn is_remembered(&self, ctx: &Ctx) -> Result<bool, Failure> {
        Ok(ctx.memo::<String>(memory::CATALOGUE)?.is_some_and(|mapping| mapping == self.sources.mapping()))
    }

    async fn complete(&self, ctx: &Ctx, builds: &Builds) -> Result<(), Failure> {
        let _turn = self.completing.lock().await;
        if self.state().complete {
            return Ok(());
        }
        info!(
            "Asking Bodhi for all updates and Koji for their builds: which package feeds which repository is not known"
        );
        let updates = self.bodhi.updates(&UpdateQuery::default()).await?;
        let survey = self.place(ctx, builds, &updates).await?;
        let mut state = self.state();
        state.note_all(&survey.placed);
        state.complete = true;
        Ok(())
    }

    /// Remembers the whole map, in the commit that clears the key at hand.
    fn remember(&self, ctx: &Ctx) -> Result<(), Failure> {
        let state = self.state();
        for (repository, packages) in &state.feeds {
            for package in packages {
                ctx.remember(&memory::feed(repository, package), &())?;
            }
        }
        ctx.remember(memory::CATALOGUE, &self.sources.mapping())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn place(&self, ctx: &Ctx, builds: &Builds, updates: &[Update]) -> Result<Survey, Failure> {
        let counted: BTreeSet<String> =
            updates.iter().flat_map(|update| self.releases.builds(update)).map(str::to_owned).collect();
        let facts = builds.facts(ctx, counted).await?;
        let mut survey = Survey { placed: Vec::new(), unplaced: Vec::new() };
        for fact in facts.known.values().filter(|fact| fact.flatpak) {
            match self.sources.place(fact) {
                Ok(placed) => survey.placed.push(placed),
                Err(_) => survey.unplaced.push(fact.nvr.clone()),
            }
        }
        Ok(survey)
    }
}

impl State {
    fn note_all(&mut self, builds: &[Placed]) {
        builds.iter().for_each(|build| self.note(build));
    }

    fn note(&mut self, build: &Placed) {
        self.feeds.entry(build.repository.clone()).or_default().insert(build.fact.package.clone());
    }
}
