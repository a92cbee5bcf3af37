//! Whatever an event missed, a survey heals.

use std::time::Duration;

use flatbus_mirror::Key;
use flatbus_runtime::{Consumer as _, SurveyScope};
use flatbus_upstream::{
    bodhi::Status,
    memory::{BodhiCall, Fault},
};
use futures::StreamExt as _;

use crate::world::{DAY, Setting, World, stable, testing, update};

#[tokio::test(start_paused = true)]
async fn the_first_survey_makes_everything_true_without_a_message() {
    let world = World::new().await;
    for id in 1..=9 {
        world.build(&format!("app{id}-1-1"), id, &format!("app{id}"));
        world.bodhi.put(stable(&format!("U-{id}"), &[&format!("app{id}-1-1")], "2022-09-01 00:00:00"));
    }
    let left = world.rig.survey(true).await.unwrap();
    assert_eq!((left.waiting, left.parked), (0, 0));
    for id in 1..=9 {
        assert_eq!(world.tags(&format!("app{id}"))["latest"], id);
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_survey_lists_once_and_asks_for_nothing_by_package() {
    let world = World::new().await;
    for id in 1..=9 {
        world.build(&format!("app{id}-1-1"), id, &format!("app{id}"));
        world.bodhi.put(stable(&format!("U-{id}"), &[&format!("app{id}-1-1")], "2022-09-01 00:00:00"));
    }
    world.rig.survey(true).await.unwrap();
    world.pass(DAY).await;
    world.bodhi.desk().forget();
    world.koji.desk().forget();
    world.rig.survey(true).await.unwrap();
    assert_eq!(world.bodhi.desk().calls().len(), 1, "{:?}", world.bodhi.desk().calls());
    assert_eq!(world.koji.desk().count(), 0, "builds are remembered");
}

#[tokio::test(start_paused = true)]
async fn a_push_whose_message_was_lost_is_found_by_the_next_survey_of_changes() {
    let world = World::new().await;
    world.build("eog-1-1", 1, "eog");
    world.bodhi.put(update("U-1", &["eog-1-1"]));
    world.rig.survey(true).await.unwrap();
    world.pass(Duration::from_secs(600)).await;
    world.bodhi.put(testing("U-1", &["eog-1-1"], "2022-10-01 00:05:00"));
    world.rig.survey(false).await.unwrap();
    assert_eq!(world.tags("eog")["testing"], 1);
}

#[tokio::test(start_paused = true)]
async fn an_obsoletion_that_nothing_told_of_is_found_by_the_full_survey() {
    let world = World::new().await;
    world.build("eog-1-1", 1, "eog");
    world.bodhi.put(testing("U-1", &["eog-1-1"], "2022-09-01 00:00:00"));
    world.rig.survey(true).await.unwrap();
    world.bodhi.edit("U-1", |update| update.status = Status::Obsolete);
    world.pass(DAY).await;
    world.rig.survey(true).await.unwrap();
    assert!(!world.tags("eog").contains_key("testing"));
}

#[tokio::test(start_paused = true)]
async fn a_listing_that_fails_yields_nothing() {
    let world = World::new().await;
    world.build("eog-1-1", 1, "eog");
    world.bodhi.put(testing("U-1", &["eog-1-1"], "2022-09-01 00:00:00"));
    world.bodhi.desk().fail_next(1, Fault::Unsettled);
    assert!(world.rig.survey(true).await.is_err());
    assert_eq!(world.public.calls(), []);
    world.koji.desk().fail_next(1, Fault::Status(503));
    assert!(world.rig.survey(true).await.is_err());
    world.rig.survey(true).await.unwrap();
    assert_eq!(world.tags("eog")["testing"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_repository_we_hold_is_looked_at_even_when_bodhi_no_longer_names_it() {
    let world = World::new().await;
    world.build("eog-1-1", 1, "eog");
    world.bodhi.put(testing("U-1", &["eog-1-1"], "2022-09-01 00:00:00"));
    world.rig.survey(true).await.unwrap();
    world.bodhi.remove("U-1");
    world.pass(DAY).await;
    let left = world.rig.survey(true).await.unwrap();
    assert_eq!(left.waiting, 1, "{:?}", world.waiting());
    assert_eq!(world.tags("eog")["testing"], 1, "a failed read, not a truth");
}

#[tokio::test(start_paused = true)]
async fn an_event_after_the_listing_is_settled_on_a_fresh_read() {
    let world = World::new().await;
    world.build("eog-1-1", 1, "eog");
    world.build("eog-2-1", 2, "eog");
    world.bodhi.put(testing("U-1", &["eog-1-1"], "2022-09-01 00:00:00"));
    world.rig.survey(true).await.unwrap();
    world.bodhi.put(testing("U-2", &["eog-2-1"], "2022-09-02 00:00:00"));
    world.bodhi.desk().forget();
    world.settle(&["repository/eog"]).await;
    assert_eq!(world.tags("eog")["testing"], 2);
    assert!(matches!(world.bodhi.desk().calls()[0], BodhiCall::Updates(_)));
}

#[tokio::test(start_paused = true)]
async fn a_package_first_seen_by_a_survey_survives_a_restart() {
    let world = World::new().await;
    world.build("eog-1-1", 1, "eog");
    world.bodhi.put(stable("U-1", &["eog-1-1"], "2022-09-01 00:00:00"));
    world.rig.survey(true).await.unwrap();
    world.build("eog-flatpak-2-1", 2, "eog");
    world.bodhi.put(stable("U-2", &["eog-flatpak-2-1"], "2022-10-01 00:00:00"));
    world.pass(Duration::from_secs(600)).await;
    world.rig.unit.survey_now(false).await.unwrap(); // Marked, not settled: then the process is killed.
    let world = world.restart().await;
    world.rig.settle().await;
    assert_eq!(world.tags("eog")["latest"], 2);
}

#[tokio::test(start_paused = true)]
async fn surveys_in_shadow_mode_write_nothing() {
    let world = Setting::new().shadow().with("staging = \"https://public.example/staging\"").world().await;
    world.build("eog-1-1", 1, "eog");
    world.build("baobab-1-1", 2, "baobab");
    world.bodhi.put(stable("U-1", &["eog-1-1"], "2022-09-01 00:00:00"));
    for _ in 0..2 {
        world.rig.survey(true).await.unwrap();
        world.pass(DAY).await;
    }
    assert_eq!(world.writes().len(), 0, "{:?}", world.writes());
}

#[tokio::test(start_paused = true)]
async fn runtimes_go_before_the_applications_of_their_update() {
    let world = Setting::new().world().await;
    let mut nvrs = vec!["zz-runtime-1-1".to_owned()];
    world.build_as("zz-runtime-1-1", 50, "f36/zz-flatpak-runtime", "runtime/x/x86_64/stable");
    for id in 1..=9 {
        nvrs.push(format!("app{id}-1-1"));
        world.build(&format!("app{id}-1-1"), id, &format!("app{id}"));
    }
    let names: Vec<&str> = nvrs.iter().map(String::as_str).collect();
    world.bodhi.put(testing("U-1", &names, "2022-10-01 00:00:00"));
    let keys: Vec<String> = nvrs.iter().rev().map(|nvr| format!("build/{nvr}")).collect();
    world.settle(&keys.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let tagged: Vec<String> = world
        .public
        .calls()
        .iter()
        .filter(|call| call.subject == "testing" && !call.op.reads())
        .map(|call| call.repository.to_string())
        .collect();
    assert_eq!(tagged.len(), 10);
    let place = tagged.iter().position(|name| name.contains("runtime")).unwrap();
    assert!(place < 8, "it was among the first that ran at once: {tagged:?}");
}

#[tokio::test(start_paused = true)]
async fn a_survey_yields_its_keys_in_their_order_so_that_one_cut_short_goes_on_where_it_was() {
    let world = World::new().await;
    for (id, name) in [(1, "baobab"), (2, "eog"), (3, "f36/flatpak-runtime")] {
        let nvr = format!("{}-1-1", name.replace('/', "-"));
        world.build(&nvr, id, name);
        world.bodhi.put(stable(&format!("U-{id}"), &[&nvr], "2022-09-01 00:00:00"));
    }
    world.rig.survey(true).await.unwrap();
    world.build("abiword-1-1", 4, "abiword");
    world.bodhi.put(stable("U-4", &["abiword-1-1"], "2022-09-02 00:00:00"));
    let (mirror, ctx) = world.rig.unit.consumer();
    let keys: Vec<Key> = mirror.survey(&ctx, SurveyScope::Full).map(Result::unwrap).collect().await;
    assert_eq!(keys.len(), 4, "{keys:?}");
    assert!(keys.is_sorted(), "{keys:?}");
}
