//! A tag that moved stands in every file that shows it, once.

use std::{fs, time::Duration};

use super::world::{World, app, repo, runtime};

const EOG: &str = "repository/eog";

#[tokio::test]
async fn an_image_that_was_pushed_stands_in_every_file_that_shows_its_tag() {
    let world = World::with_runtime().await;
    world.push(&app("eog", 1), "eog", &["latest"]);
    let left = world.settle(&[EOG]).await;
    assert_eq!((left.waiting, left.parked, left.outbox), (0, 0, 0));
    assert_eq!(world.latest("eog").unwrap(), ["1 amd64", "1 arm64"]);
    assert_eq!(world.shows("index/flatpak-latest-amd64.json")["fedora/eog"], ["1 amd64"]);
    assert!(world.shows("index/flatpak-latest-ppc64le.json").is_empty(), "a valid file without any image");
    assert!(!world.shows("index/flatpak-testing.json").contains_key("fedora/eog"));
    let file = world.file("index/flatpak-latest-annotations.json");
    let entry = &file["Results"][0]["Images"][0];
    assert_eq!(entry["Annotations"]["org.flatpak.ref"].as_str().unwrap().split('/').next(), Some("app"));
    assert_eq!(
        (file["Registry"].as_str(), entry["Tags"][0].as_str()),
        (Some("https://public.example/"), Some("latest"))
    );
}

#[tokio::test]
async fn a_new_build_takes_the_place_of_the_old_one_and_a_tag_that_names_both_says_so() {
    let world = World::with_runtime().await;
    world.push(&app("eog", 1), "eog", &["latest", "testing"]);
    world.settle(&[EOG]).await;
    let tags = |world: &World| {
        world.file("index/flatpak-latest.json")["Results"][0]["Images"][0]["Tags"].to_string()
    };
    assert_eq!(tags(&world), r#"["latest","testing"]"#);
    world.push(&app("eog", 2), "eog", &["testing"]);
    world.settle(&[EOG]).await;
    assert_eq!(world.latest("eog").unwrap(), ["1 amd64", "1 arm64"]);
    assert_eq!(world.shows("index/flatpak-testing.json")["fedora/eog"], ["2 amd64", "2 arm64"]);
    assert_eq!(tags(&world), r#"["latest"]"#);
    world.push(&app("eog", 2), "eog", &["latest"]);
    world.settle(&[EOG]).await;
    assert_eq!(world.latest("eog").unwrap(), ["2 amd64", "2 arm64"]);
}

#[tokio::test]
async fn what_changed_is_announced_with_its_files_and_what_did_not_is_not() {
    let world = World::with_runtime().await;
    world.push(&app("eog", 1), "eog", &["latest"]);
    world.rig.announced();
    world.settle(&[EOG]).await;
    let told = world.rig.announced();
    assert_eq!(told.len(), 1);
    let body = &told[0].announcement.body;
    assert_eq!(
        (told[0].announcement.topic.as_str(), &body["repositories"][0]),
        ("flatbus.index.published", &"eog".into())
    );
    let path = body["files"][0]["path"].as_str().unwrap();
    let text = fs::read(world.site(path)).unwrap();
    assert_eq!(body["files"][0]["digest"], flatbus_oci::Digest::of(&text).to_string());
    let before = fs::metadata(world.site(path)).unwrap().modified().unwrap();
    world.settle(&[EOG]).await;
    assert!(world.rig.announced().is_empty());
    assert_eq!(
        fs::metadata(world.site(path)).unwrap().modified().unwrap(),
        before,
        "a file that did not change is left alone"
    );
}

#[tokio::test]
async fn a_restart_goes_on_from_what_is_published_and_reads_only_what_changed() {
    let world = World::with_runtime().await;
    world.push(&app("eog", 1), "eog", &["latest"]);
    world.settle(&[EOG]).await;
    let world = world.restart().await;
    world.registry.forget_calls();
    world.push(&app("gedit", 1), "gedit", &["latest"]);
    world.settle(&["repository/gedit"]).await;
    assert_eq!(world.shows("index/flatpak-latest.json").len(), 3);
    assert!(
        world.registry.calls().iter().all(|call| call.repository == repo("gedit")),
        "nothing else is asked"
    );
}

#[tokio::test]
async fn files_that_are_lost_are_built_again_without_asking_for_images() {
    let world = World::with_runtime().await;
    world.push(&app("eog", 1), "eog", &["latest"]);
    world.settle(&[EOG]).await;
    fs::remove_file(world.site("index/flatpak-latest.json")).unwrap();
    let world = world.restart().await;
    world.registry.forget_calls();
    world.push(&runtime(2), "f36/runtime", &["latest"]);
    world.settle(&["repository/f36/runtime"]).await;
    assert_eq!(world.latest("eog").unwrap(), ["1 amd64", "1 arm64"]);
}

#[tokio::test]
async fn an_index_of_which_nothing_is_remembered_is_not_made_smaller() {
    let world = World::with_runtime().await;
    for name in ["eog", "gedit"] {
        world.push(&app(name, 1), name, &["latest"]);
        world.settle(&[&format!("repository/{name}")]).await;
    }
    let before = fs::read(world.site("index/flatpak-latest.json")).unwrap();
    fs::remove_dir_all(world.dir.path().join("state")).unwrap();
    fs::remove_file(world.site("site.json")).unwrap();
    let world = world.restart().await;
    world.settle(&["repository/gedit"]).await;
    assert_eq!(fs::read(world.site("index/flatpak-latest.json")).unwrap(), before);
    world.push(&app("gedit", 2), "gedit", &["latest"]);
    world.settle(&["repository/gedit"]).await;
    assert_eq!(world.latest("eog").unwrap(), ["1 amd64", "1 arm64"]);
    assert_eq!(world.latest("gedit").unwrap(), ["2 amd64", "2 arm64"]);
}

#[tokio::test]
async fn a_file_that_somebody_damaged_is_built_again() {
    let world = World::with_runtime().await;
    world.push(&app("eog", 1), "eog", &["latest"]);
    world.settle(&[EOG]).await;
    let path = world.site("index/flatpak-latest.json");
    let (time, text) = (fs::metadata(&path).unwrap().modified().unwrap(), fs::read_to_string(&path).unwrap());
    fs::write(&path, text.replace("org.gnome.eog", "org.gnome.EOG")).unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    world.push(&app("gedit", 1), "gedit", &["latest"]);
    world.settle(&["repository/gedit"]).await;
    world.settle(&["repository/gedit"]).await;
    assert_eq!(world.latest("gedit").unwrap(), ["1 amd64", "1 arm64"]);
    assert!(!fs::read_to_string(&path).unwrap().contains("EOG"));
}

#[tokio::test]
async fn it_begins_with_the_files_of_another_index_whatever_that_calls_the_repositories() {
    let world = World::with_runtime().await;
    world.push(&app("eog", 1), "eog", &["latest"]);
    world.settle(&[EOG]).await;
    let other = fs::read_to_string(world.site("index/flatpak-latest.json")).unwrap();
    let other =
        other.replace("https://public.example/", "https://elsewhere.example/").replace("\"fedora/", "\"");
    let mut fresh = World::new().await;
    fresh.registry = world.registry.clone();
    fs::create_dir_all(fresh.site("index")).unwrap();
    fs::write(fresh.site("index/flatpak-latest.json"), other).unwrap();
    let fresh = fresh.restart().await;
    world.push(&app("eog", 2), "eog", &["latest"]);
    fresh.rig.survey(true).await.unwrap();
    assert_eq!(fresh.latest("eog").unwrap(), ["2 amd64", "2 arm64"]);
    assert_eq!(fresh.latest("f36/runtime").unwrap(), ["runtime amd64", "runtime arm64"]);
}

#[tokio::test(start_paused = true)]
async fn icons_become_files_named_by_their_content_and_go_a_month_after_nothing_names_them() {
    let world = World::with_runtime().await;
    let mut with_icon = app("eog", 1);
    let png =
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==";
    let label = "org.freedesktop.appstream.icon-64".to_owned();
    with_icon.labels.insert(label.clone(), format!("data:image/png;base64,{png}"));
    world.push(&with_icon, "eog", &["latest", "testing"]);
    world.settle(&[EOG]).await;
    let labels = |file: &str| world.file(file)["Results"][0]["Images"][0]["Labels"].clone();
    let uri = labels("index/flatpak-latest.json")[&label].as_str().unwrap().to_owned();
    let path = uri.strip_prefix("/icons/").unwrap();
    assert!(fs::read(world.site(&format!("icons/{path}"))).unwrap().starts_with(b"\x89PNG"));
    assert!(labels("index/flatpak-testing.json")[&label].as_str().unwrap().starts_with("data:"));
    let listing = fs::read_to_string(world.site("site.json")).unwrap();
    assert!(listing.contains("\"what\":\"icons\""), "{listing}");

    world.push(&app("eog", 2), "eog", &["latest", "testing"]);
    world.settle(&[EOG]).await;
    world.rig.survey(true).await.unwrap();
    assert!(world.site(&format!("icons/{path}")).exists(), "clients may still have an index that names it");
    world.pass(Duration::from_secs(31 * 24 * 3600)).await;
    world.rig.survey(true).await.unwrap();
    assert!(!world.site(&format!("icons/{path}")).exists());
    assert_eq!(world.latest("eog").unwrap(), ["2 amd64", "2 arm64"]);
}
