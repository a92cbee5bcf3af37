//! What Koji says of builds: remembered, else asked for, many at once.
//!
//! Koji's answer about a complete build never changes; what Koji doesn't know is asked for again each time.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use flatbus_runtime::{Ctx, Failure};
use flatbus_upstream::koji::{BUILDS_PER_CALL_MAX, BuildRef, Koji};

use crate::fact::BuildFact;

/// Builds kept in memory until a settle that needs them remembers them. Past it the oldest text goes first.
const KEPT_MAX: usize = 50_000;

/// Knows builds.
pub struct Builds {
    koji: Arc<dyn Koji>,
    kept: Mutex<BTreeMap<String, BuildFact>>,
}

/// What was found out about some builds.
#[derive(Debug, Default)]
pub struct Facts {
    /// Those Koji knows.
    pub known: BTreeMap<String, BuildFact>,
    /// Those it doesn't.
    pub unknown: BTreeSet<String>,
}

impl Builds {
    /// Asks this hub.
    pub fn new(koji: Arc<dyn Koji>) -> Self {
        Self { koji, kept: Mutex::default() }
    }

    /// One build, and remembered for good if complete; `None` where Koji knows none.
    ///
    /// # Errors
    /// When Koji or the ledger can't be read.
    pub async fn fact(&self, ctx: &Ctx, nvr: &str) -> Result<Option<BuildFact>, Failure> {
        if let Some(fact) = self.at_hand(ctx, nvr)? {
            remember(ctx, &fact)?;
            return Ok(Some(fact));
        }
        let fact = self.koji.build(&BuildRef::Nvr(nvr.to_owned())).await?.map(|build| BuildFact::of(&build));
        if let Some(fact) = &fact {
            remember(ctx, fact)?;
        }
        Ok(fact)
    }

    /// Many builds. None is remembered for good: that is for the settle that needs it.
    ///
    /// # Errors
    /// When Koji or the ledger can't be read.
    pub async fn facts(&self, ctx: &Ctx, nvrs: impl IntoIterator<Item = String>) -> Result<Facts, Failure> {
        let mut facts = Facts::default();
        let mut asked = BTreeSet::new();
        for nvr in nvrs {
            match self.at_hand(ctx, &nvr)? {
                Some(fact) => drop(facts.known.insert(nvr, fact)),
                None => drop(asked.insert(nvr)),
            }
        }
        let asked: Vec<String> = asked.into_iter().collect();
        for chunk in asked.chunks(BUILDS_PER_CALL_MAX) {
            self.ask(chunk, &mut facts).await?;
        }
        Ok(facts)
    }

    async fn ask(&self, nvrs: &[String], facts: &mut Facts) -> Result<(), Failure> {
        let refs: Vec<BuildRef> = nvrs.iter().cloned().map(BuildRef::Nvr).collect();
        let answers = self.koji.builds(&refs).await?;
        if answers.len() != nvrs.len() {
            return Err(Failure::retry(format!(
                "Koji answered {} builds where {} were asked for",
                answers.len(),
                nvrs.len()
            )));
        }
        for (nvr, answer) in nvrs.iter().zip(answers) {
            match answer? {
                Some(build) => {
                    let fact = BuildFact::of(&build);
                    self.keep(&fact);
                    facts.known.insert(nvr.clone(), fact);
                }
                None => drop(facts.unknown.insert(nvr.clone())),
            }
        }
        Ok(())
    }

    /// Remembered for good, or kept since it was last asked for.
    fn at_hand(&self, ctx: &Ctx, nvr: &str) -> Result<Option<BuildFact>, Failure> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(fact) = ctx.memo::<BuildFact>(&BuildFact::memo(nvr))? {
            kept.remove(nvr);
            return Ok(Some(fact));
        }
        Ok(kept.get(nvr).cloned())
    }

    fn keep(&self, fact: &BuildFact) {
        if !fact.complete {
            return;
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.insert(fact.nvr.clone(), fact.clone());
        if kept.len() > KEPT_MAX {
            kept.pop_first();
        }
    }
}

/// Remembers a build for good, unless it may still change or is remembered already.
///
/// # Errors
/// When the ledger can't be read.
pub fn remember(ctx: &Ctx, fact: &BuildFact) -> Result<(), Failure> {
    let name = BuildFact::memo(&fact.nvr);
    if fact.complete && ctx.memo::<BuildFact>(&name)?.is_none() {
        ctx.remember(&name, fact)?;
    }
    Ok(())
}
