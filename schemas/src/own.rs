//! flatbus' own topics, version 1. Their JSON Schemas (`schemas/json`) are generated from these types, and the Python
//! package carries them.
//!
//! A body only ever grows: a field once sent keeps its name and meaning, and what is new may be missing.

use jiff::Timestamp;
use schemars::{JsonSchema, generate::SchemaSettings};
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::{Map, Value};

use crate::{Announcement, Severity, grammar, header};

/// The Python package that holds the schemas, as `fedora_messaging_schema_package` spells it.
const SCHEMA_PACKAGE: &str = "flatbus_messages";

/// A tag of a registry now names other content, or nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "flatbus.tag.moved.v1")]
pub struct TagMoved {
    /// The registry's host, with its port where it has one: `quay.io`.
    #[serde(deserialize_with = "host")]
    #[schemars(length(min = 1))]
    pub registry: String,
    /// The whole name of the repository there: `fedora/eog`.
    #[serde(deserialize_with = "repository")]
    #[schemars(length(min = 1, max = 255))]
    pub repository: String,
    /// The tag: `latest`.
    #[serde(deserialize_with = "tag")]
    #[schemars(regex(pattern = r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$"))]
    pub tag: String,
    /// What the tag names now. Null: the tag is gone. Missing says neither, and is refused.
    #[serde(deserialize_with = "digest")]
    #[schemars(regex(pattern = r"^sha(256:[0-9a-f]{64}|512:[0-9a-f]{128})$"))]
    pub digest: Option<String>,
    /// What the tag named when it was last announced. Null: nothing was.
    #[serde(default, deserialize_with = "digest")]
    #[schemars(regex(pattern = r"^sha(256:[0-9a-f]{64}|512:[0-9a-f]{128})$"))]
    pub previous_digest: Option<String>,
    /// The media type of what the tag names now: `application/vnd.oci.image.index.v1+json`. Null: gone, or not known.
    pub media_type: Option<String>,
    /// The Koji build it is: `eog-flatpak-44.2-1`. Null: none is known.
    pub nvr: Option<String>,
    /// The Bodhi update that put it there: `FEDORA-FLATPAK-2022-274a792493`. Null: none is known.
    pub update: Option<String>,
    /// Where a person can read more: the update's page. Null: nowhere.
    pub url: Option<String>,
}

impl TagMoved {
    /// The topic, without prefix.
    pub const TOPIC: &str = "flatbus.tag.moved";
    /// The schema's name.
    pub const SCHEMA: &str = "flatbus.tag.moved.v1";

    /// What is put on the bus.
    pub fn announcement(&self) -> Announcement {
        announce(Self::TOPIC, Self::SCHEMA, Severity::Info, self)
    }
}

/// The flatpak index now says something else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "flatbus.index.published.v1")]
pub struct IndexPublished {
    /// Counts the publications of one site: of two, the one with the greater number is newer.
    pub serial: u64,
    /// Where the list of all published files is: `https://flatpaks.example/site.json`. Null: its address is not known here.
    pub site: Option<String>,
    /// The repositories whose entries changed, by their names below the namespace: `eog`.
    pub repositories: Vec<String>,
    /// The index files that those stand in, as they are now.
    pub files: Vec<PublishedFile>,
}

/// A published file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PublishedFile {
    /// Below the site's root: `index/flatpak-latest-amd64.json`.
    #[schemars(length(min = 1))]
    pub path: String,
    /// Of its content, uncompressed.
    #[schemars(regex(pattern = r"^sha256:[0-9a-f]{64}$"))]
    pub digest: String,
    /// Its size in bytes, uncompressed.
    pub size: u64,
}

impl IndexPublished {
    /// The topic, without prefix.
    pub const TOPIC: &str = "flatbus.index.published";
    /// The schema's name.
    pub const SCHEMA: &str = "flatbus.index.published.v1";

    /// What is put on the bus.
    pub fn announcement(&self) -> Announcement {
        announce(Self::TOPIC, Self::SCHEMA, Severity::Info, self)
    }
}

/// A consumer could not settle something for so long that a person must look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "flatbus.key.parked.v1")]
pub struct KeyParked {
    /// Which consumer: `mirror`.
    #[schemars(length(min = 1))]
    pub consumer: String,
    /// What could not be settled, in the consumer's words.
    #[schemars(length(min = 1))]
    pub key: String,
    /// The last error, in one line.
    pub reason: String,
    /// How often it was tried.
    pub attempts: u32,
    /// When it first failed. Null: it was parked at the first failure.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub failing_since: Option<Timestamp>,
}

impl KeyParked {
    /// The topic, without prefix.
    pub const TOPIC: &str = "flatbus.key.parked";
    /// The schema's name.
    pub const SCHEMA: &str = "flatbus.key.parked.v1";

    /// What is put on the bus.
    pub fn announcement(&self) -> Announcement {
        announce(Self::TOPIC, Self::SCHEMA, Severity::Warning, self)
    }
}

fn host<'de, D: Deserializer<'de>>(field: D) -> Result<String, D::Error> {
    checked(String::deserialize(field)?, grammar::is_host, "a registry's host")
}

fn repository<'de, D: Deserializer<'de>>(field: D) -> Result<String, D::Error> {
    checked(String::deserialize(field)?, grammar::is_repository, "a repository's name")
}

fn tag<'de, D: Deserializer<'de>>(field: D) -> Result<String, D::Error> {
    checked(String::deserialize(field)?, grammar::is_tag, "a tag")
}

fn digest<'de, D: Deserializer<'de>>(field: D) -> Result<Option<String>, D::Error> {
    Option::<String>::deserialize(field)?
        .map(|text| checked(text, grammar::is_digest, "a digest"))
        .transpose()
}

fn checked<E: de::Error>(text: String, holds: fn(&str) -> bool, what: &str) -> Result<String, E> {
    if holds(&text) { Ok(text) } else { Err(E::custom(format_args!("not {what}"))) }
}

fn announce(topic: &str, schema: &str, severity: Severity, body: &impl Serialize) -> Announcement {
    // Text, numbers and null under text names: this can't fail, and a schema test would show it.
    let body = serde_json::to_value(body).unwrap_or_default();
    Announcement { topic: topic.to_owned(), schema: schema.to_owned(), severity, body }
}

impl Announcement {
    /// The headers that follow from what is said, as fedora-messaging's own publisher writes them for the Python class
    /// of the schema: its name and package, the severity, and what messages are filtered by. `sent-at` and `priority`
    /// are the publisher's.
    pub fn headers(&self) -> Map<String, Value> {
        let mut headers = Map::new();
        headers.insert(header::SCHEMA.to_owned(), self.schema.clone().into());
        headers.insert(header::SCHEMA_PACKAGE.to_owned(), SCHEMA_PACKAGE.into());
        headers.insert(header::SEVERITY.to_owned(), self.severity.number().into());
        headers.extend(self.filters().map(|name| (name, Value::Bool(true))));
        headers
    }

    /// Names of the filter headers: the repository as a Flatpak, the tag as a container.
    fn filters(&self) -> impl Iterator<Item = String> {
        let text = |field: &str| self.body.get(field).and_then(Value::as_str);
        let parts = text("registry").zip(text("repository")).zip(text("tag"));
        let named = parts.filter(|_| self.schema == TagMoved::SCHEMA).map(|((registry, repository), tag)| {
            let container = format!("fedora_messaging_container_{registry}/{repository}:{tag}");
            [container, format!("fedora_messaging_flatpak_{repository}")]
        });
        named.into_iter().flatten()
    }
}

/// The JSON Schema of each of our topics, under its name.
pub fn json_schemas() -> [(&'static str, Value); 3] {
    [
        (IndexPublished::SCHEMA, json_schema::<IndexPublished>()),
        (KeyParked::SCHEMA, json_schema::<KeyParked>()),
        (TagMoved::SCHEMA, json_schema::<TagMoved>()),
    ]
}

/// Draft 7: the newest that every `jsonschema` which Python's fedora-messaging runs with can read.
fn json_schema<T: JsonSchema>() -> Value {
    SchemaSettings::draft07().for_serialize().into_generator().into_root_schema_for::<T>().to_value()
}
