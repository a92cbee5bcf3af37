//! The staging namespace: bytes are near before an update is pushed, and never in the way.

use flatbus_oci::memory::Op;
use flatbus_upstream::memory::KojiCall;

use crate::world::{DAY, Setting, World, image_bytes, repo, stable, tag, testing, update};

async fn with_staging(more: &str) -> World {
    Setting::new().with("staging = \"https://public.example/staging\"").with(more).world().await
}

fn staged(world: &World, name: &str) -> Vec<String> {
    world.public.tags_of(&repo(&format!("staging/{name}"))).keys().map(ToString::to_string).collect()
}

#[tokio::test(start_paused = true)]
async fn a_completed_build_is_staged_and_its_push_copies_no_byte() {
    let world = with_staging("").await;
    world.build("eog-1-1", 1, "eog");
    world.settle(&["build/eog-1-1"]).await;
    assert_eq!(staged(&world, "eog"), ["build-1"]);
    world.expect_tags("eog", &[]);
    world.candidate.forget_calls();
    world.public.forget_calls();
    world.bodhi.put(testing("U-1", &["eog-1-1"], "2022-10-01 00:00:00"));
    world.settle(&["build/eog-1-1"]).await;
    assert_eq!(world.tags("eog")["testing"], 1);
    assert_eq!(world.reads_of(&world.candidate), 0, "staging is asked first");
    assert_eq!(
        world.public.count(Op::UploadPatch { offset: 0 })
            + world.public.count(Op::UploadStream { offset: 0 }),
        0,
        "mounted"
    );
    assert_eq!(staged(&world, "eog"), Vec::<String>::new(), "published: staged no more");
}

#[tokio::test(start_paused = true)]
async fn a_build_that_no_update_pushes_goes_after_staging_keep_days() {
    let world = with_staging("staging_keep_days = 5").await;
    world.build("eog-1-1", 1, "eog");
    world.bodhi.put(update("U-1", &["eog-1-1"]));
    world.settle(&["build/eog-1-1"]).await;
    world.pass(4 * DAY).await;
    world.rig.survey(true).await.unwrap();
    assert_eq!(staged(&world, "eog"), ["build-1"]);
    world.pass(2 * DAY).await;
    world.rig.survey(true).await.unwrap();
    assert_eq!(staged(&world, "eog"), Vec::<String>::new());
    world.settle(&["build/eog-1-1"]).await;
    assert_eq!(staged(&world, "eog"), Vec::<String>::new(), "too old to be staged again");
}

#[tokio::test(start_paused = true)]
async fn staging_max_bytes_stops_staging_and_never_publishing() {
    let world = with_staging(&format!("staging_max_bytes = {}", image_bytes(1) * 3 / 2)).await;
    world.build("eog-1-1", 1, "eog");
    world.build("eog-2-1", 2, "eog");
    world.settle(&["build/eog-1-1"]).await;
    let left = world.settle(&["build/eog-2-1"]).await;
    assert_eq!(staged(&world, "eog"), ["build-1"]);
    assert_eq!((left.waiting, left.parked), (0, 0));
    world.bodhi.put(stable("U-2", &["eog-2-1"], "2022-10-01 00:00:00"));
    world.settle(&["build/eog-2-1"]).await;
    assert_eq!(world.tags("eog")["latest"], 2);
}

#[tokio::test(start_paused = true)]
async fn a_staging_that_fails_does_not_delay_a_push() {
    let world = with_staging("").await;
    world.build("eog-1-1", 1, "eog");
    world.public.put_manifest(&repo("staging/eog"), &flatbus_oci::withdrawn::manifest(), &[tag("theirs")]);
    world.bodhi.put(stable("U-1", &["eog-1-1"], "2022-10-01 00:00:00"));
    world.settle(&["stage/eog-1-1", "build/eog-1-1"]).await;
    assert_eq!(world.tags("eog")["latest"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_repository_in_staging_that_is_not_ours_is_refused() {
    let world = with_staging("").await;
    world.build("eog-1-1", 1, "eog");
    world.public.put_manifest(&repo("staging/eog"), &flatbus_oci::withdrawn::manifest(), &[tag("theirs")]);
    world.settle(&["build/eog-1-1"]).await;
    assert!(world.parked()["stage/eog-1-1"].contains("the tag theirs"), "{:?}", world.parked());
    assert_eq!(staged(&world, "eog"), ["theirs"]);
}

#[tokio::test(start_paused = true)]
async fn a_completion_whose_message_was_lost_is_staged_by_the_survey() {
    let world = with_staging("").await;
    world.build("eog-1-1", 1, "eog");
    world.rig.survey(true).await.unwrap();
    assert_eq!(staged(&world, "eog"), ["build-1"]);
    world.pass(DAY / 48).await;
    world.build("baobab-1-1", 2, "baobab");
    world.pass(DAY / 48).await;
    world.rig.survey(false).await.unwrap();
    assert_eq!(staged(&world, "baobab"), ["build-2"]);
}

#[tokio::test(start_paused = true)]
async fn without_a_staging_namespace_a_completion_costs_one_question() {
    let world = World::new().await;
    world.build("eog-1-1", 1, "eog");
    world.settle(&["build/eog-1-1"]).await;
    assert_eq!(world.public.calls(), []);
    assert_eq!(world.koji.desk().calls().iter().filter(|call| matches!(call, KojiCall::Build(_))).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn imports_cost_two_questions_a_second_and_flatpaks_do_not_wait_for_them() {
    let world = World::new().await;
    world.build("eog-1-1", 1, "eog");
    world.build("baobab-1-1", 2, "baobab");
    world.bodhi.put(stable("U-1", &["eog-1-1"], "2022-10-01 00:00:00"));
    let mut keys: Vec<String> = (0..20).map(|n| format!("import/rpm{n}-1-1")).collect();
    keys.push("import/baobab-1-1".to_owned());
    keys.push("build/eog-1-1".to_owned());
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let before = world.now();
    world.settle(&keys).await;
    let took = world.now().duration_since(before);
    assert!(took.as_millis() >= 10_000 && took.as_millis() < 12_000, "{took:?}");
    assert_eq!(world.tags("eog")["latest"], 1);
    let told = world.rig.unit.ledger().counts();
    assert_eq!(told.doubtful, 0);
}
