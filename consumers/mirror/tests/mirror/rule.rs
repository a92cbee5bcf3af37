//! A push becomes tags.

use flatbus_upstream::bodhi::Status;

use crate::world::{Setting, World, at, digest_of, repo, stable, tag, testing, update};

#[tokio::test(start_paused = true)]
async fn a_push_to_stable_becomes_tags_that_anybody_can_read() {
    let world = World::new().await;
    world.build("eog-flatpak-44.2-1", 1, "eog");
    world.bodhi.put(stable("U-1", &["eog-flatpak-44.2-1"], "2022-10-01 00:00:00"));
    let left = world.settle(&["build/eog-flatpak-44.2-1"]).await;
    assert_eq!((left.waiting, left.parked, left.outbox), (0, 0, 0));
    world.expect_tags("eog", &[("44.2", 1), ("44.2-1", 1), ("build-1", 1), ("latest", 1), ("testing", 1)]);
    assert_eq!(world.public.is_public(&repo("fedora/eog")), Some(true));
    let told = world.announced();
    let digest = Some(digest_of(1).to_string());
    let names: Vec<_> = told.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        ["fedora/eog:44.2", "fedora/eog:44.2-1", "fedora/eog:latest", "fedora/eog:testing"],
        "holding tags are nobody's business"
    );
    assert!(told.values().all(|value| *value == digest));
}

#[tokio::test(start_paused = true)]
async fn an_announcement_says_what_moved_where_and_why() {
    let world = World::new().await;
    world.build("eog-flatpak-44.2-1", 1, "eog");
    world.bodhi.put(stable("U-1", &["eog-flatpak-44.2-1"], "2022-10-01 00:00:00"));
    world.settle(&["build/eog-flatpak-44.2-1"]).await;
    let bodies = world.announced_bodies();
    let latest = bodies.iter().find(|body| body["tag"] == "latest").unwrap();
    assert_eq!(latest["registry"], "public.example");
    assert_eq!(latest["repository"], "fedora/eog");
    assert_eq!(latest["digest"], digest_of(1).to_string());
    assert_eq!(latest["previous_digest"], serde_json::Value::Null);
    assert_eq!(latest["media_type"], "application/vnd.oci.image.index.v1+json");
    assert_eq!(latest["nvr"], "eog-flatpak-44.2-1");
    assert_eq!(latest["update"], "U-1");
    assert_eq!(latest["url"], "https://bodhi.fedoraproject.org/updates/U-1");
}

#[tokio::test(start_paused = true)]
async fn settling_twice_changes_nothing_the_second_time() {
    let world = World::new().await;
    world.build("eog-1-1", 1, "eog");
    world.bodhi.put(stable("U-1", &["eog-1-1"], "2022-10-01 00:00:00"));
    world.settle(&["build/eog-1-1"]).await;
    world.announced();
    world.public.forget_calls();
    world.candidate.forget_calls();
    world.settle(&["build/eog-1-1", "repository/eog"]).await;
    assert_eq!(world.writes().len(), 0, "{:?}", world.writes());
    assert_eq!(world.reads_of(&world.candidate), 0);
    assert!(world.announced().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_true_already_is_announced_once_if_it_never_was() {
    let world = World::new().await;
    world.build("eog-1-1", 1, "eog");
    world.bodhi.put(stable("U-1", &["eog-1-1"], "2022-10-01 00:00:00"));
    world.settle(&["build/eog-1-1"]).await;
    let world = world.forget_everything().await;
    world.public.forget_calls();
    world.settle(&["build/eog-1-1"]).await;
    assert_eq!(world.announced().len(), 4);
    let puts = world.writes();
    assert!(puts.is_empty(), "{puts:?}");
}

#[tokio::test(start_paused = true)]
async fn eog_and_eog_flatpak_feed_one_repository() {
    let world = World::new().await;
    world.build("eog-stable-3620220905044417.1", 1, "eog");
    world.build("eog-flatpak-44.2-1", 2, "eog");
    world.bodhi.put(stable("U-1", &["eog-stable-3620220905044417.1"], "2022-09-14 02:47:00"));
    world.bodhi.put(testing("U-2", &["eog-flatpak-44.2-1"], "2022-09-20 00:00:00"));
    // Only one of the two packages was ever heard of.
    world.settle(&["build/eog-flatpak-44.2-1"]).await;
    world.expect_tags(
        "eog",
        &[
            ("44.2", 2),
            ("44.2-1", 2),
            ("build-1", 1),
            ("build-2", 2),
            ("latest", 1),
            ("stable", 1),
            ("stable-3620220905044417.1", 1),
            ("testing", 2),
        ],
    );
}

#[tokio::test(start_paused = true)]
async fn one_package_feeds_two_nested_repositories_and_both_keep_their_latest() {
    let world = World::new().await;
    world.build("flatpak-runtime-f41-1", 1, "f41/flatpak-runtime");
    world.build("flatpak-runtime-f42-1", 2, "f42/flatpak-runtime");
    world.bodhi.put(stable("U-1", &["flatpak-runtime-f41-1"], "2022-09-01 00:00:00"));
    world.bodhi.put(stable("U-2", &["flatpak-runtime-f42-1"], "2022-09-02 00:00:00"));
    world.settle(&["build/flatpak-runtime-f41-1", "build/flatpak-runtime-f42-1"]).await;
    world.expect_tags(
        "f41/flatpak-runtime",
        &[("build-1", 1), ("f41", 1), ("f41-1", 1), ("latest", 1), ("testing", 1)],
    );
    world.expect_tags(
        "f42/flatpak-runtime",
        &[("build-2", 2), ("f42", 2), ("f42-1", 2), ("latest", 2), ("testing", 2)],
    );
}

#[tokio::test(start_paused = true)]
async fn one_update_moves_every_repository_it_names() {
    let world = World::new().await;
    world.build("eog-1-1", 1, "eog");
    world.build("baobab-1-1", 2, "baobab");
    world.bodhi.put(testing("U-1", &["eog-1-1", "baobab-1-1", "unheard-of-1-1"], "2022-09-01 00:00:00"));
    let left = world.settle(&["build/eog-1-1", "build/baobab-1-1", "build/unheard-of-1-1"]).await;
    assert_eq!((left.waiting, left.parked), (0, 0), "a build that Koji doesn't know is nobody's trouble");
    world.expect_tags("eog", &[("1", 1), ("1-1", 1), ("build-1", 1), ("testing", 1)]);
    world.expect_tags("baobab", &[("1", 2), ("1-1", 2), ("build-2", 2), ("testing", 2)]);
}

#[tokio::test(start_paused = true)]
async fn an_unpush_moves_testing_back() {
    let world = World::new().await;
    world.build("eog-1-1", 1, "eog");
    world.build("eog-2-1", 2, "eog");
    world.bodhi.put(stable("U-1", &["eog-1-1"], "2022-09-01 00:00:00"));
    world.bodhi.put(testing("U-2", &["eog-2-1"], "2022-09-20 00:00:00"));
    world.settle(&["build/eog-2-1"]).await;
    assert_eq!(world.tags("eog")["testing"], 2);
    world.announced();
    world.bodhi.edit("U-2", |update| update.status = Status::Unpushed);
    world.settle(&["build/eog-2-1"]).await;
    assert_eq!(world.tags("eog")["testing"], 1);
    assert_eq!(world.announced().into_keys().collect::<Vec<_>>(), ["fedora/eog:testing"]);
}

#[tokio::test(start_paused = true)]
async fn an_update_obsoleted_in_testing_gives_way_to_the_next() {
    let world = World::new().await;
    world.build("eog-1-1", 1, "eog");
    world.build("eog-2-1", 2, "eog");
    world.bodhi.put(testing("U-1", &["eog-1-1"], "2022-09-01 00:00:00"));
    world.settle(&["build/eog-1-1"]).await;
    // Nothing tells of the obsoletion: only the next update's messages come.
    world.bodhi.edit("U-1", |update| update.status = Status::Obsolete);
    world.bodhi.put(update("U-2", &["eog-2-1"]));
    world.settle(&["build/eog-2-1"]).await;
    assert!(!world.tags("eog").contains_key("testing"), "nothing is in testing now");
    world.bodhi.put(testing("U-2", &["eog-2-1"], "2022-09-20 00:00:00"));
    world.settle(&["build/eog-2-1"]).await;
    assert_eq!(world.tags("eog")["testing"], 2);
}

#[tokio::test(start_paused = true)]
async fn an_update_edited_in_testing_stands_for_its_new_builds() {
    let world = World::new().await;
    world.build("eog-1-1", 1, "eog");
    world.build("eog-1-2", 2, "eog");
    world.build("baobab-1-1", 3, "baobab");
    world.bodhi.put(testing("U-1", &["eog-1-1"], "2022-09-01 00:00:00"));
    world.settle(&["build/eog-1-1"]).await;
    world.bodhi.edit("U-1", |update| {
        update.builds = testing("", &["eog-1-2", "baobab-1-1"], "2022-09-01 00:00:00").builds;
        update.date_modified = Some(at("2022-09-02 00:00:00"));
        update.date_testing = Some(at("2022-09-03 00:00:00"));
    });
    world.settle(&["build/eog-1-2", "build/baobab-1-1"]).await;
    assert_eq!(world.tags("eog")["testing"], 2);
    assert_eq!(world.tags("baobab")["testing"], 3);
}

#[tokio::test(start_paused = true)]
async fn a_build_edited_out_of_its_update_loses_testing() {
    let world = World::new().await;
    world.build("eog-1-1", 1, "eog");
    world.build("baobab-1-1", 3, "baobab");
    world.bodhi.put(testing("U-1", &["eog-1-1", "baobab-1-1"], "2022-09-01 00:00:00"));
    world.bodhi.put(stable("U-0", &["eog-0-1"], "2022-08-01 00:00:00"));
    world.build("eog-0-1", 4, "eog");
    world.settle(&["build/eog-1-1", "build/baobab-1-1"]).await;
    world.bodhi.edit("U-1", |update| {
        update.builds.retain(|build| build.nvr != "eog-1-1");
        update.date_modified = Some(at("2022-09-02 00:00:00"));
    });
    world.settle(&["build/eog-1-1"]).await;
    assert_eq!(world.tags("eog")["testing"], 4);
    assert_eq!(world.tags("baobab")["testing"], 3);
}

#[tokio::test(start_paused = true)]
async fn testing_is_withdrawn_by_deleting_the_tag_alone() {
    let world = World::new().await;
    world.build("eog-1-1", 1, "eog");
    world.bodhi.put(testing("U-1", &["eog-1-1"], "2022-09-01 00:00:00"));
    world.settle(&["build/eog-1-1"]).await;
    world.announced();
    world.bodhi.edit("U-1", |update| update.status = Status::Unpushed);
    world.settle(&["repository/eog"]).await;
    world.expect_tags("eog", &[("1", 1), ("1-1", 1), ("build-1", 1)]);
    assert_eq!(world.announced(), [("fedora/eog:testing".to_owned(), None)].into());
}

#[tokio::test(start_paused = true)]
async fn where_tags_cannot_be_deleted_an_empty_index_says_withdrawn() {
    let world = Setting::new().abilities(|abilities| abilities.tag_delete = false).world().await;
    world.build("eog-1-1", 1, "eog");
    world.build("eog-2-1", 2, "eog");
    world.bodhi.put(testing("U-1", &["eog-1-1"], "2022-09-01 00:00:00"));
    world.settle(&["build/eog-1-1"]).await;
    world.announced();
    world.bodhi.edit("U-1", |update| update.status = Status::Unpushed);
    world.settle(&["repository/eog"]).await;
    assert_eq!(world.tags("eog")["testing"], 0);
    assert_eq!(world.announced(), [("fedora/eog:testing".to_owned(), None)].into());
    world.public.forget_calls();
    world.settle(&["repository/eog"]).await;
    assert_eq!(world.writes().len(), 0, "withdrawn once is withdrawn: {:?}", world.writes());
    world.bodhi.put(testing("U-2", &["eog-2-1"], "2022-09-02 00:00:00"));
    world.settle(&["build/eog-2-1"]).await;
    assert_eq!(world.tags("eog")["testing"], 2);
}

#[tokio::test(start_paused = true)]
async fn two_builds_that_claim_one_tag_have_one_owner_and_it_is_never_swapped() {
    let world = World::new().await;
    world.build("eog-42~rc-1", 1, "eog");
    world.build("eog-42^rc-1", 2, "eog");
    world.bodhi.put(stable("U-1", &["eog-42~rc-1"], "2022-09-01 00:00:00"));
    world.bodhi.put(testing("U-2", &["eog-42^rc-1"], "2022-09-20 00:00:00"));
    world.settle(&["build/eog-42~rc-1"]).await;
    let tags = world.tags("eog");
    assert_eq!((tags["42_rc-1"], tags["42_rc"], tags["testing"]), (1, 1, 2));
    world.public.forget_calls();
    for _ in 0..3 {
        world.settle(&["build/eog-42^rc-1", "build/eog-42~rc-1"]).await;
    }
    assert_eq!(world.writes().len(), 0, "{:?}", world.writes());
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_a_stranger_moved_is_put_back() {
    let world = World::new().await;
    world.build("eog-1-1", 1, "eog");
    world.build("eog-2-1", 2, "eog");
    world.bodhi.put(stable("U-1", &["eog-1-1"], "2022-09-01 00:00:00"));
    world.bodhi.put(stable("U-2", &["eog-2-1"], "2022-09-02 00:00:00"));
    world.settle(&["build/eog-2-1"]).await;
    world.public.set_tag(&repo("fedora/eog"), &tag("latest"), digest_of(9));
    world.settle(&["repository/eog"]).await;
    assert_eq!(world.tags("eog")["latest"], 2);
}

#[tokio::test(start_paused = true)]
async fn bytes_come_before_names_and_the_names_users_follow_last() {
    let world = World::new().await;
    world.build("eog-1-1", 1, "eog");
    world.bodhi.put(stable("U-1", &["eog-1-1"], "2022-10-01 00:00:00"));
    world.settle(&["build/eog-1-1"]).await;
    let puts: Vec<String> = world
        .public
        .calls()
        .into_iter()
        .filter(|call| format!("{:?}", call.op) == "ManifestPut")
        .map(|call| call.subject)
        .collect();
    let named: Vec<&str> = puts.iter().filter(|subject| !subject.contains(':')).map(String::as_str).collect();
    assert_eq!(named, ["build-1", "1", "1-1", "latest", "testing"]);
    assert!(puts[..3].iter().all(|subject| subject.starts_with("sha256:")), "{puts:?}");
    let proof = world.public.calls().iter().position(|call| call.anonymous).unwrap();
    let first_name =
        world.public.calls().iter().position(|call| call.subject == "1" && !call.op.reads()).unwrap();
    assert!(proof < first_name, "anybody could read it before it was named");
}

#[tokio::test(start_paused = true)]
async fn shadow_mode_lists_what_it_would_do_and_does_nothing() {
    let world = Setting::new().shadow().world().await;
    world.build("eog-1-1", 1, "eog");
    world.bodhi.put(stable("U-1", &["eog-1-1"], "2022-10-01 00:00:00"));
    world.settle(&["build/eog-1-1"]).await;
    world.expect_tags("eog", &[]);
    assert_eq!(world.writes().len(), 0, "{:?}", world.writes());
    assert!(world.announced().is_empty());
    let deeds: Vec<String> =
        world.rig.unit.ledger().deeds(10).unwrap().into_iter().map(|deed| format!("{deed:?}")).collect();
    assert!(deeds.iter().any(|deed| deed.contains("copy eog-1-1 to fedora/eog")), "{deeds:?}");
    assert!(deeds.iter().any(|deed| deed.contains("tag fedora/eog:latest as eog-1-1")), "{deeds:?}");
}

#[tokio::test(start_paused = true)]
async fn testing_is_withdrawn_where_an_edit_took_the_last_build_of_a_repository_out() {
    let world = World::new().await;
    world.build("flatpak-runtime-f41-1", 1, "f41/flatpak-runtime");
    world.build("flatpak-runtime-f42-1", 2, "f42/flatpak-runtime");
    world.bodhi.put(testing("U-1", &["flatpak-runtime-f41-1"], "2022-09-01 00:00:00"));
    world.settle(&["build/flatpak-runtime-f41-1"]).await;
    world.bodhi.edit("U-1", |update| {
        update.builds[0].nvr = "flatpak-runtime-f42-1".to_owned();
        update.status = Status::Pending;
        update.date_modified = Some(at("2022-09-02 00:00:00"));
    });
    world.announced();
    world.settle(&["build/flatpak-runtime-f41-1", "build/flatpak-runtime-f42-1"]).await;
    world.expect_tags("f41/flatpak-runtime", &[("build-1", 1), ("f41", 1), ("f41-1", 1)]);
    assert_eq!(world.announced(), [("fedora/f41/flatpak-runtime:testing".to_owned(), None)].into());
}

#[tokio::test(start_paused = true)]
async fn a_build_of_a_package_never_seen_counts_as_soon_as_an_answer_names_it() {
    let world = World::new().await;
    world.build("eog-1-1", 1, "eog");
    world.settle(&["build/eog-1-1"]).await;
    world.build("eog-flatpak-1-1", 2, "eog");
    world.bodhi.put(stable("U-1", &["eog-1-1", "eog-flatpak-1-1"], "2022-10-01 00:00:00"));
    world.settle(&["repository/eog"]).await;
    assert_eq!(world.tags("eog")["latest"], 2);
    assert!(!world.tags("eog").contains_key("build-1"), "nothing was done for the other");
}
