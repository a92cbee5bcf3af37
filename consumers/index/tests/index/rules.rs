//! Nothing leaves the index but for a reason, and nothing enters it that a client could not install.

use std::time::Duration;

use flatbus_oci::{memory::Fault, withdrawn};

use super::world::{World, app, repo, runtime};

const EOG: &str = "repository/eog";
const HOUR: Duration = Duration::from_secs(3600);

async fn with_eog() -> World {
    let world = World::with_runtime().await;
    world.push(&app("eog", 1), "eog", &["latest", "testing"]);
    world.settle(&[EOG]).await;
    world
}

#[tokio::test]
async fn a_withdrawn_tag_leaves_the_index_and_a_repository_that_vanished_does_not() {
    let world = with_eog().await;
    world.registry.put_manifest(&repo("eog"), &withdrawn::manifest(), &["testing".parse().unwrap()]);
    world.settle(&[EOG]).await;
    assert!(!world.shows("index/flatpak-testing.json").contains_key("fedora/eog"));
    assert_eq!(world.latest("eog").unwrap().len(), 2);
    for digest in world.registry.manifests_of(&repo("eog")) {
        world.registry.remove_manifest(&repo("eog"), &digest);
    }
    world.settle(&[EOG]).await;
    assert_eq!(world.latest("eog").unwrap().len(), 2);
    assert!(world.parked()["withheld/eog"].contains("is no longer there and stays"), "{:?}", world.parked());
    world.push(&app("eog", 1), "eog", &["latest"]);
    world.settle(&[EOG]).await;
    assert!(world.parked().is_empty(), "what is there again needs nobody");
}

#[tokio::test]
async fn a_registry_that_can_not_be_read_changes_nothing() {
    let world = with_eog().await;
    world.registry.set_fault(|_| {
        Some(Fault::Fail(
            flatbus_http::Error::Cut { host: "public.example".into(), why: "reset".into() }.into(),
        ))
    });
    let left = world.settle(&[EOG]).await;
    assert_eq!(left.waiting, 1);
    assert_eq!(world.latest("eog").unwrap(), ["1 amd64", "1 arm64"]);
}

#[tokio::test(start_paused = true)]
async fn an_application_waits_for_its_runtime_and_is_published_with_it() {
    let world = World::new().await;
    world.push(&app("eog", 1), "eog", &["latest"]);
    let left = world.settle(&[EOG]).await;
    assert_eq!(left.waiting, 1);
    assert!(world.latest("eog").is_none());
    world.push(&runtime(1), "f36/runtime", &["latest"]);
    world.settle(&["repository/f36/runtime"]).await;
    assert_eq!(world.latest("eog").unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_application_that_waits_is_published_with_its_runtime_also_after_a_restart() {
    let world = World::new().await;
    world.push(&app("eog", 1), "eog", &["latest"]);
    world.settle(&[EOG]).await;
    let world = world.restart().await;
    world.push(&runtime(1), "f36/runtime", &["latest"]);
    world.settle(&["repository/f36/runtime"]).await;
    assert_eq!(world.latest("eog").unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_application_at_the_end_of_its_life_says_so_with_its_next_entry() {
    let retired = "[[retired]]\npattern = \"app/org.gnome.eog/*/stable\"\nreason = \"It is over.\"\nrebase = \"org.gnome.Loupe\"";
    let world = World::with(retired).await;
    world.push(&runtime(1), "f36/runtime", &["latest"]);
    world.push(&app("eog", 1), "eog", &["latest"]);
    world.settle(&["repository/f36/runtime", EOG]).await;
    let labels = &world.file("index/flatpak-latest.json")["Results"][0]["Images"][0]["Labels"];
    assert!(labels.get("org.flatpak.commit-metadata.ostree.endoflife").is_some(), "{labels}");
    assert!(labels.get("org.flatpak.commit-metadata.ostree.endoflife-rebase").is_some());
}

#[tokio::test(start_paused = true)]
async fn an_application_whose_runtime_does_not_come_is_published_after_an_hour_with_an_alarm() {
    let world = World::new().await;
    world.push(&app("eog", 1), "eog", &["latest"]);
    world.settle(&[EOG]).await;
    world.pass(HOUR + Duration::from_secs(1)).await;
    world.rig.announced();
    world.rig.settle().await;
    assert_eq!(world.latest("eog").unwrap().len(), 2);
    assert_eq!(world.rig.announced()[0].announcement.topic, "flatbus.index.published");
    assert!(world.parked()["withheld/eog"].contains("name it in foreign_runtimes"));
}

#[tokio::test]
async fn an_image_that_no_client_could_install_is_left_out_and_told_and_the_rest_is_published() {
    let world = World::with_runtime().await;
    let mut broken = app("broken", 1);
    broken.labels.remove("org.flatpak.metadata");
    world.push(&broken, "broken", &["latest"]);
    world.push(&app("eog", 1), "eog", &["latest"]);
    world.settle(&["repository/broken", EOG]).await;
    assert!(world.latest("broken").is_none() && world.latest("eog").is_some());
    assert!(world.parked()["withheld/broken"].contains("no label org.flatpak.metadata"));
}

#[tokio::test]
async fn an_image_that_is_no_flatpak_is_nobodys_business() {
    let world = World::with_runtime().await;
    world.push(&flatbus_oci::testing::Recipe::plain(1), "fedora-minimal", &["latest"]);
    let left = world.settle(&["repository/fedora-minimal"]).await;
    assert_eq!((left.waiting, left.parked), (0, 0));
    assert!(world.latest("fedora-minimal").is_none());
}

#[tokio::test]
async fn of_two_repositories_that_claim_one_name_one_stands_in_the_index() {
    let world = with_eog().await;
    world.push(&app("eog", 2), "eog2", &["latest"]);
    world.settle(&["repository/eog2"]).await;
    assert!(world.latest("eog2").is_none());
    assert!(world.parked()["withheld/eog2"].contains("eog has that name already"));
}

#[tokio::test]
async fn much_that_would_leave_at_once_waits_for_a_person() {
    let world = World::with_runtime().await;
    for n in 0..10 {
        world.push(&app(&format!("app{n}"), 1), &format!("app{n}"), &["latest"]);
        world.settle(&[&format!("repository/app{n}")]).await;
    }
    let keys: Vec<String> = (0..10).map(|n| format!("repository/app{n}")).collect();
    for n in 0..10 {
        world.registry.put_manifest(
            &repo(&format!("app{n}")),
            &withdrawn::manifest(),
            &["latest".parse().unwrap()],
        );
    }
    world.rig.survey(true).await.unwrap();
    let shown = world.shows("index/flatpak-latest.json").len();
    assert!(shown > 7, "{shown} of 11 are left");
    assert!(
        world.parked().values().all(|why| why.contains("flatbus ledger retry index")),
        "{:?}",
        world.parked()
    );
    world.settle(&keys.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert_eq!(world.shows("index/flatpak-latest.json").len(), 1, "a person means it");
}
