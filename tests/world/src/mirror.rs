//! The mirror in the world: how one is made for a life, and its unit's settings.

use std::{sync::Arc, time::Duration};

use flatbus_mirror::{Config, Mirror, RawConfig, Registries, event};
use flatbus_oci::{MemoryRegistry, Registry};
use flatbus_runtime::Settings;
use flatbus_schemas::{FedoraEvent, FromMessage};
use flatbus_upstream::{
    memory::{MemoryBodhi, MemoryKoji, MemoryQuay},
    quay::Quay,
};

use crate::{
    doubles::{Affected, GatedBodhi, GatedKoji, GatedQuay, GatedRegistry},
    fedora::{CANDIDATE, NAMESPACE, PUBLIC},
    gate::{Line, Service},
    history::Setting,
    witness::Witness,
};

/// The queue.
pub const QUEUE: &str = "mirror";
/// Doubtful keys held where few fit.
pub const CROWDED: usize = 6;

/// What a mirror stands on.
#[derive(Clone)]
pub struct Outside {
    pub setting: Setting,
    pub candidate: MemoryRegistry,
    pub public: MemoryRegistry,
    pub koji: MemoryKoji,
    pub bodhi: MemoryBodhi,
    pub quay: Option<MemoryQuay>,
    pub witness: Witness,
}

impl Outside {
    /// A mirror that sees the world through this line.
    pub fn mirror(&self, line: &Line) -> Mirror {
        let registry = |inner: &MemoryRegistry, service| {
            Arc::new(GatedRegistry::new(inner.clone(), service, line.clone(), self.witness.clone()))
                as Arc<dyn Registry>
        };
        let registries = Registries {
            destination: registry(&self.public, Service::Public),
            anonymous: registry(&self.public.anonymous(), Service::Public),
            sources: [(CANDIDATE.to_owned(), registry(&self.candidate, Service::Candidate))].into(),
        };
        let quay = self
            .quay
            .as_ref()
            .map(|quay| Arc::new(GatedQuay::new(quay.clone(), line.clone())) as Arc<dyn Quay>);
        Mirror::new(
            config(self.setting),
            registries,
            Arc::new(GatedKoji::new(self.koji.clone(), line.clone(), self.witness.clone())),
            Arc::new(GatedBodhi::new(self.bodhi.clone(), line.clone(), self.witness.clone())),
            quay,
        )
    }
}

#[expect(clippy::expect_used, reason = "a configuration of this file")]
fn config(setting: Setting) -> Config {
    let mut text = format!("destination = \"https://{PUBLIC}/{NAMESPACE}\"\n");
    if setting.bodhi_writes {
        text += "tag_writer = \"bodhi\"\n";
    }
    if setting.staging {
        text += &format!("staging = \"https://{PUBLIC}/staging\"\n");
    }
    text +=
        &format!("sources = [{{ pull_spec = \"{CANDIDATE}/\", bytes_at = [\"https://{CANDIDATE}\"] }}]\n");
    let raw: RawConfig = toml::from_str(&text).expect("the configuration is TOML");
    Config::try_from(raw).expect("the configuration is good")
}

/// The unit's settings: a survey of changes each six hours, so that days pass quickly.
pub fn settings(setting: Setting) -> Settings {
    let mut settings = Settings::of(QUEUE);
    settings.survey_every = Duration::from_secs(6 * 3600);
    settings.survey_keys_per_s = 1000;
    settings.settle_timeout = Duration::from_secs(1800);
    settings.drain_timeout = Duration::from_secs(20);
    if setting.crowded {
        settings.doubtful_max = CROWDED;
    }
    settings
}

/// The keys that a message makes doubtful.
pub fn affected() -> Affected {
    Arc::new(|message| {
        if !message.topic.starts_with("org.fedoraproject.prod.") {
            return Vec::new();
        }
        let keys = FedoraEvent::from_message(message).map(|event| event::affected(&event));
        keys.unwrap_or_default().iter().map(ToString::to_string).collect()
    })
}
