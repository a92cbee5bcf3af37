//! What mirror says on the bus, said by the test: it publishes as mirror does, through the same publisher.

use std::path::Path;

use flatbus_base::{Clock as _, Random, SystemClock};
use flatbus_bus::{AmqpPublisher, Config, Outgoing, Publisher as _};
use flatbus_oci::manifest::OCI_INDEX;
use flatbus_schemas::TagMoved;
use tokio::runtime::{Builder, Runtime};

/// A connection to the broker, with a thread of its own.
pub struct Bus {
    runtime: Runtime,
    publisher: AmqpPublisher,
    random: Random,
}

impl Bus {
    pub fn new(broker: &str) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let config = format!("amqp_url = \"{broker}\"\ntopic_prefix = \"org.fedoraproject.prod\"\n");
        let (config, _) = Config::from_toml(&config, Path::new("bus.toml")).expect("a configuration");
        Self { runtime, publisher: AmqpPublisher::new(config, "test"), random: Random::from_system() }
    }

    /// Publishes `flatbus.tag.moved`; the broker has it when this returns. Without a digest: the tag is gone.
    pub fn tag_moved(&self, registry: &str, repository: &str, tag: &str, digest: Option<String>) {
        let moved = TagMoved {
            registry: registry.to_owned(),
            repository: repository.to_owned(),
            tag: tag.to_owned(),
            media_type: digest.is_some().then(|| OCI_INDEX.to_owned()),
            digest,
            previous_digest: None,
            nvr: None,
            update: None,
            url: None,
        };
        let message = Outgoing {
            id: self.random.uuid().to_string(),
            sent_at: SystemClock.wall(),
            causes: Vec::new(),
            announcement: moved.announcement(),
        };
        let published = self.runtime.block_on(self.publisher.publish(&message));
        published.unwrap_or_else(|error| panic!("cannot tell that {repository}:{tag} moved: {error}"));
    }
}
