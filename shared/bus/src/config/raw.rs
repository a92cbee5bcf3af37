//! The file as it is written: fedora-messaging's keys with its defaults, not yet checked.

use std::collections::BTreeMap;

use serde::{Deserialize, de::IgnoredAny};
use toml::{Spanned, Value};

/// `/etc/fedora-messaging/config.toml`. Tables are not merged with the default ones: as in the library, one that is
/// given replaces its default.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    pub amqp_url: Option<Spanned<String>>,
    #[serde(default)]
    pub passive_declares: bool,
    #[serde(default)]
    pub tls: RawTls,
    pub client_properties: Option<BTreeMap<Spanned<String>, Value>>,
    /// Accepted and not used: as in the library, consuming never declares an exchange.
    #[serde(rename = "exchanges")]
    pub _exchanges: Option<BTreeMap<String, RawExchange>>,
    pub queues: Option<BTreeMap<Spanned<String>, RawQueue>>,
    pub bindings: Option<Vec<RawBinding>>,
    #[serde(default)]
    pub qos: RawQos,
    pub callback: Option<Spanned<IgnoredAny>>,
    /// Read by whoever consumes, from the same text.
    #[serde(rename = "consumer_config")]
    pub _consumer_config: Option<IgnoredAny>,
    pub publish_exchange: Option<Spanned<String>>,
    pub topic_prefix: Option<Spanned<String>>,
    pub publish_priority: Option<Spanned<i64>>,
    /// Read by whoever serves it, from the same text.
    #[serde(rename = "monitoring")]
    pub _monitoring: Option<IgnoredAny>,
    pub log_config: Option<Spanned<IgnoredAny>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTls {
    pub ca_cert: Option<Spanned<String>>,
    pub certfile: Option<Spanned<String>>,
    pub keyfile: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawExchange {
    #[serde(rename = "type")]
    pub _kind: Option<String>,
    #[serde(rename = "durable")]
    pub _durable: Option<bool>,
    #[serde(rename = "auto_delete")]
    pub _auto_delete: Option<bool>,
    #[serde(rename = "arguments")]
    pub _arguments: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawQueue {
    pub durable: bool,
    pub auto_delete: bool,
    pub exclusive: bool,
    pub arguments: Spanned<BTreeMap<String, Value>>,
    #[serde(default)]
    pub passive: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawBinding {
    pub queue: Option<Spanned<String>>,
    pub exchange: Spanned<String>,
    pub routing_keys: Vec<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawQos {
    pub prefetch_count: Option<Spanned<i64>>,
    pub prefetch_size: Option<Spanned<i64>>,
}
