//! A registry in memory, an index of it, and the files that it writes.

use std::{collections::BTreeMap, fs, io::Read, path::PathBuf, sync::Arc, time::Duration};

use flatbus_base::SimClock;
use flatbus_index::{
    Index,
    config::{Config, RawConfig},
    key::Key,
};
use flatbus_ledger::{Filter, KeyState, MemoryStore};
use flatbus_oci::{
    MemoryRegistry, Repository, Tag,
    testing::{Recipe, Sample},
};
use flatbus_runtime::{Left, Settings, testing::Rig};
use serde_json::Value;
use tempfile::TempDir;

pub const RUNTIME: &str = "runtime/org.fedoraproject.Platform/{arch}/f36";

const INDEXES: &str = r#"
[[indexes]]
output = "index/flatpak-latest.json"
tag = "latest"
extract_icons = true
[[indexes]]
output = "index/flatpak-latest-{architecture}.json"
tag = "latest"
architecture_expand = ["amd64", "arm64", "ppc64le"]
extract_icons = true
[[indexes]]
output = "index/flatpak-latest-annotations.json"
tag = "latest"
flatpak_annotations = true
extract_icons = true
[[indexes]]
output = "index/flatpak-testing.json"
tag = "testing"
"#;

pub struct World {
    pub registry: MemoryRegistry,
    pub rig: Rig<Index>,
    pub dir: TempDir,
    store: Arc<MemoryStore>,
    clock: SimClock,
    more: String,
}

/// An image of a repository, in the state that a build leaves it in.
pub fn app(name: &str, build: u64) -> Recipe {
    let mut recipe = Recipe::flatpak(&format!("app/org.gnome.{name}/{{arch}}/stable"), build);
    let metadata =
        format!("[Application]\nname=org.gnome.{name}\nruntime={}\n", &RUNTIME["runtime/".len()..]);
    recipe.labels.insert("org.flatpak.metadata".to_owned(), metadata);
    recipe.labels.insert("version".to_owned(), build.to_string());
    recipe
}

pub fn runtime(build: u64) -> Recipe {
    let mut recipe = Recipe::flatpak(RUNTIME, build);
    recipe
        .labels
        .insert("org.flatpak.metadata".to_owned(), "[Runtime]\nname=org.fedoraproject.Platform\n".to_owned());
    recipe
}

pub fn repo(name: &str) -> Repository {
    format!("fedora/{name}").parse().unwrap()
}

impl World {
    pub async fn new() -> Self {
        Self::with("").await
    }

    /// With more settings.
    pub async fn with(more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = SimClock::starting_at("2022-10-01T00:00:00Z".parse().unwrap());
        let (registry, store) = (MemoryRegistry::new("public.example"), Arc::new(MemoryStore::default()));
        let rig = rig(&registry, &dir, more, &store, &clock).await;
        Self { registry, rig, dir, store, clock, more: more.to_owned() }
    }

    /// A world with a runtime in the index.
    pub async fn with_runtime() -> Self {
        let world = Self::new().await;
        world.push(&runtime(1), "f36/runtime", &["latest", "testing"]);
        world.settle(&["repository/f36/runtime"]).await;
        assert!(world.waiting().is_empty(), "{:?}", world.waiting());
        world
    }

    /// The process is killed and starts again on what is on the disk.
    pub async fn restart(mut self) -> Self {
        drop(self.rig);
        self.rig = rig(&self.registry, &self.dir, &self.more, &self.store, &self.clock).await;
        self
    }

    pub fn push(&self, recipe: &Recipe, repository: &str, tags: &[&str]) -> Sample {
        let sample = recipe.make();
        let tags: Vec<Tag> = tags.iter().map(|tag| tag.parse().unwrap()).collect();
        sample.put(&self.registry, &repo(repository), &tags);
        sample
    }

    pub async fn settle(&self, keys: &[&str]) -> Left {
        let keys: Vec<Key> = keys.iter().map(|key| key.parse().unwrap()).collect();
        self.rig.mark(&keys).await;
        self.rig.settle().await
    }

    pub async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    pub fn site(&self, path: &str) -> PathBuf {
        self.dir.path().join("site").join(path)
    }

    /// A file as it is published: all its encodings say the same, which is what a plain serialisation says.
    pub fn file(&self, path: &str) -> Value {
        let text = fs::read_to_string(self.site(path)).unwrap();
        let mut unpacked = String::new();
        flate2::read::GzDecoder::new(fs::File::open(self.site(&format!("{path}.gz"))).unwrap())
            .read_to_string(&mut unpacked)
            .unwrap();
        assert_eq!(unpacked, text, "one member holds it all");
        let frames = zstd::decode_all(fs::File::open(self.site(&format!("{path}.zst"))).unwrap()).unwrap();
        assert_eq!(String::from_utf8(frames).unwrap(), text);
        let value: Value = serde_json::from_str(&text).unwrap();
        let mut plain = Vec::new();
        let format = serde_json::ser::PrettyFormatter::with_indent(b"    ");
        serde::Serialize::serialize(&value, &mut serde_json::Serializer::with_formatter(&mut plain, format))
            .unwrap();
        assert_eq!(String::from_utf8(plain).unwrap(), text);
        value
    }

    /// What a file shows: by repository the versions (or `runtime`) and architectures.
    pub fn shows(&self, path: &str) -> BTreeMap<String, Vec<String>> {
        let repositories = self.file(path)["Results"].as_array().unwrap().clone();
        let entry = |repository: &Value| {
            let image = |image: &Value| {
                let version = image["Labels"]["version"].as_str().unwrap_or("runtime");
                format!("{version} {}", image["Architecture"].as_str().unwrap())
            };
            let mut images: Vec<String> =
                repository["Images"].as_array().unwrap().iter().map(image).collect();
            images.sort();
            (repository["Name"].as_str().unwrap().to_owned(), images)
        };
        repositories.iter().map(entry).collect()
    }

    /// What an application of two architectures looks like in the file of all.
    pub fn latest(&self, name: &str) -> Option<Vec<String>> {
        self.shows("index/flatpak-latest.json").remove(&format!("fedora/{name}"))
    }

    /// Keys that a person must look at, with their reasons.
    pub fn parked(&self) -> BTreeMap<String, String> {
        self.listed(KeyState::Parked)
    }

    /// Keys that wait for another try, with their reasons.
    pub fn waiting(&self) -> BTreeMap<String, String> {
        self.listed(KeyState::Waiting)
    }

    fn listed(&self, state: KeyState) -> BTreeMap<String, String> {
        let keys = self.rig.unit.ledger().list(&Filter::default(), None, 1000);
        let keys = keys.into_iter().filter(|shown| shown.state == state);
        keys.map(|shown| (shown.key, shown.last_error.unwrap_or_default())).collect()
    }
}

async fn rig(
    registry: &MemoryRegistry,
    dir: &TempDir,
    more: &str,
    store: &Arc<MemoryStore>,
    clock: &SimClock,
) -> Rig<Index> {
    let path = |name: &str| dir.path().join(name);
    let text = format!(
        "registry = \"https://public.example/fedora\"\nsite_dir = {:?}\n{more}\n{INDEXES}",
        path("site")
    );
    let config = Config::try_from(toml::from_str::<RawConfig>(&text).unwrap()).unwrap();
    let anonymous = Arc::new(registry.anonymous());
    let index = Index::new(config, anonymous.clone(), anonymous);
    let mut settings = Settings::of("index");
    settings.topic_prefixes = Vec::new();
    settings.state_dir = path("state");
    Rig::on(Arc::clone(store), index, settings, clock.clone()).await
}
