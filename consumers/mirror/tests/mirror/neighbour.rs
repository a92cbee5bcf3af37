//! Beside Bodhi's own composer: it writes the same tags, and before its database says so.

use std::time::Duration;

use flatbus_oci::{
    Registry,
    copy::{Copier, CopySettings, Destination, NoProgress, Source},
};
use flatbus_upstream::bodhi::Compose;
use std::sync::Arc;

use crate::world::{Setting, World, digest_of, repo, stable, tag, testing, update};

const MINUTE: Duration = Duration::from_secs(60);

/// Bodhi has pushed eog-1-1 to stable, and mirror knows the repository.
async fn beside_bodhi() -> World {
    let world = Setting::new().with("tag_writer = \"bodhi\"").world().await;
    world.build("eog-1-1", 1, "eog");
    world.build("eog-2-1", 2, "eog");
    world.bodhi.put(stable("U-1", &["eog-1-1"], "2022-09-01 00:00:00"));
    bodhi_copies(&world, 1, &["1-1", "1", "testing", "latest"]).await;
    world.settle(&["adopt/eog"]).await;
    assert_eq!(world.parked().len(), 0, "{:?}", world.parked());
    world.announced();
    world.public.forget_calls();
    world
}

/// What Bodhi's skopeo does.
async fn bodhi_copies(world: &World, id: i64, tags: &[&str]) {
    let from = Source {
        registry: Arc::new(world.candidate.clone()),
        repository: repo("eog"),
        digest: digest_of(id),
    };
    let to = Destination {
        registry: Arc::new(world.public.clone()) as Arc<dyn Registry>,
        repository: repo("fedora/eog"),
        mount_from: Vec::new(),
    };
    let tags: Vec<_> = tags.iter().map(|name| tag(name)).collect();
    Copier::new(CopySettings::default()).copy(from, to, &tags, &NoProgress).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_bodhi_pushed_is_held_and_announced_and_not_written_again() {
    let world = beside_bodhi().await;
    world.expect_tags("eog", &[("1", 1), ("1-1", 1), ("build-1", 1), ("latest", 1), ("testing", 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_bodhi_wrote_before_its_database_says_so_is_left_alone() {
    let world = beside_bodhi().await;
    let pushing = flatbus_upstream::bodhi::Update {
        locked: true,
        request: Some("testing".to_owned()),
        ..update("U-2", &["eog-2-1"])
    };
    world.bodhi.put(pushing);
    world.bodhi.set_composes(vec![Compose {
        release: "F36F".to_owned(),
        request: "testing".to_owned(),
        updates: vec!["U-2".to_owned()],
    }]);
    bodhi_copies(&world, 2, &["2-1", "2", "testing"]).await;
    world.public.forget_calls();
    for _ in 0..12 {
        world.settle(&["repository/eog"]).await;
        world.pass(10 * MINUTE).await;
        assert_eq!(world.tags("eog")["testing"], 2, "hours of a compose");
    }
    world.bodhi.put(testing("U-2", &["eog-2-1"], "2022-10-01 02:00:00"));
    world.bodhi.set_composes(Vec::new());
    world.settle(&["build/eog-2-1"]).await;
    world.expect_tags(
        "eog",
        &[
            ("1", 1),
            ("1-1", 1),
            ("2", 2),
            ("2-1", 2),
            ("build-1", 1),
            ("build-2", 2),
            ("latest", 1),
            ("testing", 2),
        ],
    );
    assert_eq!(world.announced()["fedora/eog:testing"], Some(digest_of(2).to_string()));
    world.pass(20 * MINUTE).await;
    let left = world.rig.settle().await;
    assert_eq!((left.waiting, left.parked), (0, 0), "{:?}", world.waiting());
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_nobody_is_at_work_on_is_replaced_after_settle_after() {
    let world = beside_bodhi().await;
    world.bodhi.put(stable("U-2", &["eog-2-1"], "2022-09-20 00:00:00"));
    bodhi_copies(&world, 2, &["2-1", "2"]).await; // The composer died before `latest` and `testing`.
    let left = world.settle(&["build/eog-2-1"]).await;
    assert_eq!(left.waiting, 1);
    assert_eq!(world.tags("eog")["latest"], 1, "it may still be at it");
    world.pass(9 * MINUTE).await;
    world.rig.settle().await;
    assert_eq!(world.tags("eog")["latest"], 1);
    world.pass(3 * MINUTE).await;
    world.rig.settle().await;
    assert_eq!(world.tags("eog")["latest"], 2);
    assert_eq!(world.tags("eog")["testing"], 2);
    assert_eq!(world.rig.unit.left().waiting, 0);
    assert!(world.announced().contains_key("fedora/eog:latest"));
}

#[tokio::test(start_paused = true)]
async fn missing_tags_and_bytes_are_completed_at_once() {
    let world = beside_bodhi().await;
    world.bodhi.put(testing("U-2", &["eog-2-1"], "2022-09-20 00:00:00"));
    world.settle(&["build/eog-2-1"]).await;
    let tags = world.tags("eog");
    assert_eq!((tags["2-1"], tags["2"], tags["build-2"]), (2, 2, 2));
    assert_eq!(tags["testing"], 1, "an existing one waits its time");
}

#[tokio::test(start_paused = true)]
async fn the_version_tag_follows_bodhis_last_push() {
    let world = Setting::new().with("tag_writer = \"bodhi\"").world().await;
    world.build("eog-stable-1", 1, "eog");
    world.build("eog-stable-2", 2, "eog");
    world.bodhi.put(stable("U-1", &["eog-stable-1"], "2022-09-01 00:00:00"));
    world.bodhi.put(testing("U-2", &["eog-stable-2"], "2022-09-20 00:00:00"));
    world.settle(&["build/eog-stable-2"]).await;
    assert_eq!(world.tags("eog")["stable"], 2);
    let ours = World::new().await;
    ours.build("eog-stable-1", 1, "eog");
    ours.build("eog-stable-2", 2, "eog");
    ours.bodhi.put(stable("U-1", &["eog-stable-1"], "2022-09-01 00:00:00"));
    ours.bodhi.put(testing("U-2", &["eog-stable-2"], "2022-09-20 00:00:00"));
    ours.settle(&["build/eog-stable-2"]).await;
    assert_eq!(ours.tags("eog")["stable"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_restart_only_costs_patience() {
    let world = beside_bodhi().await;
    world.bodhi.put(stable("U-2", &["eog-2-1"], "2022-09-20 00:00:00"));
    world.settle(&["build/eog-2-1"]).await;
    world.pass(8 * MINUTE).await;
    let world = world.restart().await;
    world.pass(3 * MINUTE).await;
    world.rig.settle().await;
    assert_eq!(world.tags("eog")["latest"], 1);
    world.pass(11 * MINUTE).await;
    world.rig.settle().await;
    assert_eq!(world.tags("eog")["latest"], 2);
}

#[tokio::test(start_paused = true)]
async fn a_repository_that_bodhi_is_about_to_make_is_ours_before_it_does() {
    let world = Setting::new().with("tag_writer = \"bodhi\"").world().await;
    world.build("eog-1-1", 1, "eog");
    world.bodhi.put(update("U-1", &["eog-1-1"]));
    world.settle(&["build/eog-1-1"]).await;
    bodhi_copies(&world, 1, &["1-1", "1", "testing"]).await;
    world.bodhi.put(testing("U-1", &["eog-1-1"], "2022-10-01 00:00:00"));
    world.settle(&["build/eog-1-1"]).await;
    assert_eq!(world.parked().len(), 0, "{:?}", world.parked());
    world.expect_tags("eog", &[("1", 1), ("1-1", 1), ("build-1", 1), ("testing", 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_build_edited_out_while_its_tag_must_not_be_touched_yet_loses_it_in_the_end() {
    let world = Setting::new().with("tag_writer = \"bodhi\"").world().await;
    world.build("flatpak-runtime-f41-1", 1, "f41/flatpak-runtime");
    world.build("flatpak-runtime-f42-1", 2, "f42/flatpak-runtime");
    world.bodhi.put(testing("U-1", &["flatpak-runtime-f41-1"], "2022-09-01 00:00:00"));
    world.settle(&["build/flatpak-runtime-f41-1"]).await;
    world.bodhi.edit("U-1", |update| {
        update.builds[0].nvr = "flatpak-runtime-f42-1".to_owned();
        update.status = flatbus_upstream::bodhi::Status::Pending;
        update.date_modified = Some(world.now());
    });
    world.settle(&["build/flatpak-runtime-f41-1", "build/flatpak-runtime-f42-1"]).await;
    assert!(world.tags("f41/flatpak-runtime").contains_key("testing"), "another writer may be at work");
    for _ in 0..3 {
        world.pass(11 * MINUTE).await;
        world.rig.settle().await;
    }
    assert!(!world.tags("f41/flatpak-runtime").contains_key("testing"));
}
