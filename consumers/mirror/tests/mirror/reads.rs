//! Nothing is changed on the strength of a failed read.

use flatbus_upstream::{bodhi::Status, memory::Fault};

use crate::world::{DAY, World, at, stable, testing};

async fn stable_one_and_testing_two() -> World {
    let world = World::new().await;
    world.build("eog-1-1", 1, "eog");
    world.build("eog-2-1", 2, "eog");
    world.bodhi.put(stable("U-1", &["eog-1-1"], "2022-09-01 00:00:00"));
    world.bodhi.put(testing("U-2", &["eog-2-1"], "2022-09-20 00:00:00"));
    world.settle(&["build/eog-2-1"]).await;
    world.announced();
    world.public.forget_calls();
    world
}

fn nothing_happened(world: &World) {
    assert_eq!(world.tags("eog")["testing"], 2);
    assert_eq!(world.tags("eog")["latest"], 1);
    assert_eq!(world.writes().len(), 0, "{:?}", world.writes());
    assert!(world.announced().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_update_we_acted_on_that_is_missing_is_a_failed_read() {
    let world = stable_one_and_testing_two().await;
    world.bodhi.remove("U-2");
    let left = world.settle(&["repository/eog"]).await;
    assert_eq!(left.waiting, 1);
    assert!(world.waiting()["repository/eog"].contains("U-2"), "{:?}", world.waiting());
    nothing_happened(&world);
}

#[tokio::test(start_paused = true)]
async fn an_empty_listing_of_updates_we_acted_on_is_a_failed_read() {
    let world = stable_one_and_testing_two().await;
    world.bodhi.desk().fail_next(1, Fault::Empty);
    let left = world.settle(&["repository/eog"]).await;
    assert_eq!(left.waiting, 1);
    nothing_happened(&world);
    world.pass(DAY / 24).await;
    assert_eq!(world.rig.settle().await.waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn an_update_that_went_back_without_an_edit_is_a_failed_read() {
    let world = stable_one_and_testing_two().await;
    world.bodhi.edit("U-2", |update| update.status = Status::Pending);
    assert_eq!(world.settle(&["repository/eog"]).await.waiting, 1);
    nothing_happened(&world);
    world.bodhi.edit("U-2", |update| update.date_modified = Some(at("2022-09-21 00:00:00")));
    world.pass(DAY / 24).await;
    world.rig.settle().await;
    assert_eq!(world.tags("eog")["testing"], 1, "edited back to pending: its build is in testing no more");
}

#[tokio::test(start_paused = true)]
async fn a_stale_answer_is_a_failed_read() {
    let world = stable_one_and_testing_two().await;
    world.bodhi.put(stable("U-2", &["eog-2-1"], "2022-09-28 00:00:00"));
    world.settle(&["repository/eog"]).await;
    assert_eq!(world.tags("eog")["latest"], 2);
    world.public.forget_calls();
    world.bodhi.desk().fail_next(1, Fault::Stale);
    assert_eq!(world.settle(&["repository/eog"]).await.waiting, 1);
    assert_eq!(world.tags("eog")["latest"], 2);
    assert_eq!(world.writes().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_bodhi_or_koji_that_fails_only_makes_keys_wait() {
    let world = stable_one_and_testing_two().await;
    world.bodhi.desk().fail_always(Fault::Status(503));
    world.koji.desk().fail_always(Fault::Refused(1));
    assert_eq!(world.settle(&["repository/eog", "build/new-1-1"]).await.waiting, 2);
    nothing_happened(&world);
    world.pass(6 * DAY / 24).await;
    world.bodhi.desk().heal();
    world.koji.desk().heal();
    world.pass(DAY / 24).await;
    let left = world.rig.settle().await;
    assert_eq!((left.waiting, left.parked), (0, 0), "hours later, without a restart");
}

#[tokio::test(start_paused = true)]
async fn a_build_that_koji_does_not_know_leaves_alone_what_it_would_have_and_nothing_else() {
    let world = stable_one_and_testing_two().await;
    world.bodhi.put(testing("U-3", &["eog-3-1"], "2022-09-30 00:00:00"));
    world.bodhi.put(stable("U-2", &["eog-2-1"], "2022-09-29 00:00:00"));
    world.bodhi.edit("U-1", |update| update.date_testing = None);
    assert_eq!(world.settle(&["build/eog-3-1", "build/eog-2-1"]).await.waiting, 1);
    assert!(
        world.waiting()["withheld/eog-3-1"].contains("Koji does not know eog-3-1"),
        "{:?}",
        world.waiting()
    );
    assert_eq!((world.tags("eog")["latest"], world.tags("eog")["testing"]), (2, 2));
    world.build("eog-3-1", 3, "eog");
    world.pass(DAY / 24).await;
    assert_eq!(world.rig.settle().await.waiting, 0);
    assert_eq!((world.tags("eog")["latest"], world.tags("eog")["testing"]), (2, 3));
}

#[tokio::test(start_paused = true)]
async fn testing_is_not_withdrawn_for_the_sake_of_a_build_that_koji_does_not_know() {
    let world = stable_one_and_testing_two().await;
    world.bodhi.edit("U-2", |update| update.status = Status::Obsolete);
    world.bodhi.edit("U-1", |update| update.date_testing = None);
    world.bodhi.put(testing("U-3", &["eog-3-1"], "2022-09-30 00:00:00"));
    world.settle(&["repository/eog"]).await;
    nothing_happened(&world);
}

#[tokio::test(start_paused = true)]
async fn an_old_build_that_koji_does_not_know_is_nobodys_trouble() {
    let world = stable_one_and_testing_two().await;
    world.bodhi.put(stable("U-0", &["eog-0-1"], "2018-09-30 00:00:00"));
    assert_eq!(world.settle(&["repository/eog"]).await.waiting, 0);
    nothing_happened(&world);
}

#[tokio::test(start_paused = true)]
async fn a_listing_without_any_build_of_the_repository_withdraws_nothing() {
    let world = stable_one_and_testing_two().await;
    let world = world.forget_everything().await;
    world.bodhi.remove("U-1");
    world.bodhi.remove("U-2");
    world.settle(&["build/eog-2-1"]).await;
    nothing_happened(&world);
}

#[tokio::test(start_paused = true)]
async fn the_versions_of_a_build_that_koji_does_not_know_yet_and_of_the_one_before_are_left_as_they_are() {
    let world = World::new().await;
    world.build("eog-1-1", 1, "eog");
    world.bodhi.put(stable("U-1", &["eog-1-1"], "2022-09-01 00:00:00"));
    world.bodhi.put(stable("U-2", &["eog-1-2"], "2022-09-02 00:00:00"));
    world.settle(&["build/eog-1-1"]).await;
    world.expect_tags("eog", &[("build-1", 1)]);
    world.build("eog-1-2", 2, "eog");
    world.pass(DAY).await;
    world.settle(&["build/eog-1-2"]).await;
    assert_eq!((world.tags("eog")["1"], world.tags("eog")["latest"]), (2, 2));
}
