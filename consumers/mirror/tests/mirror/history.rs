//! The real history of three applications, message by message.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

use flatbus_mirror::Key;
use flatbus_oci::{Digest, testing::Recipe};
use flatbus_runtime::Consumer;
use flatbus_schemas::{FedoraEvent, FromMessage, Limits, Message};
use flatbus_upstream::{bodhi::Update, koji::Build};
use serde_json::Value;

use crate::world::{World, repo};

fn samples(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../schemas/samples").join(path)
}

fn json_files(path: &str) -> Vec<Value> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(samples(path)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| serde_json::from_slice(&fs::read(file).unwrap()).unwrap()).collect()
}

fn read(line: &str) -> Message {
    Message::from_record(line.as_bytes(), &Limits::default()).unwrap().message
}

/// Images that stand for the real ones, which can't be had: the pull specs name these.
fn builds(world: &World) -> BTreeMap<String, (Build, Digest)> {
    let mut builds = BTreeMap::new();
    for (n, record) in json_files("koji/builds").iter().enumerate() {
        let mut build = Build::from_json(record).unwrap();
        let image = build.image.as_mut().unwrap();
        let name = image.pull[0].split(['/', '@']).nth(1).unwrap().to_owned();
        let sample =
            Recipe { layer_bytes: 100, ..Recipe::flatpak("app/x/x86_64/stable", 1000 + n as u64) }.make();
        sample.put(&world.candidate, &repo(&name), &[]);
        image.pull = vec![format!("candidate.example/{name}@{}", sample.digest())];
        builds.insert(build.nvr.clone(), (build, sample.digest()));
    }
    builds
}

/// What the expected file says must stand at `latest` and `testing`, by a way of its own.
fn expected(builds: &BTreeMap<String, (Build, Digest)>) -> BTreeMap<String, Digest> {
    let all: Vec<Value> =
        serde_json::from_slice(&fs::read(samples("messages/synthetic-timeline-expected.json")).unwrap())
            .unwrap();
    let mut newest: BTreeMap<String, (String, Digest)> = BTreeMap::new();
    for build in &all {
        let nvr = build["nvr"].as_str().unwrap();
        let (record, digest) = &builds[nvr];
        let floating =
            [("latest", "stable_at", &["stable"][..]), ("testing", "testing_at", &["testing", "stable"])];
        for (tag, date, statuses) in floating {
            let (Some(at), Some(status)) = (build[date].as_str(), build["last_status"].as_str()) else {
                continue;
            };
            let name = format!("{}:{tag}", record.name);
            if statuses.contains(&status) && newest.get(&name).is_none_or(|(before, _)| before.as_str() < at)
            {
                newest.insert(name, (at.to_owned(), *digest));
            }
        }
    }
    newest.into_iter().map(|(name, (_, digest))| (name, digest)).collect()
}

#[tokio::test(start_paused = true)]
async fn the_real_history_ends_with_the_tags_that_the_rule_says() {
    let world = World::new().await;
    let builds = builds(&world);
    let timeline = fs::read_to_string(samples("messages/synthetic-timeline.jsonl")).unwrap();
    let mut stable_since: BTreeMap<String, String> = BTreeMap::new();
    let mut noise = 0;
    for line in timeline.lines() {
        let message = read(line);
        let record: Value = serde_json::from_str(line).unwrap();
        let update = record["body"].get("update").filter(|update| update.get("release").is_some());
        if let Some(Ok(update)) = update.map(Update::from_json) {
            world.bodhi.put(update);
        }
        let event = FedoraEvent::from_message(&message).unwrap();
        let keys: Vec<Key> = world.rig.unit.consumer().0.affected(&event);
        if keys.is_empty() {
            noise += 1;
            continue;
        }
        for key in &keys {
            if let Key::Build(nvr) | Key::Import(nvr) = key
                && let Some((build, _)) = builds.get(nvr.as_str())
            {
                world.koji.put(build.clone());
            }
        }
        world.rig.mark(&keys).await;
        let left = world.rig.settle().await;
        assert_eq!((left.waiting, left.parked), (0, 0), "{:?} {:?}", world.waiting(), world.parked());
        never_backwards(&world, &builds, &mut stable_since);
    }
    assert!(noise > 600, "{noise}");
    for record in json_files("bodhi/updates") {
        world.bodhi.load(&record).unwrap();
    }
    world.rig.survey(true).await.unwrap();
    for (name, digest) in expected(&builds) {
        let (repository, tag) = name.split_once(':').unwrap();
        let tags = world.public.tags_of(&repo(&format!("fedora/{repository}")));
        let found = tags.iter().find(|(found, _)| found.as_str() == tag).map(|(_, digest)| *digest);
        assert_eq!(found, Some(digest), "{name}");
    }
}

/// `latest` follows the times at which updates went stable, never back.
fn never_backwards(
    world: &World,
    builds: &BTreeMap<String, (Build, Digest)>,
    seen: &mut BTreeMap<String, String>,
) {
    let by_digest: BTreeMap<Digest, &str> =
        builds.iter().map(|(nvr, (_, digest))| (*digest, nvr.as_str())).collect();
    for name in ["eog", "baobab", "quadrapassel"] {
        let tags = world.public.tags_of(&repo(&format!("fedora/{name}")));
        let Some(latest) =
            tags.iter().find(|(tag, _)| tag.as_str() == "latest").map(|(_, digest)| by_digest[digest])
        else {
            continue;
        };
        let before = seen.insert(name.to_owned(), latest.to_owned());
        if let Some(before) = before {
            assert!(builds[latest].0.id >= builds[&before].0.id, "{name} went from {before} to {latest}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn noise_marks_nothing() {
    let world = World::new().await;
    let consumer = world.rig.unit.consumer().0;
    let timeline = fs::read_to_string(samples("messages/synthetic-timeline.jsonl")).unwrap();
    let mut marked: BTreeSet<String> = BTreeSet::new();
    for line in timeline.lines() {
        let message = read(line);
        for key in consumer.affected(&FedoraEvent::from_message(&message).unwrap()) {
            marked.insert(key.to_string());
        }
    }
    let imports: Vec<_> = marked.iter().filter(|key| key.starts_with("import/")).collect();
    assert!(imports.iter().all(|key| !key.contains(".fc")), "an rpm with a task is no import: {imports:?}");
    assert!(marked.contains("import/eog-stable-3620220905044417.1"));
    assert!(marked.contains("build/eog-stable-3620220905044417.1"));
}

#[tokio::test(start_paused = true)]
async fn a_flatpak_task_is_a_build_and_another_hub_is_nobody() {
    let world = World::new().await;
    let consumer = world.rig.unit.consumer().0;
    let lines = fs::read_to_string(samples("messages/synthetic-koji-flatpak-era.jsonl")).unwrap();
    let mut marked = BTreeSet::new();
    for line in lines.lines() {
        let message = read(line);
        let keys = consumer.affected(&FedoraEvent::from_message(&message).unwrap());
        marked.extend(keys.iter().map(ToString::to_string));
        let staging =
            line.replace("https://koji.fedoraproject.org\"", "https://koji.stg.fedoraproject.org\"");
        let message = read(&staging);
        assert_eq!(consumer.affected(&FedoraEvent::from_message(&message).unwrap()), []);
    }
    assert!(marked.contains("build/eog-flatpak-42.3-1"), "{marked:?}");
    assert!(consumer.foreign_messages() > 0);
}
