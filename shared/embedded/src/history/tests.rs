use std::collections::BTreeSet;

use flatbus_schemas::{FedoraEvent, FromMessage as _};
use serde_json::json;

use super::*;
use crate::images::{self, Settings};

const EXPECTED: &str = include_str!("../../../../schemas/samples/messages/synthetic-timeline-expected.json");

fn player(samples: Samples) -> (Player, Arc<Builds>, Arc<Updates>) {
    let (koji, bodhi) = (Arc::new(Builds::default()), Arc::new(Updates::default()));
    (Player::new(samples, koji.clone(), bodhi.clone()).unwrap(), koji, bodhi)
}

fn with_stories() -> Samples {
    let mut samples = Samples::built_in().unwrap();
    for story in beside_the_timeline().unwrap() {
        story.add_to(&mut samples).unwrap();
    }
    samples
}

/// A date of Bodhi (no offset) and one of the expectation (with one), as the same text.
fn same_time(bodhi: &Value, expected: &Value) -> bool {
    let read = |time: &Value| time.as_str().and_then(times::parse);
    read(bodhi) == read(expected)
}

#[tokio::test]
async fn the_whole_timeline_ends_as_expected() {
    let (mut player, koji, bodhi) = player(Samples::built_in().unwrap());
    let mut handed = 0;
    let sink = async |_| {
        handed += 1;
        Ok::<_, ()>(())
    };
    let played = player.play(sink).await.unwrap();
    assert_eq!((played, handed, player.total()), (956, 956, 956));
    let expected: Vec<Value> = serde_json::from_str(EXPECTED).unwrap();
    for build in &expected {
        let nvr = build["nvr"].as_str().unwrap();
        assert_eq!(koji.by_nvr(nvr).unwrap()["state"], 1, "{nvr}");
        for alias in build["updates"].as_array().unwrap() {
            let update = bodhi.update(alias.as_str().unwrap()).unwrap();
            assert_eq!(update["status"], build["bodhi_final_status"], "{nvr}");
            assert!(same_time(&update["date_stable"], &build["stable_at"]), "{nvr}");
            assert!(same_time(&update["date_testing"], &build["testing_at"]), "{nvr}");
        }
    }
}

#[test]
fn each_message_finds_the_world_in_the_state_of_its_moment() {
    let (mut player, koji, bodhi) = player(Samples::built_in().unwrap());
    let mut seen = BTreeSet::new();
    while let Some(message) = player.step() {
        let body: Value = serde_json::from_slice(&message.body).unwrap();
        match message.name() {
            "buildsys.build.state.change" => {
                let build = koji.by_id(body["build_id"].as_i64().unwrap()).unwrap();
                assert_eq!(build["state"], body["new"], "{}", build["nvr"]);
            }
            name if name.starts_with("bodhi.update.complete.") => {
                let update = bodhi.update(body["update"]["alias"].as_str().unwrap()).unwrap();
                assert_eq!(update["status"], body["update"]["status"]);
                assert_eq!(
                    (&update["locked"], &update["request"]),
                    (&json!(false), &Value::Null),
                    "unlocked"
                );
                seen.insert(update["status"].as_str().unwrap().to_owned());
            }
            _ => {}
        }
    }
    assert_eq!(Vec::from_iter(seen), ["stable", "testing"]);
}

#[test]
fn nothing_is_known_before_its_message() {
    let (mut player, koji, bodhi) = player(Samples::built_in().unwrap());
    let (nvr, alias) = ("eog-stable-3620220905044417.1", "FEDORA-FLATPAK-2022-efcca6b48a");
    let before = |message: &Message| message.sent_at < times::parse("2022-09-05 05:00:00");
    while player.messages.front().is_some_and(before) {
        player.step();
        assert!(koji.by_nvr(nvr).is_none() && bodhi.update(alias).is_none());
    }
    while player.step().is_some() {}
    assert!(koji.by_nvr(nvr).is_some() && bodhi.update(alias).is_some());
}

#[test]
fn with_composes_an_update_is_locked_until_its_compose_is_complete() {
    let (player, _, bodhi) = player(Samples::built_in().unwrap());
    let mut player = player.with_composes();
    let alias = "FEDORA-FLATPAK-2022-efcca6b48a";
    let mut locked = Vec::new();
    while let Some(message) = player.step() {
        if let Some(update) = bodhi.update(alias) {
            locked.push((update["locked"] == true, bodhi.composes().len(), message.name().to_owned()));
        }
    }
    locked.retain(|(locked, composes, _)| *locked || *composes > 0);
    let names: Vec<&str> = locked.iter().map(|(_, _, name)| name.as_str()).collect();
    let each = |request| ["bodhi.compose.composing".to_owned(), format!("bodhi.update.complete.{request}")];
    assert_eq!(names, [each("testing"), each("stable")].concat());
    assert!(locked.iter().all(|(locked, composes, _)| *locked && *composes == 1));
    let update = bodhi.update(alias).unwrap();
    assert_eq!(
        (&update["status"], &update["locked"], &update["request"]),
        (&json!("stable"), &json!(false), &Value::Null)
    );
}

#[test]
fn an_update_obsoleted_in_silence_is_so_at_its_time() {
    let mut samples = Samples::built_in().unwrap();
    let alias = "FEDORA-FLATPAK-2022-6e191c5e67";
    let last = samples.updates.get_mut(alias).unwrap();
    last["status"] = "obsolete".into();
    let comment = json!({"user": {"name": "bodhi"}, "timestamp": "2022-09-10 00:00:00", "text": "This update has been obsoleted by a newer one."});
    last["comments"].as_array_mut().unwrap().push(comment);
    let (mut player, _, bodhi) = player(samples);
    while let Some(message) = player.step() {
        if message.sent_at >= times::parse("2022-09-04 23:33:00") {
            let gone = message.sent_at >= times::parse("2022-09-10 00:00:00");
            let status = if gone { "obsolete" } else { "stable" };
            assert_eq!(bodhi.update(alias).unwrap()["status"], status, "{:?}", message.sent_at);
        }
    }
}

#[tokio::test]
async fn stories_run_beside_the_timeline_with_images_of_their_own() {
    let mut samples = with_stories();
    let images = images::make_all(
        &samples.builds,
        &samples.archives,
        &Settings { ballast_bytes: 1..=1, ..Settings::default() },
    );
    samples.name_images(&images, "127.0.0.1:5000");
    let (mut player, koji, bodhi) = player(samples);
    assert_eq!(player.total(), 956 + 5 * 2 + 3 * 4);
    let mut times = Vec::new();
    let mut unread = Vec::new();
    let sink = async |message: Message| {
        times.push(message.sent_at);
        unread.extend(FedoraEvent::from_message(&message).err().map(|malformed| malformed.to_string()));
        Ok::<_, ()>(())
    };
    player.play(sink).await.unwrap();
    assert!(times.is_sorted());
    assert_eq!(unread, Vec::<String>::new(), "the typed messages read every one");
    for (nvr, repository, name) in [
        ("flatpak-runtime-f35-1", "f35/flatpak-runtime", "runtime/org.fedoraproject.Platform/x86_64/f35"),
        ("flatpak-sdk-f36-1", "f36/flatpak-sdk", "runtime/org.fedoraproject.Sdk/x86_64/f36"),
        ("eog-flatpak-42.3-1", "eog", "app/org.gnome.eog/x86_64/stable"),
    ] {
        let build = koji.by_nvr(nvr).unwrap();
        let image = &images[&build["build_id"].as_i64().unwrap()];
        let pull = build.pointer("/extra/typeinfo/image/index/pull/0").unwrap();
        assert_eq!(*pull, format!("127.0.0.1:5000/{repository}@{}", image.index.digest));
        let config: Value = serde_json::from_slice(&image.children[0].config).unwrap();
        assert_eq!(config["config"]["Labels"]["org.flatpak.ref"], name);
        let of_build =
            |update: &Value| update["builds"].as_array().unwrap().iter().any(|build| build["nvr"] == nvr);
        let updates = bodhi.select(of_build);
        assert_eq!((updates.len(), &updates[0]["status"]), (1, &json!("stable")), "{nvr}");
    }
}
