use serde_json::json;

use super::*;

const OSBS: &str =
    include_str!("../../../../../schemas/samples/koji/builds/eog-stable-3620220905044417.1.json");
const OLD: &str = include_str!("../../../../../schemas/samples/koji/builds/eog-master-20180821163756.2.json");
const PLUGIN: &str =
    include_str!("../../../../../schemas/samples/koji/builds/synthetic-eog-flatpak-42.3-1.json");

fn record(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn builds_of_every_era_tell_where_their_image_is() {
    for (text, nvr, name) in [
        (OLD, "eog-master-20180821163756.2", "eog"),
        (OSBS, "eog-stable-3620220905044417.1", "eog"),
        (PLUGIN, "eog-flatpak-42.3-1", "eog-flatpak"),
    ] {
        let build = Build::from_json(&record(text)).unwrap();
        assert_eq!((build.nvr.as_str(), build.name.as_str(), build.state), (nvr, name, BuildState::Complete));
        let image = build.image.unwrap();
        assert!(image.flatpak);
        assert!(image.pull[0].starts_with("candidate-registry.fedoraproject.org/eog"), "{:?}", image.pull);
    }
    assert!(record(OLD).pointer("/extra/typeinfo").is_none(), "this one must stay a record without typeinfo");
}

#[test]
fn times_are_taken_from_the_numbers_and_keep_their_fractions() {
    let mut build = record(OLD);
    build["completion_time"] = json!("2018-08-21 16:44:04.1");
    build["completion_ts"] = json!(1_534_869_844.125);
    let completed = Build::from_json(&build).unwrap().completed.unwrap();
    assert_eq!(completed.to_string(), "2018-08-21T16:44:04.125Z");
}

#[test]
fn either_place_may_say_flatpak_and_either_may_hold_the_pull_spec() {
    let index = json!({ "pull": ["r/eog@sha256:00"] });
    let cases = [
        (json!({ "typeinfo": { "image": { "flatpak": true, "index": index } } }), true, 1),
        (json!({ "typeinfo": { "image": { "index": index } }, "image": { "flatpak": true } }), true, 1),
        (
            json!({ "typeinfo": { "image": { "flatpak": true, "index": { "pull": [] } } }, "image": { "index": index } }),
            true,
            1,
        ),
        (json!({ "typeinfo": { "image": { "flatpak": true, "index": null } } }), true, 0),
        (json!({ "typeinfo": { "image": {} }, "image": { "flatpak": false, "index": index } }), false, 1),
        (json!({ "image": { "arch": "x86_64", "index": { "pull": "odd" } } }), false, 0),
    ];
    for (extra, flatpak, pulls) in cases {
        let mut build = record(OLD);
        build["extra"] = extra.clone();
        let image = Build::from_json(&build).unwrap().image.unwrap();
        assert_eq!((image.flatpak, image.pull.len()), (flatpak, pulls), "{extra}");
    }
}

#[test]
fn a_build_of_something_else_has_no_image() {
    for extra in [
        json!(null),
        json!({}),
        json!("text"),
        json!([1]),
        json!({ "typeinfo": { "rpm": null }, "image": null }),
    ] {
        let mut build = record(OLD);
        build["extra"] = extra;
        assert_eq!(Build::from_json(&build).unwrap().image, None);
    }
}

#[test]
fn what_is_missing_or_of_another_type_is_named() {
    let cases = [
        ("state", json!(9), "state"),
        ("state", json!("1"), "state"),
        ("name", json!(7), "name"),
        ("version", Value::Null, "version"),
        ("completion_ts", json!("2018"), "completion_ts"),
        ("completion_ts", json!(1e300), "completion_ts"),
        (
            "extra",
            json!({ "image": { "flatpak": true, "index": { "pull": [1] } } }),
            "extra.image.index.pull",
        ),
    ];
    for (field, value, named) in cases {
        let mut build = record(OLD);
        build[field] = value;
        let error = Build::from_json(&build).unwrap_err();
        let Error::WrongShape { what, place, .. } = &error else { panic!("{error:?}") };
        assert_eq!((what.as_str(), place.as_str()), ("build eog-master-20180821163756.2", named), "{error}");
    }
    for record in [json!(null), json!([]), json!({}), json!({ "nvr": 3 })] {
        assert!(Build::from_json(&record).is_err());
    }
}

#[test]
fn the_number_may_stand_in_either_field() {
    let mut build = record(OLD);
    let id = build["build_id"].clone();
    build.as_object_mut().unwrap().remove("id");
    assert_eq!(Build::from_json(&build).unwrap().id, id.as_i64().unwrap());
}
