//! Fedora as far as Flatpaks go: packages, builds and updates, with the truth that Koji, Bodhi and the candidate registry
//! tell of them. What the consumers should make of it is judged elsewhere.

mod deed;
pub mod message;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use flatbus_base::{Clock, SimClock};
use flatbus_oci::{
    Digest, MemoryRegistry, Repository, Tag,
    testing::{Recipe, Sample},
};
use flatbus_schemas::Message;
use flatbus_upstream::{
    bodhi::{Compose, Release, ReleaseState, Status, Update, UpdateBuild},
    koji::{Build, BuildState, Image},
    memory::{MemoryBodhi, MemoryKoji},
};
use jiff::{SignedDuration, Timestamp};

pub use self::deed::{Deed, Push};

/// A Flatpak as packagers see it. Packages and repositories are many-to-many.
#[derive(Debug, PartialEq, Eq)]
pub struct Package {
    /// Koji's name of it.
    pub name: &'static str,
    /// Where its images go.
    pub repository: &'static str,
    /// What its images hold.
    pub flatpak_ref: &'static str,
    /// Version of every build, where it is always the same.
    pub version: Option<&'static str>,
}

/// Two packages in one repository, one package in two repositories, and plain ones.
pub const PACKAGES: [Package; 6] = [
    app("eog-flatpak", "eog", "app/org.gnome.eog/x86_64/stable"),
    app("eog", "eog", "app/org.gnome.eog/x86_64/stable"),
    app("baobab-flatpak", "baobab", "app/org.gnome.baobab/x86_64/stable"),
    runtime("flatpak-runtime", "f41/flatpak-runtime", "runtime/org.fedoraproject.Platform/x86_64/f41", "f41"),
    runtime("flatpak-runtime", "f42/flatpak-runtime", "runtime/org.fedoraproject.Platform/x86_64/f42", "f42"),
    app("quadrapassel-flatpak", "quadrapassel", "app/org.gnome.Quadrapassel/x86_64/stable"),
];

/// The package that has runtimes.
pub const RUNTIME: u8 = 4;

const fn app(name: &'static str, repository: &'static str, flatpak_ref: &'static str) -> Package {
    Package { name, repository, flatpak_ref, version: None }
}

const fn runtime(
    name: &'static str,
    repository: &'static str,
    flatpak_ref: &'static str,
    version: &'static str,
) -> Package {
    Package { name, repository, flatpak_ref, version: Some(version) }
}

/// A build, for ever as it is.
#[derive(Debug, Clone)]
pub struct Made {
    /// Koji's number.
    pub id: i64,
    /// `name-version-release`
    pub nvr: String,
    /// Of which package.
    pub package: &'static Package,
    /// As in the NVR.
    pub version: String,
    /// As in the NVR.
    pub release: String,
    /// Its image.
    pub digest: Digest,
}

impl Made {
    /// The repository of its image, as the candidate registry names it.
    pub fn repository(&self) -> Repository {
        name(self.package.repository)
    }
}

/// Fedora. Koji, Bodhi and the candidate registry say what it says.
pub struct Fedora {
    /// Its Koji.
    pub koji: MemoryKoji,
    /// Its Bodhi.
    pub bodhi: MemoryBodhi,
    /// Where builds are.
    pub candidate: MemoryRegistry,
    clock: SimClock,
    builds: BTreeMap<i64, Made>,
    updates: BTreeMap<String, Update>,
    composing: BTreeSet<String>,
    messages: u64,
    last_second: Timestamp,
}

impl Fedora {
    /// Nothing was ever built.
    pub fn new(clock: SimClock) -> Self {
        Self {
            koji: MemoryKoji::new(),
            bodhi: MemoryBodhi::new(),
            candidate: MemoryRegistry::new(CANDIDATE),
            builds: BTreeMap::new(),
            updates: BTreeMap::new(),
            composing: BTreeSet::new(),
            messages: 0,
            last_second: Timestamp::UNIX_EPOCH,
            clock,
        }
    }

    /// Every build.
    pub fn builds(&self) -> impl Iterator<Item = &Made> {
        self.builds.values()
    }

    /// A build by its NVR.
    pub fn build(&self, nvr: &str) -> Option<&Made> {
        self.builds.values().find(|build| build.nvr == nvr)
    }

    /// Every update.
    pub fn updates(&self) -> impl Iterator<Item = &Update> {
        self.updates.values()
    }

    /// Fedora's own clock shows whole seconds, never the same one for two pushes, and does not jump when ours does.
    fn now(&mut self) -> Timestamp {
        let second = Timestamp::from_second(self.clock.wall().as_second()).unwrap_or(self.last_second);
        let next = self.last_second.checked_add(SignedDuration::from_secs(1)).unwrap_or(second);
        self.last_second = second.max(next);
        self.last_second
    }

    fn make(&mut self, package: &'static Package, new_version: bool) -> i64 {
        let id = self.builds.last_key_value().map_or(1, |(id, _)| id + 1);
        let before = self.builds.values().rev().find(|build| build.package == package);
        let count = |text: &str| text.parse::<u32>().unwrap_or(0);
        let (version, release) = match (package.version, before) {
            (Some(fixed), before) => (fixed.to_owned(), before.map_or(0, |build| count(&build.release)) + 1),
            (None, Some(build)) if !new_version => (build.version.clone(), count(&build.release) + 1),
            (None, before) => ((before.map_or(0, |build| count(&build.version)) + 1).to_string(), 1),
        };
        let release = release.to_string();
        let nvr = format!("{}-{version}-{release}", package.name);
        let sample = sample(package, id);
        let digest = sample.digest();
        sample.put(&self.candidate, &name(package.repository), &[]);
        self.builds.insert(id, Made { id, nvr, package, version, release, digest });
        self.tell_koji(id);
        id
    }

    fn tell_koji(&mut self, id: i64) {
        let completed = Some(self.now());
        let Some(build) = self.builds.get(&id) else { return };
        let repository = build.package.repository;
        self.koji.put(Build {
            id,
            nvr: build.nvr.clone(),
            name: build.package.name.to_owned(),
            version: build.version.clone(),
            release: build.release.clone(),
            state: BuildState::Complete,
            completed,
            image: Some(Image {
                flatpak: true,
                pull: vec![
                    format!("{CANDIDATE}/{repository}@{}", build.digest),
                    format!("{CANDIDATE}/{repository}:{}", build.release),
                ],
            }),
        });
    }

    fn change(&mut self, alias: &str, change: impl FnOnce(&mut Update, Timestamp)) {
        let now = self.now();
        if let Some(update) = self.updates.get_mut(alias) {
            change(update, now);
            self.bodhi.put(update.clone());
        }
    }

    fn set_composing(&mut self, alias: &str, composing: bool) {
        if composing {
            self.composing.insert(alias.to_owned());
        } else {
            self.composing.remove(alias);
        }
        let compose = |alias: &String| Compose {
            release: "F41F".to_owned(),
            request: "stable".to_owned(),
            updates: vec![alias.clone()],
        };
        self.bodhi.set_composes(self.composing.iter().map(compose).collect());
        self.change(alias, |update, _| update.locked = composing);
    }

    fn submitted(&mut self, builds: &[i64]) -> String {
        let now = self.now();
        let alias = format!("FEDORA-FLATPAK-2026-{:010x}", self.updates.len() + 1);
        let named = builds.iter().filter_map(|id| self.builds.get(id));
        let builds = named.map(|build| UpdateBuild { nvr: build.nvr.clone(), kind: "flatpak".to_owned() });
        let update = Update {
            alias: alias.clone(),
            status: Status::Pending,
            request: Some("testing".to_owned()),
            locked: false,
            release: Release {
                name: "F41F".to_owned(),
                id_prefix: "FEDORA-FLATPAK".to_owned(),
                branch: "f41".to_owned(),
                version: "41".to_owned(),
                state: ReleaseState::Current,
            },
            builds: builds.collect(),
            date_submitted: Some(now),
            date_modified: None,
            date_testing: None,
            date_stable: None,
            date_pushed: None,
        };
        self.bodhi.put(update.clone());
        self.updates.insert(alias.clone(), update);
        alias
    }

    /// The candidate registry loses the image of a build, whose number is told.
    pub fn lose_image(&mut self, pick: u8) -> Option<i64> {
        let build = choose(self.builds.values(), pick)?;
        self.candidate.remove_manifest(&build.repository(), &build.digest);
        Some(build.id)
    }

    /// The candidate registry has the image of a build again.
    pub fn bring_image_back(&self, id: i64) {
        if let Some(build) = self.builds.get(&id) {
            sample(build.package, build.id).put(&self.candidate, &build.repository(), &[]);
        }
    }

    /// Copies a build's image as skopeo does: complete, then its tags.
    pub fn copy_image(&self, build: &Made, to: &MemoryRegistry, repository: &Repository, tags: &[Tag]) {
        sample(build.package, build.id).put(to, repository, tags);
    }

    fn message(&mut self, topic: &str, body: &serde_json::Value) -> Message {
        self.messages += 1;
        message::new(self.messages, topic, self.clock.wall(), body)
    }
}

/// The candidate registry's host.
pub const CANDIDATE: &str = "candidate.example";
/// The destination's host.
pub const PUBLIC: &str = "public.example";
/// The namespace of the destination.
pub const NAMESPACE: &str = "fedora";

/// A repository of the destination.
pub fn public_name(repository: &str) -> Repository {
    name(&format!("{NAMESPACE}/{repository}"))
}

#[expect(clippy::expect_used, reason = "the names of this file are good")]
fn name(text: &str) -> Repository {
    text.parse().expect("a repository's name")
}

/// A tag that is known to be one.
#[expect(clippy::expect_used, reason = "versions of this world are tags")]
pub fn tag(text: &str) -> Tag {
    text.parse().expect("a tag")
}

fn sample(package: &Package, id: i64) -> Sample {
    let seed = u64::try_from(id).unwrap_or_default();
    Recipe {
        layer_bytes: 64,
        architectures: vec!["amd64".to_owned()],
        ..Recipe::flatpak(package.flatpak_ref, seed)
    }
    .make()
}

/// One of several, whatever the number.
pub fn choose<T>(items: impl Iterator<Item = T> + Clone, pick: u8) -> Option<T> {
    let count = items.clone().count();
    items.into_iter().nth(usize::from(pick).checked_rem(count)?)
}

/// How long Bodhi's composer takes where nothing else is said.
pub const COMPOSE: Duration = Duration::from_secs(90);
