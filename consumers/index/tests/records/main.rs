//! What the index says of Fedora's real builds is what flatpak-indexer's documented rules make of Koji's records, down to
//! the byte. The rules are written a second time, in Python, whose own JSON is the form of the files.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use flatbus_index::{
    config::{Config, RawConfig},
    dress::dress,
    entry::{self, Shown},
    image::Image,
};
use serde_json::{Value, json};

/// The builds that are shown, with the tags that name them. Older ones have no labels.
const BUILDS: [(&str, &str, &[&str]); 3] = [
    ("baobab", "baobab-stable-3520211002221204.1", &["latest", "testing"]),
    ("baobab-old", "baobab-master-3220200331145937.1", &["latest"]),
    ("eog", "eog-stable-3620220905044417.1", &["testing"]),
];

fn archives(build: &str) -> Vec<Value> {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas/samples/koji/archives");
    serde_json::from_str(&fs::read_to_string(samples.join(format!("{build}.json"))).unwrap()).unwrap()
}

fn image(archive: &Value) -> Image {
    let docker = &archive["extra"]["docker"];
    let (media_type, digest) = docker["digests"].as_object().unwrap().iter().next().unwrap();
    let config = &docker["config"];
    Image {
        digest: digest.as_str().unwrap().parse().unwrap(),
        media_type: media_type.clone(),
        os: config["os"].as_str().unwrap().to_owned(),
        architecture: config["architecture"].as_str().unwrap().to_owned(),
        labels: serde_json::from_value(config["config"]["Labels"].clone()).unwrap(),
        diff_id: None,
    }
}

fn config(site: &Path, token: bool) -> Config {
    let text = format!(
        "registry = \"https://registry.example\"\nsite_dir = {site:?}\nforce_flatpak_token = {token}\n[[indexes]]\noutput = \"index/a.json\"\ntag = \"latest\"\n"
    );
    Config::try_from(toml::from_str::<RawConfig>(&text).unwrap()).unwrap()
}

fn ours(site: &Path, annotations: bool, icons: bool, token: bool) -> String {
    let config = config(site, token);
    let repository = |(name, build, tags): &(&str, &str, &[&str])| {
        let tags: Vec<String> = tags.iter().map(|tag| (*tag).to_owned()).collect();
        let mut images: Vec<Image> = archives(build).iter().map(image).collect();
        images.sort_by_key(|image| image.digest);
        let dressed: Vec<_> = images.iter().map(|image| dress(image, &config, icons).unwrap()).collect();
        assert!(dressed.iter().all(|dressed| dressed.lost.is_empty()), "every real icon is taken");
        let shown: Vec<_> = images
            .iter()
            .zip(&dressed)
            .map(|(image, dressed)| Shown { image, labels: &dressed.labels, tags: &tags })
            .collect();
        entry::repository(name, &shown, annotations).into_iter().map(|part| part.text).collect::<String>()
    };
    let (head, tail) = entry::frame(config.public_url());
    format!("{head}{}{tail}", BUILDS.iter().map(repository).collect::<Vec<_>>().join(","))
}

fn expected(annotations: bool, icons: bool, token: bool) -> String {
    let script: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/records/expected.py");
    let tags: BTreeMap<_, _> = BUILDS.iter().map(|(name, _, tags)| (*name, *tags)).collect();
    let form = json!({"annotations": annotations, "icons": icons, "token": token});
    let mut python = Command::new("python3")
        .arg(script)
        .args([json!(tags).to_string(), form.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let builds: BTreeMap<_, _> = BUILDS.iter().map(|(name, build, _)| (*name, archives(build))).collect();
    python.stdin.take().unwrap().write_all(json!(builds).to_string().as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn real_builds_are_shown_as_the_rules_say_in_every_form() {
    let site = tempfile::tempdir().unwrap();
    for annotations in [false, true] {
        for icons in [false, true] {
            for token in [false, true] {
                let (ours, expected) =
                    (ours(site.path(), annotations, icons, token), expected(annotations, icons, token));
                assert!(ours == expected, "annotations {annotations}, icons {icons}, token {token}");
            }
        }
    }
    let icons = fs::read_dir(site.path().join("icons")).unwrap().count();
    assert!(icons >= 2, "{icons} folders of icons");
}

#[test]
fn real_builds_are_installable_and_those_before_labels_are_not() {
    for (_, build, _) in BUILDS {
        for archive in archives(build) {
            let flatpak = image(&archive).flatpak().unwrap();
            assert!(flatpak.runtime.unwrap().as_str().starts_with("runtime/org.fedoraproject.Platform/"));
        }
    }
    let old = archives("eog-master-20181128204005.1");
    assert!(old[0]["extra"]["docker"]["config"]["config"]["Labels"].is_null());
}
