//! Settles a repository: read, plan, act, and tell what holds.

use std::collections::{BTreeMap, BTreeSet};

use flatbus_oci::Repository;
use flatbus_oci::{Digest, Tag};
use flatbus_runtime::{Ctx, Fact, Failure, Settled};
use tracing::{debug, info};

use super::{act::Done, read::View};
use crate::{
    belief::Acted,
    builds,
    desired::{LATEST, TESTING},
    key::Key,
    memory::{self, ActedOn, Shortcoming, Staged, Withheld},
    mirror::Mirror,
    plan::{Held, Others, Plan, plan},
    tagname::tag_for,
    telling::Detail,
    writer::TagWriter,
};

impl Mirror {
    pub(crate) async fn settle_repository(
        &self,
        ctx: &Ctx,
        repository: &Repository,
    ) -> Result<Settled<Key>, Failure> {
        self.refuse_protected(repository)?;
        let Some(view) = self.read(ctx, repository).await? else {
            debug!(%repository, "Bodhi names no build of {repository}: left as it is");
            return Ok(Settled::unchanged(Vec::new()));
        };
        let plan = self.plan(ctx, &view);
        self.carry_out(ctx, &view, &plan).await
    }

    pub(super) fn plan(&self, ctx: &Ctx, view: &View) -> Plan {
        let others = match self.config.tag_writer {
            TagWriter::Mirror => Others::Nobody,
            TagWriter::Bodhi => Others::Bodhi(self.neighbour(view), view.quiet.clone()),
        };
        plan(&view.desired, &view.actual, &others, ctx.now(), self.config.holding_grace)
    }

    pub(super) async fn carry_out(
        &self,
        ctx: &Ctx,
        view: &View,
        plan: &Plan,
    ) -> Result<Settled<Key>, Failure> {
        for conflict in &view.desired.conflicts {
            debug!(repository = %view.full, "{}:{} is claimed twice: {} has it, {} has not", view.full, conflict.tag, conflict.owner, conflict.loser);
        }
        for waiting in &plan.waiting {
            info!(repository = %view.full, "{}:{} is left as it is for {:?}: {}", view.full, waiting.tag, waiting.wait, waiting.why);
        }
        let mut done = self.act(ctx, view, plan).await?;
        done.withheld.extend(self.newly_unknown(ctx, view)?);
        done.no_longer_wanted = no_longer_wanted(ctx, view)?;
        self.keep(ctx, view, plan, &done)?;
        let facts = self.facts(view, &done);
        let settled = if done.changed { Settled::changed(facts) } else { Settled::unchanged(facts) };
        let again = (!plan.waiting.is_empty()).then(|| Key::Again(view.repository.clone()));
        Ok(settled.also(again).also(self.left_over(ctx, &done)?))
    }

    /// Builds that Koji was not known to be ignorant of, or not lately.
    fn newly_unknown(&self, ctx: &Ctx, view: &View) -> Result<BTreeMap<String, Withheld>, Failure> {
        let mut new = BTreeMap::new();
        for (nvr, pushed) in &view.unknown {
            let known = ctx.memo::<Withheld>(&memory::withheld(nvr))?;
            if !known.is_some_and(|known| self.stays_withheld(ctx, &known)) {
                let (repository, asked, pushed) = (view.repository.clone(), ctx.now(), *pushed);
                new.insert(nvr.clone(), Withheld { repository, why: Shortcoming::Unknown, asked, pushed });
            }
        }
        Ok(new)
    }

    /// What is remembered of all this. In shadow mode nothing but what Koji said: nothing else happened.
    fn keep(&self, ctx: &Ctx, view: &View, plan: &Plan, done: &Done) -> Result<(), Failure> {
        for build in &view.builds {
            builds::remember(ctx, &build.fact)?;
        }
        if ctx.shadow() {
            return Ok(());
        }
        let acted = memory::acted(&view.repository);
        let before = ctx.memo::<ActedOn>(&acted)?.unwrap_or_default();
        let now = acted_on(view, plan, &before);
        if now != before {
            ctx.remember(&acted, &now)?;
        }
        memory::keep_held(ctx, &view.repository, &view.actual.held, &held_now(view, plan, done))?;
        for nvr in &done.established {
            if ctx.memo::<Withheld>(&memory::withheld(nvr))?.is_some() {
                ctx.forget(&memory::withheld(nvr));
            }
        }
        for nvr in &done.no_longer_wanted {
            ctx.forget(&memory::withheld(nvr));
        }
        for (nvr, withheld) in &done.withheld {
            ctx.remember(&memory::withheld(nvr), withheld)?;
        }
        Ok(())
    }

    /// Keys of their own for what is left to do about builds: none of it may block a tag.
    fn left_over(&self, ctx: &Ctx, done: &Done) -> Result<Vec<Key>, Failure> {
        let mut keys: Vec<Key> = done
            .withheld
            .keys()
            .chain(&done.no_longer_wanted)
            .filter_map(|nvr| nvr.parse().ok())
            .map(Key::Withheld)
            .collect();
        for nvr in &done.established {
            if ctx.memo::<Staged>(&memory::staged(nvr))?.is_some() {
                keys.extend(nvr.parse().ok().map(Key::Stage));
            }
        }
        Ok(keys)
    }

    /// What holds now for every tag by rule, for `latest` and `testing` in any case, and for what was moved and not told.
    fn facts(&self, view: &View, done: &Done) -> Vec<Fact> {
        let floating = [LATEST, TESTING].into_iter().filter_map(tag_for);
        let named = view.desired.tags.keys().chain(view.passed_over.keys()).cloned();
        let tags: BTreeSet<Tag> = named.chain(floating).collect();
        let seen = |tag: &Tag| view.actual.tags.get(tag).or_else(|| view.passed_over.get(tag));
        let asked = |tag: &Tag| done.tags.get(tag).or_else(|| seen(tag)).copied();
        tags.into_iter()
            .filter_map(|tag| asked(&tag).map(|digest| self.fact(view, done, tag, digest)))
            .collect()
    }

    fn fact(&self, view: &View, done: &Done, tag: Tag, digest: Option<Digest>) -> Fact {
        let wanted = view.desired.tags.get(&tag).filter(|wanted| Some(wanted.digest) == digest);
        let known = view.builds.iter().find(|build| Some(build.digest) == digest);
        let update = wanted.map(|wanted| wanted.alias.clone());
        let detail = Detail {
            registry: self.config.destination.host(),
            repository: view.full.clone(),
            tag,
            media_type: digest.and_then(|digest| {
                view.media_types.get(&digest).or_else(|| done.media_types.get(&digest)).cloned()
            }),
            nvr: wanted
                .map(|wanted| wanted.nvr.clone())
                .or_else(|| known.map(|build| build.fact.nvr.clone())),
            url: update
                .as_ref()
                .and_then(|alias| self.config.bodhi.join(&format!("updates/{alias}")).ok())
                .map(String::from),
            update,
        };
        detail.fact(digest)
    }
}

/// Builds withheld that no tag is waiting for any more: nobody need look at them.
fn no_longer_wanted(ctx: &Ctx, view: &View) -> Result<BTreeSet<String>, Failure> {
    let wanted = |nvr: &String| {
        view.unknown.contains_key(nvr) || view.desired.holding.values().any(|build| build.nvr == *nvr)
    };
    let withheld = memory::all::<Withheld>(ctx, memory::WITHHELD)?;
    let ours = withheld.into_iter().filter(|(_, withheld)| withheld.repository == view.repository);
    Ok(ours.map(|(nvr, _)| nvr).filter(|nvr| !wanted(nvr)).collect())
}

/// The updates whose builds have tags now: those that should, and where a tag still waits for another writer, those that
/// had.
fn acted_on(view: &View, plan: &Plan, before: &ActedOn) -> ActedOn {
    let named: BTreeSet<&str> = view.desired.tags.values().map(|wanted| wanted.alias.as_str()).collect();
    let has_tags =
        |alias: &str| named.contains(alias) || (!plan.waiting.is_empty() && before.contains_key(alias));
    let acted = view.updates.iter().filter(|update| has_tags(&update.alias));
    acted.map(|update| (update.alias.clone(), Acted::on(update))).collect()
}

/// Holding tags as they are now: as planned, without builds that turned out not to be publishable, and with those found.
fn held_now(view: &View, plan: &Plan, done: &Done) -> BTreeMap<Tag, Held> {
    let failed =
        |tag: &Tag| view.desired.holding.get(tag).is_some_and(|build| done.withheld.contains_key(&build.nvr));
    let mut held = plan.held.clone();
    held.retain(|tag, _| !failed(tag));
    for (tag, found) in &done.found {
        held.entry(tag.clone()).or_insert(*found);
    }
    held
}
