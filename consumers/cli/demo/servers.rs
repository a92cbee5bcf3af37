//! The world of the demo: servers on free ports of 127.0.0.1, and mirror running among them.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;
use flatbus_bus::MemoryBus;
use flatbus_embedded::world::{self, World};
use flatbus_ledger::Ledger;
use flatbus_runtime::{Ends, Failure, Manager};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::super::{
    args::{Common, Name},
    wiring::{self, Opening},
};

/// The queue that mirror consumes from.
const QUEUE: &str = "mirror";
/// The history is of the production environment.
const TOPIC_PREFIX: &str = "org.fedoraproject.prod";

/// Everything but the consumer.
pub struct Servers {
    pub bus: MemoryBus,
    pub world: World,
    pub config: PathBuf,
}

impl Servers {
    /// Starts them, with every image of the history in the candidate registry and nothing in the public one.
    pub async fn start(folder: &Path) -> anyhow::Result<Self> {
        let directory = Some(folder.to_owned());
        let world =
            world::start(world::Settings { directory, stories: true, ..world::Settings::default() }).await?;
        let servers = Self { bus: MemoryBus::new(), world, config: folder.join("mirror.toml") };
        std::fs::write(&servers.config, servers.configuration(folder))
            .context("writing the demo's configuration")?;
        Ok(servers)
    }

    /// The same file that a unit would be given.
    fn configuration(&self, folder: &Path) -> String {
        format!(
            r#"# The configuration of this demo: the running unit answers to every verb that is given this file.
topic_prefix = "{TOPIC_PREFIX}"

[consumer_config]
destination = "{public}/fedora"
koji = "{koji}"
bodhi = "{bodhi}/"
# This Koji is ours alone: no need to go easy on it.
imports_per_s = 100

[[consumer_config.sources]]
pull_spec = "{candidate_host}/"
bytes_at = ["{candidate}"]

[consumer_config.runtime]
state_dir = "{folder}/state"
socket = "{folder}/mirror.sock"
"#,
            public = self.world.public.url(),
            koji = self.world.koji.url(),
            bodhi = self.world.bodhi.url(),
            candidate_host = self.world.candidate.host(),
            candidate = self.world.candidate.url(),
            folder = folder.display(),
        )
    }

    /// Runs mirror on the embedded bus.
    pub async fn run_mirror(&self) -> anyhow::Result<Running> {
        let common = Common { config: Some(self.config.clone()), json: false, log: None, container: false };
        let config = wiring::load(&common, Name::Mirror)?;
        let socket = Some(config.runtime.socket.clone());
        let stop = CancellationToken::new();
        let unit = wiring::open_unit(config, Opening::as_unit(stop.clone(), false)).await?;
        let ledger = unit.ledger().clone();
        let ends = Ends {
            source: Box::new(self.bus.source(QUEUE)),
            publisher: Arc::new(self.bus.publisher(TOPIC_PREFIX)),
            socket,
            monitoring: None,
            local_door: None,
            manager: Manager::default(),
        };
        let mut task = JoinSet::new();
        task.spawn(unit.run(ends));
        Ok(Running { ledger, stop, task })
    }

    /// Whether mirror has recorded all that it was sent.
    pub fn all_recorded(&self) -> bool {
        self.bus.waiting(QUEUE) + self.bus.unacked(QUEUE) == 0
    }
}

/// mirror, running.
pub struct Running {
    pub ledger: Ledger,
    stop: CancellationToken,
    task: JoinSet<Result<(), Failure>>,
}

impl Running {
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        self.stop.cancel();
        if let Some(ended) = self.task.join_next().await {
            ended??;
        }
        Ok(())
    }
}
