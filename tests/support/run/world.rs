//! The world around the unit: a Koji and a Bodhi in this process that come to the state of each message, and the images
//! of its builds in the candidate registry.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use flatbus_base::Random;
use flatbus_embedded::{
    Samples, bodhi,
    history::Player,
    images::{self, Image},
    koji,
};
use flatbus_http::{Client, HostList, Settings};
use flatbus_oci::{HttpRegistry, RemoteSettings};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use super::encore;

/// What the builds' pull specs say, as Fedora's do: the configuration maps it to where the candidates are.
const CANDIDATES: &str = "candidate-registry.fedoraproject.org";
/// Small: what is measured elsewhere is not measured here.
const BALLAST_BYTES: std::ops::RangeInclusive<u64> = 4_000..=40_000;
const PUSHES_MAX: usize = 8;
const UNPUSH: &str = "bodhi.update.request.unpush";
const UNPUSH_ID: &str = "5d1b8f0e-0000-4000-8000-000000000001";

/// Koji, Bodhi, and the history that is played on them.
pub struct World {
    runtime: Runtime,
    koji: koji::Koji,
    bodhi: bodhi::Bodhi,
    player: Player,
    lines: BTreeMap<String, String>,
    images: BTreeMap<i64, Image>,
    aliases: Vec<String>,
    /// How many messages the real history has; the encore comes after them.
    real: usize,
}

impl World {
    /// The real history, and what is told beside it; nothing of either has happened yet.
    pub fn new() -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let mut samples = Samples::built_in().unwrap();
        let real = samples.timeline.len();
        for story in encore::stories() {
            story.add_to(&mut samples).unwrap();
        }
        let settings = images::Settings { ballast_bytes: BALLAST_BYTES, ..images::Settings::default() };
        let mut images = images::make_all(&samples.builds, &samples.archives, &settings);
        for image in images.values_mut() {
            image.tag = image.tag.replace('~', "_"); // As the builder's plugin names it in the registry.
        }
        samples.name_images(&images, CANDIDATES);
        let koji = runtime.block_on(koji::start(koji::Settings::default())).unwrap();
        let bodhi = runtime.block_on(bodhi::start(bodhi::Settings::default())).unwrap();
        let lines = samples.timeline.iter().map(|line| (id(line), line.clone())).collect();
        let aliases = samples.updates.keys().cloned().collect();
        let player = Player::new(samples, Arc::clone(&koji.builds), Arc::clone(&bodhi.updates)).unwrap();
        Self { runtime, koji, bodhi, player, lines, images, aliases, real }
    }

    /// `http://127.0.0.1:5000/kojihub`
    pub fn koji_url(&self) -> String {
        self.koji.url()
    }

    /// `http://127.0.0.1:5000`
    pub fn bodhi_url(&self) -> String {
        self.bodhi.url()
    }

    /// Puts the image of every build into a registry.
    pub fn push_images(&self, host: &str) {
        let settings = Settings {
            hosts: HostList::new([host]),
            read_timeout: Duration::from_secs(30),
            ..Settings::default()
        };
        let client = Client::new(settings, Random::from_seed(1)).unwrap();
        let remote = RemoteSettings { host: host.to_owned(), plain_http: true, ..RemoteSettings::default() };
        let registry = HttpRegistry::new(client, remote).unwrap();
        let pushes = self.images.values().map(|image| image.push(&registry));
        self.runtime.block_on(stream::iter(pushes).buffered(PUSHES_MAX).try_collect::<()>()).unwrap();
    }

    /// Plays the real history so far, in percent of its messages.
    pub fn play_to(&mut self, percent: usize, publish: impl FnMut(&str)) {
        self.play(self.real * percent / 100, publish);
    }

    /// Plays what is told after it.
    pub fn play_encore(&mut self, publish: impl FnMut(&str)) {
        self.play(self.player.total(), publish);
        self.player.finish();
    }

    /// Koji and Bodhi know what a message tells before it is published.
    fn play(&mut self, end: usize, mut publish: impl FnMut(&str)) {
        while self.player.played() < end {
            let message = self.player.step().expect("the history has as many messages");
            publish(&self.lines[&message.id]);
        }
    }

    /// Somebody takes an update back out of testing: Bodhi says so, and this message.
    pub fn unpush(&mut self, alias: &str, publish: impl FnOnce(&str)) {
        let known = self.bodhi.updates.edit(alias, |update| {
            update["status"] = "unpushed".into();
            update["pushed"] = false.into();
        });
        assert!(known, "Bodhi knows {alias}");
        let pushed = self.lines.values().find(|line| line.contains(alias)).unwrap();
        let mut message: Value = serde_json::from_str(pushed).unwrap();
        message["id"] = UNPUSH_ID.into();
        message["topic"] = format!("org.fedoraproject.prod.{UNPUSH}").into();
        message["headers"]["fedora_messaging_schema"] = format!("{UNPUSH}.v1").into();
        message["body"] = json!({"agent": "kalev", "update": self.bodhi.updates.update(alias)});
        let line = message.to_string();
        publish(&line);
        self.lines.insert(UNPUSH_ID.to_owned(), line);
    }

    /// Every update, as Bodhi has it now.
    pub fn updates(&self) -> Vec<Value> {
        self.aliases.iter().filter_map(|alias| self.bodhi.updates.update(alias)).collect()
    }

    /// A build, as Koji has it now.
    pub fn build(&self, nvr: &str) -> Option<Value> {
        self.koji.builds.by_nvr(nvr)
    }

    /// Whether a message of this id was, or will be, published.
    pub fn is_message(&self, id: &str) -> bool {
        self.lines.contains_key(id)
    }
}

fn id(line: &str) -> String {
    let message: Value = serde_json::from_str(line).unwrap();
    message["id"].as_str().unwrap().to_owned()
}
