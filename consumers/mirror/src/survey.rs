//! The survey: what truth names, read in bulk, and what we hold. Yields nothing of a listing that failed.

use std::collections::BTreeSet;

use flatbus_oci::Repository;
use flatbus_runtime::{Ctx, Failure, SurveyScope};
use futures::{FutureExt, Stream, StreamExt, stream};
use jiff::{SignedDuration, Timestamp};

use crate::{
    catalogue::Survey,
    fact::BuildFact,
    key::Key,
    memory::{self, Ownership, Staged, Withheld},
    mirror::Mirror,
    sources::Placed,
};

/// How far a survey of changes looks back behind the last complete one: Bodhi's clock is not ours.
const OVERLAP: SignedDuration = SignedDuration::from_hours(1);
/// Facts read at once.
const PAGE: usize = 256;

impl Mirror {
    /// Every key that ought to be true.
    pub(crate) fn survey_keys(
        &self,
        ctx: Ctx,
        scope: SurveyScope,
    ) -> impl Stream<Item = Result<Key, Failure>> + Send + '_ {
        let listed = async move { self.listed_keys(&ctx, scope).await };
        listed.into_stream().flat_map(|listed| match listed {
            Ok(keys) => stream::iter(keys.into_iter().map(Ok).collect::<Vec<_>>()),
            Err(failure) => stream::iter(vec![Err(failure)]),
        })
    }

    async fn listed_keys(&self, ctx: &Ctx, scope: SurveyScope) -> Result<Vec<Key>, Failure> {
        let mut keys = BTreeSet::new();
        match scope {
            SurveyScope::Full => {
                let survey = self.catalogue.survey(ctx, &self.builds).await?;
                self.named(ctx, survey, &mut keys)?;
                self.held(ctx, &mut keys)?;
                self.staging(ctx, None, &mut keys).await?;
            }
            SurveyScope::Since(last) => {
                let since = last.checked_sub(OVERLAP).unwrap_or(last);
                let survey = self.catalogue.changed_since(ctx, &self.builds, since).await?;
                self.named(ctx, survey, &mut keys)?;
                self.staging(ctx, Some(since), &mut keys).await?;
            }
        }
        Ok(keys.into_iter().collect()) // In their order: a survey cut short goes on behind the last one recorded.
    }

    /// A repository where it is remembered that the package feeds it; else a build, whose settling remembers that first.
    fn named(&self, ctx: &Ctx, survey: Survey, keys: &mut BTreeSet<Key>) -> Result<(), Failure> {
        let mut newest: std::collections::BTreeMap<(Repository, String), Placed> =
            std::collections::BTreeMap::new();
        for build in survey.placed {
            let name = (build.repository.clone(), build.fact.package.clone());
            match newest.get(&name) {
                Some(known) if known.fact.id >= build.fact.id => {}
                _ => drop(newest.insert(name, build)),
            }
        }
        for build in newest.into_values() {
            if self.catalogue.is_learnt(ctx, &build)? {
                keys.insert(Key::Repository(build.repository));
            } else {
                keys.extend(build.fact.nvr.parse().ok().map(Key::Build));
            }
        }
        keys.extend(survey.unplaced.iter().filter_map(|nvr| nvr.parse().ok()).map(Key::Build));
        Ok(())
    }

    /// Repositories that are ours, those whose tags we told of, and what waits for a person: its own key may be lost where
    /// more was doubtful than there was room for.
    fn held(&self, ctx: &Ctx, keys: &mut BTreeSet<Key>) -> Result<(), Failure> {
        let withheld = memory::all::<Withheld>(ctx, memory::WITHHELD)?;
        let fresh = withheld.iter().filter(|(_, withheld)| self.is_fresh(ctx, withheld));
        keys.extend(fresh.filter_map(|(nvr, _)| nvr.parse().ok()).map(Key::Withheld));
        let owned = memory::all::<Ownership>(ctx, memory::OWNERSHIPS)?.into_keys();
        let told = self.told_of(ctx)?;
        keys.extend(owned.chain(told).filter_map(|full| self.canonical(&full)).map(Key::Repository));
        Ok(())
    }

    fn told_of(&self, ctx: &Ctx) -> Result<BTreeSet<String>, Failure> {
        let host = format!("{}/", self.config.destination.host());
        let mut told = BTreeSet::new();
        let mut after: Option<String> = None;
        loop {
            let page = ctx.facts(&host, after.as_deref(), PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(told) };
            after = Some(last.clone());
            let full =
                |subject: &str| subject[host.len()..].rsplit_once(':').map(|(full, _)| full.to_owned());
            told.extend(page.iter().filter_map(|(subject, _)| full(subject)));
        }
    }

    /// The canonical name of a full one of the destination; `None` for those of other namespaces.
    pub(crate) fn canonical(&self, full: &str) -> Option<Repository> {
        let namespace = &self.config.destination.namespace;
        let name = if namespace.is_empty() {
            full
        } else {
            full.strip_prefix(namespace.as_str())?.strip_prefix('/')?
        };
        name.parse().ok()
    }

    /// Builds that should be in staging and whose message was lost, and those that should be there no more.
    async fn staging(
        &self,
        ctx: &Ctx,
        since: Option<Timestamp>,
        keys: &mut BTreeSet<Key>,
    ) -> Result<(), Failure> {
        let Some(staging) = &self.config.staging else { return Ok(()) };
        let keep = SignedDuration::try_from(staging.keep).unwrap_or(SignedDuration::MAX);
        let oldest = ctx.now().checked_sub(keep).unwrap_or(Timestamp::UNIX_EPOCH);
        for build in self.koji.image_builds_since(since.unwrap_or(oldest).max(oldest)).await? {
            let fact = BuildFact::of(&build);
            if fact.flatpak && ctx.memo::<Staged>(&memory::staged(&fact.nvr))?.is_none() {
                keys.extend(fact.nvr.parse().ok().map(Key::Build));
            }
        }
        if since.is_none() {
            let staged = memory::all::<Staged>(ctx, memory::STAGED)?;
            keys.extend(staged.keys().filter_map(|nvr| nvr.parse().ok()).map(Key::Stage));
        }
        Ok(())
    }
}
