//! A unit's configuration file, with `[consumer_config]`. What is wrong is told by place, never with a value: any value
//! may be a secret.

use std::path::Path;

use flatbus_mirror::{Config as MirrorConfig, RawConfig};
use flatbus_runtime::config::from_text;
use toml::{Table, Value};

use crate::{
    rules::{told, told_without},
    samples,
};

const FILE: &str = "mirror.toml";
/// Stands where a person would put a password.
const SECRET: &str = "hunter2";

/// A configuration file.
pub fn check(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let tree = text.parse::<Table>();
    let shown = tree.as_ref().is_ok_and(|table| table.iter().any(|(key, value)| names_it(key, value)));
    let secrets = [SECRET].into_iter().filter(|_| !shown); // Keys are shown.
    let config = match from_text::<RawConfig>("mirror", text, Path::new(FILE)) {
        Ok(config) => config,
        Err(error) => {
            told_without(&error, secrets);
            let line = text.split('\n').nth(error.line.saturating_sub(1));
            let columns = line.map(|line| line.chars().count() + 1);
            assert!(columns.is_some_and(|last| (1..=last).contains(&error.column)), "no such place: {error}");
            return;
        }
    };
    assert!(tree.is_ok(), "read, but it isn't TOML: {tree:?}");
    for warning in &config.warnings {
        told_without(warning, secrets.clone());
    }
    assert!(
        !format!("{:?}", config.bus.broker).contains(SECRET)
            || config.bus.broker.host.contains(SECRET)
            || config.bus.broker.vhost.contains(SECRET)
    );
    if let Err(error) = MirrorConfig::try_from(config.consumer) {
        told(&error);
    }
}

fn names_it(key: &str, value: &Value) -> bool {
    let within = match value {
        Value::Table(table) => table.iter().any(|(key, value)| names_it(key, value)),
        Value::Array(items) => items.iter().any(|item| names_it("", item)),
        Value::String(_) | Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => {
            false
        }
    };
    within || key.contains(SECRET)
}

/// The shipped example, and files with each part that it has not.
pub fn seeds() -> Vec<Vec<u8>> {
    let fixed = [
        r#"amqp_url = "amqps://user:hunter2@broker.example:5671/%2Fpubsub?heartbeat=10&retry_delay=1.5"
passive_declares = true
callback = "python:callback"
publish_exchange = "amq.topic"
topic_prefix = "org.fedoraproject.prod"
publish_priority = 3
[tls]
ca_cert = "/ca.crt"
keyfile = "/x.key"
certfile = "/x.crt"
[client_properties]
app = "x"
list = [1, "a", 1.5, 2020-01-01]
[queues.name]
durable = true
auto_delete = false
exclusive = false
arguments = { x-max-length = 10, nested = { a = [true] } }
[[bindings]]
queue = "name"
exchange = "amq.topic"
routing_keys = ["org.fedoraproject.*.bodhi.#"]
[qos]
prefetch_size = 0
prefetch_count = 25
[monitoring]
address = "127.0.0.1"
port = 8080
[consumer_config]
destination = "https://quay.io/fedora"
staging = "https://quay.io/fedora-staging"
release_states = ["current", "archived"]
protected = ["fedora", "a*b?"]
koji = "https://koji.example/kojihub"
quay_api = "https://quay.io/"
[[consumer_config.sources]]
pull_spec = "candidate-registry.example/"
bytes_at = ["https://candidate-registry.example"]
[[consumer_config.budgets]]
host = "quay.io"
requests_per_s = 5
burst = 20
[consumer_config.runtime]
mode = "shadow"
settles_max = 4
container_door = "127.0.0.1:8088"
"#,
        "AMQP_URL = \"amqp://u:hunter2@h\"\nunknown = \"hunter2\"\n",
        "[qos]\nprefetch_count = \"hunter2\"\n",
        "[monitoring]\n[consumer_config]\ndestination = \"https://robot:hunter2@quay.io/x\"\n",
        "[consumer_config]\ndestination = \"https://quay.io/a\"\ntag_writer = \"hunter2\"\n",
    ];
    let example = samples::file("consumers/mirror/mirror.example.toml");
    fixed.iter().map(|text| text.as_bytes().to_vec()).chain([example.into_bytes()]).collect()
}
