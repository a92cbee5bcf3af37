//! A small world around one mirror, and words to talk about it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use flatbus_base::SimClock;
use flatbus_ledger::{Filter, MemoryStore};
use flatbus_mirror::{Config, Key, Mirror, RawConfig, Registries};
use flatbus_oci::{
    Digest, MemoryRegistry, Registry, Repository, Tag,
    memory::{Abilities, Op},
    testing::Recipe,
    withdrawn,
};
use flatbus_runtime::{Left, Settings, testing::Rig};
use flatbus_upstream::{
    bodhi::{Release, ReleaseState, Status, Update, UpdateBuild},
    koji::{Build, BuildState, Image},
    memory::{MemoryBodhi, MemoryKoji, MemoryQuay},
    quay::{Quay, Visibility},
};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

/// When every story begins.
pub const START: &str = "2022-10-01T00:00:00Z";
pub const DAY: Duration = Duration::from_secs(24 * 3600);

/// Who is there, before a mirror is.
pub struct Setting {
    config: String,
    abilities: Abilities,
    quay: bool,
    shadow: bool,
}

pub struct World {
    pub candidate: MemoryRegistry,
    pub old: MemoryRegistry,
    pub public: MemoryRegistry,
    pub koji: MemoryKoji,
    pub bodhi: MemoryBodhi,
    pub quay: Option<MemoryQuay>,
    pub rig: Rig<Mirror>,
    setting: Setting,
    store: Arc<MemoryStore>,
    clock: SimClock,
}

impl Setting {
    pub fn new() -> Self {
        let config = r#"
            destination = "https://public.example/fedora"
            protected = ["fedora", "base-*"]
            sources = [{ pull_spec = "candidate.example/", bytes_at = ["https://candidate.example", "https://old.example"] }]
        "#;
        Self { config: config.to_owned(), abilities: Abilities::default(), quay: false, shadow: false }
    }

    pub fn with(mut self, line: &str) -> Self {
        self.config = format!("{line}\n{}", self.config);
        self
    }

    pub fn abilities(mut self, change: impl FnOnce(&mut Abilities)) -> Self {
        change(&mut self.abilities);
        self
    }

    /// A destination where repositories are private until quay's API makes them public.
    pub fn quay(mut self) -> Self {
        self.quay = true;
        self.abilities(|abilities| abilities.new_repositories_public = false)
    }

    pub fn shadow(mut self) -> Self {
        self.shadow = true;
        self
    }

    pub async fn world(self) -> World {
        let public = MemoryRegistry::with("public.example", self.abilities);
        let quay = self.quay.then(|| quay_before(&public));
        let (koji, bodhi) = (MemoryKoji::new(), MemoryBodhi::new());
        let (candidate, old) = (MemoryRegistry::new("candidate.example"), MemoryRegistry::new("old.example"));
        let (store, clock) =
            (Arc::new(MemoryStore::default()), SimClock::starting_at(START.parse().unwrap()));
        let mirror = mirror(&self, &candidate, &old, &public, &koji, &bodhi, quay.as_ref());
        let rig = Rig::on(Arc::clone(&store), mirror, self.settings(), clock.clone()).await;
        World { candidate, old, public, koji, bodhi, quay, rig, setting: self, store, clock }
    }

    fn settings(&self) -> Settings {
        let mut settings = Settings::of("mirror");
        settings.topic_prefixes = Vec::new();
        if self.shadow {
            settings.mode = flatbus_runtime::Mode::Shadow;
        }
        settings
    }
}

/// quay's API in front of a registry: what it makes public is public there.
fn quay_before(registry: &MemoryRegistry) -> MemoryQuay {
    let quay = MemoryQuay::new();
    let registry = registry.clone();
    quay.on_change(move |name, visibility| {
        registry.set_public(&name.parse().unwrap(), visibility == Visibility::Public);
    });
    quay
}

fn mirror(
    setting: &Setting,
    candidate: &MemoryRegistry,
    old: &MemoryRegistry,
    public: &MemoryRegistry,
    koji: &MemoryKoji,
    bodhi: &MemoryBodhi,
    quay: Option<&MemoryQuay>,
) -> Mirror {
    let raw: RawConfig = toml::from_str(&setting.config).unwrap();
    let source = |registry: &MemoryRegistry| Arc::new(registry.clone()) as Arc<dyn Registry>;
    let registries = Registries {
        destination: source(public),
        anonymous: Arc::new(public.anonymous()),
        sources: [
            ("candidate.example".to_owned(), source(candidate)),
            ("old.example".to_owned(), source(old)),
        ]
        .into(),
    };
    let quay = quay.map(|quay| Arc::new(quay.clone()) as Arc<dyn Quay>);
    Mirror::new(
        Config::try_from(raw).unwrap(),
        registries,
        Arc::new(koji.clone()),
        Arc::new(bodhi.clone()),
        quay,
    )
}

pub fn at(text: &str) -> Timestamp {
    format!("{}Z", text.replace(' ', "T")).parse().unwrap()
}

pub fn repo(name: &str) -> Repository {
    name.parse().unwrap()
}

pub fn tag(name: &str) -> Tag {
    name.parse().unwrap()
}

/// The digest of the image that [`World::build`] makes for a build.
pub fn digest_of(id: i64) -> Digest {
    recipe("app/x/x86_64/stable", id).make().digest()
}

/// Size of the blobs of that image.
pub fn image_bytes(id: i64) -> usize {
    recipe("app/x/x86_64/stable", id).make().blobs.iter().map(bytes::Bytes::len).sum()
}

fn recipe(flatpak_ref: &str, id: i64) -> Recipe {
    Recipe { layer_bytes: 100, ..Recipe::flatpak(flatpak_ref, u64::try_from(id).unwrap()) }
}

/// A pending update of F36F, submitted when the story begins.
pub fn update(alias: &str, nvrs: &[&str]) -> Update {
    let build = |nvr: &&str| UpdateBuild { nvr: (*nvr).to_owned(), kind: "flatpak".to_owned() };
    Update {
        alias: alias.to_owned(),
        status: Status::Pending,
        request: None,
        locked: false,
        release: Release {
            name: "F36F".to_owned(),
            id_prefix: "FEDORA-FLATPAK".to_owned(),
            branch: "f36".to_owned(),
            version: "36".to_owned(),
            state: ReleaseState::Current,
        },
        builds: nvrs.iter().map(build).collect(),
        date_submitted: Some(START.parse().unwrap()),
        date_modified: None,
        date_testing: None,
        date_stable: None,
        date_pushed: None,
    }
}

pub fn testing(alias: &str, nvrs: &[&str], since: &str) -> Update {
    Update {
        status: Status::Testing,
        date_testing: Some(at(since)),
        date_pushed: Some(at(since)),
        ..update(alias, nvrs)
    }
}

/// In stable, after it was in testing an hour before.
pub fn stable(alias: &str, nvrs: &[&str], since: &str) -> Update {
    let before = at(since).checked_sub(SignedDuration::from_hours(1)).unwrap();
    let (status, pushed) = (Status::Stable, Some(at(since)));
    Update {
        status,
        date_testing: Some(before),
        date_stable: pushed,
        date_pushed: pushed,
        ..update(alias, nvrs)
    }
}

impl World {
    pub async fn new() -> Self {
        Setting::new().world().await
    }

    /// A Flatpak build, its image in the candidate registry.
    pub fn build(&self, nvr: &str, id: i64, repository: &str) {
        self.build_as(nvr, id, repository, "app/x/x86_64/stable");
    }

    pub fn build_as(&self, nvr: &str, id: i64, repository: &str, flatpak_ref: &str) {
        let sample = recipe(flatpak_ref, id).make();
        sample.put(&self.candidate, &repo(repository), &[]);
        self.known(nvr, id, repository, sample.digest());
    }

    /// A build that Koji knows, wherever its image is.
    pub fn known(&self, nvr: &str, id: i64, repository: &str, digest: Digest) {
        let parts: Vec<&str> = nvr.rsplitn(3, '-').collect();
        let pull = vec![
            format!("candidate.example/{repository}@{digest}"),
            format!("candidate.example/{repository}:{}", parts[1]),
        ];
        self.koji.put(Build {
            id,
            nvr: nvr.to_owned(),
            name: parts[2].to_owned(),
            version: parts[1].to_owned(),
            release: parts[0].to_owned(),
            state: BuildState::Complete,
            completed: Some(self.now()),
            image: Some(Image { flatpak: true, pull }),
        });
    }

    pub fn now(&self) -> Timestamp {
        flatbus_base::Clock::wall(&self.clock)
    }

    /// Marks these keys and settles until nothing is due.
    pub async fn settle(&self, keys: &[&str]) -> Left {
        let keys: Vec<Key> = keys.iter().map(|key| key.parse().unwrap()).collect();
        self.rig.mark(&keys).await;
        self.rig.settle().await
    }

    pub async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    /// The process is killed and starts again on what the store kept.
    pub async fn restart(mut self) -> Self {
        drop(self.rig);
        let mirror = mirror(
            &self.setting,
            &self.candidate,
            &self.old,
            &self.public,
            &self.koji,
            &self.bodhi,
            self.quay.as_ref(),
        );
        self.rig =
            Rig::on(Arc::clone(&self.store), mirror, self.setting.settings(), self.clock.clone()).await;
        self
    }

    /// The ledger is lost.
    pub async fn forget_everything(mut self) -> Self {
        self.store = Arc::new(MemoryStore::default());
        self.restart().await
    }

    /// What the tags of a repository of the destination name: a build's number, 0 for a withdrawn tag, -1 for a stranger.
    pub fn tags(&self, repository: &str) -> BTreeMap<String, i64> {
        let named = |digest: Digest| {
            (1..100).find(|&id| digest_of(id) == digest || runtime_digest(id) == digest).unwrap_or(-1)
        };
        let number = |digest: Digest| if withdrawn::is(&digest) { 0 } else { named(digest) };
        let tags = self.public.tags_of(&repo(&format!("fedora/{repository}")));
        tags.into_iter().map(|(tag, digest)| (tag.to_string(), number(digest))).collect()
    }

    pub fn expect_tags(&self, repository: &str, expected: &[(&str, i64)]) {
        let expected: BTreeMap<String, i64> =
            expected.iter().map(|&(tag, id)| (tag.to_owned(), id)).collect();
        assert_eq!(self.tags(repository), expected, "tags of {repository}");
    }

    /// Announced since it was last asked: `fedora/eog:latest` to digest.
    pub fn announced(&self) -> BTreeMap<String, Option<String>> {
        self.announced_bodies()
            .into_iter()
            .map(|body| {
                let text = |field: &str| body[field].as_str().map(str::to_owned);
                (format!("{}:{}", text("repository").unwrap(), text("tag").unwrap()), text("digest"))
            })
            .collect()
    }

    pub fn announced_bodies(&self) -> Vec<Value> {
        let all = self.rig.announced();
        all.into_iter()
            .filter(|sent| sent.announcement.topic == "flatbus.tag.moved")
            .map(|sent| sent.announcement.body)
            .collect()
    }

    /// Keys that a person must look at, with the reason.
    pub fn parked(&self) -> BTreeMap<String, String> {
        self.listed("Parked")
    }

    pub fn waiting(&self) -> BTreeMap<String, String> {
        self.listed("Waiting")
    }

    fn listed(&self, state: &str) -> BTreeMap<String, String> {
        let keys = self.rig.unit.ledger().list(&Filter::default(), None, 1000);
        keys.into_iter()
            .filter(|shown| format!("{:?}", shown.state) == state)
            .map(|shown| (shown.key, shown.last_error.unwrap_or_default()))
            .collect()
    }

    /// Writes to the destination since they were last forgotten.
    pub fn writes(&self) -> BTreeSet<String> {
        let calls = self.public.calls();
        calls
            .into_iter()
            .filter(|call| !call.op.reads())
            .map(|call| format!("{:?} {} {}", call.op, call.repository, call.subject))
            .collect()
    }

    pub fn reads_of(&self, registry: &MemoryRegistry) -> u64 {
        [Op::ManifestGet, Op::ManifestHead, Op::BlobGet { offset: 0 }, Op::BlobHead]
            .into_iter()
            .map(|op| registry.count(op))
            .sum()
    }
}

pub fn runtime_digest(id: i64) -> Digest {
    recipe("runtime/x/x86_64/stable", id).make().digest()
}
