//! Flatpaks as images of Fedora's shape: one for each architecture, with the labels that Koji's builds have, and an index
//! over them. Made once a process; every number of bytes and every digest is what flatpak made of it today.

use std::{
    collections::BTreeMap,
    env, fs,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use flatbus_base::Random;
use flatbus_http::{Client, HostList, Settings};
use flatbus_oci::{
    Digest, HttpRegistry, Manifest, Registry as _, RemoteSettings, Tag,
    manifest::{OCI_INDEX, OCI_MANIFEST},
    testing::Sample,
    withdrawn,
};
use serde_json::{Value, json};

use super::{block_on, build::Flatpak, home::Home};

/// Fedora's names of them. The client here takes one of them only.
const ARCHITECTURES: [&str; 2] = ["x86_64", "aarch64"];
/// Longest that a push may be tried.
const PUSH_TIMEOUT: Duration = Duration::from_secs(30);

/// An image: an index over one for each architecture.
#[derive(Debug)]
pub struct Image {
    /// Its repository, as Fedora names it: the label `name`.
    pub repository: String,
    /// Of the build that made it.
    pub nvr: String,
    /// The index.
    pub index: Manifest,
    /// What the index names.
    pub children: Vec<Child>,
}

/// The image of one architecture.
#[derive(Debug)]
pub struct Child {
    /// Fedora's name of it: `x86_64`.
    pub architecture: &'static str,
    /// `app/org.flatbus.Hello/x86_64/stable`
    pub flatpak_ref: String,
    /// What the index of Flatpaks names.
    pub manifest: Manifest,
    /// The config that holds the labels.
    pub config: Bytes,
    /// The only layer, gzipped.
    pub layer: Bytes,
    /// Digest of the layer before gzip.
    pub diff_id: String,
    /// Flatpak's labels and Fedora's.
    pub labels: BTreeMap<String, String>,
}

/// What an NVR is made of, and where the image goes.
struct Build {
    repository: String,
    component: &'static str,
    version: String,
}

/// Fedora's release of every build here.
const RELEASE: &str = "1";

impl Image {
    /// The application in this version: `flatpak run` prints `Hello v1 on Platform v1`.
    pub fn hello(version: u32) -> Arc<Self> {
        Self::of(Flatpak::Hello(version))
    }

    /// The runtime in this version. Its repository has a folder, as those of Fedora's runtimes have.
    pub fn platform(version: u32) -> Arc<Self> {
        Self::of(Flatpak::Platform(version))
    }

    fn of(flatpak: Flatpak) -> Arc<Self> {
        static MADE: Mutex<BTreeMap<Flatpak, Arc<Image>>> = Mutex::new(BTreeMap::new());
        let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(made.entry(flatpak).or_insert_with(|| Arc::new(Self::make(flatpak))))
    }

    fn make(flatpak: Flatpak) -> Self {
        let (home, build) = (Home::new(None), Build::of(flatpak));
        let child = |architecture| {
            let layout = flatpak.build(&home, architecture);
            Child::read(&layout, flatpak.flatpak_ref(architecture), architecture, &build)
        };
        let children: Vec<Child> = ARCHITECTURES.map(child).into();
        let entries: Vec<Value> = children.iter().map(Child::entry).collect();
        let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries});
        let nvr = format!("{}-{}-{RELEASE}", build.component, build.version);
        Self { repository: build.repository, nvr, index: manifest(&index, OCI_INDEX), children }
    }

    /// The image of one architecture.
    pub fn child(&self, architecture: &str) -> &Child {
        let child = self.children.iter().find(|child| child.architecture == architecture);
        child.unwrap_or_else(|| panic!("{} is not made for {architecture}", self.nvr))
    }

    /// The one that this machine can run.
    pub fn host_child(&self) -> &Child {
        self.child(host_architecture())
    }

    /// Pushes it to the registry on this host (`127.0.0.1:5000`): blobs, manifests, the index, then the tags.
    pub fn push(&self, host: &str, repository: &str, tags: &[&str]) {
        let blobs = self.children.iter().flat_map(|child| [child.config.clone(), child.layer.clone()]);
        let manifests = self.children.iter().map(|child| child.manifest.clone());
        let sample =
            Sample { index: self.index.clone(), manifests: manifests.collect(), blobs: blobs.collect() };
        let repository = repository.parse().expect("a repository's name");
        let tags: Vec<Tag> = tags.iter().map(|tag| tag.parse().expect("a tag")).collect();
        let pushed = block_on(async {
            let registry = registry(host);
            sample.push(&registry, &repository, &tags).await
        });
        pushed.unwrap_or_else(|error| panic!("cannot push {} to {host}: {error}", self.nvr));
    }
}

/// Puts what stands at a withdrawn tag where a registry can't delete one.
pub fn withdraw(host: &str, repository: &str, tag: &str) {
    let (repository, tag) = (repository.parse().expect("a repository's name"), tag.parse().expect("a tag"));
    let put =
        block_on(async { registry(host).manifest_put(&repository, &tag, &withdrawn::manifest()).await });
    put.unwrap_or_else(|error| panic!("cannot withdraw {repository} from {host}: {error}"));
}

impl Build {
    fn of(flatpak: Flatpak) -> Self {
        let (repository, component, version) = match flatpak {
            Flatpak::Hello(version) => ("hello", "hello-flatpak", version),
            Flatpak::Platform(version) => ("f40/flatbus-platform", "flatbus-platform", version),
        };
        Self { repository: repository.to_owned(), component, version: version.to_string() }
    }
}

impl Child {
    /// Takes what `flatpak build-bundle` wrote, and adds the labels that Koji's builds have: config and manifest are written
    /// anew, the layer stays.
    fn read(layout: &Path, flatpak_ref: String, architecture: &'static str, build: &Build) -> Self {
        let index = fs::read(layout.join("index.json")).expect("the layout's index");
        let mut made = blob(layout, &parse(&index)["manifests"][0]);
        let mut config = blob(layout, &made["config"]);
        let layer = bytes(layout, &made["layers"][0]);
        assert!(made["layers"][1].is_null(), "one layer: {made}");
        let labels = config["config"]["Labels"].as_object_mut().expect("flatpak writes labels");
        labels.extend(build.labels(architecture).map(|(name, value)| (name.to_owned(), value.into())));
        let labels = labels.iter().map(|(name, value)| (name.clone(), text(value))).collect();
        let diff_id = text(&config["rootfs"]["diff_ids"][0]);
        let config = Bytes::from(config.to_string());
        made["config"]["digest"] = Digest::of(&config).to_string().into();
        made["config"]["size"] = config.len().into();
        let manifest = manifest(&made, OCI_MANIFEST);
        Self { architecture, flatpak_ref, manifest, config, layer, diff_id, labels }
    }

    /// What an OCI index says of it.
    fn entry(&self) -> Value {
        json!({
            "mediaType": OCI_MANIFEST,
            "digest": self.manifest.digest.to_string(),
            "size": self.manifest.bytes.len(),
            "platform": {"architecture": oci_architecture(self.architecture), "os": "linux"},
        })
    }

    /// `sha256:…` of its manifest: what the index of Flatpaks names.
    pub fn digest(&self) -> String {
        self.manifest.digest.to_string()
    }
}

impl Build {
    fn labels(&self, architecture: &'static str) -> [(&'static str, &str); 5] {
        [
            ("name", &self.repository),
            ("com.redhat.component", self.component),
            ("version", &self.version),
            ("release", RELEASE),
            ("architecture", architecture),
        ]
    }
}

/// What this machine can run, as Fedora names it.
pub fn host_architecture() -> &'static str {
    let here = ARCHITECTURES.into_iter().find(|architecture| *architecture == env::consts::ARCH);
    here.unwrap_or_else(|| panic!("no Flatpak is made for {}: add it to ARCHITECTURES", env::consts::ARCH))
}

/// What OCI calls an architecture of Fedora's.
pub fn oci_architecture(architecture: &str) -> &str {
    match architecture {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn registry(host: &str) -> HttpRegistry {
    let hosts = HostList::new(["127.0.0.1:*"]);
    let settings = Settings { hosts, elapsed_max: PUSH_TIMEOUT, ..Settings::default() };
    let client = Client::new(settings, Random::from_seed(1)).expect("settings of an HTTP client");
    let settings = RemoteSettings { host: host.to_owned(), plain_http: true, ..RemoteSettings::default() };
    HttpRegistry::new(client, settings).expect("a registry's host")
}

fn manifest(content: &Value, media_type: &str) -> Manifest {
    let bytes = Bytes::from(content.to_string());
    Manifest { digest: Digest::of(&bytes), bytes, media_type: media_type.to_owned() }
}

fn blob(layout: &Path, descriptor: &Value) -> Value {
    parse(&bytes(layout, descriptor))
}

fn bytes(layout: &Path, descriptor: &Value) -> Bytes {
    let digest = text(&descriptor["digest"]);
    let path = layout.join("blobs").join(digest.replace(':', "/"));
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).into()
}

fn parse(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).expect("flatpak writes JSON")
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}
