//! fedora-messaging's configuration file, every key with the library's meaning and default, as types that can't be
//! wrong. Reads text only: which file, and what stands in `[consumer_config]`, is the business of others.

mod amqp_url;
mod error;
mod parse;
mod raw;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    num::NonZeroU16,
    path::{Path, PathBuf},
};

use toml::{Spanned, Value};

pub use self::{amqp_url::Broker, error::ConfigError, parse::CONFIG_BYTES_MAX, parse::parse};

/// Longest routing key, exchange or queue name in AMQP 0-9-1.
const NAME_BYTES_MAX: usize = 255;
/// Highest priority RabbitMQ knows.
const PRIORITY_MAX: i64 = 255;
/// Where Fedora's messages are published.
const TOPIC_EXCHANGE: &str = "amq.topic";
/// Unacknowledged deliveries where `qos` says nothing.
const PREFETCH_COUNT: NonZeroU16 = NonZeroU16::new(10).unwrap();
/// What we say of ourselves to the broker; not to be overridden.
const PRODUCT: [(&str, &str); 3] = [
    ("information", "Consumers of Fedora messages that publish Flatpaks"),
    ("product", "flatbus"),
    ("version", concat!("flatbus-", env!("CARGO_PKG_VERSION"))),
];

/// How to reach the broker, what to consume and how to publish.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `amqp_url`.
    pub broker: Broker,
    /// `tls`.
    pub tls: Tls,
    /// `passive_declares`: queues are made by the broker's administrators.
    pub passive_declares: bool,
    /// `client_properties`, with ours.
    pub client_properties: BTreeMap<String, String>,
    /// `queues`, each with its bindings.
    pub queues: Vec<Queue>,
    /// `qos.prefetch_count`.
    pub prefetch_count: NonZeroU16,
    /// `publish_exchange`.
    pub publish_exchange: String,
    /// `topic_prefix`, without the dot at its end.
    pub topic_prefix: String,
    /// `publish_priority`.
    pub publish_priority: Option<u8>,
}

/// Files that prove who is who. Read again at each connection.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tls {
    /// The only authorities the broker's certificate may come from; the system's where none is named.
    pub ca_cert: Option<PathBuf>,
    /// Our certificate and its key: both, and then the broker takes our name from it (SASL EXTERNAL).
    pub client: Option<ClientCertificate>,
}

/// `tls.certfile` and `tls.keyfile`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// PEM, our certificate first.
    pub certfile: PathBuf,
    /// PEM.
    pub keyfile: PathBuf,
}

/// A queue to consume from.
#[derive(Debug, Clone, PartialEq)]
pub struct Queue {
    /// Empty: a name of our own, a UUID, as the public broker demands.
    pub name: String,
    /// Survives a broker's restart.
    pub durable: bool,
    /// Goes when its last consumer goes.
    pub auto_delete: bool,
    /// Of one connection only.
    pub exclusive: bool,
    /// Only looked for, never made.
    pub passive: bool,
    /// `x-max-length` and the like.
    pub arguments: BTreeMap<String, Value>,
    /// What is routed to it.
    pub bindings: Vec<Binding>,
}

/// Messages of these topics go from an exchange to a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// `amq.topic` in Fedora.
    pub exchange: String,
    /// Topics; `*` is one word, `#` any number.
    pub routing_keys: Vec<String>,
}

/// What an absent or empty file means.
impl Default for Config {
    fn default() -> Self {
        Self {
            broker: Broker::default(),
            tls: Tls::default(),
            passive_declares: false,
            client_properties: with_product([("app".to_owned(), "Unknown".to_owned())].into()),
            queues: vec![Queue { bindings: vec![Binding::everything()], ..Queue::unnamed() }],
            prefetch_count: PREFETCH_COUNT,
            publish_exchange: TOPIC_EXCHANGE.into(),
            topic_prefix: String::new(),
            publish_priority: None,
        }
    }
}

impl Queue {
    /// Of this connection alone, under a name of our own.
    fn unnamed() -> Self {
        Self {
            name: String::new(),
            durable: false,
            auto_delete: true,
            exclusive: true,
            passive: false,
            arguments: BTreeMap::new(),
            bindings: Vec::new(),
        }
    }
}

impl Binding {
    fn everything() -> Self {
        Self { exchange: TOPIC_EXCHANGE.into(), routing_keys: vec!["#".into()] }
    }
}

impl Config {
    /// Reads a configuration file's text. The second part are sentences for the log: what was accepted and has no
    /// effect here.
    ///
    /// # Errors
    /// With file, line, column, key, what is allowed and the nearest known name.
    pub fn from_toml(text: &str, path: &Path) -> Result<(Self, Vec<String>), ConfigError> {
        let raw = parse(text, path)?;
        let mut reader = Reader { text, path, warnings: Vec::new() };
        let config = reader.config(raw)?;
        Ok((config, reader.warnings))
    }

    /// The topic with the configured prefix, as a routing key.
    pub fn full_topic(&self, topic: &str) -> String {
        if self.topic_prefix.is_empty() { topic.to_owned() } else { format!("{}.{topic}", self.topic_prefix) }
    }

    /// Whether the client certificate says who we are (SASL EXTERNAL): exactly when the library does it.
    pub fn external_auth(&self) -> bool {
        self.broker.secure && self.tls.client.is_some()
    }
}

/// Checks what serde can't, with the text at hand for the place.
struct Reader<'t> {
    text: &'t str,
    path: &'t Path,
    warnings: Vec<String>,
}

impl Reader<'_> {
    fn wrong<T>(&self, at: &Spanned<T>, reason: impl Into<String>) -> ConfigError {
        ConfigError::at(self.text, self.path, at.span(), reason)
    }

    fn warn<T>(&mut self, at: &Spanned<T>, reason: &str) {
        let place = self.wrong(at, reason);
        self.warnings.push(place.to_string());
    }

    fn config(&mut self, raw: raw::Raw) -> Result<Config, ConfigError> {
        for python in [&raw.callback, &raw.log_config].into_iter().flatten() {
            self.warn(python, "is for Python consumers and has no effect here");
        }
        let broker = self.broker(raw.amqp_url)?;
        let tls = self.tls(raw.tls)?;
        if tls != Tls::default() && !broker.secure {
            self.warnings
                .push(format!("{}: tls has no effect: amqp_url is not amqps://", self.path.display()));
        }
        let queues = self.queues(raw.queues, raw.bindings, raw.passive_declares)?;
        Ok(Config {
            broker,
            tls,
            passive_declares: raw.passive_declares,
            client_properties: self.client_properties(raw.client_properties)?,
            queues,
            prefetch_count: self.prefetch_count(raw.qos)?,
            publish_exchange: self.exchange(raw.publish_exchange)?,
            topic_prefix: self.topic_prefix(raw.topic_prefix)?,
            publish_priority: self.priority(raw.publish_priority)?,
        })
    }

    fn broker(&self, url: Option<Spanned<String>>) -> Result<Broker, ConfigError> {
        let Some(url) = url else { return Ok(Broker::default()) };
        Broker::from_url(url.get_ref()).map_err(|reason| self.wrong(&url, reason))
    }

    /// One of certificate and key without the other would silently fall back to a password.
    fn tls(&self, raw: raw::RawTls) -> Result<Tls, ConfigError> {
        for path in [&raw.ca_cert, &raw.certfile, &raw.keyfile].into_iter().flatten() {
            if path.get_ref().is_empty() {
                return Err(self.wrong(path, "is empty: name a PEM file, or leave the key out"));
            }
        }
        let client = match (raw.certfile, raw.keyfile) {
            (None, None) => None,
            (Some(cert), Some(key)) => Some(ClientCertificate {
                certfile: cert.into_inner().into(),
                keyfile: key.into_inner().into(),
            }),
            (Some(cert), None) => return Err(self.wrong(&cert, "needs tls.keyfile beside it")),
            (None, Some(key)) => return Err(self.wrong(&key, "needs tls.certfile beside it")),
        };
        Ok(Tls { ca_cert: raw.ca_cert.map(|path| path.into_inner().into()), client })
    }

    /// The broker is told strings: lists are joined, other values written as in the file.
    fn client_properties(
        &self,
        raw: Option<BTreeMap<Spanned<String>, Value>>,
    ) -> Result<BTreeMap<String, String>, ConfigError> {
        let Some(raw) = raw else { return Ok(Config::default().client_properties) };
        let mut properties = BTreeMap::new();
        for (key, value) in raw {
            let told = plain_text(&value);
            let reserved = PRODUCT.iter().any(|(ours, theirs)| ours == key.get_ref() && *theirs != told);
            if reserved {
                return Err(self.wrong(&key, "is reserved: it says which software this is"));
            }
            self.name_length(&key)?;
            properties.insert(key.into_inner(), told);
        }
        Ok(with_product(properties))
    }

    fn queues(
        &mut self,
        queues: Option<BTreeMap<Spanned<String>, raw::RawQueue>>,
        bindings: Option<Vec<raw::RawBinding>>,
        passive: bool,
    ) -> Result<Vec<Queue>, ConfigError> {
        let mut checked = match queues {
            None => vec![Queue { passive, ..Queue::unnamed() }],
            Some(queues) => queues
                .into_iter()
                .map(|(name, queue)| self.queue(name, queue, passive))
                .collect::<Result<_, _>>()?,
        };
        match bindings {
            None => {
                for queue in checked.iter_mut().filter(|queue| queue.name.is_empty()) {
                    queue.bindings = vec![Binding::everything()];
                }
            }
            Some(bindings) => {
                for binding in bindings {
                    self.bind(&mut checked, binding)?;
                }
            }
        }
        Ok(checked)
    }

    fn queue(&self, name: Spanned<String>, raw: raw::RawQueue, passive: bool) -> Result<Queue, ConfigError> {
        self.name_length(&name)?;
        if passive && name.get_ref().is_empty() {
            let reason = "a queue without a name can't be declared passively: name the queue that the broker's \
                          administrators made";
            return Err(self.wrong(&name, reason));
        }
        if let Some(key) = raw.arguments.get_ref().keys().find(|key| key.len() > NAME_BYTES_MAX) {
            return Err(
                self.wrong(&raw.arguments, format!("the argument name of {} bytes is too long", key.len()))
            );
        }
        Ok(Queue {
            name: name.into_inner(),
            durable: raw.durable,
            auto_delete: raw.auto_delete,
            exclusive: raw.exclusive,
            passive: passive || raw.passive,
            arguments: raw.arguments.into_inner(),
            bindings: Vec::new(),
        })
    }

    fn bind(&mut self, queues: &mut [Queue], raw: raw::RawBinding) -> Result<(), ConfigError> {
        self.name_length(&raw.exchange)?;
        for key in &raw.routing_keys {
            self.name_length(key)?;
        }
        let name = raw.queue.as_ref().map(|name| name.get_ref().as_str()).unwrap_or_default();
        let Some(queue) = queues.iter_mut().find(|queue| queue.name == name) else {
            let reason = "names a queue that is not in [queues]: this binding has no effect";
            let exchange = raw.exchange;
            match raw.queue {
                Some(queue) => self.warn(&queue, reason),
                None => self.warn(&exchange, reason),
            }
            return Ok(());
        };
        let routing_keys = raw.routing_keys.into_iter().map(Spanned::into_inner).collect();
        queue.bindings.push(Binding { exchange: raw.exchange.into_inner(), routing_keys });
        Ok(())
    }

    /// 0 would let the broker send without bound, and there is no place for that.
    fn prefetch_count(&self, raw: raw::RawQos) -> Result<NonZeroU16, ConfigError> {
        if let Some(size) = raw.prefetch_size.filter(|size| *size.get_ref() != 0) {
            return Err(self.wrong(&size, "must be 0: RabbitMQ does not limit by size"));
        }
        let Some(count) = raw.prefetch_count else { return Ok(PREFETCH_COUNT) };
        u16::try_from(*count.get_ref()).ok().and_then(NonZeroU16::new).ok_or_else(|| {
            self.wrong(&count, "must be from 1 to 65535 (0, no limit, would need endless memory)")
        })
    }

    fn exchange(&self, raw: Option<Spanned<String>>) -> Result<String, ConfigError> {
        let Some(name) = raw else { return Ok(TOPIC_EXCHANGE.into()) };
        self.name_length(&name)?;
        Ok(name.into_inner())
    }

    fn topic_prefix(&self, raw: Option<Spanned<String>>) -> Result<String, ConfigError> {
        let Some(prefix) = raw else { return Ok(String::new()) };
        // Half of what a topic may have: the rest is for the topic itself.
        if prefix.get_ref().len() > NAME_BYTES_MAX / 2 {
            return Err(self.wrong(&prefix, format!("is longer than {} bytes", NAME_BYTES_MAX / 2)));
        }
        Ok(prefix.get_ref().trim_end_matches('.').to_owned())
    }

    fn priority(&self, raw: Option<Spanned<i64>>) -> Result<Option<u8>, ConfigError> {
        raw.map(|priority| {
            u8::try_from(*priority.get_ref())
                .map_err(|_| self.wrong(&priority, format!("must be from 0 to {PRIORITY_MAX}")))
        })
        .transpose()
    }

    fn name_length(&self, name: &Spanned<String>) -> Result<(), ConfigError> {
        if name.get_ref().len() > NAME_BYTES_MAX {
            return Err(self.wrong(name, format!("is longer than {NAME_BYTES_MAX} bytes")));
        }
        Ok(())
    }
}

fn with_product(mut properties: BTreeMap<String, String>) -> BTreeMap<String, String> {
    properties.extend(PRODUCT.map(|(key, value)| (key.to_owned(), value.to_owned())));
    properties
}

fn plain_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(plain_text).collect::<Vec<_>>().join(", "),
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) | Value::Table(_) => {
            value.to_string()
        }
    }
}
