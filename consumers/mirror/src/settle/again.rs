//! Looks at a repository again that another writer was at work on.

use flatbus_base::Remedy;
use flatbus_oci::Repository;
use flatbus_runtime::{Ctx, Failure, Settled};

use crate::{key::Key, mirror::Mirror};

impl Mirror {
    /// As settling the repository, but where nothing can be done yet it waits for as long as it has to.
    pub(crate) async fn settle_again(
        &self,
        ctx: &Ctx,
        repository: &Repository,
    ) -> Result<Settled<Key>, Failure> {
        self.refuse_protected(repository)?;
        let Some(view) = self.read(ctx, repository).await? else { return Ok(Settled::unchanged(Vec::new())) };
        let plan = self.plan(ctx, &view);
        let soonest = plan.waiting.iter().min_by_key(|waiting| waiting.wait);
        match soonest {
            Some(waiting) if plan.deeds.is_empty() => {
                let message = format!("{}:{} is left as it is: {}", view.full, waiting.tag, waiting.why);
                Err(Failure { message, remedy: Remedy::RetryAfter(waiting.wait) })
            }
            Some(_) | None => self.carry_out(ctx, &view, &plan).await,
        }
    }
}
