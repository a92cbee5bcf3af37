//! Reads everything that settling a repository is decided on. Writes nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use flatbus_oci::{Digest, Error, ManifestHead, Registry, Repository, Tag, withdrawn};
use flatbus_runtime::{Ctx, Failure};
use flatbus_schemas::Nvr;
use flatbus_upstream::bodhi::Update;
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;

use crate::{
    belief,
    builds::Facts,
    desired::{Claim, DesiredTags, LATEST, TESTING, desired, stable_at, testing_at, version_tags},
    memory::{self, ActedOn, Ownership, Shortcoming, Withheld},
    mirror::Mirror,
    plan::{Actual, Held},
    sources::Placed,
    tagname::{held_build, tag_for},
    writer::{Neighbour, TagWriter},
};

/// HEADs under way at once.
const HEADS_MAX: usize = 4;

/// The present truth about one repository.
pub(crate) struct View {
    /// Its canonical name.
    pub repository: Repository,
    /// Its name in the destination.
    pub full: Repository,
    /// Every update of its packages.
    pub updates: Vec<Update>,
    /// Every build of it that is known.
    pub builds: Vec<Placed>,
    /// What its tags should be.
    pub desired: DesiredTags,
    /// Builds that Koji doesn't know, and that may be what some tags should name; with the time of their push.
    pub unknown: BTreeMap<String, Timestamp>,
    /// What they are.
    pub actual: Actual,
    /// Versions of builds that no rule speaks of any more, and that may have been moved before without being told.
    pub passed_over: BTreeMap<Tag, Option<Digest>>,
    /// Media types of what they name.
    pub media_types: BTreeMap<Digest, String>,
    /// Updates in a compose, where that matters.
    pub composing: BTreeSet<String>,
    /// How long tags have been left alone, where that matters.
    pub quiet: BTreeMap<Tag, Duration>,
}

impl Mirror {
    /// Reads a repository's truth; `None` where Bodhi names no build of it.
    pub(crate) async fn read(&self, ctx: &Ctx, repository: &Repository) -> Result<Option<View>, Failure> {
        let mut packages = self.catalogue.packages(ctx, &self.builds, repository).await?;
        if packages.is_empty() {
            return Ok(None);
        }
        let acted = ctx.memo::<ActedOn>(&memory::acted(repository))?.unwrap_or_default();
        let (updates, facts, builds) = loop {
            let updates = self.believed_updates(ctx, repository, &packages, &acted).await?;
            let facts = self.facts_of(ctx, &updates, &packages).await?;
            let builds = self.placed_in(repository, &facts);
            let known = packages.len();
            packages.extend(builds.iter().map(|build| build.fact.package.clone()));
            if packages.len() == known {
                break (updates, facts, builds);
            }
        };
        let full = self.full_name(repository)?;
        let ours = ctx.memo::<Ownership>(&memory::ownership(&full))?.is_some();
        let claims = claims(&updates, &builds);
        if claims.is_empty() && acted.is_empty() && (updates.is_empty() || !ours) {
            // Else the last build was edited out, and `testing` names nothing now. Of no update at all nothing is concluded.
            return Ok(None);
        }
        let mut desired = desired(&claims, &self.config.releases, self.config.tag_writer.version_owner());
        let unknown = self.leave_to_unknown(&mut desired, &updates, &facts);
        let mut view = View {
            repository: repository.clone(),
            full,
            desired,
            unknown,
            actual: Actual::default(),
            passed_over: BTreeMap::new(),
            media_types: BTreeMap::new(),
            composing: BTreeSet::new(),
            quiet: BTreeMap::new(),
            updates,
            builds,
        };
        self.read_destination(ctx, &mut view, &acted).await?;
        if self.config.tag_writer == TagWriter::Bodhi {
            self.read_neighbour(ctx, &mut view).await?;
        }
        Ok(Some(view))
    }

    /// All updates of the packages, unless they contradict what we acted on.
    async fn believed_updates(
        &self,
        ctx: &Ctx,
        repository: &Repository,
        packages: &BTreeSet<String>,
        acted: &ActedOn,
    ) -> Result<Vec<Update>, Failure> {
        let updates = self.catalogue.updates(ctx, repository, packages).await?;
        match self.completed(packages, acted, updates).await {
            Err(_) if ctx.for_survey() => {
                let fresh = self.catalogue.fresh_updates(ctx, repository, packages).await?;
                self.completed(packages, acted, fresh).await
            }
            result => result,
        }
    }

    /// Adds the updates we acted on that a listing lacks: all our builds may have been edited out of one.
    async fn completed(
        &self,
        packages: &BTreeSet<String>,
        acted: &ActedOn,
        mut updates: Vec<Update>,
    ) -> Result<Vec<Update>, Failure> {
        for alias in belief::missing(acted, &updates) {
            let Some(update) = self.bodhi.update(alias).await? else { continue };
            if update.builds.iter().any(|build| packages.contains(package(&build.nvr))) {
                return Err(Failure::retry(format!(
                    "Bodhi's listing lacks {alias}, which it knows by name: taken for a failed read, nothing was changed"
                )));
            }
            updates.push(update);
        }
        belief::believe(acted, &updates).map_err(|error| Failure::retry(error.to_string()))?;
        Ok(updates)
    }

    /// What Koji says of every Flatpak of these updates: one of a package that is new to this repository may be for it too.
    async fn facts_of(
        &self,
        ctx: &Ctx,
        updates: &[Update],
        packages: &BTreeSet<String>,
    ) -> Result<Facts, Failure> {
        let flatpaks =
            updates.iter().flat_map(|update| &update.builds).filter(|build| build.kind == "flatpak");
        let named: BTreeSet<String> = flatpaks.map(|build| build.nvr.clone()).collect();
        let mut facts = self.builds.facts(ctx, named).await?;
        facts.unknown.retain(|nvr| packages.contains(package(nvr)));
        Ok(facts)
    }

    fn placed_in(&self, repository: &Repository, facts: &Facts) -> Vec<Placed> {
        let placed = facts.known.values().filter_map(|fact| self.config.sources.place(fact).ok());
        placed.filter(|build| build.repository == *repository).collect()
    }

    /// A build that Koji doesn't know may be the one that should have a tag: then that tag is left alone.
    fn leave_to_unknown(
        &self,
        desired: &mut DesiredTags,
        updates: &[Update],
        facts: &Facts,
    ) -> BTreeMap<String, Timestamp> {
        let mut unknown = BTreeMap::new();
        for update in updates {
            let named: Vec<&str> =
                self.config.releases.builds(update).filter(|nvr| facts.unknown.contains(*nvr)).collect();
            let pushed = stable_at(update).max(testing_at(update));
            if let Some(pushed) = pushed
                && !named.is_empty()
                && desired.leave_to(update)
            {
                let versions = named.iter().filter_map(|nvr| nvr.parse::<Nvr>().ok());
                versions.for_each(|nvr| desired.leave(nvr.version()));
                unknown.extend(named.into_iter().map(|nvr| (nvr.to_owned(), pushed)));
            }
        }
        unknown
    }

    async fn read_destination(&self, ctx: &Ctx, view: &mut View, acted: &ActedOn) -> Result<(), Failure> {
        view.actual.held = memory::held_tags(ctx, &view.repository)?;
        for build in view.desired.holding.values() {
            if let Some(withheld) = ctx.memo::<Withheld>(&memory::withheld(&build.nvr))?
                && self.stays_withheld(ctx, &withheld)
            {
                view.actual.withheld.insert(build.nvr.clone());
            }
        }
        let owned = ctx.memo::<Ownership>(&memory::ownership(&view.full))?.is_some();
        let passed_over = passed_over(acted, view);
        let asked: Vec<Tag> =
            tags_to_ask(view, ctx.for_survey()).into_iter().chain(passed_over.iter().cloned()).collect();
        let registry = if ctx.for_survey() { &self.unhurried } else { &self.registries.destination };
        let heads = asked.into_iter().map(|tag| head(&**registry, &view.full, tag, owned));
        let heads: Vec<(Tag, Option<ManifestHead>)> =
            stream::iter(heads).buffered(HEADS_MAX).try_collect().await?;
        for (tag, head) in heads {
            let head = head.filter(|head| !withdrawn::is(&head.digest));
            if let Some(head) = &head {
                view.media_types.insert(head.digest, head.media_type.clone());
            }
            let tags = if passed_over.contains(&tag) { &mut view.passed_over } else { &mut view.actual.tags };
            tags.insert(tag, head.map(|head| head.digest));
        }
        Ok(())
    }

    /// An image that no source had is asked for again after a while; one that is no Flatpak stays so.
    pub(crate) fn stays_withheld(&self, ctx: &Ctx, withheld: &Withheld) -> bool {
        match withheld.why {
            Shortcoming::Refused { .. } => true,
            Shortcoming::Unavailable { .. } | Shortcoming::Unknown => {
                let age = Duration::try_from(ctx.now().duration_since(withheld.asked)).unwrap_or_default();
                age < self.config.unavailable_again
            }
        }
    }

    /// What Bodhi's composer is at, and how long it has left alone the tags that are not as they should be.
    async fn read_neighbour(&self, ctx: &Ctx, view: &mut View) -> Result<(), Failure> {
        let wrong = wrong_tags(view);
        self.quiet.keep_only(&view.repository, &wrong.iter().map(|(tag, _)| tag).collect());
        if wrong.is_empty() {
            return Ok(());
        }
        view.composing =
            self.bodhi.composes().await?.into_iter().flat_map(|compose| compose.updates).collect();
        let now = ctx.clock().monotonic();
        for (tag, digest) in wrong {
            let busy = self.neighbour(view).is_at_work_on(&digest);
            if let Some(quiet) = self.quiet.look(&view.repository, &tag, digest, busy, now) {
                view.quiet.insert(tag, quiet);
            }
        }
        Ok(())
    }

    pub(crate) fn neighbour<'a>(&self, view: &'a View) -> Neighbour<'a> {
        Neighbour {
            updates: &view.updates,
            builds: &view.builds,
            composing: &view.composing,
            settle_after: self.config.settle_after,
        }
    }
}

/// The Koji package in an NVR, which is taken apart from the right only.
fn package(nvr: &str) -> &str {
    nvr.rsplitn(3, '-').nth(2).unwrap_or(nvr)
}

fn claims<'a>(updates: &'a [Update], builds: &'a [Placed]) -> Vec<Claim<'a>> {
    let by_nvr: BTreeMap<&str, &Placed> =
        builds.iter().map(|build| (build.fact.nvr.as_str(), build)).collect();
    let of = |update: &'a Update| {
        let named: Vec<&'a Placed> =
            update.builds.iter().filter_map(|named| by_nvr.get(named.nvr.as_str()).copied()).collect();
        named.into_iter().map(move |build| Claim { update, build })
    };
    updates.iter().flat_map(of).collect()
}

/// Every tag with a digest by rule, the floating ones in any case; holding tags that are not remembered, all of them for a survey.
fn tags_to_ask(view: &View, thorough: bool) -> Vec<Tag> {
    let holding = view.desired.holding.iter().filter(|(tag, build)| {
        let known = |held: &Held| held.digest == build.digest;
        thorough || !view.actual.held.get(*tag).is_some_and(known)
    });
    let mut tags: BTreeSet<Tag> =
        view.desired.tags.keys().chain(holding.map(|(tag, _)| tag)).cloned().collect();
    tags.extend([LATEST, TESTING].into_iter().filter_map(tag_for));
    tags.into_iter().collect()
}

/// Versions whose tags may have been moved by a settle that was cut short, for a build that has no tag by rule any more.
fn passed_over(acted: &ActedOn, view: &View) -> BTreeSet<Tag> {
    let updates = belief::passed_over(acted, &view.updates);
    let named = |build: &&Placed| {
        updates.iter().any(|update| update.builds.iter().any(|named| named.nvr == build.fact.nvr))
    };
    let versions = view.builds.iter().filter(named).flat_map(|build| version_tags(&build.fact));
    let asked: BTreeSet<Tag> = tags_to_ask(view, true).into_iter().collect();
    versions.filter(|tag| !asked.contains(tag) && held_build(tag).is_none()).collect()
}

/// Tags that name something else than they should, with what they name.
fn wrong_tags(view: &View) -> Vec<(Tag, Digest)> {
    let is_right = |tag: &Tag, digest: &Digest| {
        view.desired.tags.get(tag).is_some_and(|wanted| wanted.digest == *digest)
    };
    let named = view.actual.tags.iter().filter_map(|(tag, digest)| Some((tag, (*digest)?)));
    let ours = named.filter(|(tag, _)| !view.desired.holding.contains_key(*tag));
    let ours = ours.filter(|(tag, _)| !view.desired.left.contains(*tag));
    ours.filter(|(tag, digest)| !is_right(tag, digest)).map(|(tag, digest)| (tag.clone(), digest)).collect()
}

/// A repository that isn't there may be answered by a refusal; of one that is ours a refusal is a failed read.
async fn head(
    registry: &dyn Registry,
    full: &Repository,
    tag: Tag,
    owned: bool,
) -> Result<(Tag, Option<ManifestHead>), Failure> {
    match registry.manifest_head(full, &tag.clone().into()).await {
        Ok(head) => Ok((tag, head)),
        Err(Error::Unauthorized { .. } | Error::Denied { .. }) if !owned => Ok((tag, None)),
        Err(error) => Err(Failure::from(error).context(format_args!("looking at {full}:{tag}"))),
    }
}
