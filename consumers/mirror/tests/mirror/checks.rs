//! What `check` tells a person.

use flatbus_oci::memory::{Fault, Op};
use flatbus_runtime::Finding;
use flatbus_upstream::memory;

use crate::world::{World, digest_of, repo, stable, tag};

async fn sentences(world: &World) -> (Vec<String>, Vec<String>) {
    let findings = world.rig.unit.consumer().0.check(world.now()).await;
    let (well, wrong): (Vec<_>, Vec<_>) = findings.into_iter().partition(|finding| finding.well);
    let text = |findings: Vec<Finding>| findings.into_iter().map(|finding| finding.sentence).collect();
    (text(well), text(wrong))
}

async fn settled() -> World {
    let world = World::new().await;
    world.build("eog-1-1", 1, "eog");
    world.bodhi.put(stable("U-1", &["eog-1-1"], "2022-09-28 00:00:00"));
    world.settle(&["build/eog-1-1"]).await;
    world
}

#[tokio::test(start_paused = true)]
async fn a_good_configuration_has_nothing_but_good_findings() {
    let world = settled().await;
    let (well, wrong) = sentences(&world).await;
    assert_eq!(wrong, Vec::<String>::new());
    for says in [
        "Koji answers.",
        "Bodhi answers.",
        "The source candidate.example answers.",
        "The source old.example answers.",
        "The destination public.example answers.",
        "public.example lets us push to fedora/eog.",
    ] {
        assert!(well.iter().any(|sentence| sentence == says), "{says}: {well:?}");
    }
    assert_eq!(world.public.open_uploads(), 0, "what was begun to try the right to push is given up");
}

#[tokio::test(start_paused = true)]
async fn each_service_that_is_away_is_named() {
    let world = settled().await;
    world.koji.desk().fail_always(memory::Fault::Status(503));
    world.candidate.set_fault(|_| {
        Some(Fault::Fail(
            flatbus_http::Error::Cut { host: "candidate.example".into(), why: "reset".into() }.into(),
        ))
    });
    let (_, wrong) = sentences(&world).await;
    assert!(wrong.iter().any(|sentence| sentence.starts_with("Koji does not answer")), "{wrong:?}");
    assert!(
        wrong.iter().any(|sentence| sentence.starts_with("The source candidate.example does not answer")),
        "{wrong:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_refuses_our_credentials_is_told_with_what_to_look_at() {
    let world = settled().await;
    world.public.set_fault(|call| {
        let denied = flatbus_oci::Error::Denied {
            host: "public.example".into(),
            what: "push".into(),
            why: "granted: pull".into(),
        };
        (call.op == Op::UploadBegin).then_some(Fault::Fail(denied))
    });
    let (_, wrong) = sentences(&world).await;
    assert!(
        wrong[0].contains("does not let us push to fedora/eog") && wrong[0].contains("auth_file"),
        "{wrong:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn another_writer_of_a_tag_is_noticed() {
    let world = settled().await;
    world.build("baobab-1-1", 2, "baobab");
    world.bodhi.put(stable("U-2", &["baobab-1-1"], "2022-09-29 00:00:00"));
    world.public.set_tag(&repo("fedora/baobab"), &tag("latest"), digest_of(2));
    let manifest =
        flatbus_oci::Registry::manifest_get(&world.candidate, &repo("baobab"), &digest_of(2).into())
            .await
            .unwrap()
            .unwrap();
    world.public.put_manifest(&repo("fedora/baobab"), &manifest, &[tag("latest")]);
    let (_, wrong) = sentences(&world).await;
    assert!(
        wrong[0].contains("fedora/baobab:latest names baobab-1-1 and has no tag build-2 beside it"),
        "{wrong:?}"
    );
    assert!(wrong[0].contains("tag_writer = \"bodhi\"") && wrong[0].contains("flatbus mirror adopt baobab"));
}
