//! Twenty-five things that really happened on the bus, and what must be known of each from its messages alone. Where
//! the right behaviour is a consumer's, what is tested is that the types tell the consumer what it needs.

mod common;

use std::collections::BTreeSet;

use common::{build, event, message, messages, read, sample, sample_json, timeline, update};
use flatbus_schemas::{
    BuildState, BuildStateChange, BuildTag, ComposeStage, ContentType, FedoraEvent, FromMessage, Limits,
    Message, Nvr, Parts, Severity, UpdateChange, UpdateEvent, UpdateRequest, UpdateStatus,
};
use serde_json::{Value, json};

const BUILD: &str = "buildsys.build.state.change";

fn read_build(changes: Value) -> BuildStateChange {
    match read(BUILD, build(changes)) {
        Ok(FedoraEvent::BuildState(build)) => build,
        other => panic!("{other:?}"),
    }
}

fn read_update(name: &str, body: Value) -> UpdateEvent {
    match read(name, body) {
        Ok(FedoraEvent::Update(event)) => event,
        other => panic!("{other:?}"),
    }
}

fn read_tag(changes: Value) -> BuildTag {
    match read("buildsys.tag", build(changes)) {
        Ok(FedoraEvent::BuildTag(tag)) => tag,
        other => panic!("{other:?}"),
    }
}

/// The builds of the timeline that became complete.
fn completions() -> Vec<BuildStateChange> {
    let complete = |message: &Message| match event(message) {
        FedoraEvent::BuildState(build) if build.is_completion() => Some(build),
        _ => None,
    };
    timeline().iter().filter_map(complete).collect()
}

/// What happened to an update in the timeline, in order.
fn story(alias: &str) -> Vec<UpdateEvent> {
    let of_alias = |message: &Message| match event(message) {
        FedoraEvent::Update(event) if event.update.alias.as_deref() == Some(alias) => Some(event),
        _ => None,
    };
    timeline().iter().filter_map(of_alias).collect()
}

/// Where in the timeline something happened to an update.
fn position(alias: &str, change: &UpdateChange) -> usize {
    let happened = |message: &Message| match event(message) {
        FedoraEvent::Update(event) => event.update.alias.as_deref() == Some(alias) && event.change == *change,
        _ => false,
    };
    timeline().iter().position(happened).unwrap_or_else(|| panic!("{alias}: no {change:?}"))
}

fn nvrs(event: &UpdateEvent) -> BTreeSet<String> {
    event.nvrs().map(Nvr::to_string).collect()
}

#[test]
fn case_01_an_epoch_of_any_type_is_no_part_of_the_nvr() {
    for epoch in [json!(null), json!(0), json!(2), json!("2")] {
        assert_eq!(read_build(json!({ "epoch": epoch })).nvr().as_str(), "eog-41.0-1.fc35");
    }
    let builds = json!([{"nvr": "eog-41.0-1.fc35", "epoch": 0}, {"nvr": "eog-stable-1.1"}]);
    assert_eq!(read_update("bodhi.update.edit", update(json!({ "builds": builds }))).nvrs().count(), 2);
}

#[test]
fn case_02_an_import_is_a_completion_without_task_and_from_nowhere() {
    let imports = completions().into_iter().filter(|build| build.old == flatbus_schemas::Changed::Nothing);
    let imports: Vec<_> = imports.collect();
    assert_eq!(imports.len(), 26);
    assert!(imports.iter().all(|build| build.task_method().is_none() && build.task_id.is_none()));
    for old in [json!(null), json!(0), json!(3), json!(4)] {
        assert!(read_build(json!({ "old": old, "new": 1 })).is_completion());
    }
}

#[test]
fn case_03_times_in_any_order_are_no_reason_to_refuse() {
    let import = json!({"completion_time": "2021-10-03T22:23:25+00:00", "creation_time": "2021-10-03T22:23:27.419495+00:00"});
    assert!(read_build(import).is_completion());
    assert!(read_build(json!({"completion_time": null, "creation_time": 0.5})).is_completion());
}

#[test]
fn case_04_a_module_and_its_flatpak_are_two_builds() {
    let complete: Vec<String> = completions().iter().map(|build| build.nvr.to_string()).collect();
    let at = |nvr: &str| complete.iter().position(|known| known == nvr).expect(nvr);
    assert!(at("eog-stable-3520211208122518.b9d1b5f4") < at("eog-stable-3520211208122518.1"));
}

#[test]
fn case_05_only_koji_tells_an_rpm_a_module_and_a_flatpak_of_one_name_apart() {
    let named_eog: Vec<_> = completions().into_iter().filter(|build| build.nvr.name() == "eog").collect();
    let versions: BTreeSet<&str> = named_eog.iter().map(|build| build.nvr.version()).collect();
    assert!(versions.contains("stable") && versions.len() > 2, "{versions:?}");
    // Nothing in the messages tells: each has the number by which Koji is asked.
    assert!(named_eog.iter().all(|build| build.build_id.is_some() && build.task_method.is_none()));
    let methods: Vec<_> = messages("synthetic-koji-flatpak-era.jsonl")
        .iter()
        .map(|message| match event(message) {
            FedoraEvent::BuildState(build) => build.task_method().map(str::to_owned),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(methods, vec![Some("flatpakBuild".to_owned()); 4]);
}

#[test]
fn case_06_two_builds_of_one_module_differ_in_the_release() {
    let [first, second]: [Nvr; 2] = ["eog-stable-3520211004195602.1", "eog-stable-3520211004195602.2"]
        .map(|nvr| nvr.parse().expect("an NVR"));
    assert_eq!((first.name(), first.version()), (second.name(), second.version()));
    assert!(first != second && first < second);
    let complete: Vec<Nvr> = completions().into_iter().map(|build| build.nvr).collect();
    assert!(complete.contains(&first) && complete.contains(&second));
}

#[test]
fn case_07_an_update_of_76_builds_and_350_kilobytes_is_read() {
    let story = story("FEDORA-FLATPAK-2020-c3101996a6");
    assert_eq!(story.last().map(|event| event.nvrs().count()), Some(76));
    let comment = json!({"text": "x".repeat(5000), "update": {"builds": [{"nvr": "no nvr"}]}});
    let body = update(
        json!({"comments": vec![comment; 76], "compose": {"update_summary": vec![json!({"alias": "x"}); 76]}}),
    );
    let parts = Parts {
        routing_key: "org.fedoraproject.prod.bodhi.update.complete.stable".to_owned(),
        body: body.to_string().into_bytes(),
        ..Parts::default()
    };
    assert!(parts.body.len() > 350_000);
    let received = Message::from_parts(parts, &Limits::default()).expect("within the limits");
    assert!(matches!(event(&received.message), FedoraEvent::Update(event) if event.nvrs().count() == 1));
}

#[test]
fn case_08_an_edit_names_what_came_in_and_what_was_taken_out() {
    let story = story("FEDORA-FLATPAK-2020-dfd7272b06");
    let edit =
        story.iter().find(|event| matches!(event.change, UpdateChange::Edited { .. })).expect("an edit");
    let UpdateChange::Edited { new_builds, removed_builds } = &edit.change else { unreachable!() };
    assert_eq!((new_builds.len(), removed_builds.len()), (15, 2));
    assert_eq!(edit.update.status, UpdateStatus::Testing);
    // Both are looked at again: those that are gone may have to give their tags back.
    assert!(removed_builds.iter().all(|nvr| nvrs(edit).contains(nvr.as_str())));
    assert_eq!(edit.nvrs().count(), 17);
    let pushes = story.iter().filter(|event| event.change == UpdateChange::Completed(UpdateRequest::Testing));
    let builds: Vec<usize> = pushes.map(|push| push.update.builds.len()).collect();
    assert_eq!(builds, [2, 15]);
}

#[test]
fn case_09_an_obsoletion_by_a_newer_update_has_no_message() {
    let requested = |message: &Message| matches!(event(message), FedoraEvent::Update(event) if event.change == UpdateChange::Requested(UpdateRequest::Obsolete));
    assert!(!timeline().iter().any(requested));
    let newer = sample_json("bodhi/updates/FEDORA-FLATPAK-2021-56cf8de552.json");
    let mut comments =
        newer["comments"].as_array().expect("comments").iter().filter_map(|comment| comment["text"].as_str());
    assert!(
        comments.any(|text| text.starts_with("This update has obsoleted [evince-stable-3520211028082958.1]"))
    );
    // One by hand has.
    let event = read_update("bodhi.update.request.obsolete", update(json!({"status": "obsolete"})));
    assert_eq!(event.change, UpdateChange::Requested(UpdateRequest::Obsolete));
    assert_eq!(event.update.status, UpdateStatus::Obsolete);
}

#[test]
fn case_10_stable_without_testing_is_one_push() {
    let body =
        update(json!({"status": "stable", "date_testing": null, "date_stable": "2022-05-27 01:21:41"}));
    let event = read_update("bodhi.update.complete.stable", body);
    assert_eq!(
        (event.change, event.update.status),
        (UpdateChange::Completed(UpdateRequest::Stable), UpdateStatus::Stable)
    );
}

#[test]
fn case_11_ejections_and_the_unpush_after_the_push_are_told_apart() {
    use UpdateRequest::*;
    let story = story("FEDORA-2022-3c3cf62ec7");
    let ejected = |event: &&UpdateEvent| matches!(event.change, UpdateChange::Ejected { .. });
    assert_eq!(story.iter().filter(ejected).count(), 2);
    let ejection = story.iter().find(ejected).expect("an ejection");
    assert!(
        matches!(&ejection.change, UpdateChange::Ejected { reason: Some(_), repo } if repo.as_deref() == Some("f36-updates"))
    );
    assert_eq!((ejection.update.request, ejection.agent.as_deref()), (None, Some("releng")));
    assert_eq!(story.iter().filter(|event| event.change == UpdateChange::Requested(Stable)).count(), 3);
    assert!(!story.iter().any(|event| event.change == UpdateChange::Completed(Stable)));
    let last = story.last().expect("an end");
    assert_eq!(
        (&last.change, last.update.status),
        (&UpdateChange::Requested(Unpush), UpdateStatus::Unpushed)
    );
}

#[test]
fn case_12_a_push_still_shows_its_request_and_its_lock() {
    let story = story("FEDORA-FLATPAK-2022-efcca6b48a");
    let push = story.last().expect("an end");
    assert_eq!(push.change, UpdateChange::Completed(UpdateRequest::Stable));
    assert_eq!(
        (push.update.status, push.update.request, push.update.locked),
        (UpdateStatus::Stable, Some(UpdateRequest::Stable), true)
    );
}

#[test]
fn case_13_pushes_of_two_updates_overlap() {
    let (older, newer) = ("FEDORA-FLATPAK-2021-be7df1d070", "FEDORA-FLATPAK-2021-cb6b3c0cad");
    let asked = position(newer, &UpdateChange::Requested(UpdateRequest::Testing));
    let stable = position(older, &UpdateChange::Completed(UpdateRequest::Stable));
    let testing = position(newer, &UpdateChange::Completed(UpdateRequest::Testing));
    assert!(asked < stable && stable < testing);
}

#[test]
fn case_14_an_update_without_builds_is_known_by_its_release() {
    let is_flatpak = |changes: Value| read_update("bodhi.update.edit", update(changes)).update.is_flatpak();
    let emptied =
        |release: Value| is_flatpak(json!({"content_type": null, "builds": [], "release": release}));
    assert!(emptied(json!({"name": "F36F"})));
    assert!(emptied(json!({"name": "ELNF", "id_prefix": "FEDORA-FLATPAK"})));
    for name in ["F36", "F36C", "F36M", "EPEL-F", "F", ""] {
        assert!(!emptied(json!({ "name": name })), "{name}");
    }
    assert!(!emptied(json!({"name": "F36F", "id_prefix": "FEDORA-CONTAINER"})));
    assert!(!is_flatpak(json!({"content_type": null, "builds": [{"nvr": "a-1-1", "type": "rpm"}]})));
    assert!(!is_flatpak(json!({"content_type": "rpm"})));
    assert!(!is_flatpak(json!({"content_type": "base"})));
}

#[test]
fn case_15_what_rawhide_and_side_tags_send_is_read_or_left() {
    let event = read_update(
        "bodhi.update.complete.stable",
        update(json!({"from_tag": "f41-build-side-1", "content_type": "rpm"})),
    );
    assert!(!event.update.is_flatpak());
    let side = read_update("bodhi.update.edit", update(json!({"status": "side_tag_active"})));
    assert_eq!(side.update.status, UpdateStatus::SideTagActive);
    assert_eq!(read("bodhi.update.requirements_met.stable", json!({})), Ok(FedoraEvent::Unrelated));
}

#[test]
fn case_16_an_update_without_alias_is_known_by_its_builds() {
    let builds = json!([{"nvr": "tzdata-2014i-1.fc19", "override": null, "package": {"name": "tzdata"}}]);
    let old = update(
        json!({"alias": null, "title": "tzdata-2014i-1.fc19,eog-1-1", "builds": builds, "status": "pending"}),
    );
    let event = read_update("bodhi.update.request.testing", old);
    assert_eq!((event.update.alias.as_deref(), event.nvrs().count()), (None, 1));
    assert_eq!(event.update.builds[0].content_type, None);
    let nothing = read("bodhi.update.edit", update(json!({"alias": null, "builds": []}))).unwrap_err();
    assert_eq!(nothing.reason, "update: neither an alias nor a build: nothing to look up");
    for alias in ["", "../composes", "a b", "FEDORA/1"] {
        assert!(read("bodhi.update.edit", update(json!({ "alias": alias }))).is_err(), "{alias}");
    }
}

#[test]
fn case_17_a_repeated_message_says_the_same_under_any_schema() {
    let topic = "org.fedoraproject.prod.buildsys.build.state.change";
    let line = |schema: &str| {
        let headers = json!({"fedora_messaging_schema": schema, "fedora_messaging_severity": 20});
        common::message_of_line(
            &json!({"topic": topic, "id": "x", "headers": headers, "body": build(json!({}))}).to_string(),
        )
    };
    let (typed, fallback) = (line("koji_fedoramessaging.build.BuildStateChangeV1"), line("base.message"));
    assert_eq!((typed.id.as_str(), event(&typed)), (fallback.id.as_str(), event(&fallback)));
}

#[test]
fn case_18_a_time_that_is_missing_odd_or_old_changes_nothing() {
    let sent = |headers: Value| {
        common::message_of_line(
            &json!({"topic": "a.b", "id": "x", "headers": headers, "body": {}}).to_string(),
        )
        .sent_at
    };
    assert_eq!(sent(json!({})), None);
    assert_eq!(sent(json!({"sent-at": "no time"})), None);
    assert_eq!(
        sent(json!({"sent-at": "2022-01-05T09:38:50Z"})),
        sent(json!({"sent-at": "2022-01-05T09:38:50+00:00"}))
    );
    let bridged = &messages("packit-koji.jsonl")[1];
    assert_eq!(bridged.id, "2022-7912a0f6-5909-44fc-aac4-d944535e6a53");
    // Two years before what its body tells: no clock of ours is asked.
    assert!(bridged.sent_at.expect("a time").to_string().starts_with("2022-01-05"));
    assert!(matches!(event(bridged), FedoraEvent::BuildState(build) if build.is_completion()));
}

#[test]
fn case_19_each_message_is_read_without_those_that_were_lost() {
    let all: Vec<FedoraEvent> = timeline().iter().map(event).collect();
    let every_third: Vec<FedoraEvent> = timeline().iter().step_by(3).map(event).collect();
    assert_eq!(all.into_iter().step_by(3).collect::<Vec<_>>(), every_third);
}

#[test]
fn case_20_staging_and_other_hubs_can_be_told() {
    let worlds = ["org.fedoraproject.prod", "org.fedoraproject.stg", "org.fedoraproject.dev"];
    for (prefix, environment) in worlds.into_iter().zip(["prod", "stg", "dev"]) {
        let message = message(&format!("{prefix}.{BUILD}"), build(json!({})));
        assert_eq!((message.topic_prefix(), message.environment()), (Some(prefix), Some(environment)));
        assert_eq!(message.name(), BUILD);
        assert!(matches!(event(&message), FedoraEvent::BuildState(_)));
    }
    let riscv = build(json!({"instance": "primary", "base_url": "https://riscv-koji.fedoraproject.org"}));
    let event = read(BUILD, riscv).expect("read");
    assert_eq!(event.base_url(), Some("https://riscv-koji.fedoraproject.org"));
    for topic in ["flatbus.tag.moved", "org.fedoraproject.prod", "org.fedoraproject..a", "org.example.prod.a"]
    {
        let message = message(topic, json!({}));
        assert_eq!((message.topic_prefix(), message.name()), (None, topic));
    }
}

#[test]
fn case_21_what_looks_like_a_state_is_one_only_where_the_state_changed() {
    let owner = read_build(json!({"attribute": "owner_id", "old": 3, "new": 1}));
    assert_eq!((owner.state(), owner.is_completion()), (None, false));
    let times = read_build(json!({"attribute": "completion_ts", "old": 1.5, "new": 1763385036.25}));
    assert!(!times.is_completion());
    for odd in [json!("1"), json!([1]), json!({"a": {"b": [1]}}), json!(true), json!(u64::MAX)] {
        assert!(!read_build(json!({"attribute": "extra", "old": odd, "new": odd})).is_completion());
        assert!(
            !matches!(read(BUILD, build(json!({ "new": odd }))), Ok(FedoraEvent::BuildState(build)) if build.is_completion())
        );
    }
    assert_eq!(read_build(json!({"new": 17})).state(), Some(BuildState::Unknown(17)));
}

#[test]
fn case_22_images_that_are_no_flatpaks_are_read_whatever_their_task_gave() {
    let task = json!({"method": "createLiveMedia", "result": "/mnt/koji/work", "request": ["Fedora-Live", {"a": 1}], "children": []});
    let live = read_build(
        json!({"name": "Fedora-Live-Workstation", "epoch": 0, "task": task, "task_id": 1, "old": 1, "new": 2}),
    );
    assert_eq!((live.task_method(), live.state()), (Some("createLiveMedia"), Some(BuildState::Deleted)));
    let cloud = read_build(
        json!({"name": "Fedora-Cloud-Base-Vagrant", "version": "38", "release": "20230609.0", "task": {"id": 1}}),
    );
    assert_eq!((cloud.nvr().name(), cloud.task_method()), ("Fedora-Cloud-Base-Vagrant", None));
}

#[test]
fn case_23_tags_are_whole_names_null_allowed_and_of_low_severity() {
    let flatpak = read_tag(json!({"tag": "f36-flatpak-updates"}));
    assert_eq!(flatpak.change.tag.as_deref(), Some("f36-flatpak-updates"));
    assert_ne!(flatpak.change.tag, read_tag(json!({"tag": "f36-updates"})).change.tag);
    assert_eq!(read_tag(json!({"tag": null, "build_id": null})).change.tag, None);
    let tags: Vec<Message> =
        timeline().into_iter().filter(|message| message.name() == "buildsys.tag").collect();
    assert!(tags.len() > 100 && tags.iter().all(|message| message.severity == Severity::Debug));
    assert!(
        matches!(read("buildsys.untag", build(json!({}))), Ok(FedoraEvent::BuildTag(tag)) if !tag.tagged)
    );
}

#[test]
fn case_24_an_nvr_splits_from_the_right_and_keeps_what_a_tag_cannot_hold() {
    let parse = |text: &str| text.parse::<Nvr>().expect("an NVR");
    let font_viewer = parse("gnome-font-viewer-stable-3620220517112201.1");
    assert_eq!((font_viewer.name(), font_viewer.version()), ("gnome-font-viewer", "stable"));
    assert_eq!(parse("baobab-42~rc-1.fc36").version(), "42~rc");
    assert_eq!(parse("eog-42.0-1.module_f35+13092+ec568166").release(), "1.module_f35+13092+ec568166");
    // As tags these two would be one: as builds they are not.
    assert_ne!(parse("eog-42~rc-1"), parse("eog-42^rc-1"));
    let changes = json!({"name": "gnome-font-viewer", "version": "stable", "release": "3620220517112201.1"});
    assert_eq!(read_build(changes).nvr, font_viewer);
    assert!(read(BUILD, build(json!({"version": "1-2"}))).is_err());
}

#[test]
fn case_25_the_samples_hold_images_without_labels_with_one_architecture_and_with_long_labels() {
    let labels = |nvr: &str| -> Vec<usize> {
        let archives = sample_json(&format!("koji/archives/{nvr}.json"));
        let of_archive = |archive: &Value| {
            let labels = archive.pointer("/extra/docker/config/config/Labels").and_then(Value::as_object);
            labels.map_or(0, |labels| {
                labels.values().filter_map(Value::as_str).map(str::len).max().unwrap_or(0)
            })
        };
        archives.as_array().expect("a list").iter().map(of_archive).collect()
    };
    assert_eq!(labels("eog-master-20181128204005.1"), [0]);
    assert_eq!(labels("baobab-master-3220200331145937.1").len(), 1);
    assert!(
        matches!(labels("eog-stable-3620220905044417.1")[..], [x86, arm] if x86 > 50_000 && arm > 50_000)
    );
}

#[test]
fn every_message_of_the_samples_is_read_and_few_are_unrelated() {
    let count = |wanted: fn(&FedoraEvent) -> bool| timeline().iter().map(event).filter(wanted).count();
    assert_eq!(count(|event| matches!(event, FedoraEvent::BuildState(_))), 432);
    assert_eq!(count(|event| matches!(event, FedoraEvent::BuildTag(_))), 214);
    assert_eq!(count(|event| matches!(event, FedoraEvent::Update(_))), 103);
    assert_eq!(count(|event| matches!(event, FedoraEvent::Comment(_))), 43);
    assert_eq!(count(|event| matches!(event, FedoraEvent::Compose(_))), 138);
    assert_eq!(count(|event| *event == FedoraEvent::Unrelated), 26);
}

#[test]
fn topics_are_matched_by_whole_words_never_by_their_end() {
    for name in [
        "github.buildsys.tag",
        "buildsys.tag.more",
        "buildsys.tagged",
        "copr.bodhi.update.complete.stable",
        "bodhi.update.complete",
        "bodhi.update.completed.stable",
        "bodhi.update.eject.more",
        "bodhi.updates.fedora.sync",
        "bodhi.composer.start",
        "org.fedoraproject.prod.buildsys.tag",
        "flatbus.tag.moved.v1",
    ] {
        // A body that no reader would take shows that nobody read it.
        assert_eq!(read(name, json!({"update": 1})), Ok(FedoraEvent::Unrelated), "{name}");
    }
}

#[test]
fn what_bodhi_may_say_some_day_is_read_as_unknown() {
    let body = update(json!({"status": "paused", "request": "pause", "content_type": "wasm"}));
    let event = read_update("bodhi.update.request.pause", body);
    assert_eq!(event.change, UpdateChange::Requested(UpdateRequest::Unknown));
    assert_eq!(
        (event.update.status, event.update.request),
        (UpdateStatus::Unknown, Some(UpdateRequest::Unknown))
    );
    assert_eq!(event.update.content_type, Some(ContentType::Unknown));
}

#[test]
fn a_push_names_its_builds_and_says_whether_it_went_well() {
    let body = json!({"agent": "releng", "ctype": "flatpak", "repo": "f36-flatpak-updates", "updates": ["a-1-1 b-1-1", "c-1-1"]});
    let Ok(FedoraEvent::Compose(event)) = read("bodhi.compose.composing", body) else { panic!("not a push") };
    assert_eq!(
        (event.stage, event.compose.content_type),
        (ComposeStage::Composing, Some(ContentType::Flatpak))
    );
    assert!(event.compose.updates.len() == 2 && event.compose.success.is_none());
    let body =
        json!({"agent": "releng", "ctype": "flatpak", "repo": "f36-flatpak-updates", "success": false});
    let Ok(FedoraEvent::Compose(event)) = read("bodhi.compose.complete", body) else { panic!("not a push") };
    assert_eq!((event.stage, event.compose.success), (ComposeStage::Complete, Some(false)));
    let other = read("bodhi.compose.sync.wait", json!({"agent": "releng", "repo": "f36-updates"}));
    assert!(
        matches!(other, Ok(FedoraEvent::Compose(event)) if event.stage == ComposeStage::Other("sync.wait".to_owned()))
    );
}

#[test]
fn a_comment_names_its_update() {
    let read_comment =
        |comment: Value| read("bodhi.update.comment", json!({"agent": "kalev", "comment": comment}));
    let Ok(FedoraEvent::Comment(comment)) = read_comment(json!({"update_alias": "FEDORA-1", "karma": -1}))
    else {
        panic!("not a comment");
    };
    assert_eq!(
        (comment.alias.as_str(), comment.karma, comment.agent.as_deref()),
        ("FEDORA-1", -1, Some("kalev"))
    );
    assert!(read_comment(json!({"update": {"alias": "FEDORA-1"}})).is_ok());
    assert!(read_comment(json!({"update_title": "eog-1-1"})).is_err());
}

#[test]
fn deep_nesting_ends_in_a_refusal_or_is_skipped_never_in_a_crash() {
    let deep = format!("{}1{}", r#"{"a":["#.repeat(100_000), "]}".repeat(100_000));
    let receive = |body: String| {
        let routing_key = format!("org.fedoraproject.prod.{BUILD}");
        Message::from_parts(
            Parts { routing_key, body: body.into_bytes(), ..Parts::default() },
            &Limits::default(),
        )
    };
    let nothing_else = receive(deep.clone()).expect("looks like an object").message;
    assert!(FedoraEvent::from_message(&nothing_else).is_err());
    let beside = build(json!({})).to_string().replacen('{', &format!(r#"{{"x": {deep}, "#), 1);
    assert!(matches!(event(&receive(beside).expect("received").message), FedoraEvent::BuildState(_)));
    assert!(receive(deep.replacen('{', "[", 1)).is_err());
}

#[test]
fn legacy_fedmsg_objects_are_no_recorded_messages() {
    let line = br#"{"i": 1, "msg": {"name": "eog"}, "timestamp": 1359604772.1, "topic": "org.fedoraproject.prod.buildsys.tag"}"#;
    let refused = Message::from_record(line, &Limits::default()).unwrap_err();
    assert!(refused.malformed.reason.contains("missing field `body`"), "{refused}");
    assert!(!sample("PROVENANCE.md").contains("LGPL"));
}
