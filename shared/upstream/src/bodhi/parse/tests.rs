use flatbus_base::{Remediable, Remedy};
use serde_json::json;

use super::*;

const UPDATE: &str =
    include_str!("../../../../../schemas/samples/bodhi/updates/FEDORA-FLATPAK-2021-56cf8de552.json");
const LARGE: &str =
    include_str!("../../../../../schemas/samples/bodhi/updates/FEDORA-FLATPAK-2020-c3101996a6.json");
const OLD: &str =
    include_str!("../../../../../schemas/samples/bodhi/updates/FEDORA-FLATPAK-2018-2f1988821e.json");

fn record(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_captured_update_is_read_and_its_times_are_utc() {
    let update = Update::from_json(&record(UPDATE)).unwrap();
    assert_eq!(update.alias, "FEDORA-FLATPAK-2021-56cf8de552");
    assert_eq!((update.status, update.request.as_deref(), update.locked), (Status::Stable, None, false));
    assert_eq!((update.release.name.as_str(), update.release.state), ("F35F", ReleaseState::Current));
    assert_eq!(update.date_submitted, Some("2021-11-03T13:58:02Z".parse().unwrap()));
    assert_eq!(update.date_testing, Some("2021-11-04T02:20:27Z".parse().unwrap()));
    assert_eq!(update.date_stable, Some("2021-11-06T01:42:53Z".parse().unwrap()));
    assert!(update.is_flatpak());
}

#[test]
fn an_update_of_76_builds_is_read() {
    let update = Update::from_json(&record(LARGE)).unwrap();
    assert_eq!(update.builds.len(), 76);
    assert!(update.builds.iter().all(|build| build.kind == "flatpak"));
}

#[test]
fn an_update_of_2018_is_read() {
    let update = Update::from_json(&record(OLD)).unwrap();
    assert_eq!((update.release.name.as_str(), update.date_modified), ("F29F", None));
}

#[test]
fn an_update_without_builds_is_told_by_its_release() {
    let mut emptied = record(UPDATE);
    (emptied["content_type"], emptied["builds"]) = (Value::Null, json!([]));
    assert!(RawUpdate::deserialize(&emptied).unwrap().is_flatpak());
    assert!(Update::from_json(&emptied).unwrap().is_flatpak());
    (emptied["release"]["name"], emptied["release"]["id_prefix"]) = (json!("F35"), json!("FEDORA"));
    assert!(!RawUpdate::deserialize(&emptied).unwrap().is_flatpak());
}

#[test]
fn the_alias_may_stand_in_either_field() {
    let mut update = record(UPDATE);
    update["alias"] = Value::Null;
    assert_eq!(Update::from_json(&update).unwrap().alias, "FEDORA-FLATPAK-2021-56cf8de552");
}

#[test]
fn what_we_read_and_do_not_know_is_named_with_the_update() {
    let cases = [
        ("status", json!("testing-batched"), "status"),
        ("status", Value::Null, "status"),
        ("locked", json!("yes"), "locked"),
        ("request", json!(3), "request"),
        ("builds", json!({}), "builds"),
        ("builds", json!([{ "nvr": "a-1-1" }]), "builds.type"),
        ("builds", json!(["a-1-1"]), "builds"),
        ("date_stable", json!("yesterday"), "date_stable"),
        ("date_stable", json!(1), "date_stable"),
        ("release", Value::Null, "release.version"),
    ];
    for (field, value, named) in cases {
        let mut update = record(UPDATE);
        update[field] = value;
        let error = Update::from_json(&update).unwrap_err();
        let Error::WrongShape { what, place, .. } = &error else { panic!("{error:?}") };
        assert_eq!(
            (what.as_str(), place.as_str()),
            ("update FEDORA-FLATPAK-2021-56cf8de552", named),
            "{error}"
        );
        assert_eq!(error.remedy(), Remedy::Retry);
    }
    let mut update = record(UPDATE);
    update["release"]["state"] = json!("retired");
    assert!(Update::from_json(&update).unwrap_err().to_string().contains("\"retired\""));
}

#[test]
fn no_record_makes_reading_panic_or_shout() {
    let long = "x".repeat(100_000);
    for record in [json!(null), json!([]), json!({}), json!("text"), json!({ "alias": long, "status": long })]
    {
        let error = Update::from_json(&record).unwrap_err().to_string();
        assert!(error.len() < 500 && !error.contains('\n'), "{error}");
    }
}

#[test]
fn dates_are_utc_unless_they_say_otherwise() {
    let read = |text: &str| date("test", "date", &json!(text)).unwrap().unwrap().to_string();
    assert_eq!(read("2022-05-27 01:21:41"), "2022-05-27T01:21:41Z");
    assert_eq!(read("2022-05-27T01:21:41.5"), "2022-05-27T01:21:41.5Z");
    assert_eq!(read("2022-05-27T03:21:41+02:00"), "2022-05-27T01:21:41Z");
}

#[test]
fn flatpak_releases_are_told_from_rpm_container_and_module_releases() {
    let names = ["F41F", "F41", "F41C", "F41M", "EPEL-9", "ELN", "FF", "F4xF"];
    assert_eq!(
        names.map(|name| is_flatpak(name, "FEDORA")),
        [true, false, false, false, false, false, false, false]
    );
    assert!(is_flatpak("ELNF", "FEDORA-FLATPAK"));
}

#[test]
fn a_compose_names_its_updates() {
    let release = record(UPDATE)["release"].clone();
    let compose = json!({ "release": release, "request": "stable", "update_summary": [{ "alias": "A", "title": "t" }] });
    let read = RawCompose::deserialize(&compose).unwrap().read().unwrap();
    assert_eq!(
        (read.release.as_str(), read.request.as_str(), read.updates),
        ("F35F", "stable", vec!["A".to_owned()])
    );
    let broken = json!({ "release": { "name": "F35F" }, "request": "stable" });
    assert!(RawCompose::deserialize(&broken).unwrap().read().is_err());
}
