use std::io::Read;

use flate2::read::GzDecoder;

use super::*;
use crate::{Samples, registry::Content};

fn samples() -> Samples {
    Samples::built_in().unwrap()
}

fn images(samples: &Samples) -> BTreeMap<i64, Image> {
    make_all(&samples.builds, &samples.archives, &Settings::default())
}

fn by_nvr<'a>(images: &'a BTreeMap<i64, Image>, nvr: &str) -> &'a Image {
    images.values().find(|image| image.nvr == nvr).unwrap()
}

fn config(child: &Child) -> Value {
    serde_json::from_slice(&child.config).unwrap()
}

fn unpacked(child: &Child) -> BTreeMap<String, Vec<u8>> {
    let mut archive = tar::Archive::new(GzDecoder::new(child.layer.as_ref()));
    let files = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        (entry.path().unwrap().display().to_string(), content)
    });
    files.collect()
}

#[test]
fn every_flatpak_build_has_an_image_and_nothing_else_has() {
    let samples = samples();
    let made = images(&samples);
    let flatpaks = samples.builds.values().filter(|build| records::repository(build).is_some()).count();
    assert_eq!((made.len(), flatpaks), (16, 16));
    let repositories: std::collections::BTreeSet<&str> =
        made.values().map(|image| image.repository.as_str()).collect();
    assert_eq!(Vec::from_iter(repositories), ["baobab", "eog", "quadrapassel"]);
    let digests: std::collections::BTreeSet<&Digest> =
        made.values().map(|image| &image.index.digest).collect();
    assert_eq!(digests.len(), 16, "each build has an image of its own");
}

#[test]
fn the_same_record_makes_the_same_bytes() {
    let samples = samples();
    let (once, twice) = (images(&samples), images(&samples));
    assert!(
        once.iter().all(|(id, image)| image.index == twice[id].index && image.children == twice[id].children)
    );
}

#[test]
fn an_image_is_what_flatpak_expects() {
    let samples = samples();
    let made = images(&samples);
    let image = by_nvr(&made, "eog-stable-3620220905044417.1");
    assert_eq!((image.tag.as_str(), image.children.len()), ("stable-3620220905044417.1", 2));
    for child in &image.children {
        let config = config(child);
        let labels = &config["config"]["Labels"];
        let name = format!("app/org.gnome.eog/{}/stable", child.architecture);
        assert_eq!(labels["org.flatpak.ref"], name);
        assert_eq!(config["rootfs"]["diff_ids"], json!([child.diff_id.0.as_str()]));
        let files = unpacked(child);
        assert_eq!(
            labels["org.flatpak.metadata"].as_str().map(str::as_bytes),
            files.get("metadata").map(Vec::as_slice)
        );
        for path in [
            "files/bin/eog",
            "export/share/applications/org.gnome.eog.desktop",
            "files/share/app-info/xmls/org.gnome.eog.xml.gz",
        ] {
            assert!(files.contains_key(path), "{path} of {:?}", files.keys());
        }
        let weight = files["files/share/ballast"].len() as u64;
        assert!(Settings::default().ballast_bytes.contains(&weight), "{weight}");
    }
}

#[test]
fn builds_without_labels_take_those_of_a_build_like_them() {
    let samples = samples();
    let made = images(&samples);
    for (nvr, expected) in [
        ("eog-master-20181128204005.1", "app/org.gnome.eog/x86_64/stable"),
        ("baobab-master-3220200331145937.2", "app/org.gnome.Baobab/x86_64/stable"),
        ("quadrapassel-stable-3520211005192946.1", "app/org.gnome.Quadrapassel/x86_64/stable"),
    ] {
        let child = &by_nvr(&made, nvr).children[0];
        assert_eq!(config(child)["config"]["Labels"]["org.flatpak.ref"], expected, "{nvr}");
    }
    let bare =
        make_all(&samples.builds, &samples.archives, &Settings { label_old: false, ..Settings::default() });
    let child = &by_nvr(&bare, "eog-master-20181128204005.1").children[0];
    assert_eq!(config(child)["config"], json!({}));
}

#[test]
fn rewritten_records_name_images_that_exist() {
    let samples = samples();
    let content = Content::in_memory();
    for (id, image) in &images(&samples) {
        image.put(&content).unwrap();
        let build = image.build_record(&samples.builds[id], "127.0.0.1:5000");
        let pull = build.pointer("/extra/image/index/pull").unwrap();
        let spec = format!("127.0.0.1:5000/{}@{}", image.repository, image.index.digest);
        assert_eq!(pull[0].as_str(), Some(spec.as_str()));
        if let Some(other) = build.pointer("/extra/typeinfo/image/index/pull") {
            assert_eq!(other, pull, "both places agree");
        }
        assert_eq!(content.tag(&image.repository, &image.tag).as_ref(), Some(&image.index.digest));
        let archives = samples.archives.get(id).map_or(&[][..], Vec::as_slice);
        let archives = image.archive_records(&build, archives, "127.0.0.1:5000");
        assert_eq!(archives.len(), image.children.len());
        for (archive, child) in archives.iter().zip(&image.children) {
            assert_eq!(archive["build_id"], *id);
            assert_eq!(archive["extra"]["docker"]["digests"][MANIFEST], child.manifest.digest.as_str());
            assert_eq!(archive["extra"]["docker"]["config"], config(child));
        }
    }
}

#[test]
fn what_is_no_flatpak_makes_no_image() {
    let samples = samples();
    let mut build = samples.builds[&2_058_026].clone();
    for pointer in ["/extra/image/flatpak", "/extra/typeinfo/image/flatpak"] {
        *build.pointer_mut(pointer).unwrap() = false.into();
    }
    let source = Source { build: &build, archives: &[], likeness: &[] };
    assert!(make(&source, &Settings::default()).is_err());
    assert!(make(&Source { build: &Value::Null, ..source }, &Settings::default()).is_err());
}

#[tokio::test]
async fn an_image_goes_through_the_registry_client_too_and_twice_is_harmless() {
    let samples = samples();
    let source =
        Source { build: &samples.builds[&2_058_026], archives: &samples.archives[&2_058_026], likeness: &[] };
    let image = make(&source, &Settings { ballast_bytes: 1..=1, ..Settings::default() }).unwrap();
    let registry = flatbus_oci::MemoryRegistry::new("candidate.example");
    for _ in 0..2 {
        image.push(&registry).await.unwrap();
    }
    let tag = flatbus_oci::Reference::Tag(image.tag.parse().unwrap());
    let held = flatbus_oci::Registry::manifest_get(&registry, &"eog".parse().unwrap(), &tag).await.unwrap();
    assert_eq!(held.map(|held| held.bytes), Some(image.index.bytes));
}
