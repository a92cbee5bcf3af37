use super::*;

fn record(id: i64, nvr: &str, completed: f64, image: bool) -> Value {
    let extra = if image { json!({"image": {"flatpak": true}}) } else { Value::Null };
    json!({"id": id, "build_id": id, "nvr": nvr, "state": 1, "package_id": 303, "completion_ts": completed, "extra": extra})
}

fn builds() -> Builds {
    let builds = Builds::default();
    builds.set(record(1, "eog-stable-1.1", 100.0, true)).unwrap();
    builds.set(record(2, "eog-43.0-1.fc36", 200.0, false)).unwrap();
    builds.set(record(3, "eog-stable-2.1", 300.5, true)).unwrap();
    builds
}

fn listed(options: &Value) -> Vec<i64> {
    let mut named = options.clone();
    named["__starstar"] = json!(true);
    let answer = call(&builds(), "listBuilds", vec![named]).unwrap();
    answer.as_array().unwrap().iter().map(|build| build["build_id"].as_i64().unwrap()).collect()
}

#[test]
fn a_build_is_found_by_number_name_or_parts_and_nil_otherwise() {
    let builds = builds();
    for asked in
        [json!(1), json!("eog-stable-1.1"), json!({"name": "eog", "version": "stable", "release": "1.1"})]
    {
        assert_eq!(call(&builds, "getBuild", vec![asked]).unwrap()["id"], 1);
    }
    assert_eq!(call(&builds, "getBuild", vec![json!("gone-1-1")]).unwrap(), Value::Null);
    assert!(call(&builds, "getBuild", vec![json!("gone-1-1"), json!(true)]).is_err());
    assert!(call(&builds, "getBuild", vec![json!("nodash")]).is_err());
}

#[test]
fn image_builds_are_listed_strictly_after_a_time() {
    assert_eq!(listed(&json!({"type": "image", "state": 1})), [1, 3]);
    assert_eq!(listed(&json!({"type": "image", "completeAfter": 100.0})), [3]);
    assert_eq!(listed(&json!({"completeAfter": 100})), [2, 3]);
    assert_eq!(listed(&json!({"completeAfter": "1970-01-01 00:03:20"})), [3]);
    assert_eq!(
        listed(&json!({"completeAfter": null, "queryOpts": {"order": "-build_id", "offset": 1, "limit": 1}})),
        [2]
    );
}

#[test]
fn a_listing_tells_build_id_but_no_id() {
    let answer = call(&builds(), "listBuilds", vec![]).unwrap();
    assert!(answer[0].get("id").is_none() && answer[0]["build_id"] == 1);
}

#[test]
fn one_fault_in_a_multi_call_leaves_the_others() {
    let calls = json!([
        {"methodName": "getBuild", "params": [1]},
        {"methodName": "listNothing", "params": []},
        {"methodName": "getAPIVersion", "params": []},
    ]);
    let answer = call(&builds(), "multiCall", vec![calls]).unwrap();
    assert_eq!(answer[0][0]["nvr"], "eog-stable-1.1");
    assert_eq!(answer[1]["faultCode"], GENERIC);
    assert_eq!(answer[2], json!([1]));
}

#[test]
fn an_argument_the_hub_does_not_take_is_a_fault() {
    let named = json!({"__starstar": true, "completedAfter": 1});
    assert_eq!(call(&builds(), "listBuilds", vec![named]).unwrap_err().code(), PARAMETER);
    assert!(call(&builds(), "getAPIVersion", vec![json!(1)]).is_err());
    assert!(call(&builds(), "deleteBuild", vec![json!(1)]).is_err());
}

#[test]
fn archives_are_listed_by_build_and_kind() {
    let builds = builds();
    builds.set_archives(1, json!([{"id": 7, "btype": "image"}, {"id": 8, "btype": "logs"}]));
    let all = call(&builds, "listArchives", vec![json!(1)]).unwrap();
    assert_eq!(all.as_array().unwrap().len(), 2);
    let named = json!({"__starstar": true, "buildID": 1, "type": "image"});
    assert_eq!(call(&builds, "listArchives", vec![named]).unwrap(), json!([{"id": 7, "btype": "image"}]));
    assert_eq!(call(&builds, "listArchives", vec![json!(9)]).unwrap(), json!([]));
}
