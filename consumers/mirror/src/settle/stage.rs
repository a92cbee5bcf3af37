//! Settles a build's place in the staging namespace: there from its completion until it is published or too old. Never
//! stands in the way of publishing.

use std::{sync::PoisonError, time::Duration};

use flatbus_oci::{Error, Repository, Tag, TagDeleted};
use flatbus_runtime::{Ctx, Failure, Settled};
use flatbus_schemas::Nvr;
use jiff::Timestamp;
use tracing::{info, warn};

use super::bring::Brought;
use crate::{
    config::Staging,
    image::Verdict,
    key::Key,
    memory::{self, Ownership, Staged},
    mirror::Mirror,
    plan::Held,
    sources::Placed,
    tagname::{held_build, holding_tag},
};

/// What should happen to a build in staging.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Wanted {
    Put,
    Remove(Staged),
    Nothing,
}

impl Mirror {
    /// Whether staging has anything to do for a build.
    pub(super) fn wants_stage(&self, ctx: &Ctx, build: &Placed) -> Result<bool, Failure> {
        match &self.config.staging {
            Some(staging) => Ok(wanted(ctx, staging, build)? != Wanted::Nothing),
            None => Ok(false),
        }
    }

    pub(crate) async fn settle_stage(&self, ctx: &Ctx, nvr: &Nvr) -> Result<Settled<Key>, Failure> {
        let unchanged = Settled::unchanged(Vec::new());
        let Some(staging) = &self.config.staging else { return Ok(unchanged) };
        let Some(fact) = self.builds.fact(ctx, nvr.as_str()).await? else { return Ok(unchanged) };
        let Ok(build) = self.config.sources.place(&fact) else { return Ok(unchanged) };
        let (Some(there), Some(tag)) = (staging.at.repository(&build.repository), holding_tag(build.fact.id))
        else {
            return Ok(unchanged);
        };
        match wanted(ctx, staging, &build)? {
            Wanted::Nothing => Ok(unchanged),
            Wanted::Remove(staged) => self.unstage(ctx, nvr, &there, &staged).await,
            Wanted::Put => self.stage(ctx, staging, &build, &there, &tag).await,
        }
    }

    async fn unstage(
        &self,
        ctx: &Ctx,
        nvr: &Nvr,
        there: &Repository,
        staged: &Staged,
    ) -> Result<Settled<Key>, Failure> {
        if ctx.shadow() {
            ctx.would(format!("remove {there}:{} from staging", staged.tag));
            return Ok(Settled::unchanged(Vec::new()));
        }
        match self.registries.destination.tag_delete(there, &staged.tag).await? {
            TagDeleted::Deleted => info!("Removed {nvr} from staging"),
            TagDeleted::Unsupported => {
                warn!("{} can't delete tags: {there}:{} stays", self.config.destination.host(), staged.tag);
            }
        }
        ctx.forget(&memory::staged(nvr.as_str()));
        Ok(Settled::changed(Vec::new()))
    }

    async fn stage(
        &self,
        ctx: &Ctx,
        staging: &Staging,
        build: &Placed,
        there: &Repository,
        tag: &Tag,
    ) -> Result<Settled<Key>, Failure> {
        let nvr = &build.fact.nvr;
        let Some(Verdict::Flatpak(seen)) = self.find(build, there).await? else {
            info!(%nvr, "{nvr} is not staged: no source has a complete Flatpak of it");
            return Ok(Settled::unchanged(Vec::new()));
        };
        let Some(_room) = self.reserve(ctx, staging, nvr, seen.bytes)? else {
            warn!(%nvr, "{nvr} is not staged: staging holds {} bytes at most (staging_max_bytes)", staging.max_bytes);
            return Ok(Settled::unchanged(Vec::new()));
        };
        self.own_staging(ctx, there).await?;
        if ctx.shadow() {
            ctx.would(format!("copy {nvr} to {there}:{tag}"));
            return Ok(Settled::unchanged(Vec::new()));
        }
        match self.bring(ctx, build, there, tag).await? {
            Brought::There { changed, .. } => {
                let staged = Staged {
                    repository: build.repository.clone(),
                    tag: tag.clone(),
                    digest: build.digest,
                    bytes: seen.bytes,
                    since: ctx.now(),
                };
                ctx.remember(&memory::staged(nvr), &staged)?;
                Ok(if changed { Settled::changed(Vec::new()) } else { Settled::unchanged(Vec::new()) })
            }
            Brought::Short(why) => {
                info!(%nvr, "{nvr} is not staged: {why}");
                Ok(Settled::unchanged(Vec::new()))
            }
        }
    }

    /// The staging namespace is flatbus' alone: a repository there with other tags than ours is refused.
    async fn own_staging(&self, ctx: &Ctx, there: &Repository) -> Result<(), Failure> {
        let memo = memory::ownership(there);
        if ctx.memo::<Ownership>(&memo)?.is_some() {
            return Ok(());
        }
        let tags = match self.registries.destination.tags(there).await {
            Ok(tags) => tags,
            Err(Error::Unauthorized { .. } | Error::Denied { .. } | Error::NotFound { .. }) => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        if let Some(foreign) = tags.iter().find(|tag| held_build(tag).is_none()) {
            let host = self.config.destination.host();
            return Err(Failure::park(format!(
                "{host}/{there} is not flatbus' own, it has the tag {foreign}: nothing is staged there"
            )));
        }
        if !ctx.shadow() {
            ctx.remember(&memo, &if tags.is_empty() { Ownership::Created } else { Ownership::Reproved })?;
        }
        Ok(())
    }

    /// Room for an image in staging, given back when dropped; `None` where there is none.
    fn reserve<'a>(
        &'a self,
        ctx: &Ctx,
        staging: &Staging,
        nvr: &'a str,
        bytes: u64,
    ) -> Result<Option<Room<'a>>, Failure> {
        let staged = memory::all::<Staged>(ctx, memory::STAGED)?;
        let mut coming = self.staging_bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let under_way =
            coming.iter().filter(|(other, _)| !staged.contains_key(*other)).map(|(_, bytes)| *bytes);
        let total =
            staged.values().map(|staged| staged.bytes).chain(under_way).fold(bytes, u64::saturating_add);
        if total > staging.max_bytes {
            return Ok(None);
        }
        coming.insert(nvr.to_owned(), bytes);
        Ok(Some(Room { mirror: self, nvr }))
    }
}

/// Room in staging that a copy under way needs.
struct Room<'a> {
    mirror: &'a Mirror,
    nvr: &'a str,
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.mirror.staging_bytes.lock().unwrap_or_else(PoisonError::into_inner).remove(self.nvr);
    }
}

fn wanted(ctx: &Ctx, staging: &Staging, build: &Placed) -> Result<Wanted, Failure> {
    let published = match holding_tag(build.fact.id) {
        Some(tag) => ctx.memo::<Held>(&memory::held(&build.repository, &tag))?.is_some(),
        None => true,
    };
    let staged = ctx.memo::<Staged>(&memory::staged(&build.fact.nvr))?;
    let old = |since: Timestamp| {
        Duration::try_from(ctx.now().duration_since(since)).unwrap_or_default() >= staging.keep
    };
    let completed = build.fact.completed_s.and_then(|s| Timestamp::from_second(s).ok());
    Ok(match staged {
        Some(staged) if published || old(staged.since) => Wanted::Remove(staged),
        None if !published && completed.is_some_and(|at| !old(at)) => Wanted::Put,
        Some(_) | None => Wanted::Nothing,
    })
}
