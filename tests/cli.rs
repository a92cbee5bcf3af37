//! Every verb, while the unit runs and while it doesn't, on embedded servers and without a broker.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/stage.rs"]
mod stage;

use std::time::Duration;

use flatbus_embedded::Samples;
use serde_json::json;
use stage::{PACKAGE, Stage, recording};

/// Messages of the history that name our applications' updates, and one that nobody understands.
fn messages() -> Vec<String> {
    let timeline = Samples::built_in().unwrap().timeline;
    let mut lines: Vec<String> =
        timeline.into_iter().filter(|line| line.contains("bodhi.update.complete.stable")).take(20).collect();
    lines.push(
        json!({"topic": "org.fedoraproject.prod.bodhi.update.edit", "id": "bad", "body": {"update": 3}})
            .to_string(),
    );
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn once_settles_a_repository_on_the_store_and_beside_the_unit() {
    let stage = Stage::set().await;
    let build = format!("build/{}", stage.stable.0);
    let said = stage.flatbus(&["once", "mirror", &build]).await.ok();
    assert!(said.out().contains("Nothing is doubtful"), "{}", said.out());
    assert_eq!(stage.tag(PACKAGE, "latest"), Some(stage.stable.1.clone()));

    stage.public.content.remove_tag("fedora/eog", "latest");
    let unit = stage.run().await;
    let repository = format!("repository/{PACKAGE}");
    let said = stage.flatbus(&["once", "mirror", &repository, "--json"]).await.ok();
    assert_eq!(said.json()["parked"], 0);
    assert_eq!(stage.tag(PACKAGE, "latest"), Some(stage.stable.1.clone()));
    assert!(unit.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_none_is_refused_in_a_sentence() {
    let stage = Stage::set().await;
    let said = stage.flatbus(&["once", "mirror", "nonsense"]).await;
    assert_eq!(said.code(), 1);
    assert!(said.err().contains("nonsense"), "{}", said.err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_survey_shows_what_it_would_do_and_does_it_in_both_states() {
    let stage = Stage::set().await;
    let dry = stage.flatbus(&["survey", "mirror", "--dry-run"]).await.ok();
    assert!(dry.out().contains("would"), "{}", dry.out());
    assert!(dry.out().contains("nothing was done"));
    assert!(stage.public.content.repositories().is_empty());
    let said = stage.flatbus(&["survey", "mirror"]).await.ok();
    assert!(said.out().contains("keys are doubtful"), "{}", said.out());
    stage.flatbus(&["once", "mirror"]).await.ok();
    assert_eq!(stage.tag(PACKAGE, "latest"), Some(stage.stable.1.clone()));

    let unit = stage.run().await;
    let dry = stage.flatbus(&["survey", "mirror", "--dry-run", "--json"]).await.ok();
    assert!(dry.lines().iter().all(|line| line["would"] == json!([])), "{}", dry.out());
    stage.public.content.remove_tag("fedora/eog", "latest");
    stage.flatbus(&["survey", "mirror"]).await.ok();
    stage.until("mended by the survey", &unit, || stage.tag(PACKAGE, "latest").is_some()).await;
    assert!(unit.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_marks_on_the_store_and_beside_the_unit_and_goes_on_where_it_was() {
    let stage = Stage::set().await;
    let file = stage.dir.path().join("recorded.jsonl");
    let path = file.to_str().unwrap().to_owned();
    recording(&file, &messages());
    let said = stage.flatbus(&["replay", "mirror", "--file", &path, "--json"]).await.ok().json();
    assert_eq!((said["messages"].as_u64(), said["parked"].as_u64()), (Some(21), Some(1)));
    let again = stage.flatbus(&["replay", "mirror", "--file", &path, "--json"]).await.ok().json();
    assert_eq!(again["messages"], 0);
    let list = stage.flatbus(&["ledger", "list", "mirror", "--messages"]).await.ok();
    assert!(list.out().contains("bodhi.update.edit"), "{}", list.out());

    let unit = stage.run().await;
    let said = stage.flatbus(&["replay", "mirror", "--file", &path, "--from-start"]).await.ok();
    assert!(said.out().contains("21 messages replayed"), "{}", said.out());
    stage.until("settled", &unit, || stage.tag(PACKAGE, "latest").is_some()).await;
    assert!(unit.stop().await.success());
}

/// Parks a key: a build whose pull spec no source covers.
async fn with_a_parked_key() -> (Stage, String) {
    let stage = Stage::set().await;
    let mut record = stage.koji.builds.by_nvr(&stage.stable.0).unwrap();
    for place in ["/extra/image/index/pull", "/extra/typeinfo/image/index/pull"] {
        if let Some(pull) = record.pointer_mut(place) {
            *pull = json!([format!("elsewhere.example/eog@{}", stage.stable.1)]);
        }
    }
    stage.koji.builds.set(record).unwrap();
    let key = format!("build/{}", stage.stable.0);
    let said = stage.flatbus(&["once", "mirror", &key]).await;
    assert_eq!(said.code(), 1, "{}\n{}", said.out(), said.err());
    (stage, key)
}

#[tokio::test(flavor = "multi_thread")]
async fn parked_keys_are_listed_shown_retried_and_dropped_in_both_states() {
    let (stage, key) = with_a_parked_key().await;
    for running in [false, true] {
        let unit = if running { Some(stage.run().await) } else { None };
        let list = stage.flatbus(&["ledger", "list", "mirror", "--parked"]).await.ok();
        assert!(list.out().contains("elsewhere.example"), "{}", list.out());
        let shown = stage.flatbus(&["ledger", "show", "mirror", &key]).await.ok().json();
        assert_eq!(shown["state"], "parked");
        let unknown = stage.flatbus(&["ledger", "show", "mirror", "build/none-1-1"]).await;
        assert!(unknown.err().contains("not doubtful"), "{}", unknown.err());
        stage.flatbus(&["ledger", "retry", "mirror", &key]).await.ok();
        let said = stage.flatbus(&["once", "mirror", &key]).await;
        assert_eq!(said.code(), 1);
        if let Some(unit) = unit {
            let dropped =
                stage.flatbus(&["ledger", "drop", "mirror", "--all-parked", "--json"]).await.ok().json();
            assert!(dropped["done"].as_array().unwrap().contains(&json!(key)));
            assert!(unit.stop().await.success());
        }
    }
    let (stage, key) = with_a_parked_key().await;
    stage.flatbus(&["ledger", "drop", "mirror", &key]).await.ok();
    let again = stage.flatbus(&["ledger", "drop", "mirror", &key]).await;
    assert_eq!(again.code(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_the_same_in_both_states_and_is_imported_only_into_an_empty_store_of_a_stopped_unit() {
    let (mut stage, key) = with_a_parked_key().await;
    let export = stage.flatbus(&["ledger", "export", "mirror"]).await.ok().out();
    assert!(export.contains(&key));
    let file = stage.dir.path().join("export.jsonl");
    std::fs::write(&file, &export).unwrap();
    let path = file.to_str().unwrap().to_owned();
    let unit = stage.run().await;
    assert!(stage.flatbus(&["ledger", "export", "mirror"]).await.ok().out().contains(&key));
    let said = stage.flatbus(&["ledger", "import", "mirror", &path]).await;
    assert_eq!(said.code(), 1);
    assert!(said.err().contains("in use"), "{}", said.err());
    assert!(unit.stop().await.success());
    let full = stage.flatbus(&["ledger", "import", "mirror", &path]).await;
    assert_eq!(full.code(), 1, "an import into a store that is not empty");
    std::fs::remove_dir_all(stage.dir.path().join("state")).unwrap();
    stage.write_config("");
    stage.flatbus(&["ledger", "import", "mirror", &path]).await.ok();
    let shown = stage.flatbus(&["ledger", "show", "mirror", &key]).await.ok().json();
    assert_eq!(shown["state"], "parked");
}

#[tokio::test(flavor = "multi_thread")]
async fn status_says_in_words_how_it_is() {
    let (stage, _) = with_a_parked_key().await;
    let said = stage.flatbus(&["status", "mirror"]).await.ok();
    assert!(said.out().contains("not running"), "{}", said.out());
    assert!(said.out().contains("1 keys are parked"), "{}", said.out());
    let unit = stage.run().await;
    let status = stage.flatbus(&["status", "mirror", "--json"]).await.ok().json();
    assert_eq!(status["consumer"], "mirror");
    assert_eq!(status["bus"]["consuming"], false);
    assert!(unit.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn check_says_a_sentence_a_finding_in_both_states() {
    let stage = Stage::set().await;
    let said = stage.flatbus(&["check", "mirror"]).await;
    assert_eq!(said.code(), 3, "{}\n{}", said.out(), said.err());
    assert!(said.out().contains("broker"), "{}", said.out());
    let unit = stage.run().await;
    let said = stage.flatbus(&["check", "mirror"]).await;
    assert!(said.out().contains("broker"), "{}", said.out());
    assert!(unit.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_of_flatpaks_is_adopted_and_another_is_refused_in_both_states() {
    let stage = Stage::set().await;
    let made = Samples::built_in().unwrap();
    let settings = flatbus_embedded::images::Settings { ballast_bytes: 100..=200, ..Default::default() };
    let images = flatbus_embedded::images::make_all(&made.builds, &made.archives, &settings);
    let mut flatpak = images.into_values().next().unwrap();
    for (repository, running) in [("mine", false), ("ours", true)] {
        flatpak.repository = format!("fedora/{repository}");
        flatpak.put(&stage.public.content).unwrap();
        let unit = if running { Some(stage.run().await) } else { None };
        let said = stage.flatbus(&["mirror", "adopt", repository]).await.ok();
        assert!(said.out().contains(repository), "{}", said.out());
        let config = stage.public.content.put_blob(&format!("fedora/base-{repository}"), b"{}").unwrap();
        let manifest = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "size": 2, "digest": config.as_str()}, "layers": []});
        let bytes = manifest.to_string().into_bytes().into();
        let kind = "application/vnd.oci.image.manifest.v1+json";
        stage
            .public
            .content
            .put_manifest(&format!("fedora/base-{repository}"), Some("latest"), kind, bytes)
            .unwrap();
        let said = stage.flatbus(&["mirror", "adopt", &format!("base-{repository}")]).await;
        assert_eq!(said.code(), 1, "{}\n{}", said.out(), said.err());
        assert!((said.out() + &said.err()).contains("org.flatpak.ref"), "{}\n{}", said.out(), said.err());
        if let Some(unit) = unit {
            assert!(unit.stop().await.success());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_configuration_ends_with_78_and_names_file_line_key_and_what_is_allowed() {
    let mut stage = Stage::set().await;
    stage.write_config("setles_max = 3");
    for verb in [&["run", "mirror"][..], &["status", "mirror"], &["check", "mirror"], &["once", "mirror"]] {
        let said = stage.flatbus(verb).await;
        assert_eq!(said.code(), 78, "{verb:?}: {}", said.err());
        for word in ["mirror.toml:16", "setles_max", "settles_max"] {
            assert!(said.err().contains(word), "{word} is not in: {}", said.err());
        }
    }
    let said = stage.flatbus(&["run", "mirror", "--config", "/nowhere/x.toml"]).await;
    assert!(said.err().contains("/nowhere/x.toml"), "{}", said.err());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absent_broker_does_not_keep_the_unit_from_starting_and_is_told() {
    let stage = Stage::set().await;
    let unit = stage.run().await;
    stage.until("told", &unit, || unit.log().contains("Not consuming")).await;
    let status = stage.flatbus(&["status", "mirror"]).await.ok();
    assert!(status.out().contains("not consuming"), "{}", status.out());
    assert!(unit.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn shadow_mode_changes_nothing_and_lists_what_it_would_have_done() {
    let mut stage = Stage::set().await;
    stage.write_config("mode = \"shadow\"");
    let key = format!("repository/{PACKAGE}");
    stage.flatbus(&["once", "mirror", &format!("build/{}", stage.stable.0), &key]).await.ok();
    assert!(stage.public.content.repositories().is_empty());
    let deeds = stage.flatbus(&["ledger", "list", "mirror", "--deeds"]).await.ok();
    assert!(deeds.out().contains("latest"), "{}", deeds.out());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_broker_request_names_the_queue_and_the_topics() {
    let stage = Stage::set().await;
    let said = stage.flatbus(&["broker-request", "mirror", "--user", "flatbus"]).await.ok();
    assert!(said.out().contains("flatbus"), "{}", said.out());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_unit_on_one_ledger_is_refused() {
    let stage = Stage::set().await;
    let unit = stage.run().await;
    let said =
        tokio::time::timeout(Duration::from_secs(30), stage.flatbus(&["run", "mirror"])).await.unwrap();
    assert_eq!(said.code(), 1);
    assert!(said.err().contains("in use by another process"), "{}", said.err());
    assert!(unit.stop().await.success());
}

#[test]
fn every_verb_has_one_page_of_help() {
    let verbs: [&[&str]; 12] = [
        &["run"],
        &["once"],
        &["replay"],
        &["survey"],
        &["status"],
        &["ledger"],
        &["ledger", "list"],
        &["check"],
        &["broker-request"],
        &["mirror"],
        &["mirror", "adopt"],
        &["demo"],
    ];
    for verb in verbs {
        let help = std::process::Command::new(env!("CARGO_BIN_EXE_flatbus"))
            .args(verb)
            .arg("--help")
            .output()
            .unwrap();
        let text = String::from_utf8(help.stdout).unwrap();
        assert!(help.status.success() && !text.is_empty());
        assert!(text.lines().count() <= 45, "{verb:?} has {} lines of help", text.lines().count());
    }
}

#[test]
fn demo_tells_its_story() {
    let said =
        std::process::Command::new(env!("CARGO_BIN_EXE_flatbus")).args(["demo", "--exit"]).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    assert!(said.status.success(), "{out}\n{err}");
    for part in [
        "fedora/eog",
        "fedora/baobab",
        "fedora/quadrapassel",
        "bodhi.update.complete.stable",
        "of them noise",
        "latest",
    ] {
        assert!(out.contains(part), "{part} is not in:\n{out}");
    }
    assert!(err.is_empty(), "{err}");
}

#[test]
fn demo_speaks_json_to_machines() {
    let said = std::process::Command::new(env!("CARGO_BIN_EXE_flatbus"))
        .args(["demo", "--exit", "--json"])
        .output()
        .unwrap();
    let lines: Vec<serde_json::Value> = String::from_utf8(said.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(lines.len() > 50);
    assert!(lines.iter().all(|line| line["moved"]["registry"].is_string()));
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_container_logs_are_json_and_the_second_waits_alive_and_not_ready_for_the_first() {
    let mut stage = Stage::set().await;
    let port = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let first = stage.run().await;
    let (door, monitoring) = (port(), port());
    stage.write_config(&format!("container_door = \"127.0.0.1:{door}\""));
    stage.monitor(monitoring);
    let said = std::fs::File::create(stage.dir.path().join("second.log")).unwrap();
    let mut second = stage.command();
    second.args(["run", "mirror", "--container"]).stdout(said).stderr(std::process::Stdio::null());
    let second = stage::Unit::new(second.spawn().unwrap(), stage.dir.path().join("second.log"));
    let ask = async |port: u16, path: &str| stage::get(port, path).await;
    stage.until_async("alive", &second, async || ask(monitoring, "/live").await == Some(200)).await;
    assert_eq!(ask(monitoring, "/ready").await, Some(503));
    assert_eq!(ask(door, "/status").await, None);
    assert!(first.stop().await.success());
    stage.until_async("opened", &second, async || ask(door, "/status").await == Some(200)).await;
    assert_eq!(ask(monitoring, "/keys").await, Some(200));
    assert_eq!(ask(monitoring, "/export").await, Some(404));
    assert_eq!(ask(door, "/export").await, Some(200));
    for line in second.log().lines() {
        assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{line}");
    }
    assert!(second.log().contains("Running mirror"));
    assert!(second.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn index_writes_what_mirror_moved_says_how_httpd_serves_it_and_compares_it() {
    let stage = Stage::set().await;
    stage.flatbus(&["once", "mirror", &format!("build/{}", stage.stable.0)]).await.ok();
    let (config, site) = (stage.dir.path().join("index.toml"), stage.dir.path().join("site"));
    let text = format!(
        r#"
[consumer_config]
registry = "{}/fedora"
site_dir = {site:?}
foreign_runtimes = ["*"]
[consumer_config.runtime]
state_dir = {:?}
socket = {:?}
[[consumer_config.indexes]]
output = "index/flatpak-latest.json"
tag = "latest"
extract_icons = true
"#,
        stage.public.url(),
        stage.dir.path().join("index"),
        stage.dir.path().join("index.sock"),
    );
    std::fs::write(&config, text).unwrap();
    let index = async |args: &[&str]| {
        let config = ["--config", config.to_str().unwrap()];
        stage.flatbus(&[args, &config].concat()).await
    };
    let said = index(&["once", "index", &format!("repository/{PACKAGE}")]).await.ok();
    assert!(said.out().contains("Nothing is doubtful"), "{}", said.out());
    let file = std::fs::read_to_string(site.join("index/flatpak-latest.json")).unwrap();
    assert!(file.contains("\"Name\": \"fedora/eog\"") && file.contains("app/org.gnome.eog/"), "{file}");
    let said = index(&["index", "httpd-config"]).await.ok();
    assert!(said.out().contains("FileETag MTime Size"), "{}", said.out());
    let said = index(&["check", "index"]).await;
    assert!(said.out().contains("ok The registry"), "{}", said.out());

    let other = stage.dir.path().join("other");
    std::fs::create_dir(&other).unwrap();
    let compared = ["index", "compare", "--against", other.to_str().unwrap()];
    std::fs::write(other.join("flatpak-latest.json"), file.replace("\"fedora/eog\"", "\"eog\"")).unwrap();
    let said = index(&compared).await.ok();
    assert!(said.out().contains("All 1 files show what"), "another name is no difference: {}", said.out());
    std::fs::write(other.join("flatpak-latest.json"), "{\"Registry\": \"/\", \"Results\": []}").unwrap();
    let said = index(&[&compared[..], &["--json"]].concat()).await;
    assert_eq!(said.code(), 3);
    assert!(said.lines().iter().all(|found| found["difference"] == "extra"), "{}", said.out());
}
