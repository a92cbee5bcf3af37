//! The index as it is in production: `flatbus run index` as a process between docker-registry, RabbitMQ and whoever asks it.
//! It is told on the bus that a tag moved, as mirror tells it, and by nobody else.
#![allow(dead_code, reason = "each test binary that includes this uses its part of it")]

mod bus;
pub mod reader;
mod unit;
pub mod upstream;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::PermissionsExt as _,
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

use self::bus::Bus;
pub use self::unit::{Places, Unit};
use crate::{
    flatpak::{Image, Index, oci_architecture, withdraw},
    rabbitmq::{Rabbit, free_ports},
    registry::DockerRegistry,
    run::{get, until},
};

/// Where images stand in the registry, as at quay.io.
pub const NAMESPACE: &str = "fedora";
/// Longest until what was announced is served.
const PATIENCE: Duration = Duration::from_secs(30);
const VHOST: &str = "test0";

/// The index, and all that it needs. Ended from the top: who asks goes before who answers.
pub struct RealIndex {
    pub unit: Unit,
    bus: Bus,
    /// What `latest` names, by repository.
    latest: BTreeMap<String, String>,
    monitoring: u16,
    pub registry: DockerRegistry,
    pub rabbit: Rabbit,
    dir: TempDir,
}

/// An image in an index: `fedora/hello`, `sha256:…`.
pub type Named = (String, String);

impl RealIndex {
    /// Its entries send clients to the registry itself.
    pub fn start() -> Self {
        let mut index = Self::configure();
        index.unit.start();
        index
    }

    /// Its entries send clients to its own site server, which sends them on to the registry.
    pub fn start_as_front() -> Self {
        let mut index = Self::configure();
        let front = index.url();
        index.send_clients_to(&front);
        index.unit.start();
        index
    }

    /// Everything but the index runs. Its entries would send clients to the registry itself.
    pub fn configure() -> Self {
        let dir = TempDir::with_prefix("index-").expect("a temporary folder");
        let (registry, rabbit) = (DockerRegistry::start(), Rabbit::start());
        let [monitoring, site] = free_ports();
        let (broker, site) = (rabbit.url(VHOST), format!("127.0.0.1:{site}"));
        let registry_url = format!("http://{}/{NAMESPACE}", registry.host());
        let places = Places { broker: &broker, registry: &registry_url, clients: None, site: &site };
        let unit = Unit::configure(dir.path(), monitoring, &places);
        Self { unit, bus: Bus::new(&broker), latest: BTreeMap::new(), monitoring, registry, rabbit, dir }
    }

    /// Its entries send clients to a front, once it is started.
    pub fn send_clients_to(&mut self, front: &str) {
        let (broker, site) = (self.broker(), self.unit.site.clone());
        let registry = format!("http://{}/{NAMESPACE}", self.registry.host());
        let places = Places { broker: &broker, registry: &registry, clients: Some(front), site: &site };
        self.unit = Unit::configure(self.dir.path(), self.monitoring, &places);
    }

    /// Where messages go.
    pub fn broker(&self) -> String {
        self.rabbit.url(VHOST)
    }

    /// Has a tag name an image, and tells nobody.
    pub fn push(&self, image: &Image, tag: &str) {
        image.push(&self.registry.host(), &full(&image.repository), &[tag]);
    }

    /// Tells on the bus that a tag names an image now.
    pub fn announce(&self, image: &Image, tag: &str) {
        let digest = Some(image.index.digest.to_string());
        self.bus.tag_moved(&self.registry.host(), &full(&image.repository), tag, digest);
    }

    /// Both.
    pub fn move_tag(&self, image: &Image, tag: &str) {
        self.push(image, tag);
        self.announce(image, tag);
    }

    /// Takes a tag away as mirror does where no tag can be deleted, and tells it.
    pub fn withdraw(&self, repository: &str, tag: &str) {
        withdraw(&self.registry.host(), &full(repository), tag);
        self.bus.tag_moved(&self.registry.host(), &full(repository), tag, None);
    }

    /// Waits until each of a tag's files names these images and no others.
    #[track_caller]
    pub fn until_serves(&self, tag: &str, images: &[&Image]) {
        for architecture in [None, Some("x86_64"), Some("aarch64")] {
            let wanted = self.names(images, architecture);
            let told =
                || format!("{:#?}\n{wanted:#?}\n{}", self.served(tag, architecture), self.unit.trouble());
            let what = format!("{tag} names what was announced");
            let serves = || (self.served(tag, architecture).as_ref() == Some(&wanted)).then_some(());
            until(&what, PATIENCE, told, serves);
        }
    }

    /// What is served to those who ask for a tag, of one of Fedora's architectures or of all.
    pub fn served(&self, tag: &str, architecture: Option<&str>) -> Option<BTreeSet<Named>> {
        get(&self.unit.site, &query(tag, architecture)).map(|index| named(&index))
    }

    /// As its entries should name these.
    fn names(&self, images: &[&Image], architecture: Option<&str>) -> BTreeSet<Named> {
        let children = images.iter().flat_map(|image| image.children.iter().map(move |child| (image, child)));
        let wanted =
            children.filter(|(_, child)| architecture.is_none_or(|wanted| wanted == child.architecture));
        wanted.map(|(image, child)| (self.unit.name(&image.repository), child.digest())).collect()
    }

    /// A published file, whole.
    pub fn file(&self, path: &str) -> String {
        fs::read_to_string(self.unit.site_dir.join(path)).unwrap_or_default()
    }

    /// Lets a web server's own user in.
    pub fn open_to_all(&self) {
        fs::set_permissions(self.dir.path(), fs::Permissions::from_mode(0o755)).expect("own folder");
    }
}

impl Index for RealIndex {
    fn url(&self) -> String {
        format!("http://{}", self.unit.site)
    }

    /// One image a repository; those of repositories that were published before are withdrawn.
    fn publish(&mut self, images: &[&Image]) {
        let new: BTreeMap<String, String> =
            images.iter().map(|image| (image.repository.clone(), image.index.digest.to_string())).collect();
        for image in
            images.iter().filter(|image| self.latest.get(&image.repository) != new.get(&image.repository))
        {
            self.move_tag(image, "latest");
        }
        for gone in self.latest.keys().filter(|repository| !new.contains_key(*repository)) {
            self.withdraw(gone, "latest");
        }
        self.until_serves("latest", images);
        self.latest = new;
    }
}

fn full(repository: &str) -> String {
    format!("{NAMESPACE}/{repository}")
}

/// As every client since 1.6 asks; without an architecture, as nobody but a person does.
pub fn query(tag: &str, architecture: Option<&str>) -> String {
    let architecture =
        architecture.map(|name| format!("&architecture={}", oci_architecture(name))).unwrap_or_default();
    format!("/index/static?label%3Aorg.flatpak.ref%3Aexists=1{architecture}&os=linux&tag={tag}")
}

/// What an index names.
fn named(index: &Value) -> BTreeSet<Named> {
    let results = index["Results"].as_array().into_iter().flatten();
    let images = results.flat_map(|result| {
        result["Images"]
            .as_array()
            .into_iter()
            .flatten()
            .map(move |image| (&result["Name"], &image["Digest"]))
    });
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    images.map(|(name, digest)| (text(name), text(digest))).collect()
}
