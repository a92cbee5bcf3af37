//! Whose a repository is. Mirror writes only to repositories that it made or that a person had it adopt: the organisation
//! is shared, and a repository's name is a packager's free text.

use flatbus_oci::{Digest, Error, Registry, Repository, Tag, withdrawn};
use flatbus_runtime::{Ctx, Failure, Settled};
use flatbus_upstream::koji::{BUILDS_PER_CALL_MAX, BuildRef};
use futures::{StreamExt, TryStreamExt, stream};
use tracing::info;

use crate::{
    fact::BuildFact,
    image::{self, REF_LABEL, Verdict},
    key::Key,
    memory::{self, Ownership},
    mirror::Mirror,
    plan::Held,
    sources::Placed,
    tagname::held_build,
};

/// Manifests of one repository looked at, at once, when every tag of it is proved.
const PROOFS_MAX: usize = 4;
/// Tags named in an error.
const SHOWN_MAX: usize = 5;

/// A tag with what it names.
type Named = Vec<(Tag, Digest)>;

/// What a look at every tag of a repository showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// Tags that name a Flatpak, or are withdrawn.
    pub flatpaks: Vec<(Tag, Digest)>,
    /// Tags that name something else, with what.
    pub others: Vec<(Tag, String)>,
}

impl Proof {
    /// Whether the repository may be taken over: something is in it, and nothing but Flatpaks.
    pub fn holds(&self) -> bool {
        !self.flatpaks.is_empty() && self.others.is_empty()
    }

    fn shown(&self) -> String {
        let shown: Vec<String> =
            self.others.iter().take(SHOWN_MAX).map(|(tag, what)| format!("{tag} names {what}")).collect();
        let more = self.others.len().saturating_sub(SHOWN_MAX);
        if more > 0 { format!("{} and {more} more", shown.join(", ")) } else { shown.join(", ") }
    }
}

impl Mirror {
    /// Makes sure that a repository of the destination is ours before anything is written to it. Gives back the holding
    /// tags that were found where memory was lost.
    pub(super) async fn own(
        &self,
        ctx: &Ctx,
        full: &Repository,
        builds: &[Placed],
    ) -> Result<Named, Failure> {
        let memo = memory::ownership(full);
        if ctx.memo::<Ownership>(&memo)?.is_some() {
            return Ok(Vec::new());
        }
        let tags = seen(self.registries.destination.tags(full).await)?;
        let (ownership, holding) = if tags.is_empty() {
            self.create(ctx, full).await?;
            (Ownership::Created, Vec::new())
        } else {
            (Ownership::Reproved, self.reprove(full, tags, builds).await?)
        };
        if !ctx.shadow() {
            ctx.remember(&memo, &ownership)?;
        }
        Ok(holding)
    }

    /// On quay a repository that comes to be by a push is private: there it is made public before anything is in it.
    async fn create(&self, ctx: &Ctx, full: &Repository) -> Result<(), Failure> {
        match &self.quay {
            Some(quay) if !ctx.shadow() => Ok(quay.create_public(full.as_str()).await?),
            Some(_) | None => Ok(()),
        }
    }

    /// Memory was lost: a repository with a holding tag of one of its builds, and nothing but Flatpaks, is one of ours.
    async fn reprove(&self, full: &Repository, tags: Vec<Tag>, builds: &[Placed]) -> Result<Named, Failure> {
        let host = self.config.destination.host();
        let proof = self.look_at(full, tags).await?;
        if !proof.others.is_empty() {
            return Err(Failure::park(format!(
                "{host}/{full} holds other things than Flatpaks ({}): refused, nothing was written",
                proof.shown()
            )));
        }
        if !self.holds_a_build(full, &proof.flatpaks, builds).await? {
            return Err(Failure::park(format!(
                "{host}/{full} was there before flatbus: look at its tags, then run `flatbus mirror adopt {}` if they may be replaced",
                self.canonical(full.as_str()).as_ref().unwrap_or(full),
            )));
        }
        info!(repository = %full, "Proved anew that {host}/{full} is ours");
        Ok(proof.flatpaks.into_iter().filter(|(tag, _)| held_build(tag).is_some()).collect())
    }

    /// Whether a holding tag holds what it names. Of a build that no update names any more, Koji knows.
    async fn holds_a_build(
        &self,
        full: &Repository,
        flatpaks: &[(Tag, Digest)],
        builds: &[Placed],
    ) -> Result<bool, Failure> {
        let held: Vec<(i64, Digest)> =
            flatpaks.iter().filter_map(|(tag, digest)| Some((held_build(tag)?, *digest))).collect();
        if builds.iter().any(|build| held.contains(&(build.fact.id, build.digest))) {
            return Ok(true);
        }
        let asked: Vec<BuildRef> =
            held.iter().take(BUILDS_PER_CALL_MAX).map(|(id, _)| BuildRef::Id(*id)).collect();
        if asked.is_empty() {
            return Ok(false);
        }
        for build in self.koji.builds(&asked).await? {
            let placed = build?.and_then(|build| self.config.sources.place(&BuildFact::of(&build)).ok());
            if let Some(build) = placed
                && self.full_name(&build.repository)? == *full
                && held.contains(&(build.fact.id, build.digest))
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Looks at every tag of a repository of the destination. Reads only.
    ///
    /// # Errors
    /// When the registry can't be read.
    pub async fn prove(&self, full: &Repository) -> Result<Proof, Failure> {
        let tags = self.registries.destination.tags(full).await.map_err(Failure::from)?;
        self.look_at(full, tags).await
    }

    async fn look_at(&self, full: &Repository, tags: Vec<Tag>) -> Result<Proof, Failure> {
        let registry = &*self.registries.destination;
        let looks =
            tags.into_iter().map(|tag| async { Ok::<_, Error>((look(registry, full, &tag).await?, tag)) });
        let looks: Vec<(Option<Look>, Tag)> = stream::iter(looks).buffered(PROOFS_MAX).try_collect().await?;
        let mut proof = Proof { flatpaks: Vec::new(), others: Vec::new() };
        for (look, tag) in looks {
            match look {
                Some(Look::Flatpak(digest)) => proof.flatpaks.push((tag, digest)),
                Some(Look::Other(what)) => proof.others.push((tag, what)),
                None => {} // Gone since it was listed.
            }
        }
        Ok(proof)
    }

    /// A person wants a repository taken over.
    pub(crate) async fn settle_adopt(
        &self,
        ctx: &Ctx,
        repository: &Repository,
    ) -> Result<Settled<Key>, Failure> {
        self.refuse_protected(repository)?;
        let full = self.full_name(repository)?;
        let host = self.config.destination.host();
        let proof = self.prove(&full).await?;
        if !proof.holds() {
            let why = if proof.others.is_empty() { "it has no tags".to_owned() } else { proof.shown() };
            return Err(Failure::park(format!(
                "{host}/{full} can't be adopted, not every tag of it names an image with {REF_LABEL}: {why}"
            )));
        }
        if ctx.shadow() {
            ctx.would(format!("adopt {host}/{full} with {} tags", proof.flatpaks.len()));
            return Ok(Settled::unchanged(Vec::new()));
        }
        let memo = memory::ownership(&full);
        let already = ctx.memo::<Ownership>(&memo)? == Some(Ownership::Adopted);
        self.hold_found(ctx, repository, &proof.flatpaks)?;
        if !already {
            ctx.remember(&memo, &Ownership::Adopted)?;
            info!(repository = %full, tags = proof.flatpaks.len(), "Adopted {host}/{full} with {} tags", proof.flatpaks.len());
        }
        let settled = Settled { changed: !already, ..Settled::unchanged(Vec::new()) };
        Ok(settled.also([Key::Repository(repository.clone())]))
    }

    /// Holding tags that nobody remembers: their grace period starts anew.
    fn hold_found(&self, ctx: &Ctx, repository: &Repository, found: &[(Tag, Digest)]) -> Result<(), Failure> {
        for (tag, digest) in found.iter().filter(|(tag, _)| held_build(tag).is_some()) {
            let name = memory::held(repository, tag);
            if ctx.memo::<Held>(&name)?.is_none() {
                ctx.remember(&name, &Held { digest: *digest, unwanted_since: Some(ctx.now()) })?;
            }
        }
        Ok(())
    }

    /// Names that are never written to.
    pub(super) fn refuse_protected(&self, repository: &Repository) -> Result<(), Failure> {
        if self.config.is_protected(repository.as_str()) {
            return Err(Failure::park(format!(
                "{repository} is protected: nothing is ever written to it (consumer_config.protected)"
            )));
        }
        Ok(())
    }
}

/// A repository that isn't there may be answered by a refusal, as quay does: then it is as good as empty, and the write
/// that follows is what decides.
fn seen(tags: Result<Vec<Tag>, Error>) -> Result<Vec<Tag>, Failure> {
    match tags {
        Ok(tags) => Ok(tags),
        Err(Error::Unauthorized { .. } | Error::Denied { .. } | Error::NotFound { .. }) => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

enum Look {
    Flatpak(Digest),
    Other(String),
}

async fn look(registry: &dyn Registry, full: &Repository, tag: &Tag) -> Result<Option<Look>, Error> {
    let Some(root) = registry.manifest_get(full, &tag.clone().into()).await? else { return Ok(None) };
    if withdrawn::is(&root.digest) {
        return Ok(Some(Look::Flatpak(root.digest)));
    }
    let what = image::inspect_manifest(registry, full, &root).await?;
    Ok(Some(match what {
        Some(Verdict::Flatpak(_)) => Look::Flatpak(root.digest),
        Some(Verdict::Other(what)) => Look::Other(what),
        None => Look::Other("an image with parts missing".to_owned()),
    }))
}
