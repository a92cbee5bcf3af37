//! What is published is what people get: Debian's real flatpak client lists, installs, runs and updates Flatpaks that its
//! own tools made, from docker-registry, by an index. Only [`Stage::set`] knows who serves the index.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "support/flatpak/mod.rs"]
mod flatpak;
#[path = "support/registry.rs"]
mod registry;

use std::{fs, time::Duration};

use flatpak::{
    Asked, FlatpakClient, HELLO, Image, Index, Offer, PLATFORM, StaticIndex, host_architecture, icon,
    oci_architecture,
};
use registry::DockerRegistry;
use serde_json::Value;

/// As every client since 1.6 asks.
const QUERY: &str = "/index/static?label%3Aorg.flatpak.ref%3Aexists=1&architecture=ARCH&os=linux&tag=TAG";

/// A user, and all that the user needs. Ended from the top: who asks goes before who answers.
struct Stage {
    user: FlatpakClient,
    index: Box<dyn Index>,
    registry: DockerRegistry,
}

#[test]
fn a_pushed_update_is_installed_and_run() {
    let (platform, first, second) = (Image::platform(1), Image::hello(1), Image::hello(2));
    let mut stage = Stage::set();
    stage.publish(&[&platform, &first]);
    stage.user.remote_add(&stage.index.url());
    let mut offered = stage.user.remote_ls();
    offered.sort();
    assert_eq!(offered, [Offer::of(first.host_child()), Offer::of(platform.host_child())]);
    stage.user.install(&first.host_child().flatpak_ref);
    assert_eq!(stage.user.run(HELLO), "Hello v1 on Platform v1\n");
    assert_eq!(stage.user.installed_digest(HELLO), Some(first.host_child().digest()));

    stage.publish(&[&platform, &second]);
    stage.user.update();
    assert_eq!(stage.user.run(HELLO), "Hello v2 on Platform v1\n");
    assert_eq!(stage.user.installed_digest(HELLO), Some(second.host_child().digest()));
}

#[test]
fn a_runtime_is_updated_beneath_its_applications() {
    let mut stage = Stage::installed();
    stage.publish(&[&Image::platform(2), &Image::hello(1)]);
    stage.user.update();
    assert_eq!(stage.user.run(HELLO), "Hello v1 on Platform v2\n");
    assert_eq!(stage.user.installed_digest(PLATFORM), Some(Image::platform(2).host_child().digest()));
}

#[test]
fn an_image_that_only_the_registry_has_updates_nobody() {
    let stage = Stage::installed();
    Image::hello(2).push(&stage.registry.host(), "hello", &["latest"]);
    assert!(stage.user.update().contains("Nothing to do"));
    assert_eq!(stage.user.run(HELLO), "Hello v1 on Platform v1\n");
}

/// Nothing to do, and yet nothing is wrong: so an index must be looked at before it goes out.
#[test]
fn a_lost_application_is_only_a_warning_to_those_who_have_it() {
    let mut stage = Stage::installed();
    stage.publish(&[&Image::platform(1)]);
    let said = stage.user.update();
    assert!(said.contains("Nothing to do"), "{said}");
    assert_eq!(stage.user.run(HELLO), "Hello v1 on Platform v1\n");
}

#[test]
fn the_index_is_asked_for_in_one_spelling_only() {
    let mut stage = Stage::set();
    stage.publish(&[&Image::hello(1)]);
    stage.user.remote_add(&stage.index.url());
    stage.user.remote_ls();
    let asked = stage.user.take_asked_for_index();
    assert!(!asked.is_empty());
    for request in asked {
        assert_eq!(request.line(), format!("GET {} 200", query("latest")));
        assert_eq!(format!("http://{}", request.host), stage.index.url());
        assert_eq!(request.header("accept"), Some("*/*"));
        assert_eq!(request.header("accept-encoding"), Some("gzip"));
        assert!(request.header("user-agent").unwrap().starts_with("Flatpak 1."), "{request:#?}");
    }
}

#[test]
fn a_tag_behind_the_address_is_asked_for() {
    let mut stage = Stage::set();
    stage.publish(&[&Image::hello(1)]);
    stage.user.remote_add(&format!("{}#testing", stage.index.url()));
    stage.user.remote_ls();
    let asked = stage.user.take_asked_for_index();
    assert!(!asked.is_empty() && asked.iter().all(|asked| asked.path == query("testing")), "{asked:#?}");
}

#[test]
fn an_index_that_did_not_change_is_answered_with_304() {
    let mut stage = Stage::installed();
    let etag = {
        let first = &stage.user.take_asked_for_index()[0];
        assert_eq!((first.status, first.header("if-none-match")), (Some(200), None));
        first.answer["etag"].to_str().unwrap().to_owned()
    };
    let asks_with_etag = |asked: &Asked| asked.header("if-none-match") == Some(&*etag);
    stage.user.update();
    let asked = stage.user.take_asked_for_index();
    assert!(!asked.is_empty(), "the index says no-cache");
    assert!(asked.iter().all(|asked| asked.status == Some(304) && asks_with_etag(asked)), "{asked:#?}");

    stage.publish(&[&Image::platform(1), &Image::hello(2)]);
    stage.user.update();
    let changed = &stage.user.take_asked_for_index()[0];
    assert!(changed.status == Some(200) && asks_with_etag(changed), "{changed:#?}");
}

#[test]
fn a_fresh_index_is_not_asked_for_until_it_is_forgotten() {
    let mut stage = Stage::set_with(|registry| Box::new(StaticIndex::start_cached(registry, "max-age=1800")));
    stage.publish(&[&Image::hello(1)]);
    stage.user.remote_add(&stage.index.url());
    stage.user.remote_ls();
    assert_eq!(stage.user.take_asked_for_index().len(), 1);
    stage.publish(&[&Image::hello(2)]);
    assert_eq!(stage.user.remote_ls(), [Offer::of(Image::hello(1).host_child())]);
    assert_eq!(stage.user.take_asked().len(), 0);
    stage.user.forget_index_cache();
    assert_eq!(stage.user.remote_ls(), [Offer::of(Image::hello(2).host_child())]);
    assert_eq!(stage.user.take_asked_for_index().len(), 1);
}

/// Tags are for others; the client finds everything by the digests in the index.
#[test]
fn an_install_asks_for_four_things_of_each_image_by_digest() {
    let stage = Stage::installed();
    let mut asked: Vec<String> = stage.user.take_asked().iter().map(Asked::line).collect();
    asked.retain(|line| !line.contains("/index/static"));
    let mut expected = Vec::new();
    for image in [Image::platform(1), Image::hello(1)] {
        let (child, at) = (image.host_child(), format!("/v2/{}", image.repository));
        let manifest = parse(&child.manifest.bytes);
        let [config, layer] = [&manifest["config"], &manifest["layers"][0]];
        expected.extend([
            format!("HEAD {at}/manifests/{} 200", child.digest()),
            format!("GET {at}/manifests/{} 200", child.digest()),
            format!("GET {at}/blobs/{} 200", config["digest"].as_str().unwrap()),
            format!("GET {at}/blobs/{} 200", layer["digest"].as_str().unwrap()),
        ]);
    }
    asked.sort();
    expected.sort();
    assert_eq!(asked, expected);
}

#[test]
fn description_and_icons_reach_the_user() {
    let mut stage = Stage::set();
    for version in [1, 2] {
        stage.publish(&[&Image::platform(1), &Image::hello(version)]);
        if version == 1 {
            stage.user.remote_add(&stage.index.url());
        }
        let told = stage.user.appstream();
        assert!(told.contains(HELLO) && told.contains(&format!("Says hello, version {version}")), "{told}");
        for pixels in [64, 128] {
            assert_eq!(stage.user.icon(HELLO, pixels), Some(icon(version, pixels)));
        }
    }
}

#[test]
fn images_are_of_fedoras_shape() {
    for (image, name, kind) in
        [(Image::hello(1), "hello", "app"), (Image::platform(1), "f40/flatbus-platform", "runtime")]
    {
        let named = parse(&image.index.bytes);
        for (child, named) in image.children.iter().zip(named["manifests"].as_array().unwrap()) {
            assert_eq!(named["digest"], *child.digest());
            assert_eq!(named["platform"]["architecture"], *oci_architecture(child.architecture));
            let config = parse(&child.config);
            assert_eq!(config["architecture"], *oci_architecture(child.architecture));
            assert_eq!(config["config"]["Labels"], serde_json::to_value(&child.labels).unwrap());
            let [component, version, release] =
                ["com.redhat.component", "version", "release"].map(|label| &*child.labels[label]);
            assert_eq!(image.nvr, format!("{component}-{version}-{release}"));
            assert_eq!((&*child.labels["name"], &*child.labels["architecture"]), (name, child.architecture));
            assert_eq!(child.labels["org.flatpak.ref"], child.flatpak_ref);
            assert!(child.flatpak_ref.starts_with(kind) && child.labels.contains_key("org.flatpak.metadata"));
        }
        assert_eq!(image.children.len(), 2);
    }
}

#[test]
fn nothing_is_asked_of_another_machine() {
    let user = FlatpakClient::new();
    user.remote_add("http://flatpaks.invalid");
    assert!(!user.flatpak(&["remote-ls", flatpak::REMOTE]).success());
    let asked = user.take_asked();
    assert!(!asked.is_empty() && asked.iter().all(|asked| asked.status == Some(403)), "{asked:#?}");
}

#[test]
fn a_command_that_hangs_is_ended_with_all_that_it_started() {
    let stage = Stage::installed();
    let endless = ["run", "--command=sh", HELLO, "-c", "while :; do :; done"];
    let said = stage.user.flatpak_within(Duration::from_secs(3), &endless);
    assert_eq!(said.status, None, "{said:?}");
    let home = stage.user.home().display().to_string();
    let ours = |process: &fs::DirEntry| {
        let environment = fs::read(process.path().join("environ")).unwrap_or_default();
        String::from_utf8_lossy(&environment).contains(&home)
    };
    let alive: Vec<_> = fs::read_dir("/proc").unwrap().flatten().filter(ours).collect();
    assert!(alive.is_empty(), "{alive:?}");
}

impl Stage {
    /// Nobody has anything yet.
    fn set() -> Self {
        Self::set_with(|registry| Box::new(StaticIndex::start(registry)))
    }

    /// The index names what the registry on this host has.
    fn set_with(index: impl FnOnce(&str) -> Box<dyn Index>) -> Self {
        let registry = DockerRegistry::start();
        let index = index(&registry.host());
        Self { user: FlatpakClient::new(), index, registry }
    }

    /// The user has the first version of both.
    fn installed() -> Self {
        let mut stage = Self::set();
        stage.publish(&[&Image::platform(1), &Image::hello(1)]);
        stage.user.remote_add(&stage.index.url());
        stage.user.install(HELLO);
        stage
    }

    /// Pushes these, and has the index name them and no others.
    fn publish(&mut self, images: &[&Image]) {
        for image in images {
            image.push(&self.registry.host(), &image.repository, &["latest"]);
        }
        self.index.publish(images);
    }
}

fn query(tag: &str) -> String {
    QUERY.replace("ARCH", oci_architecture(host_architecture())).replace("TAG", tag)
}

fn parse(json: &[u8]) -> Value {
    serde_json::from_slice(json).unwrap()
}
