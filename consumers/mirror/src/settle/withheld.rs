//! Settles a build that has tags by rule and can't be published: asks again, and calls a person where it is fresh.

use std::time::Duration;

use flatbus_runtime::{Ctx, Failure, Settled};
use flatbus_schemas::Nvr;

use crate::{
    image::Verdict,
    key::Key,
    memory::{self, Shortcoming, Withheld},
    mirror::Mirror,
};

impl Mirror {
    pub(crate) async fn settle_withheld(&self, ctx: &Ctx, nvr: &Nvr) -> Result<Settled<Key>, Failure> {
        let name = memory::withheld(nvr.as_str());
        let Some(withheld) = ctx.memo::<Withheld>(&name)? else { return Ok(Settled::unchanged(Vec::new())) };
        let Some(fact) = self.builds.fact(ctx, nvr.as_str()).await? else {
            return self.still_unknown(ctx, nvr, withheld);
        };
        if withheld.why == Shortcoming::Unknown {
            ctx.forget(&name);
            return Ok(Settled::unchanged(Vec::new()).also([Key::Build(nvr.clone())]));
        }
        let placed = self.config.sources.place(&fact).map_err(|error| Failure::park(error.to_string()))?;
        let full = self.full_name(&placed.repository)?;
        match self.find(&placed, &full).await? {
            Some(Verdict::Flatpak(_)) => {
                ctx.forget(&name);
                Ok(Settled::unchanged(Vec::new()).also([Key::Repository(placed.repository)]))
            }
            Some(Verdict::Other(found)) => {
                Err(Failure::park(format!("{nvr} can't be published: {}", Shortcoming::Refused { found })))
            }
            None if self.is_fresh(ctx, &withheld) => Err(Failure::park(format!(
                "{nvr} can't be published: {}. It was pushed less than {} days ago, so its bytes should be there",
                withheld.why,
                self.config.unavailable_again.as_secs() / (24 * 3600),
            ))),
            None => {
                ctx.remember(&name, &Withheld { asked: ctx.now(), ..withheld })?;
                Ok(Settled::unchanged(Vec::new()))
            }
        }
    }

    /// Koji knows every build that Bodhi pushes: of a fresh one it will.
    fn still_unknown(&self, ctx: &Ctx, nvr: &Nvr, withheld: Withheld) -> Result<Settled<Key>, Failure> {
        if self.is_fresh(ctx, &withheld) {
            return Err(Failure::retry(format!(
                "Koji does not know {nvr}, which an update pushed: its tags are left as they are"
            )));
        }
        ctx.remember(&memory::withheld(nvr.as_str()), &Withheld { asked: ctx.now(), ..withheld })?;
        Ok(Settled::unchanged(Vec::new()))
    }

    pub(crate) fn is_fresh(&self, ctx: &Ctx, withheld: &Withheld) -> bool {
        Duration::try_from(ctx.now().duration_since(withheld.pushed)).unwrap_or_default()
            < self.config.unavailable_again
    }
}
