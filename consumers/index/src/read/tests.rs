use std::time::Duration;

use bytes::Bytes;
use flatbus_oci::{
    Manifest, MemoryRegistry,
    manifest::OCI_MANIFEST,
    memory::{Call, Fault, Op},
    testing::Recipe,
};
use serde_json::{Value, json};

use super::*;

/// A registry as quay is, asked without credentials, and a cache.
struct World {
    registry: MemoryRegistry,
    repository: Repository,
    cache: Cache,
    dir: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let registry = MemoryRegistry::new("quay.io");
        let repository = "fedora/eog".parse().unwrap();
        registry.set_public(&repository, true);
        let dir = tempfile::tempdir().unwrap();
        Self { registry, repository, cache: Cache::open(dir.path()).unwrap(), dir }
    }

    /// The tag `latest`.
    fn tag(&self) -> Tag {
        "latest".parse().unwrap()
    }

    async fn read(&self) -> Result<Named, ReadError> {
        self.read_for(&self.repository).await
    }

    /// Clients look for it in another repository of the same registry.
    async fn read_for(&self, clients: &Repository) -> Result<Named, ReadError> {
        let registry = self.registry.anonymous();
        let place = |repository| Place { registry: &registry, repository };
        read(place(&self.repository), place(clients), &self.cache, &self.tag()).await
    }

    async fn images(&self) -> (Vec<Image>, Vec<LeftOut>) {
        match self.read().await.unwrap() {
            Named::Images { images, left_out, .. } => (images, left_out),
            other => panic!("{other:?}"),
        }
    }

    fn manifest(&self, body: &Value, media_type: &str, tags: &[Tag]) -> Manifest {
        let bytes = Bytes::from(body.to_string());
        let manifest = Manifest { digest: Digest::of(&bytes), bytes, media_type: media_type.to_owned() };
        self.registry.put_manifest(&self.repository, &manifest, tags);
        manifest
    }

    /// An image with this config and so many layers that aren't there: nobody looks.
    fn image(&self, config: &Value, layers: usize) -> Manifest {
        let text = config.to_string();
        let named =
            json!({"digest": self.registry.put_blob(&self.repository, text.clone()), "size": text.len()});
        let layers = vec![json!({"digest": Digest::of(b"layer"), "size": 5}); layers];
        let body = json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": named, "layers": layers});
        self.manifest(&body, OCI_MANIFEST, &[])
    }

    fn tag_index(&self, children: &[Value]) -> Manifest {
        let body = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": children});
        self.manifest(&body, OCI_INDEX, &[self.tag()])
    }

    /// How often something was asked since it was last asked for.
    fn asked(&self) -> [u64; 3] {
        let counts =
            [Op::ManifestGet, Op::ManifestHead, Op::BlobGet { offset: 0 }].map(|op| self.registry.count(op));
        self.registry.forget_calls();
        counts
    }
}

fn config(architecture: &str) -> Value {
    let labels = json!({"org.flatpak.ref": format!("app/org.gnome.eog/{architecture}/stable")});
    let rootfs = json!({"type": "layers", "diff_ids": [Digest::of(architecture.as_bytes())]});
    json!({"os": "linux", "architecture": architecture, "config": {"Labels": labels}, "rootfs": rootfs})
}

fn child(manifest: &Manifest) -> Value {
    json!({"mediaType": manifest.media_type, "digest": manifest.digest, "size": manifest.bytes.len()})
}

fn architectures(images: &[Image]) -> Vec<&str> {
    images.iter().map(|image| image.architecture.as_str()).collect()
}

fn broken() -> Error {
    flatbus_http::Error::Cut { host: "quay.io".to_owned(), why: "connection reset".to_owned() }.into()
}

#[tokio::test]
async fn a_tag_names_an_image_an_architecture() {
    let world = World::new();
    let archives =
        include_str!("../../../../schemas/samples/koji/archives/eog-stable-3620220905044417.1.json");
    let archives: Vec<Value> = serde_json::from_str(archives).unwrap();
    let real: Vec<&Value> =
        archives.iter().map(|one| &one["extra"]["docker"]["config"]).filter(|one| one.is_object()).collect();
    let manifests: Vec<Manifest> = real.iter().map(|config| world.image(config, 1)).collect();
    let root = world.tag_index(&manifests.iter().map(child).collect::<Vec<_>>());

    let Named::Images { root: named, images, left_out } = world.read().await.unwrap() else { panic!() };
    assert_eq!((named, left_out), (root.digest, vec![]));
    assert_eq!(architectures(&images), ["amd64", "arm64"]);
    for (image, (manifest, config)) in images.iter().zip(manifests.iter().zip(real)) {
        assert_eq!((image.digest, image.media_type.as_str()), (manifest.digest, OCI_MANIFEST));
        assert_eq!(json!(image.labels), config["config"]["Labels"]);
        assert_eq!(json!(image.diff_id), config["rootfs"]["diff_ids"][0]);
        assert!(image.flatpak().unwrap().name.as_str().starts_with("app/org.gnome.eog/"));
    }
}

#[tokio::test]
async fn a_tag_that_names_no_index_names_one_image() {
    let world = World::new();
    let image = world.image(&config("amd64"), 1);
    world.registry.set_tag(&world.repository, &world.tag(), image.digest);
    let Named::Images { root, images, left_out } = world.read().await.unwrap() else { panic!() };
    assert_eq!((root, images[0].digest, images.len(), left_out), (image.digest, image.digest, 1, vec![]));
}

#[tokio::test]
async fn docker_images_are_read_as_others_are() {
    let world = World::new();
    let recipe = Recipe { docker: true, ..Recipe::flatpak("app/org.gnome.eog/x86_64/stable", 1) };
    recipe.make().put(&world.registry, &world.repository, &[world.tag()]);
    let (images, _) = world.images().await;
    assert_eq!(architectures(&images), ["amd64", "arm64"]);
    assert_eq!(images[0].media_type, flatbus_oci::manifest::DOCKER_MANIFEST);
}

#[tokio::test]
async fn a_tag_that_is_not_there_is_absent() {
    let world = World::new();
    assert_eq!(world.read().await.unwrap(), Named::Absent);
    assert_eq!(world.asked(), [1, 0, 0]);
}

#[tokio::test]
async fn a_repository_that_nobody_may_read_is_an_error_and_not_absent() {
    let world = World::new();
    world.registry.set_public(&world.repository, false);
    let refused = world.read().await.unwrap_err();
    assert!(matches!(refused, ReadError::Registry(Error::Unauthorized { .. })), "{refused}");
}

#[tokio::test]
async fn a_withdrawn_tag_says_so() {
    let world = World::new();
    world.registry.put_manifest(&world.repository, &withdrawn::manifest(), &[world.tag()]);
    assert_eq!(world.read().await.unwrap(), Named::Withdrawn);
    let body = json!({"schemaVersion": 2, "manifests": [], "annotations": {"flatbus.withdrawn": "by hand"}});
    world.manifest(&body, OCI_INDEX, &[world.tag()]);
    assert_eq!(world.read().await.unwrap(), Named::Withdrawn);
}

#[tokio::test]
async fn an_index_of_nothing_that_does_not_say_why_names_nothing() {
    let world = World::new();
    world.tag_index(&[]);
    assert_eq!(world.images().await, (vec![], vec![]));
}

#[tokio::test]
async fn an_image_that_was_read_is_not_asked_for_again_also_by_the_next_process() {
    let mut world = World::new();
    let recipe = Recipe::flatpak("app/org.gnome.eog/x86_64/stable", 1);
    recipe.make().put(&world.registry, &world.repository, &[world.tag()]);
    let first = world.read().await.unwrap();
    assert_eq!(world.asked(), [3, 2, 2]); // The tag; then each image with its config, and as clients begin: by HEAD.
    world.cache = Cache::open(world.dir.path()).unwrap();
    assert_eq!(world.read().await.unwrap(), first);
    assert_eq!(world.asked(), [1, 0, 0]);
}

#[tokio::test]
async fn an_image_that_cannot_be_kept_counts_all_the_same() {
    let world = World::new();
    Recipe::plain(1).make().put(&world.registry, &world.repository, &[world.tag()]);
    std::fs::remove_dir_all(world.dir.path().join("images")).unwrap();
    std::fs::write(world.dir.path().join("images"), "full").unwrap();
    assert_eq!(world.images().await.0.len(), 2);
    assert_eq!(world.images().await.0.len(), 2);
    assert_eq!(world.asked(), [6, 4, 4]);
}

#[tokio::test]
async fn what_is_no_image_is_left_out_with_its_reason_and_the_rest_is_read() {
    let world = World::new();
    let blob = |text: &str| world.registry.put_blob(&world.repository, text.to_owned());
    let with_config = |digest: &Digest, size: u64| {
        let body = json!({"schemaVersion": 2, "config": {"digest": digest, "size": size}, "layers": []});
        child(&world.manifest(&body, OCI_MANIFEST, &[]))
    };
    let bad: Vec<(Value, &str)> = vec![
        (json!({"digest": Digest::of(b"nowhere"), "size": 1}), "quay.io doesn't have its manifest"),
        (json!({"digest": "sha512:00", "size": 1, "platform": {"architecture": "arm64"}}), "not a sha256"),
        (
            json!({"digest": Digest::of(b"huge"), "size": u64::MAX}),
            "its manifest has 18446744073709551615 bytes",
        ),
        (
            child(&world.manifest(&json!({"schemaVersion": 2, "manifests": []}), OCI_INDEX, &[])),
            "within an index",
        ),
        (child(&world.manifest(&json!({"schemaVersion": 1}), OCI_MANIFEST, &[])), "schema version is 1"),
        (child(&world.manifest(&json!({"schemaVersion": 2}), OCI_MANIFEST, &[])), "is not valid"),
        (child(&world.manifest(&json!("text"), OCI_MANIFEST, &[])), "is not valid"),
        (with_config(&Digest::of(b"missing"), 1), "quay.io doesn't have its config"),
        (with_config(&Digest::of(b"huge"), CONFIG_BYTES_MAX + 1), "its config has 8388609 bytes"),
        (with_config(&blob("<html>"), 6), "can't be read"),
        (with_config(&blob("{}"), 2), "names no os"),
        (child(&world.image(&json!({"os": "linux"}), 0)), "names no architecture"),
        (child(&world.image(&json!({"os": "linux", "architecture": "../x"}), 0)), "names no architecture"),
        (child(&world.image(&config("amd64"), 0)), "0 layers where its config names 1"),
        (child(&world.image(&config("s390x"), 2)), "2 layers where its config names 1"),
        (
            child(&world.image(&json!({"os": "linux", "architecture": "arm"}), 0)),
            "0 layers where its config names 0",
        ),
    ];
    let good = child(&world.image(&config("arm64"), 1));
    let children: Vec<Value> = bad.iter().map(|(child, _)| child.clone()).chain([good]).collect();
    world.tag_index(&children);
    for _ in 0..2 {
        let (images, left_out) = world.images().await;
        assert_eq!(architectures(&images), ["arm64"]);
        assert_eq!(left_out.len(), bad.len());
        for (left, (child, why)) in left_out.iter().zip(&bad) {
            assert!(left.why.contains(why), "{}, where it should say {why}", left.why);
            assert_eq!(json!(left.digest), child["digest"]);
        }
        assert_eq!(left_out[1].architecture.as_deref(), Some("arm64"));
    }
}

#[tokio::test]
async fn what_a_registry_says_for_good_of_one_image_is_said_of_that_one() {
    let (host, what, why) = ("quay.io".to_owned(), "it".to_owned(), "no object".to_owned());
    let gone = Error::NotFound { host: host.clone(), what: what.clone() };
    let invalid = Error::Manifest { host, what, why };
    for (error, why) in [(gone, "quay.io doesn't have its manifest"), (invalid, "is not valid: no object")] {
        let world = World::new();
        let images = ["amd64", "arm64"].map(|name| world.image(&config(name), 1));
        world.tag_index(&images.each_ref().map(child));
        let first = images[0].digest.to_string();
        let hook = move |call: &Call| (call.subject == first).then(|| Fault::Fail(error.clone()));
        world.registry.set_fault(hook);
        let (read, left_out) = world.images().await;
        assert_eq!(architectures(&read), ["arm64"]);
        assert!(left_out[0].why.contains(why), "{left_out:?}");
    }
}

#[tokio::test]
async fn an_attestation_is_passed_over_in_silence() {
    let world = World::new();
    let unknown = json!({"os": "unknown", "architecture": "unknown", "rootfs": {"diff_ids": []}});
    let told = json!({"digest": Digest::of(b"told"), "size": 1, "platform": {"architecture": "unknown", "os": "unknown"}});
    world.tag_index(&[child(&world.image(&unknown, 1)), told, child(&world.image(&unknown, 0))]);
    let (images, left_out) = world.images().await;
    assert_eq!(images, []);
    assert!(left_out.iter().all(|left| left.why.contains("layers")), "{left_out:?}");
}

#[tokio::test]
async fn whatever_request_fails_nothing_smaller_is_read() {
    let world = || {
        let world = World::new();
        Recipe::plain(1).make().put(&world.registry, &world.repository, &[world.tag()]);
        world
    };
    let whole = world();
    let (images, _) = whole.images().await;
    let requests = whole.registry.calls();
    assert_eq!((images.len(), requests.len()), (2, 7));
    let refused = Error::Unauthorized { host: "quay.io".into(), what: String::new(), why: "busy".into() };
    let page = Error::Protocol { host: "quay.io".into(), what: String::new(), why: "a page".into() };
    for (fault, failing) in [
        (Fault::Fail(broken()), 7),
        (Fault::Fail(refused), 7),
        (Fault::Fail(page), 7),
        (Fault::FailAfter(broken()), 7),
        (Fault::Garble, 5),           // A HEAD has no bytes.
        (Fault::Cut { after: 3 }, 2), // Only blobs come in pieces.
    ] {
        let mut failed = 0;
        for request in &requests {
            let world = world();
            let (theirs, at) = (fault.clone(), request.clone());
            world.registry.set_fault(move |call| (*call == at).then(|| theirs.clone()));
            match world.read().await {
                Ok(Named::Images { images: read, .. }) => {
                    assert_eq!(read, images, "{fault:?} of {request:?}");
                }
                Ok(other) => panic!("{fault:?} of {request:?} gives {other:?}"),
                Err(_) => failed += 1,
            }
            world.registry.clear_fault();
            assert_eq!(world.images().await, (images.clone(), vec![]), "{fault:?} of {request:?} lasts");
        }
        assert_eq!(failed, failing, "{fault:?}");
    }
}

#[tokio::test]
async fn what_was_read_before_a_failure_is_not_asked_for_again() {
    let world = World::new();
    let children = ["amd64", "arm64"].map(|name| world.image(&config(name), 1));
    world.tag_index(&children.each_ref().map(child));
    let second = children[1].digest.to_string();
    world.registry.set_fault(move |call| (call.subject == second).then(|| Fault::Fail(broken())));
    world.read().await.unwrap_err();
    world.registry.clear_fault();
    world.asked();
    assert_eq!(architectures(&world.images().await.0), ["amd64", "arm64"]);
    assert_eq!(world.asked(), [2, 1, 1]);
}

#[tokio::test]
async fn requests_come_in_the_same_order_each_time() {
    let mut orders = BTreeSet::new();
    for _ in 0..20 {
        let world = World::new();
        let children = ["amd64", "arm64", "arm", "386", "ppc64le", "s390x"];
        world.tag_index(&children.map(|name| child(&world.image(&config(name), 1))));
        world.read().await.unwrap();
        orders.insert(world.registry.calls().iter().map(|call| format!("{call:?}")).collect::<Vec<_>>());
    }
    assert_eq!(orders.len(), 1);
}

#[tokio::test]
async fn an_image_that_clients_cannot_get_is_an_error_that_waiting_may_cure() {
    let world = World::new();
    let sample = Recipe::plain(1).make();
    sample.put(&world.registry, &world.repository, &[world.tag()]);
    let front: Repository = "eog".parse().unwrap();
    sample.put(&world.registry, &front, &[]);
    let digest = sample.manifests[0].digest;

    world.registry.set_public(&front, false);
    let private = world.read_for(&front).await.unwrap_err();
    assert!(matches!(&private, ReadError::NotForClients { .. }), "{private}");
    assert_eq!(private.remedy(), Remedy::Retry);
    let said = private.to_string();
    assert!(said.contains("quay.io/eog") && said.contains("make that repository public"), "{said}");

    world.registry.set_public(&front, true);
    world.registry.remove_manifest(&front, &digest);
    let missing = world.read_for(&front).await.unwrap_err().to_string();
    assert!(missing.contains(&digest.to_string()) && missing.contains("not found"), "{missing}");

    for sample in &sample.manifests {
        world.registry.put_manifest(&front, sample, &[]);
    }
    world.asked();
    assert!(matches!(world.read_for(&front).await, Ok(Named::Images { images, .. }) if images.len() == 2));
    assert!(world.asked()[1] > 0);
    world.read_for(&front).await.unwrap();
    assert_eq!(world.asked(), [1, 0, 0]);
}

#[tokio::test]
async fn clients_must_get_an_image_by_head_and_by_get() {
    let text = String::new;
    for op in [Op::ManifestHead, Op::ManifestGet] {
        for error in [
            Error::Unauthorized { host: text(), what: text(), why: text() },
            Error::Denied { host: text(), what: text(), why: text() },
            Error::NotFound { host: text(), what: text() },
        ] {
            let world = World::new();
            let sample = Recipe::plain(1).make();
            let front: Repository = "eog".parse().unwrap();
            sample.put(&world.registry, &world.repository, &[world.tag()]);
            sample.put(&world.registry, &front, &[]);
            let (at_front, theirs) = (front.clone(), error.clone());
            let hook = move |call: &Call| {
                (call.op == op && call.repository == at_front).then(|| Fault::Fail(theirs.clone()))
            };
            world.registry.set_fault(hook);
            let refused = world.read_for(&front).await.unwrap_err();
            assert!(matches!(refused, ReadError::NotForClients { .. }), "{op:?}, {error}: {refused}");
            assert!(world.read().await.is_ok(), "where it is read from it can be got");
        }
    }
}

#[tokio::test]
async fn a_place_for_clients_that_cannot_be_asked_is_not_one_without_the_image() {
    let world = World::new();
    let front: Repository = "eog".parse().unwrap();
    Recipe::plain(1).make().put(&world.registry, &world.repository, &[world.tag()]);
    let at_front = front.clone();
    world.registry.set_fault(move |call| (call.repository == at_front).then(|| Fault::Fail(broken())));
    let refused = world.read_for(&front).await.unwrap_err();
    assert_eq!(refused, ReadError::Registry(broken()));
}

#[tokio::test]
async fn what_was_proved_at_one_place_is_proved_anew_at_another_but_not_read_again() {
    let world = World::new();
    let sample = Recipe::plain(1).make();
    sample.put(&world.registry, &world.repository, &[world.tag()]);
    let front: Repository = "eog".parse().unwrap();
    sample.put(&world.registry, &front, &[]);
    let read = world.read().await.unwrap();
    world.asked();
    assert_eq!(world.read_for(&front).await.unwrap(), read);
    assert_eq!(world.asked(), [3, 2, 0]);
    for clients in [&front, &world.repository] {
        assert_eq!(world.read_for(clients).await.unwrap(), read);
        assert_eq!(world.asked(), [1, 0, 0]);
    }
}

#[tokio::test]
async fn what_is_left_out_needs_no_proof() {
    let world = World::new();
    let image = world.image(&json!({}), 1);
    world.tag_index(&[child(&image)]);
    world.registry.set_fault(|call| (call.op == Op::ManifestHead).then(|| Fault::Fail(broken())));
    let (images, left_out) = world.images().await;
    assert_eq!((images.len(), left_out.len()), (0, 1));
}

#[tokio::test]
async fn an_index_of_more_images_than_there_are_architectures_is_for_a_person() {
    let world = World::new();
    let named = |count: usize| {
        let digest = |n: usize| json!({"digest": Digest::of(&n.to_be_bytes()), "size": 1});
        world.tag_index(&(0..count).map(digest).collect::<Vec<_>>());
    };
    named(CHILDREN_MAX);
    assert_eq!(world.images().await.1.len(), CHILDREN_MAX);
    named(CHILDREN_MAX + 1);
    let refused = world.read().await.unwrap_err();
    assert_eq!(refused.remedy(), Remedy::Park);
    assert!(refused.to_string().contains("65 images"), "{refused}");
}

#[tokio::test]
async fn an_image_that_is_named_twice_is_one() {
    let world = World::new();
    let image = child(&world.image(&config("amd64"), 1));
    world.tag_index(&[image.clone(), image]);
    assert_eq!(world.images().await.0.len(), 1);
    assert_eq!(world.asked(), [2, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn few_images_are_read_at_once() {
    let world = World::new();
    let children = ["amd64", "arm64", "arm", "386", "ppc64le", "s390x"]
        .map(|name| child(&world.image(&config(name), 1)));
    let root = world.tag_index(&children);
    let tag = world.tag().to_string();
    world.registry.set_fault(move |call| (call.subject != tag).then_some(Fault::Hang));
    let read = tokio::time::timeout(Duration::from_secs(60), world.read()).await;
    assert!(read.is_err());
    let asked: BTreeSet<String> = world.registry.calls().into_iter().map(|call| call.subject).collect();
    assert_eq!(asked.len(), 1 + CHILDREN_AT_ONCE, "{} and {asked:?}", root.digest);
}

#[tokio::test]
async fn labels_have_a_limit_together_that_does_not_depend_on_what_is_kept() {
    let world = World::new();
    let children: Vec<Value> = (0..6)
        .map(|n| {
            let mut config = config(&format!("arch{n}"));
            config["config"]["Labels"]["appdata"] = json!("x".repeat(6 << 20));
            child(&world.image(&config, 1))
        })
        .collect();
    world.tag_index(&children);
    let first = world.images().await;
    assert_eq!((first.0.len(), first.1.len()), (5, 1));
    assert!(first.1[0].why.contains("33554432 bytes"), "{:?}", first.1);
    assert_eq!(world.images().await, first);
}

#[test]
fn a_read_may_move_between_threads() {
    fn is_send<T: Send>(_: &T) {}
    let world = World::new();
    is_send(&world.read());
}
