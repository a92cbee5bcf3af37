//! The embedded registry under real clients: skopeo pushes to it, copies between two, inspects and deletes.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::{fs, path::Path, process::Output, time::Duration};

use flatbus_base::{Random, Secret};
use flatbus_embedded::{
    registry::{self, Access, Content, Digest, Registry, Settings},
    world,
};
use flatbus_http::HostList;
use flatbus_upstream::{
    bodhi::{Bodhi as _, BodhiApi, Status, UpdateQuery},
    koji::{Build, BuildRef, Koji as _, KojiHub},
};
use serde_json::{Value, json};
use tokio::process::Command;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Longest time one skopeo command may take.
const SKOPEO_TIMEOUT: Duration = Duration::from_secs(120);

async fn skopeo(arguments: &[&str]) -> Output {
    let mut command = Command::new("skopeo");
    command.arg("--insecure-policy").args(arguments).kill_on_drop(true);
    let output = tokio::time::timeout(SKOPEO_TIMEOUT, command.output()).await.expect("skopeo ends");
    output.expect("skopeo is installed: tests/run says what is missing")
}

async fn skopeo_succeeds(arguments: &[&str]) -> String {
    let output = skopeo(arguments).await;
    assert!(output.status.success(), "skopeo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn image(registry: &Registry, name: &str) -> String {
    format!("docker://{}/{name}", registry.host())
}

fn descriptor(kind: &str, layout: &Path, bytes: &[u8]) -> Value {
    let digest = Digest::of(bytes);
    fs::write(layout.join("blobs/sha256").join(digest.hex()), bytes).unwrap();
    json!({"mediaType": kind, "digest": digest.as_str(), "size": bytes.len()})
}

/// An OCI layout of one image for two architectures, each with a layer of so many bytes; the digest of its index.
fn layout(path: &Path, layer_bytes: usize) -> Digest {
    fs::create_dir_all(path.join("blobs/sha256")).unwrap();
    fs::write(path.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    let mut children = Vec::new();
    for (salt, architecture) in ["amd64", "arm64"].into_iter().enumerate() {
        let layer: Vec<u8> =
            (0..layer_bytes).map(|i| (i.wrapping_mul(31 + salt) >> 3).to_le_bytes()[0]).collect();
        let config = json!({
            "architecture": architecture, "os": "linux", "config": {},
            "rootfs": {"type": "layers", "diff_ids": [Digest::of(&layer).as_str()]},
        });
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": descriptor("application/vnd.oci.image.config.v1+json", path, config.to_string().as_bytes()),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", path, &layer)],
        });
        let mut child = descriptor(MANIFEST, path, manifest.to_string().as_bytes());
        child["platform"] = json!({"architecture": architecture, "os": "linux"});
        children.push(child);
    }
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": children}).to_string();
    let mut root = descriptor(INDEX, path, index.as_bytes());
    root["annotations"] = json!({"org.opencontainers.image.ref.name": "img"});
    fs::write(path.join("index.json"), json!({"schemaVersion": 2, "manifests": [root]}).to_string()).unwrap();
    Digest::of(index.as_bytes())
}

#[tokio::test]
async fn skopeo_pushes_copies_and_inspects_with_digests_preserved() {
    let folder = tempfile::tempdir().unwrap();
    let digest = layout(&folder.path().join("layout"), 1 << 20);
    let candidate = registry::start(Settings::default()).await.unwrap();
    let public = registry::start(Settings::default()).await.unwrap();
    let source = format!("oci:{}:img", folder.path().join("layout").display());
    let (first, second) = (image(&candidate, "f41/app:1.0-1"), image(&public, "app:latest"));
    let copy = ["copy", "--all", "--preserve-digests", "--src-tls-verify=false", "--dest-tls-verify=false"];
    skopeo_succeeds(&[&copy[..], &[&source, &first]].concat()).await;
    assert_eq!(candidate.content.tag("f41/app", "1.0-1"), Some(digest.clone()));
    skopeo_succeeds(&[&copy[..], &[&first, &second]].concat()).await;
    assert_eq!(public.content.tag("app", "latest"), Some(digest.clone()));
    let raw = skopeo_succeeds(&["inspect", "--raw", "--tls-verify=false", &second]).await;
    assert_eq!(Digest::of(raw.as_bytes()), digest);
    let told: Value =
        serde_json::from_str(&skopeo_succeeds(&["inspect", "--tls-verify=false", &second]).await).unwrap();
    assert_eq!((told["Architecture"].as_str(), told["RepoTags"].clone()), (Some("amd64"), json!(["latest"])));
    skopeo_succeeds(&[
        "copy",
        "--src-tls-verify=false",
        &second,
        &format!("dir:{}", folder.path().join("dir").display()),
    ])
    .await;
    skopeo_succeeds(&["delete", "--tls-verify=false", &second]).await;
    assert_eq!(public.content.tag("app", "latest"), None);
}

#[tokio::test]
async fn skopeo_logs_in_with_passwords_and_with_tokens_and_reads_anonymously() {
    let folder = tempfile::tempdir().unwrap();
    layout(&folder.path().join("layout"), 1 << 10);
    let source = format!("oci:{}:img", folder.path().join("layout").display());
    let (user, password) = ("mirror".to_owned(), Secret::new("word"));
    let tokens =
        Access::Token { user: user.clone(), password: password.clone(), lifetime: Duration::from_secs(60) };
    for access in [Access::Basic { user, password }, tokens] {
        let registry = registry::start(Settings { access, ..Settings::default() }).await.unwrap();
        let target = image(&registry, "eog:latest");
        let copy = ["copy", "--all", "--preserve-digests", "--dest-tls-verify=false", &source, &target];
        assert!(!skopeo(&copy).await.status.success(), "an anonymous push is refused");
        skopeo_succeeds(&[&copy[..], &["--dest-creds", "mirror:word"]].concat()).await;
        skopeo_succeeds(&["inspect", "--no-creds", "--tls-verify=false", &target]).await;
        registry.content.set_private("eog", true);
        assert!(!skopeo(&["inspect", "--no-creds", "--tls-verify=false", &target]).await.status.success());
        skopeo_succeeds(&["inspect", "--creds", "mirror:word", "--tls-verify=false", &target]).await;
    }
}

#[tokio::test]
async fn skopeo_moves_a_layer_of_64_mib_through_two_directories() {
    let folder = tempfile::tempdir().unwrap();
    let digest = layout(&folder.path().join("layout"), 64 << 20);
    let on_disk = |name: &str| Content::in_directory(&folder.path().join(name)).unwrap();
    let candidate =
        registry::start(Settings { content: on_disk("candidate"), ..Settings::default() }).await.unwrap();
    let public =
        registry::start(Settings { content: on_disk("public"), ..Settings::default() }).await.unwrap();
    let source = format!("oci:{}:img", folder.path().join("layout").display());
    let (first, second) = (image(&candidate, "big:1"), image(&public, "big:1"));
    let copy = ["copy", "--all", "--preserve-digests", "--src-tls-verify=false", "--dest-tls-verify=false"];
    skopeo_succeeds(&[&copy[..], &[&source, &first]].concat()).await;
    skopeo_succeeds(&[&copy[..], &[&first, &second]].concat()).await;
    assert_eq!(public.content.tag("big", "1"), Some(digest));
}

#[tokio::test]
async fn the_images_of_the_history_are_images_to_skopeo() {
    let folder = tempfile::tempdir().unwrap();
    let settings = world::Settings {
        directory: Some(folder.path().to_owned()),
        stories: true,
        ..world::Settings::default()
    };
    let world = world::start(settings).await.unwrap();
    for image in world.images.values() {
        let name = format!("{}@{}", image.repository, image.index.digest);
        let (source, target) =
            (self::image(&world.candidate, &name), format!("{}:{}", image.repository, image.tag));
        let target = self::image(&world.public, &target);
        let copy =
            ["copy", "--all", "--preserve-digests", "--src-tls-verify=false", "--dest-tls-verify=false"];
        skopeo_succeeds(&[&copy[..], &[&source, &target]].concat()).await;
        let config = skopeo_succeeds(&["inspect", "--config", "--tls-verify=false", &target]).await;
        let config: Value = serde_json::from_str(&config).unwrap();
        let name = config["config"]["Labels"]["org.flatpak.ref"].as_str().unwrap();
        assert!(name.starts_with("app/") || name.starts_with("runtime/"), "{name}");
        assert_eq!(
            world.public.content.tag(&image.repository, &image.tag).as_ref(),
            Some(&image.index.digest)
        );
    }
}

#[tokio::test]
async fn the_clients_read_the_played_history_as_it_ends() {
    let mut world =
        world::start(world::Settings { stories: true, ..world::Settings::default() }).await.unwrap();
    let http =
        flatbus_http::Settings { hosts: HostList::new(["127.0.0.1:*"]), ..flatbus_http::Settings::default() };
    let http = flatbus_http::Client::new(http, Random::from_seed(1)).unwrap();
    let koji = KojiHub::new(http.clone(), world.koji.url().parse().unwrap());
    let bodhi = BodhiApi::new(http, world.bodhi.url().parse().unwrap());
    assert_eq!(koji.build(&BuildRef::Nvr("eog-flatpak-42.3-1".into())).await.unwrap(), None);
    world.player.play(async |_| Ok::<_, ()>(())).await.unwrap();
    let since = "2022-01-01T00:00:00Z".parse().unwrap();
    let recent = koji.image_builds_since(since).await.unwrap();
    let in_images = |build: &&Build| world.images.contains_key(&build.id);
    assert_eq!(recent.iter().filter(in_images).count(), recent.len());
    for (id, image) in &world.images {
        let Some(build) = koji.build(&BuildRef::Id(*id)).await.unwrap() else {
            assert_eq!(image.nvr, "quadrapassel-flatpak-40.2-1", "the one build no message tells of");
            continue;
        };
        let told = build.image.unwrap();
        let spec = format!("{}/{}@{}", world.candidate.host(), image.repository, image.index.digest);
        assert_eq!((told.flatpak, &told.pull[0]), (true, &spec));
    }
    let updates = bodhi.updates(&UpdateQuery::default()).await.unwrap();
    assert_eq!(updates.len(), 15, "twelve real ones and three stories");
    assert!(updates.iter().all(|update| update.status == Status::Stable && !update.locked));
    let query = UpdateQuery { packages: vec!["eog-flatpak".into()], ..UpdateQuery::default() };
    assert_eq!(bodhi.updates(&query).await.unwrap()[0].builds[0].nvr, "eog-flatpak-42.3-1");
    assert_eq!(bodhi.update("FEDORA-FLATPAK-2022-efcca6b48a").await.unwrap().unwrap().release.name, "F36F");
    assert_eq!(bodhi.composes().await.unwrap(), Vec::new());
}
