//! The consumer: what it is made of, and how the runtime's questions reach the parts that answer them.

use std::{collections::BTreeSet, sync::Arc};

use flatbus_base::Remedy;
use flatbus_oci::{Registry, Repository};
use flatbus_runtime::{Change, Consumer, Ctx, Failure, Settled, SurveyScope};
use flatbus_schemas::{Announcement, FedoraEvent};
use futures::{FutureExt as _, Stream, StreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};
use serde::de::IgnoredAny;
use tokio::{net::TcpListener, sync::OnceCell};
use tracing::{info, warn};

use crate::{config::Config, event, key::Key, press::Press, serve, telling, wiring};

/// Begins the memo of a repository that waits for a runtime.
const WAITING: &str = "waiting|";
/// Begins the memo of what was said of a repository's place in the files.
const WITHHELD: &str = "withheld|";
/// Memos read in one go.
const MEMOS_AT_ONCE: usize = 256;

/// Makes the flatpak index equal the registry.
pub struct Index {
    pub(crate) config: Config,
    pub(crate) registry: Arc<dyn Registry>,
    pub(crate) clients: Arc<dyn Registry>,
    press: OnceCell<Press>,
}

impl Index {
    /// An index of what `registry` holds, both registries as somebody without credentials sees them. `clients`: where the
    /// entries send them.
    pub fn new(config: Config, registry: Arc<dyn Registry>, clients: Arc<dyn Registry>) -> Self {
        Self { config, registry, clients, press: OnceCell::new() }
    }

    /// Its settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What is published, read when it is first asked for.
    pub(crate) async fn press(&self, ctx: &Ctx) -> Result<&Press, Failure> {
        let open = || async {
            let waited = remembered(ctx, WAITING)?;
            Press::open(&self.config, ctx.state_dir(), waited, ctx.now()).await
        };
        self.press.get_or_try_init(open).await
    }

    async fn settle_one(&self, ctx: &Ctx, key: &Key) -> Result<Settled<Key>, Failure> {
        let repository = key.repository();
        let press = self.press(ctx).await?;
        let looked = self.look(press, repository).await?;
        let since: Option<Timestamp> = ctx.memo(&waiting(repository))?;
        let patience = SignedDuration::try_from(self.config.runtime_wait).unwrap_or(SignedDuration::MAX);
        let waited = since.map_or(SignedDuration::ZERO, |since| ctx.now().duration_since(since));
        let admitted = press.admit(repository, &looked.found, waited < patience, ctx)?;
        press.publish(repository, admitted.ticket, ctx.now()).await?;
        let waits = admitted.remarks.iter().any(|remark| remark.is_wait());
        match (waits, since) {
            (true, None) => ctx.remember(&waiting(repository), &ctx.now())?,
            (false, Some(_)) => ctx.forget(&waiting(repository)),
            (true, Some(_)) | (false, None) => {}
        }
        let mut said: Vec<String> = admitted.remarks.iter().map(ToString::to_string).collect();
        said.extend(looked.left_out);
        // What was changed is told first; then the key is tried again, and fails.
        if matches!(key, Key::Withheld(_)) && !said.is_empty() && !admitted.changed {
            let left = patience.checked_sub(waited).unwrap_or_default();
            let remedy =
                if waits { Remedy::RetryAfter(left.try_into().unwrap_or_default()) } else { Remedy::Park };
            return Err(Failure { message: said.join("; "), remedy });
        }
        self.told(ctx, press, repository, admitted.changed, &said, admitted.wakes).await
    }

    /// The fact of a repository that was settled, and what is left to do.
    async fn told(
        &self,
        ctx: &Ctx,
        press: &Press,
        repository: &Repository,
        changed: bool,
        said: &[String],
        wakes: Vec<Repository>,
    ) -> Result<Settled<Key>, Failure> {
        let fact = telling::fact(repository, press.told(repository).await);
        let settled = if changed { Settled::changed(vec![fact]) } else { Settled::unchanged(vec![fact]) };
        let name = withheld(repository);
        let before = ctx.memo::<Vec<String>>(&name)?.unwrap_or_default();
        if said.is_empty() {
            ctx.forget(&name);
        } else if *said != before {
            said.iter()
                .for_each(|sentence| warn!(image.repository = %repository, "{repository}: {sentence}"));
            ctx.remember(&name, &said)?;
        }
        let own = (*said != before || !said.is_empty() && !ctx.for_survey())
            .then(|| Key::Withheld(repository.clone()));
        Ok(settled.also(own).also(wakes.into_iter().map(Key::Repository)))
    }

    async fn held_keys(&self, ctx: &Ctx, scope: SurveyScope) -> Result<Vec<Key>, Failure> {
        let press = self.press(ctx).await?;
        if scope == SurveyScope::Full && !ctx.shadow() {
            press.sweep(ctx.now()).await?;
        }
        let mut repositories = press.repositories();
        repositories.extend(remembered(ctx, WITHHELD)?);
        Ok(repositories.into_iter().map(Key::Repository).collect())
    }
}

/// When a repository began to wait for a runtime.
fn waiting(repository: &Repository) -> String {
    format!("{WAITING}{repository}")
}

/// What was said of a repository's place in the files.
fn withheld(repository: &Repository) -> String {
    format!("{WITHHELD}{repository}")
}

/// The repositories of which something is remembered under such names.
fn remembered(ctx: &Ctx, prefix: &str) -> Result<BTreeSet<Repository>, Failure> {
    let (mut repositories, mut last) = (BTreeSet::new(), None::<String>);
    loop {
        let memos = ctx.memos::<IgnoredAny>(prefix, last.as_deref(), MEMOS_AT_ONCE)?;
        repositories.extend(
            memos.iter().filter_map(|(name, _)| name.strip_prefix(prefix)?.parse::<Repository>().ok()),
        );
        match memos.into_iter().next_back() {
            Some((name, _)) => last = Some(name),
            None => return Ok(repositories),
        }
    }
}

impl Consumer for Index {
    const NAME: &'static str = "index";
    type Event = FedoraEvent;
    type Key = Key;

    fn affected(&self, event: &FedoraEvent) -> Vec<Key> {
        event::affected(event, &self.config.registry)
    }

    fn lane(&self, key: &Key) -> String {
        key.lane()
    }

    fn rank(&self, key: &Key) -> u8 {
        match key {
            Key::Repository(_) => 0,
            Key::Withheld(_) => 1,
        }
    }

    async fn settle(&self, ctx: &Ctx, batch: &[Key]) -> Vec<Result<Settled<Key>, Failure>> {
        let mut results = Vec::with_capacity(batch.len());
        for key in batch {
            results.push(self.settle_one(ctx, key).await);
        }
        results
    }

    fn survey(&self, ctx: &Ctx, scope: SurveyScope) -> impl Stream<Item = Result<Key, Failure>> + Send {
        let ctx = ctx.clone();
        let held = async move { self.held_keys(&ctx, scope).await };
        held.into_stream().flat_map(|held| match held {
            Ok(keys) => stream::iter(keys.into_iter().map(Ok).collect::<Vec<_>>()),
            Err(failure) => stream::iter(vec![Err(failure)]),
        })
    }

    /// The site's server, where one is wanted.
    async fn serve(&self, ctx: &Ctx) -> Result<(), Failure> {
        let Some(listen) = self.config.listen else { return Ok(()) };
        let fatal = |message: String| Failure { message, remedy: Remedy::Fatal };
        let listener = TcpListener::bind(listen)
            .await
            .map_err(|error| fatal(format!("listening on {listen}: {error}")))?;
        let site = wiring::site(&self.config).map_err(|error| fatal(error.to_string()))?;
        info!(http.address = %listen, "Serving the site on {listen}");
        serve::serve(listener, serve::router(site), ctx.stopping().clone()).await;
        Ok(())
    }

    fn announce(&self, change: &Change) -> Option<Announcement> {
        telling::announcement(change)
    }
}
