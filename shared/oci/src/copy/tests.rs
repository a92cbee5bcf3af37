use std::{collections::BTreeSet, sync::Mutex};

use super::*;
use crate::{
    memory::{Abilities, Fault, MemoryRegistry, Op},
    testing::{Recipe, Sample},
};

const LAYER: usize = 3 << 20;

struct World {
    source: MemoryRegistry,
    destination: MemoryRegistry,
    engine: Copier,
    image: Sample,
}

impl World {
    fn new() -> Self {
        Self::with(CopySettings { small_blob_bytes_max: 1 << 20, ..CopySettings::default() })
    }

    fn chunked() -> Self {
        let upload = UploadMode::Chunks { bytes: 1 << 20 };
        Self::with(CopySettings { small_blob_bytes_max: 1 << 20, upload, ..CopySettings::default() })
    }

    fn with(settings: CopySettings) -> Self {
        let image =
            Recipe { layer_bytes: LAYER, ..Recipe::flatpak("app/org.gnome.eog/x86_64/stable", 1) }.make();
        let source = MemoryRegistry::new("source.example");
        image.put(&source, &repository("eog"), &[]);
        let destination = MemoryRegistry::new("destination.example");
        Self { source, destination, engine: Copier::new(settings), image }
    }

    async fn copy(&self, tags: &[&str]) -> Result<Copied, Error> {
        let tags: Vec<_> = tags.iter().map(|tag| tag.parse().unwrap()).collect();
        self.engine.copy(self.from(), self.to(), &tags, &NoProgress).await
    }

    fn from(&self) -> Source {
        Source {
            registry: Arc::new(self.source.clone()),
            repository: repository("eog"),
            digest: self.image.digest(),
        }
    }

    fn to(&self) -> Destination {
        let registry = Arc::new(self.destination.clone());
        Destination { registry, repository: repository("fedora/eog"), mount_from: Vec::new() }
    }

    fn tags(&self) -> Vec<String> {
        let tags = self.destination.tags_of(&repository("fedora/eog"));
        assert!(tags.values().all(|digest| *digest == self.image.digest()));
        tags.keys().map(ToString::to_string).collect()
    }

    fn expect_whole(&self) {
        let blobs: BTreeSet<_> = self.image.blobs.iter().map(|bytes| Digest::of(bytes)).collect();
        assert_eq!(self.destination.blobs_of(&repository("fedora/eog")), blobs);
        assert_eq!(self.destination.manifests_of(&repository("fedora/eog")).len(), 3);
        assert_eq!(self.destination.open_uploads(), 0);
        assert_eq!(self.engine.flights.len(), 0);
        assert_eq!(self.engine.budget.available_permits(), 512);
    }
}

fn repository(name: &str) -> Repository {
    name.parse().unwrap()
}

fn broken() -> Error {
    flatbus_http::Error::Cut { host: "h".into(), why: "reset".into() }.into()
}

/// Fails the first `times` calls that fit.
fn first(
    times: usize,
    fits: impl Fn(Op) -> bool + Send + Sync,
    fault: Fault,
) -> impl Fn(&crate::memory::Call) -> Option<Fault> {
    let left = Mutex::new(times);
    move |call| {
        let mut left = left.lock().unwrap();
        if *left == 0 || !fits(call.op) {
            return None;
        }
        *left -= 1;
        Some(fault.clone())
    }
}

#[tokio::test(start_paused = true)]
async fn an_image_arrives_whole_and_byte_for_byte() {
    for world in [World::new(), World::chunked()] {
        let copied = world.copy(&["latest", "45.2"]).await.unwrap();
        assert_eq!((copied.blobs_copied, copied.manifests), (4, 5));
        assert_eq!(copied.bytes, world.image.blobs.iter().map(|blob| blob.len() as u64).sum::<u64>());
        assert_eq!(world.tags(), ["45.2", "latest"]);
        world.expect_whole();
    }
}

#[tokio::test(start_paused = true)]
async fn an_unchanged_image_is_one_request() {
    let world = World::new();
    world.copy(&["latest"]).await.unwrap();
    let again = world.copy(&["latest"]).await.unwrap();
    assert_eq!(again, Copied { requests: 1, destination_requests: 1, ..Copied::default() });
}

#[tokio::test(start_paused = true)]
async fn a_second_tag_is_one_put_and_asks_the_source_for_nothing() {
    let world = World::new();
    world.copy(&["latest"]).await.unwrap();
    world.source.forget_calls();
    let second = world.copy(&["latest", "testing"]).await.unwrap();
    assert_eq!((second.manifests, second.requests), (1, 4));
    assert!(world.source.calls().is_empty());
}

#[tokio::test(start_paused = true)]
async fn tags_come_last_and_nothing_is_named_before_it_is_there() {
    let world = World::new();
    world.copy(&["latest"]).await.unwrap();
    let writes: Vec<_> = world.destination.calls().into_iter().filter(|call| !call.op.reads()).collect();
    let puts: Vec<_> = writes.iter().filter(|call| call.op == Op::ManifestPut).collect();
    assert_eq!(writes.last().unwrap().subject, "latest");
    assert_eq!(puts.len(), 4);
    assert_eq!(puts[2].subject, world.image.digest().to_string());
    assert!(writes[writes.len() - 4..].iter().all(|call| call.op == Op::ManifestPut));
}

#[tokio::test(start_paused = true)]
async fn bytes_of_the_same_registry_are_mounted() {
    let world = World::new();
    world.image.put(&world.destination, &repository("staging/eog"), &[]);
    let to = Destination {
        mount_from: vec![repository("staging/other"), repository("staging/eog")],
        ..world.to()
    };
    let copied = world.engine.copy(world.from(), to, &[], &NoProgress).await.unwrap();
    assert_eq!((copied.blobs_mounted, copied.blobs_copied, copied.bytes), (4, 0, 0));
    world.expect_whole();
}

#[tokio::test(start_paused = true)]
async fn a_copy_within_a_registry_mounts_without_being_told() {
    let world = World::new();
    let to = Destination { registry: Arc::new(world.source.clone()), ..world.to() };
    let copied = world.engine.copy(world.from(), to, &[], &NoProgress).await.unwrap();
    assert_eq!((copied.blobs_mounted, copied.bytes), (4, 0));
}

#[tokio::test(start_paused = true)]
async fn a_refused_mount_goes_on_as_the_upload_it_began() {
    let world = World::new();
    let abilities = Abilities { mount: false, ..Abilities::default() };
    let destination = MemoryRegistry::with("destination.example", abilities);
    let to = Destination {
        registry: Arc::new(destination.clone()),
        mount_from: vec![repository("x")],
        ..world.to()
    };
    let copied = world.engine.copy(world.from(), to, &[], &NoProgress).await.unwrap();
    assert_eq!(copied.blobs_copied, 4);
    assert_eq!((destination.count(Op::UploadBegin), destination.open_uploads()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_download_that_breaks_goes_on_where_it_broke() {
    for world in [World::new(), World::chunked()] {
        let after = 1_300_000;
        world.source.set_fault(first(4, |op| op == Op::BlobGet { offset: 0 }, Fault::Cut { after }));
        world.copy(&["latest"]).await.unwrap();
        let offsets: Vec<_> = world.source.calls().iter().map(|call| call.op).collect();
        assert!(offsets.contains(&Op::BlobGet { offset: after }));
        world.expect_whole();
    }
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_breaks_goes_on_where_the_destination_stands() {
    let world = World::new();
    let after = 1_300_000;
    world.destination.set_fault(first(2, |op| matches!(op, Op::UploadStream { .. }), Fault::Cut { after }));
    world.copy(&["latest"]).await.unwrap();
    let resumed = world
        .destination
        .calls()
        .into_iter()
        .any(|call| matches!(call.op, Op::UploadStream { offset } if offset > 1_000_000));
    assert!(resumed, "{:?}", world.destination.calls());
    world.expect_whole();
}

#[tokio::test(start_paused = true)]
async fn a_chunk_whose_answer_is_lost_is_not_sent_twice() {
    let world = World::chunked();
    world.destination.set_fault(first(
        1,
        |op| matches!(op, Op::UploadPatch { .. }),
        Fault::FailAfter(broken()),
    ));
    world.copy(&["latest"]).await.unwrap();
    world.expect_whole();
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_expired_is_begun_again() {
    for world in [World::new(), World::chunked()] {
        let registry = world.destination.clone();
        let left = Mutex::new(1);
        world.destination.set_fault(move |call| {
            let mut left = left.lock().unwrap();
            let hit =
                *left > 0 && matches!(call.op, Op::UploadStream { .. } | Op::UploadPatch { offset: 1.. });
            hit.then(|| {
                *left -= 1;
                registry.expire_uploads();
                Fault::Fail(broken())
            })
        });
        world.copy(&["latest"]).await.unwrap();
        world.expect_whole();
    }
}

#[tokio::test(start_paused = true)]
async fn a_put_whose_answer_is_lost_has_done_its_work() {
    for world in [World::new(), World::chunked()] {
        world.destination.set_fault(first(4, |op| op == Op::UploadPut, Fault::FailAfter(broken())));
        world.copy(&["latest"]).await.unwrap();
        world.expect_whole();
    }
}

#[tokio::test(start_paused = true)]
async fn wrong_bytes_are_refused_and_nothing_is_tagged() {
    for world in [World::new(), World::chunked()] {
        let big = |op| matches!(op, Op::BlobGet { .. });
        world.source.set_fault(first(usize::MAX, big, Fault::Garble));
        assert!(matches!(world.copy(&["latest"]).await, Err(Error::WrongDigest { .. })));
        assert!(world.tags().is_empty());
        assert!(world.destination.manifests_of(&repository("fedora/eog")).is_empty());
        assert_eq!(world.engine.budget.available_permits(), 512);
    }
}

#[tokio::test(start_paused = true)]
async fn one_wrong_layer_among_good_blobs_leaves_no_open_upload() {
    for world in [World::new(), World::chunked()] {
        let wrong = Digest::of(&world.image.blobs[1]).to_string();
        world.source.set_fault(move |call| (call.subject == wrong).then_some(Fault::Garble));
        let settings = CopySettings { blobs_at_once_max: 1, ..(*world.engine.settings).clone() };
        let world = World { engine: Copier::new(settings), ..world };
        assert!(matches!(world.copy(&["latest"]).await, Err(Error::WrongDigest { .. })));
        assert_eq!(world.destination.open_uploads(), 0);
        assert!(world.tags().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_wrong_manifest_is_refused() {
    let world = World::new();
    world.source.set_fault(first(1, |op| op == Op::ManifestGet, Fault::Garble));
    assert!(matches!(world.copy(&["latest"]).await, Err(Error::WrongDigest { .. })));
    assert!(world.destination.calls().iter().all(|call| call.op.reads()));
}

#[tokio::test(start_paused = true)]
async fn a_source_that_never_recovers_is_given_up() {
    let world = World::new();
    world.source.set_fault(first(usize::MAX, |op| matches!(op, Op::BlobGet { .. }), Fault::Fail(broken())));
    assert_eq!(world.copy(&["latest"]).await, Err(broken()));
    assert!(world.tags().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_at_the_source_is_said() {
    let world = World::new();
    world.source.remove_manifest(&repository("eog"), &world.image.digest());
    assert!(
        matches!(world.copy(&["latest"]).await, Err(Error::NotFound { host, .. }) if host == "source.example")
    );
}

#[tokio::test(start_paused = true)]
async fn a_destination_that_forgets_blobs_meanwhile_is_looked_at_again() {
    let world = World::new();
    let (registry, gone) = (world.destination.clone(), Digest::of(&world.image.blobs[1]));
    let left = Mutex::new(1);
    world.destination.set_fault(move |call| {
        let mut left = left.lock().unwrap();
        if call.op == Op::ManifestPut && *left > 0 {
            *left -= 1;
            registry.remove_blob(&repository("fedora/eog"), &gone);
        }
        None
    });
    world.copy(&["latest"]).await.unwrap();
    world.expect_whole();
}

#[tokio::test(start_paused = true)]
async fn two_copies_of_one_image_send_each_blob_once() {
    let world = World::new();
    let (a, b) = futures::join!(world.copy(&["latest"]), world.copy(&["testing"]));
    assert_eq!(a.unwrap().blobs_copied + b.unwrap().blobs_copied, 4);
    world.expect_whole();
}

#[tokio::test(start_paused = true)]
async fn a_blob_that_gets_no_memory_waits_and_all_arrive() {
    let settings = CopySettings { copy_bytes_in_flight_max: 64 << 10, ..CopySettings::default() };
    let world = World::with(settings);
    world.copy(&["latest"]).await.unwrap();
    assert_eq!(world.tags(), ["latest"]);
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_is_cancelled_anywhere_is_finished_by_the_next() {
    for steps in 0..60 {
        let world = World::new();
        {
            let mut copying = Box::pin(world.copy(&["latest"]));
            for _ in 0..steps {
                if futures::poll!(&mut copying).is_ready() {
                    break;
                }
            }
        }
        let tagged = !world.tags().is_empty();
        world.destination.expire_uploads();
        let again = world.copy(&["latest"]).await.unwrap();
        assert!(!tagged || !again.changed(), "a tag was there before its image");
        world.expect_whole();
    }
}

#[tokio::test(start_paused = true)]
async fn docker_images_foreign_layers_and_empty_blobs_are_copied() {
    let world = World::new();
    let docker = Recipe { docker: true, layer_bytes: 0, ..Recipe::plain(2) }.make();
    docker.put(&world.source, &repository("eog"), &[]);
    let from = Source { digest: docker.digest(), ..world.from() };
    world.engine.copy(from, world.to(), &[], &NoProgress).await.unwrap();
    let held = world
        .destination
        .manifest_get(&repository("fedora/eog"), &docker.digest().into())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(held, docker.index);
}

#[tokio::test(start_paused = true)]
async fn a_private_or_unknown_destination_is_written_to_all_the_same() {
    let world = World::new();
    let refused = Error::Denied { host: "h".into(), what: "pull".into(), why: "nothing granted".into() };
    world.destination.set_fault(move |call| call.op.reads().then(|| Fault::Fail(refused.clone())));
    world.copy(&["latest"]).await.unwrap();
    world.expect_whole();
}

#[tokio::test(start_paused = true)]
async fn progress_is_told_to_the_last_byte() {
    #[derive(Default)]
    struct Seen(Mutex<(u64, u64, usize)>);
    impl Progress for Seen {
        fn blob_begins(&self, _: &Digest, size: u64) {
            self.0.lock().unwrap().0 += size;
        }
        fn bytes_came(&self, bytes: u64) {
            self.0.lock().unwrap().1 += bytes;
        }
        fn blob_ends(&self, _: &Digest, _: u64, _: BlobEnd) {
            self.0.lock().unwrap().2 += 1;
        }
    }
    let (world, seen) = (World::new(), Seen::default());
    world.engine.copy(world.from(), world.to(), &[], &seen).await.unwrap();
    let (begun, came, ended) = *seen.0.lock().unwrap();
    assert_eq!((begun, ended), (came, 4));
}

#[test]
fn a_copy_can_be_spawned() {
    fn spawnable<F: Future + Send>(_: &F) {}
    let world = World::new();
    let copying = world.engine.copy(world.from(), world.to(), &[], &NoProgress);
    spawnable(&copying);
}
