//! Where bytes come from, and what is done where they don't.

use flatbus_oci::{memory::Fault, testing::Recipe};

use crate::world::{DAY, World, digest_of, repo, stable, testing};

#[tokio::test(start_paused = true)]
async fn the_next_source_is_asked_where_the_first_has_none() {
    let world = World::new().await;
    world.build("eog-1-1", 1, "eog");
    let sample = Recipe { layer_bytes: 100, ..Recipe::flatpak("app/x/x86_64/stable", 1) }.make();
    world.candidate.remove_manifest(&repo("eog"), &digest_of(1));
    sample.put(&world.old, &repo("eog"), &[]);
    world.bodhi.put(stable("U-1", &["eog-1-1"], "2022-09-01 00:00:00"));
    world.settle(&["build/eog-1-1"]).await;
    assert_eq!(world.tags("eog")["latest"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_blob_that_is_gone_from_the_first_source_is_looked_for_in_the_next() {
    let world = World::new().await;
    world.build("eog-1-1", 1, "eog");
    let sample = Recipe { layer_bytes: 100, ..Recipe::flatpak("app/x/x86_64/stable", 1) }.make();
    world.candidate.remove_blob(&repo("eog"), &flatbus_oci::Digest::of(&sample.blobs[1]));
    sample.put(&world.old, &repo("eog"), &[]);
    world.bodhi.put(stable("U-1", &["eog-1-1"], "2022-09-01 00:00:00"));
    world.settle(&["build/eog-1-1"]).await;
    assert_eq!(world.tags("eog")["latest"], 1);
}

#[tokio::test(start_paused = true)]
async fn no_source_is_asked_where_the_destination_holds_the_digest() {
    let world = World::new().await;
    world.build("eog-1-1", 1, "eog");
    world.bodhi.put(testing("U-1", &["eog-1-1"], "2022-09-01 00:00:00"));
    world.settle(&["build/eog-1-1"]).await;
    world.bodhi.put(stable("U-1", &["eog-1-1"], "2022-09-08 00:00:00"));
    world.candidate.forget_calls();
    world.old.forget_calls();
    world.settle(&["build/eog-1-1"]).await;
    assert_eq!(world.tags("eog")["latest"], 1);
    assert_eq!((world.reads_of(&world.candidate), world.reads_of(&world.old)), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_fresh_push_without_bytes_calls_a_person_and_blocks_no_other_tag() {
    let world = World::new().await;
    world.build("eog-1-1", 1, "eog");
    world.known("eog-2-1", 2, "eog", digest_of(2));
    world.bodhi.put(stable("U-1", &["eog-1-1"], "2022-09-28 00:00:00"));
    world.bodhi.put(testing("U-2", &["eog-2-1"], "2022-09-29 00:00:00"));
    world.settle(&["build/eog-2-1"]).await;
    world.expect_tags("eog", &[("1", 1), ("1-1", 1), ("build-1", 1), ("latest", 1)]);
    let parked = world.parked();
    assert_eq!(parked.keys().collect::<Vec<_>>(), ["withheld/eog-2-1"]);
    assert!(parked["withheld/eog-2-1"].contains("candidate.example/eog, old.example/eog"), "{parked:?}");
    assert!(world.announced().contains_key("fedora/eog:latest"));
}

#[tokio::test(start_paused = true)]
async fn bytes_that_come_late_are_found_by_the_next_event() {
    let world = World::new().await;
    world.known("eog-2-1", 2, "eog", digest_of(2));
    world.bodhi.put(testing("U-2", &["eog-2-1"], "2022-09-29 00:00:00"));
    world.settle(&["build/eog-2-1"]).await;
    assert_eq!(world.parked().len(), 1);
    world.build("eog-2-1", 2, "eog");
    world.settle(&["build/eog-2-1"]).await;
    assert_eq!(world.parked().len(), 0, "{:?}", world.parked());
    assert_eq!(world.tags("eog")["testing"], 2);
}

#[tokio::test(start_paused = true)]
async fn an_old_image_that_nobody_has_is_listed_left_and_asked_for_again_after_a_week() {
    let world = World::new().await;
    world.known("eog-2-1", 2, "eog", digest_of(2));
    world.bodhi.put(stable("U-2", &["eog-2-1"], "2018-12-01 00:00:00"));
    let left = world.settle(&["build/eog-2-1"]).await;
    assert_eq!((left.waiting, left.parked), (0, 0), "{:?}", world.parked());
    world.candidate.forget_calls();
    world.settle(&["repository/eog"]).await;
    assert_eq!(world.reads_of(&world.candidate), 0, "not asked again within a week");
    world.pass(7 * DAY).await;
    world.build("eog-2-1", 2, "eog");
    world.settle(&["repository/eog"]).await;
    assert_eq!(world.tags("eog")["latest"], 2);
}

#[tokio::test(start_paused = true)]
async fn tags_stay_as_they_are_while_the_next_image_is_unavailable() {
    let world = World::new().await;
    world.build("eog-1-1", 1, "eog");
    world.bodhi.put(stable("U-1", &["eog-1-1"], "2022-09-01 00:00:00"));
    world.settle(&["build/eog-1-1"]).await;
    world.known("eog-2-1", 2, "eog", digest_of(2));
    world.bodhi.put(stable("U-2", &["eog-2-1"], "2022-09-29 00:00:00"));
    world.settle(&["build/eog-2-1"]).await;
    assert_eq!(world.tags("eog")["latest"], 1);
    assert_eq!(world.tags("eog")["testing"], 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_withheld_is_asked_for_by_a_full_survey_though_its_key_was_lost() {
    let world = World::new().await;
    world.known("eog-1-1", 1, "eog", digest_of(1));
    world.bodhi.put(stable("U-1", &["eog-1-1"], "2022-09-29 00:00:00"));
    world.settle(&["build/eog-1-1"]).await;
    let dropped = world.rig.unit.ledger().drop_key("withheld/eog-1-1").expect("it was parked");
    dropped.await.unwrap(); // As where more was doubtful than there was room for.
    world.build("eog-1-1", 1, "eog");
    world.rig.survey(true).await.unwrap();
    assert_eq!(world.tags("eog")["latest"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_fails_is_not_taken_for_one_without_the_image() {
    let world = World::new().await;
    world.build("eog-1-1", 1, "eog");
    world.bodhi.put(stable("U-1", &["eog-1-1"], "2022-09-29 00:00:00"));
    world.candidate.set_fault(|_| {
        Some(Fault::Fail(
            flatbus_http::Error::Cut { host: "candidate.example".into(), why: "reset".into() }.into(),
        ))
    });
    let left = world.settle(&["build/eog-1-1"]).await;
    assert_eq!((left.waiting, left.parked), (1, 0));
    world.candidate.clear_fault();
    world.pass(DAY / 24).await;
    world.rig.settle().await;
    assert_eq!(world.tags("eog")["latest"], 1, "a registry that recovers is copied from without a restart");
}

#[tokio::test(start_paused = true)]
async fn an_image_that_is_no_flatpak_is_refused_and_nothing_of_it_is_written() {
    let world = World::new().await;
    let plain = Recipe { layer_bytes: 100, ..Recipe::plain(5) }.make();
    plain.put(&world.candidate, &repo("eog"), &[]);
    world.known("eog-2-1", 2, "eog", plain.digest());
    world.build("eog-1-1", 1, "eog");
    world.bodhi.put(stable("U-1", &["eog-1-1"], "2022-09-01 00:00:00"));
    world.bodhi.put(testing("U-2", &["eog-2-1"], "2022-09-29 00:00:00"));
    world.settle(&["build/eog-2-1"]).await;
    world.expect_tags("eog", &[("1", 1), ("1-1", 1), ("build-1", 1), ("latest", 1)]);
    assert!(!world.public.manifests_of(&repo("fedora/eog")).contains(&plain.digest()));
    let parked = world.parked();
    assert!(parked["withheld/eog-2-1"].contains("org.flatpak.ref"), "{parked:?}");
}

#[tokio::test(start_paused = true)]
async fn a_refused_build_does_not_keep_its_repository_from_moving_on() {
    let world = World::new().await;
    let plain = Recipe { layer_bytes: 100, ..Recipe::plain(5) }.make();
    plain.put(&world.candidate, &repo("eog"), &[]);
    world.known("eog-1-1", 1, "eog", plain.digest());
    world.bodhi.put(stable("U-1", &["eog-1-1"], "2018-12-01 00:00:00"));
    world.settle(&["build/eog-1-1"]).await;
    world.build("eog-2-1", 2, "eog");
    world.bodhi.put(stable("U-2", &["eog-2-1"], "2022-09-29 00:00:00"));
    world.settle(&["build/eog-2-1"]).await;
    assert_eq!(world.tags("eog")["latest"], 2);
}

#[tokio::test(start_paused = true)]
async fn bytes_that_are_not_what_was_named_tag_nothing() {
    let world = World::new().await;
    world.build("eog-1-1", 1, "eog");
    world.bodhi.put(stable("U-1", &["eog-1-1"], "2022-09-29 00:00:00"));
    world.candidate.set_fault(|call| {
        matches!(call.op, flatbus_oci::memory::Op::BlobGet { .. }).then_some(Fault::Garble)
    });
    let left = world.settle(&["build/eog-1-1"]).await;
    assert_eq!(left.waiting, 1);
    world.expect_tags("eog", &[]);
    let why = world.waiting()["repository/eog"].clone();
    assert!(why.contains(" gave sha256:") && why.contains("where sha256:"), "both digests are named: {why}");
    world.pass(2 * DAY).await;
    for _ in 0..200 {
        world.pass(DAY / 24).await;
        world.rig.settle().await;
    }
    assert!(world.parked().contains_key("repository/eog"), "what stays wrong is a person's business");
}

#[tokio::test(start_paused = true)]
async fn holding_tags_go_only_after_the_grace_period() {
    let world = World::new().await;
    world.build("eog-1-1", 1, "eog");
    world.build("eog-2-1", 2, "eog");
    world.bodhi.put(stable("U-1", &["eog-1-1"], "2022-09-01 00:00:00"));
    world.settle(&["build/eog-1-1"]).await;
    world.bodhi.put(stable("U-2", &["eog-2-1"], "2022-09-29 00:00:00"));
    world.settle(&["build/eog-2-1"]).await;
    world.pass(29 * DAY).await;
    world.settle(&["repository/eog"]).await;
    assert_eq!(world.tags("eog").get("build-1"), Some(&1));
    world.pass(2 * DAY).await;
    world.settle(&["repository/eog"]).await;
    assert_eq!(world.tags("eog").get("build-1"), None);
    assert_eq!(world.tags("eog").get("build-2"), Some(&2));
}

#[tokio::test(start_paused = true)]
async fn lost_memory_starts_the_grace_period_anew() {
    let world = World::new().await;
    world.build("eog-1-1", 1, "eog");
    world.build("eog-2-1", 2, "eog");
    world.bodhi.put(stable("U-1", &["eog-1-1"], "2022-09-01 00:00:00"));
    world.settle(&["build/eog-1-1"]).await;
    world.bodhi.put(stable("U-2", &["eog-2-1"], "2022-09-29 00:00:00"));
    world.settle(&["build/eog-2-1"]).await;
    world.pass(29 * DAY).await;
    let world = world.forget_everything().await;
    world.settle(&["build/eog-2-1"]).await;
    world.pass(29 * DAY).await;
    world.settle(&["repository/eog"]).await;
    assert_eq!(world.tags("eog").get("build-1"), Some(&1));
    world.pass(2 * DAY).await;
    world.settle(&["repository/eog"]).await;
    assert_eq!(world.tags("eog").get("build-1"), None);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_called_for_a_build_that_no_tag_waits_for_any_more() {
    let world = World::new().await;
    world.known("eog-2-1", 2, "eog", digest_of(2));
    world.build("eog-1-1", 1, "eog");
    world.bodhi.put(stable("U-1", &["eog-1-1"], "2022-09-01 00:00:00"));
    world.bodhi.put(testing("U-2", &["eog-2-1"], "2022-09-29 00:00:00"));
    world.settle(&["build/eog-2-1"]).await;
    assert_eq!(world.parked().len(), 1);
    world.bodhi.edit("U-2", |update| update.status = flatbus_upstream::bodhi::Status::Unpushed);
    world.settle(&["build/eog-2-1"]).await;
    assert_eq!(world.parked().len(), 0, "{:?}", world.parked());
    assert_eq!(world.tags("eog")["testing"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_part_of_an_image_at_the_destination_is_never_tagged() {
    let world = World::new().await;
    world.build("eog-1-1", 1, "eog");
    world.bodhi.put(stable("U-1", &["eog-1-1"], "2022-09-01 00:00:00"));
    let root = flatbus_oci::Registry::manifest_get(&world.candidate, &repo("eog"), &digest_of(1).into())
        .await
        .unwrap()
        .unwrap();
    world.public.put_manifest(&repo("fedora/eog"), &root, &[]);
    let left = world.settle(&["build/eog-1-1"]).await;
    assert_eq!(left.waiting, 1);
    assert!(world.waiting()["repository/eog"].contains("with parts missing"), "{:?}", world.waiting());
    world.expect_tags("eog", &[]);
}
