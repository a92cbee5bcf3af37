//! Cut short anywhere, settled again: the same end.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use flatbus_oci::{
    memory::{Call, Fault},
    withdrawn,
};
use flatbus_upstream::bodhi::Status;

use crate::world::{DAY, Setting, World, repo, stable, testing};

/// A world in the middle of its history: one build stable, the next in testing, the one before about to be withdrawn.
async fn story(setting: Setting) -> World {
    let world = setting.world().await;
    for (nvr, id) in [("eog-1-1", 1), ("eog-2-1", 2), ("eog-3-1", 3)] {
        world.build(nvr, id, "eog");
    }
    world.bodhi.put(stable("U-1", &["eog-1-1"], "2022-09-01 00:00:00"));
    world.bodhi.put(testing("U-2", &["eog-2-1"], "2022-09-20 00:00:00"));
    world
}

/// Tags with the number of the build they name.
type Tags = &'static [(&'static str, i64)];

const FIRST: Tags = &[
    ("1", 1),
    ("1-1", 1),
    ("2", 2),
    ("2-1", 2),
    ("build-1", 1),
    ("build-2", 2),
    ("latest", 1),
    ("testing", 2),
];

/// Then the second build is unpushed and the third pushed to stable.
fn second_chapter(world: &World) {
    world.bodhi.edit("U-2", |update| update.status = Status::Unpushed);
    let mut third = stable("U-3", &["eog-3-1"], "2022-09-25 00:00:00");
    third.date_testing = None;
    world.bodhi.put(third);
    world.bodhi.edit("U-1", |update| update.date_testing = None);
}

const SECOND: Tags = &[
    ("1", 1),
    ("1-1", 1),
    ("2", 2),
    ("2-1", 2),
    ("3", 3),
    ("3-1", 3),
    ("build-1", 1),
    ("build-2", 2),
    ("build-3", 3),
    ("latest", 3),
];

/// Whatever stands at a tag is complete, and can be read by anybody if users follow it.
fn nothing_is_half_done(world: &World, story: &str) {
    let name = repo("fedora/eog");
    let (manifests, blobs) = (world.public.manifests_of(&name), world.public.blobs_of(&name));
    for (tag, digest) in world.public.tags_of(&name) {
        assert!(manifests.contains(&digest), "{story}: {tag} names a manifest that isn't there");
        if withdrawn::is(&digest) {
            continue;
        }
        assert!(blobs.len() >= 4, "{story}: {tag} names an image without its blobs");
        let is_held = world
            .public
            .tags_of(&name)
            .iter()
            .any(|(holding, held)| holding.as_str().starts_with("build-") && *held == digest);
        assert!(is_held, "{story}: {tag} names a digest that no holding tag holds");
        if !tag.as_str().starts_with("build-") {
            assert_eq!(world.public.is_public(&name), Some(true), "{story}: {tag} is named and not public");
        }
    }
}

/// Lets the n-th call on the destination go wrong.
fn break_nth(world: &World, n: u64, fault: impl Fn() -> Fault + Send + Sync + 'static) {
    let count = Arc::new(AtomicU64::new(0));
    world.public.set_fault(move |_: &Call| (count.fetch_add(1, Ordering::SeqCst) == n).then(&fault));
}

fn broken() -> flatbus_oci::Error {
    flatbus_http::Error::Cut { host: "public.example".into(), why: "connection reset".into() }.into()
}

async fn until_settled(world: &World) {
    for _ in 0..50 {
        let left = world.rig.settle().await;
        assert_eq!(left.parked, 0, "{:?}", world.parked());
        if left.waiting == 0 {
            return;
        }
        world.pass(DAY / 24).await;
    }
    panic!("never settled: {:?}", world.waiting());
}

fn plain() -> Setting {
    Setting::new()
}

fn on_quay() -> Setting {
    Setting::new().quay()
}

fn without_deletion() -> Setting {
    Setting::new().abilities(|abilities| abilities.tag_delete = false)
}

#[tokio::test(start_paused = true)]
async fn a_destination_that_fails_at_any_call_ends_the_same() {
    let nothing: Tags = &[];
    let settings: [(fn() -> Setting, Tags); 3] =
        [(plain, nothing), (on_quay, nothing), (without_deletion, &[("testing", 0)])];
    for (setting, left) in settings {
        let whole = story(setting()).await;
        whole.settle(&["build/eog-1-1"]).await;
        second_chapter(&whole);
        whole.settle(&["build/eog-3-1"]).await;
        let calls = whole.public.calls().len() as u64;
        assert!(calls > 40);
        for n in 0..calls {
            for after in [false, true] {
                let world = story(setting()).await;
                let fault = move || if after { Fault::FailAfter(broken()) } else { Fault::Fail(broken()) };
                break_nth(&world, n, fault);
                world.settle(&["build/eog-1-1"]).await;
                nothing_is_half_done(&world, &format!("call {n}"));
                until_settled(&world).await;
                world.expect_tags("eog", FIRST);
                second_chapter(&world);
                world.settle(&["build/eog-3-1"]).await;
                nothing_is_half_done(&world, &format!("call {n}"));
                until_settled(&world).await;
                world.expect_tags("eog", &[SECOND, left].concat());
                told_the_truth(&world, n);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_moved_before_a_failure_is_told_even_where_the_next_push_has_overtaken_it() {
    let begun = async || {
        let world = plain().world().await;
        for (nvr, id) in [("eog-1-1", 1), ("eog-2-1", 2), ("eog-3-1", 3)] {
            world.build(nvr, id, "eog");
        }
        world.bodhi.put(stable("U-1", &["eog-1-1"], "2022-09-01 00:00:00"));
        world.settle(&["build/eog-1-1"]).await;
        world.public.forget_calls();
        world.bodhi.put(stable("U-2", &["eog-2-1"], "2022-09-10 00:00:00"));
        world
    };
    let whole = begun().await;
    whole.settle(&["build/eog-2-1"]).await;
    for n in 0..whole.public.calls().len() as u64 {
        for after in [false, true] {
            let world = begun().await;
            let fault = move || if after { Fault::FailAfter(broken()) } else { Fault::Fail(broken()) };
            break_nth(&world, n, fault);
            world.settle(&["build/eog-2-1"]).await;
            world.bodhi.put(stable("U-3", &["eog-3-1"], "2022-09-20 00:00:00"));
            world.settle(&["build/eog-3-1"]).await;
            until_settled(&world).await;
            told_the_truth(&world, n);
        }
    }
}

/// Everything that was announced, taken together, is what stands there now.
fn told_the_truth(world: &World, n: u64) {
    let mut told: BTreeMap<String, Option<String>> = BTreeMap::new();
    for (subject, value) in world.announced() {
        told.insert(subject, value);
    }
    let tags = world.public.tags_of(&repo("fedora/eog"));
    let stands = |subject: &str| {
        let digest =
            tags.iter().find(|(tag, _)| subject.ends_with(&format!(":{tag}"))).map(|(_, digest)| *digest);
        digest.filter(|digest| !withdrawn::is(digest)).map(|digest| digest.to_string())
    };
    for (subject, value) in &told {
        assert_eq!(*value, stands(subject), "call {n}: {subject}");
    }
    for (tag, digest) in
        tags.iter().filter(|(tag, digest)| !tag.as_str().starts_with("build-") && !withdrawn::is(digest))
    {
        assert_eq!(
            told.get(&format!("fedora/eog:{tag}")),
            Some(&Some(digest.to_string())),
            "call {n}: {tag} was never told of"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_process_killed_at_any_call_ends_the_same() {
    let whole = story(plain()).await;
    whole.settle(&["build/eog-1-1"]).await;
    second_chapter(&whole);
    whole.settle(&["build/eog-3-1"]).await;
    let calls = whole.public.calls().len() as u64;
    for n in 0..calls {
        let world = story(plain()).await;
        break_nth(&world, n, || Fault::Hang);
        let world = killed_if_stuck(world, "build/eog-1-1").await;
        second_chapter(&world);
        let world = killed_if_stuck(world, "build/eog-3-1").await;
        until_settled(&world).await;
        let mut tags = world.tags("eog");
        for leftover in ["2", "2-1", "build-2"] {
            tags.entry(leftover.to_owned()).or_insert(2); // A kill in the first chapter may be made good only in the second.
        }
        assert_eq!(tags, SECOND.iter().map(|&(tag, id)| (tag.to_owned(), id)).collect(), "call {n}");
        nothing_is_half_done(&world, &format!("killed at call {n}"));
    }
}

/// Settles; where that hangs, kills the process and starts it again.
async fn killed_if_stuck(world: World, key: &str) -> World {
    let stuck = tokio::time::timeout(DAY / 24, world.settle(&[key])).await.is_err();
    nothing_is_half_done(&world, "at the kill");
    if !stuck {
        return world;
    }
    world.public.clear_fault();
    let world = world.restart().await;
    until_settled(&world).await;
    world
}
