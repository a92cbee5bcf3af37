//! Settles a build: asks Koji what it is, and makes its repository doubtful. Writes to no registry.

use flatbus_runtime::{Ctx, Failure, Settled};
use flatbus_schemas::Nvr;
use flatbus_upstream::koji::BuildRef;
use tracing::info;

use crate::{
    builds,
    fact::BuildFact,
    key::Key,
    memory::{self, Withheld},
    mirror::Mirror,
};

impl Mirror {
    pub(crate) async fn settle_build(&self, ctx: &Ctx, nvr: &Nvr) -> Result<Settled<Key>, Failure> {
        let Some(fact) = self.builds.fact(ctx, nvr.as_str()).await? else {
            info!(%nvr, "Koji knows no build {nvr}: nothing to do until it does");
            return Ok(Settled::unchanged(Vec::new()));
        };
        if !fact.flatpak {
            return Ok(Settled::unchanged(Vec::new()));
        }
        let placed = self.config.sources.place(&fact).map_err(|error| Failure::park(error.to_string()))?;
        self.catalogue.learn(ctx, &placed)?;
        let withheld =
            ctx.memo::<Withheld>(&memory::withheld(nvr.as_str()))?.map(|_| Key::Withheld(nvr.clone()));
        let stage = self.wants_stage(ctx, &placed)?.then(|| Key::Stage(nvr.clone()));
        Ok(Settled::unchanged(Vec::new())
            .also([Key::Repository(placed.repository)])
            .also(withheld)
            .also(stage))
    }

    /// A build without a task: most are no Flatpaks, and they come by the thousand.
    pub(crate) async fn settle_import(&self, ctx: &Ctx, nvr: &Nvr) -> Result<Settled<Key>, Failure> {
        let known = ctx.memo::<BuildFact>(&BuildFact::memo(nvr.as_str()))?;
        let fact = match known {
            Some(fact) => Some(fact),
            None => {
                self.imports.turn(ctx.clock()).await;
                let build = self.koji.build(&BuildRef::Nvr(nvr.to_string())).await?;
                build.map(|build| BuildFact::of(&build))
            }
        };
        let Some(fact) = fact.filter(|fact| fact.flatpak) else { return Ok(Settled::unchanged(Vec::new())) };
        builds::remember(ctx, &fact)?;
        Ok(Settled::unchanged(Vec::new()).also([Key::Build(nvr.clone())]))
    }
}
