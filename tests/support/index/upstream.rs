//! What comes before the index: `flatbus run mirror` between a candidate registry and the index's, and a Koji and a Bodhi in
//! this process where the tests' own Flatpaks are built and pushed.

use std::{collections::BTreeMap, sync::Arc};

use flatbus_embedded::{
    Samples, bodhi,
    history::{Player, Story, StoryBuild},
    images::{self, Part},
    koji,
    registry::Digest,
};
use flatbus_oci::{
    Manifest,
    manifest::{OCI_INDEX, OCI_MANIFEST},
};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use super::RealIndex;
use crate::{
    flatpak::Image,
    rabbitmq::free_ports,
    registry::DockerRegistry,
    run::{
        python::{Publisher, Python},
        unit::{Mirror, Places},
    },
};

/// What the builds' pull specs say, as Fedora's do.
const CANDIDATES: &str = "candidate-registry.fedoraproject.org";
/// Of which release the updates are.
const RELEASE: &str = "F36F";
/// Koji's number of the first build.
const FIRST_BUILD: i64 = 2_500_001;
const STABLE: &str = "bodhi.update.complete.stable";

/// Everything before the index. Ended from the top: who asks goes before who answers.
pub struct Upstream {
    pub mirror: Mirror,
    publisher: Publisher,
    player: Player,
    lines: BTreeMap<String, String>,
    _koji: koji::Koji,
    _bodhi: bodhi::Bodhi,
    _runtime: Runtime,
    _candidate: DockerRegistry,
    _dir: TempDir,
}

impl Upstream {
    /// The mirror runs, and nothing is built yet. Each update will bring these images from Koji to stable.
    pub fn start(index: &RealIndex, updates: &[&[&Image]]) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let candidate = DockerRegistry::start();
        for image in updates.concat() {
            image.push(&candidate.host(), &image.repository, &[&tag(image)]);
        }
        let samples = history(updates);
        let koji = runtime.block_on(koji::start(koji::Settings::default())).expect("a Koji");
        let bodhi = runtime.block_on(bodhi::start(bodhi::Settings::default())).expect("a Bodhi");
        let lines = samples.timeline.iter().map(|line| (id(line), line.clone())).collect();
        let player = Player::new(samples, Arc::clone(&koji.builds), Arc::clone(&bodhi.updates));
        let dir = TempDir::with_prefix("mirror-").expect("a temporary folder");
        let [monitoring] = free_ports();
        let places = Places {
            broker: &index.broker(),
            candidate: &candidate.host(),
            public: &index.registry.host(),
            koji: &koji.url(),
            bodhi: &bodhi.url(),
        };
        let mut mirror = Mirror::configure(dir.path(), monitoring, &places);
        mirror.start();
        Self {
            mirror,
            publisher: Python::find(dir.path()).publisher(&index.broker()),
            player: player.expect("a history of messages"),
            lines,
            _koji: koji,
            _bodhi: bodhi,
            _runtime: runtime,
            _candidate: candidate,
            _dir: dir,
        }
    }

    /// Builds the next update and pushes it to stable: Koji and Bodhi are there first, then each message is published.
    pub fn push_next(&mut self) {
        loop {
            let message = self.player.step().expect("there is a next update");
            self.publisher.publish(&self.lines[&message.id]);
            if message.name() == STABLE {
                return;
            }
        }
    }
}

/// The records and messages of these updates alone.
fn history(updates: &[&[&Image]]) -> Samples {
    let mut samples = Samples::built_in().expect("the program's own samples");
    samples.timeline.clear();
    let mut images = BTreeMap::new();
    let mut aliases = Vec::new();
    for (day, update) in (1..).zip(updates) {
        let story = story(day * 10, update, FIRST_BUILD + i64::try_from(images.len()).expect("a few builds"));
        story.add_to(&mut samples).expect("the samples have models");
        aliases.push(story.alias());
        images.extend(story.builds.iter().zip(*update).map(|(build, image)| (build.id, as_built(image))));
    }
    samples.updates.retain(|alias, _| aliases.contains(alias));
    samples.builds.retain(|id, _| images.contains_key(id));
    samples.archives.retain(|id, _| images.contains_key(id));
    samples.name_images(&images, CANDIDATES);
    samples
}

/// Built on this day, in testing the next, in stable on the third.
fn story(day: i64, update: &[&Image], first: i64) -> Story {
    let begin: Timestamp = "2022-10-01T10:00:00Z".parse().expect("a time");
    let after = |days: i64| begin + SignedDuration::from_hours(24 * (day + days));
    let build = |(id, image): (i64, &&Image)| StoryBuild {
        id,
        nvr: image.nvr.clone(),
        repository: image.repository.clone(),
        flatpak_ref: image.host_child().flatpak_ref.replace(image.host_child().architecture, "{arch}"),
        completed: after(0),
    };
    let builds = (first..).zip(update).map(build).collect();
    Story { release: RELEASE.to_owned(), builds, testing: after(1), stable: Some(after(3)) }
}

/// As Koji's records tell of it.
fn as_built(image: &Image) -> images::Image {
    let part = |manifest: &Manifest, media_type| Part {
        media_type,
        bytes: manifest.bytes.clone(),
        digest: Digest::of(&manifest.bytes),
    };
    let children = image.children.iter().map(|child| images::Child {
        architecture: child.architecture.to_owned(),
        manifest: part(&child.manifest, OCI_MANIFEST),
        config: child.config.clone(),
        layer: child.layer.clone(),
        diff_id: (child.diff_id.parse().expect("a digest"), child.layer.len() as u64),
    });
    images::Image {
        nvr: image.nvr.clone(),
        repository: image.repository.clone(),
        tag: tag(image),
        index: part(&image.index, OCI_INDEX),
        children: children.collect(),
    }
}

/// `hello-flatpak-2-1` → `2-1`
fn tag(image: &Image) -> String {
    let mut parts = image.nvr.rsplitn(3, '-');
    let (release, version) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    format!("{version}-{release}")
}

fn id(line: &str) -> String {
    let message: Value = serde_json::from_str(line).expect("a line of a recording");
    message["id"].as_str().expect("every message has an id").to_owned()
}
