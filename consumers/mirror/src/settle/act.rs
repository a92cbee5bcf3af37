//! Does what was planned, in order: bytes and holding tags, then names, then removals. Each step is idempotent, and after
//! each the world is either as it was or one true step further.

use std::collections::{BTreeMap, BTreeSet};

use flatbus_oci::{Digest, Manifest, Repository, Tag, TagDeleted, withdrawn};
use flatbus_runtime::{Ctx, Failure};
use tracing::{info, warn};

use super::{bring::Brought, read::View};
use crate::{
    desired::Desired,
    memory::Withheld,
    mirror::Mirror,
    plan::{Deed, Held, Plan},
    writer::TagWriter,
};

/// What was done.
#[derive(Default)]
pub(super) struct Done {
    /// Whether the world was changed.
    pub changed: bool,
    /// Tags that were moved or withdrawn, with what they name now.
    pub tags: BTreeMap<Tag, Option<Digest>>,
    /// Builds that turned out not to be publishable.
    pub withheld: BTreeMap<String, Withheld>,
    /// Builds that were withheld and that no tag waits for any more.
    pub no_longer_wanted: BTreeSet<String>,
    /// Builds whose image is there, held and public.
    pub established: BTreeSet<String>,
    /// Media types of what tags were moved to.
    pub media_types: BTreeMap<Digest, String>,
    /// Holding tags that were found where memory was lost.
    pub found: BTreeMap<Tag, Held>,
}

/// A plan being carried out.
struct Act<'a> {
    mirror: &'a Mirror,
    ctx: &'a Ctx,
    view: &'a View,
    owned: bool,
    manifests: BTreeMap<Digest, Manifest>,
    done: Done,
}

impl Mirror {
    /// Carries a plan out; in shadow mode only says what would be done.
    pub(super) async fn act(&self, ctx: &Ctx, view: &View, plan: &Plan) -> Result<Done, Failure> {
        let mut act =
            Act { mirror: self, ctx, view, owned: false, manifests: BTreeMap::new(), done: Done::default() };
        if self.config.tag_writer == TagWriter::Bodhi {
            act.own().await?; // Before Bodhi makes it, while it can still be shown that nobody else did.
        }
        for deed in &plan.deeds {
            act.own().await?;
            if ctx.shadow() {
                ctx.would(act.described(deed));
            } else {
                act.deed(deed).await?;
            }
        }
        Ok(act.done)
    }
}

impl Act<'_> {
    fn full(&self) -> &Repository {
        &self.view.full
    }

    async fn own(&mut self) -> Result<(), Failure> {
        if !self.owned {
            let found = self.mirror.own(self.ctx, &self.view.full, &self.view.builds).await?;
            let since = Some(self.ctx.now());
            self.done.found = found
                .into_iter()
                .map(|(tag, digest)| (tag, Held { digest, unwanted_since: since }))
                .collect();
            self.owned = true;
        }
        Ok(())
    }

    async fn deed(&mut self, deed: &Deed) -> Result<(), Failure> {
        match deed {
            Deed::Establish { holding, build } => self.establish(holding, build).await,
            Deed::Move { to, .. } if self.done.withheld.contains_key(&to.nvr) => Ok(()),
            Deed::Move { tag, to, from } => self.move_tag(tag, to, *from).await,
            Deed::Withdraw { tag, from } => self.withdraw(tag, *from).await,
            Deed::LetGo { holding } => self.let_go(holding).await,
        }
    }

    async fn establish(&mut self, holding: &Tag, build: &Desired) -> Result<(), Failure> {
        let placed = self.view.builds.iter().find(|placed| placed.fact.nvr == build.nvr);
        let Some(placed) = placed else {
            return Err(Failure::retry(format!("{} is planned for and not known", build.nvr)));
        };
        match self.mirror.bring(self.ctx, placed, &self.view.full, holding).await? {
            Brought::There { seen, changed } => {
                if seen.is_runtime() {
                    self.mirror.note_runtime(&self.view.repository);
                }
                self.done.changed |= changed;
                self.mirror.ensure_public(&self.view.full, &build.digest).await?;
                self.done.established.insert(build.nvr.clone());
            }
            Brought::Short(why) => {
                warn!(nvr = %build.nvr, "{} can't be published: {why}; its tags stay as they are", build.nvr);
                let (repository, asked) = (self.view.repository.clone(), self.ctx.now());
                self.done
                    .withheld
                    .insert(build.nvr.clone(), Withheld { repository, why, asked, pushed: build.pushed });
            }
        }
        Ok(())
    }

    async fn move_tag(&mut self, tag: &Tag, to: &Desired, from: Option<Digest>) -> Result<(), Failure> {
        self.still_names(tag, from).await?;
        let manifest = self.manifest(&to.digest).await?;
        self.mirror
            .registries
            .destination
            .manifest_put(&self.view.full, &tag.clone().into(), &manifest)
            .await?;
        info!(image.repository = %self.full(), image.tag = %tag, image.digest = %to.digest, "Moved {}:{tag} to {}: {}", self.full(), to.nvr, to.because);
        self.done.tags.insert(tag.clone(), Some(to.digest));
        self.done.changed = true;
        Ok(())
    }

    async fn withdraw(&mut self, tag: &Tag, from: Digest) -> Result<(), Failure> {
        self.still_names(tag, Some(from)).await?;
        let registry = &self.mirror.registries.destination;
        if registry.tag_delete(&self.view.full, tag).await? == TagDeleted::Unsupported {
            registry.manifest_put(&self.view.full, &tag.clone().into(), &withdrawn::manifest()).await?;
        }
        info!(image.repository = %self.full(), image.tag = %tag, image.digest = %from, "Withdrew {}:{tag}", self.full());
        self.done.tags.insert(tag.clone(), None);
        self.done.changed = true;
        Ok(())
    }

    /// Never by digest: that would take every tag of it along. A registry that can't delete tags keeps it.
    async fn let_go(&mut self, holding: &Tag) -> Result<(), Failure> {
        match self.mirror.registries.destination.tag_delete(&self.view.full, holding).await? {
            TagDeleted::Deleted => {
                info!(image.repository = %self.full(), image.tag = %holding, "Let go of {}:{holding}", self.full());
                self.done.changed = true;
            }
            TagDeleted::Unsupported => {}
        }
        Ok(())
    }

    /// Where another writes too, what was decided on must still be so a moment before it is changed.
    async fn still_names(&self, tag: &Tag, from: Option<Digest>) -> Result<(), Failure> {
        if self.mirror.config.tag_writer == TagWriter::Mirror {
            return Ok(());
        }
        let head =
            self.mirror.registries.destination.manifest_head(&self.view.full, &tag.clone().into()).await?;
        let now = head.map(|head| head.digest).filter(|digest| !withdrawn::is(digest));
        if now != from {
            return Err(Failure::retry(format!(
                "{}:{tag} was written by another while it was being decided on: looking again",
                self.full()
            )));
        }
        Ok(())
    }

    /// The manifest that a tag is to name, read once.
    async fn manifest(&mut self, digest: &Digest) -> Result<Manifest, Failure> {
        if let Some(manifest) = self.manifests.get(digest) {
            return Ok(manifest.clone());
        }
        let found =
            self.mirror.registries.destination.manifest_get(&self.view.full, &(*digest).into()).await?;
        let Some(manifest) = found else {
            return Err(Failure::retry(format!(
                "{}@{digest} is held by a tag and yet gone from the registry",
                self.full()
            )));
        };
        self.done.media_types.insert(*digest, manifest.media_type.clone());
        self.manifests.insert(*digest, manifest.clone());
        Ok(manifest)
    }

    fn described(&self, deed: &Deed) -> String {
        let full = self.full();
        match deed {
            Deed::Establish { holding, build } => format!(
                "copy {} to {full}, hold it with {holding}, and make sure that anybody can read it",
                build.nvr
            ),
            Deed::Move { tag, to, from: None } => format!("tag {full}:{tag} as {} ({})", to.nvr, to.because),
            Deed::Move { tag, to, from: Some(from) } => {
                format!("move {full}:{tag} from {from} to {} ({})", to.nvr, to.because)
            }
            Deed::Withdraw { tag, from } => format!("withdraw {full}:{tag} from {from}"),
            Deed::LetGo { holding } => format!("remove {full}:{holding}, unused since the grace period"),
        }
    }
}
