//! Whose a repository is, and who may read it.

use flatbus_oci::testing::Recipe;
use flatbus_upstream::{memory::QuayCall, quay::Visibility};

use crate::world::{Setting, World, digest_of, repo, stable, tag, testing};

#[tokio::test(start_paused = true)]
async fn a_repository_with_other_content_is_refused_and_nothing_is_written() {
    let world = World::new().await;
    let plain = Recipe { layer_bytes: 100, ..Recipe::plain(5) }.make();
    plain.put(&world.public, &repo("fedora/eog"), &[tag("41")]);
    world.build("eog-1-1", 1, "eog");
    world.bodhi.put(stable("U-1", &["eog-1-1"], "2022-10-01 00:00:00"));
    world.settle(&["build/eog-1-1"]).await;
    let parked = world.parked();
    assert!(parked["repository/eog"].contains("holds other things than Flatpaks"), "{parked:?}");
    assert_eq!(world.writes().len(), 0, "{:?}", world.writes());
}

#[tokio::test(start_paused = true)]
async fn a_repository_of_flatpaks_that_flatbus_did_not_make_waits_for_adoption() {
    let world = World::new().await;
    let theirs = Recipe { layer_bytes: 100, ..Recipe::flatpak("app/y/x86_64/stable", 50) }.make();
    theirs.put(&world.public, &repo("fedora/eog"), &[tag("latest")]);
    world.build("eog-1-1", 1, "eog");
    world.bodhi.put(stable("U-1", &["eog-1-1"], "2022-10-01 00:00:00"));
    world.settle(&["build/eog-1-1"]).await;
    assert!(world.parked()["repository/eog"].contains("flatbus mirror adopt"), "{:?}", world.parked());
    assert_eq!(world.tags("eog")["latest"], -1);
    world.settle(&["adopt/eog"]).await;
    assert_eq!(world.parked().len(), 0, "{:?}", world.parked());
    assert_eq!(world.tags("eog")["latest"], 1);
}

#[tokio::test(start_paused = true)]
async fn what_another_left_in_testing_goes_with_adoption_where_no_update_names_the_repository_any_more() {
    let world = World::new().await;
    let theirs = Recipe { layer_bytes: 100, ..Recipe::flatpak("app/y/x86_64/stable", 50) }.make();
    theirs.put(&world.public, &repo("fedora/eog"), &[tag("latest"), tag("testing")]);
    world.build("eog-1-1", 1, "eog");
    world.build("eog-2-1", 2, "eog2");
    world.bodhi.put(testing("U-1", &["eog-1-1"], "2022-09-01 00:00:00"));
    world.settle(&["build/eog-1-1"]).await;
    world.bodhi.edit("U-1", |update| {
        update.builds[0].nvr = "eog-2-1".to_owned();
        update.date_modified = Some(world.now());
    });
    world.settle(&["adopt/eog"]).await;
    assert_eq!(world.tags("eog"), [("latest".to_owned(), -1)].into(), "only testing is ever taken away");
}

#[tokio::test(start_paused = true)]
async fn adoption_is_refused_where_a_single_tag_names_something_else() {
    let world = World::new().await;
    let theirs = Recipe { layer_bytes: 100, ..Recipe::flatpak("app/y/x86_64/stable", 50) }.make();
    let plain = Recipe { layer_bytes: 100, ..Recipe::plain(5) }.make();
    theirs.put(&world.public, &repo("fedora/eog"), &[tag("latest")]);
    plain.put(&world.public, &repo("fedora/eog"), &[tag("base")]);
    world.settle(&["adopt/eog"]).await;
    let why = world.parked()["adopt/eog"].clone();
    assert!(why.contains("base names a config without org.flatpak.ref"), "{why}");
    world.settle(&["adopt/nothing"]).await;
    assert!(world.parked()["adopt/nothing"].contains("it has no tags"));
}

#[tokio::test(start_paused = true)]
async fn a_protected_name_is_refused_whatever_a_package_calls_itself() {
    let world = World::new().await;
    for (nvr, id, name) in [("evil-1-1", 1, "fedora"), ("evil-2-1", 2, "base-image")] {
        world.build(nvr, id, name);
        world.bodhi.put(stable(&format!("U-{id}"), &[nvr], "2022-10-01 00:00:00"));
        world.settle(&[&format!("build/{nvr}")]).await;
        assert!(
            world.parked()[&format!("repository/{name}")].contains("is protected"),
            "{:?}",
            world.parked()
        );
    }
    world.settle(&["adopt/fedora"]).await;
    assert!(world.parked()["adopt/fedora"].contains("is protected"));
    assert_eq!(world.public.calls(), []);
}

#[tokio::test(start_paused = true)]
async fn lost_memory_is_proved_anew_from_our_own_holding_tags() {
    let world = World::new().await;
    world.build("eog-1-1", 1, "eog");
    world.bodhi.put(stable("U-1", &["eog-1-1"], "2022-10-01 00:00:00"));
    world.settle(&["build/eog-1-1"]).await;
    let world = world.forget_everything().await;
    world.build("eog-2-1", 2, "eog");
    world.bodhi.put(stable("U-2", &["eog-2-1"], "2022-10-02 00:00:00"));
    world.settle(&["build/eog-2-1"]).await;
    assert_eq!(world.parked().len(), 0, "{:?}", world.parked());
    assert_eq!(world.tags("eog")["latest"], 2);
}

#[tokio::test(start_paused = true)]
async fn lost_memory_is_proved_anew_by_the_holding_tag_of_a_build_that_no_update_names_any_more() {
    let world = World::new().await;
    world.build("eog-1-1", 1, "eog");
    world.bodhi.put(testing("U-1", &["eog-1-1"], "2022-10-01 00:00:00"));
    world.settle(&["build/eog-1-1"]).await;
    let world = world.forget_everything().await;
    world.build("eog-2-1", 2, "eog");
    world.bodhi.put(testing("U-1", &["eog-2-1"], "2022-10-02 00:00:00"));
    world.settle(&["build/eog-2-1"]).await;
    assert_eq!(world.parked().len(), 0, "{:?}", world.parked());
    assert_eq!(world.tags("eog")["testing"], 2);
}

#[tokio::test(start_paused = true)]
async fn lost_memory_is_not_proved_by_a_holding_tag_that_lies() {
    let world = World::new().await;
    let theirs = Recipe { layer_bytes: 100, ..Recipe::flatpak("app/y/x86_64/stable", 50) }.make();
    theirs.put(&world.public, &repo("fedora/eog"), &[tag("latest"), tag("build-1")]);
    world.build("eog-1-1", 1, "eog");
    world.bodhi.put(stable("U-1", &["eog-1-1"], "2022-10-01 00:00:00"));
    world.settle(&["build/eog-1-1"]).await;
    assert!(world.parked().contains_key("repository/eog"));
    assert_eq!(world.tags("eog")["latest"], -1);
}

#[tokio::test(start_paused = true)]
async fn on_quay_a_repository_is_made_public_before_its_first_tag() {
    let world = Setting::new().quay().world().await;
    world.build("eog-1-1", 1, "eog");
    world.bodhi.put(stable("U-1", &["eog-1-1"], "2022-10-01 00:00:00"));
    world.settle(&["build/eog-1-1"]).await;
    assert_eq!(world.tags("eog")["latest"], 1);
    assert_eq!(world.public.is_public(&repo("fedora/eog")), Some(true));
    let quay = world.quay.as_ref().unwrap();
    assert_eq!(quay.desk().calls(), [QuayCall::CreatePublic("fedora/eog".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn a_repository_that_became_private_is_made_public_before_anything_new_is_named() {
    let world = Setting::new().quay().world().await;
    world.build("eog-1-1", 1, "eog");
    world.build("eog-2-1", 2, "eog");
    world.bodhi.put(stable("U-1", &["eog-1-1"], "2022-10-01 00:00:00"));
    world.settle(&["build/eog-1-1"]).await;
    world.quay.as_ref().unwrap().set("fedora/eog", Visibility::Private);
    world.bodhi.put(stable("U-2", &["eog-2-1"], "2022-10-01 01:00:00"));
    world.settle(&["build/eog-2-1"]).await;
    assert_eq!(world.public.is_public(&repo("fedora/eog")), Some(true));
    assert_eq!(world.tags("eog")["latest"], 2);
}

#[tokio::test(start_paused = true)]
async fn without_a_token_a_private_repository_parks_with_what_a_person_must_do() {
    let world = Setting::new().abilities(|abilities| abilities.new_repositories_public = false).world().await;
    world.build("eog-1-1", 1, "eog");
    world.bodhi.put(testing("U-1", &["eog-1-1"], "2022-10-01 00:00:00"));
    world.settle(&["build/eog-1-1"]).await;
    let why = world.parked()["repository/eog"].clone();
    assert!(why.contains("public.example/fedora/eog is not public: make it public there"), "{why}");
    world.expect_tags("eog", &[("build-1", 1)]);
    assert!(world.announced().is_empty(), "nothing is told of what nobody can read");
    world.public.set_public(&repo("fedora/eog"), true);
    world.settle(&["repository/eog"]).await;
    assert_eq!(world.tags("eog")["testing"], 1);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_pull_spec_parks_its_build_and_nothing_else() {
    let world = World::new().await;
    world.build("eog-1-1", 1, "eog");
    world.bodhi.put(stable("U-1", &["eog-1-1", "odd-1-1"], "2022-10-01 00:00:00"));
    let odd = flatbus_upstream::koji::Image {
        flatpak: true,
        pull: vec![format!("elsewhere.example/odd@{}", digest_of(7))],
    };
    world.known("odd-1-1", 7, "odd", digest_of(7));
    let mut build =
        flatbus_upstream::koji::Koji::build(&world.koji, &flatbus_upstream::koji::BuildRef::Id(7))
            .await
            .unwrap()
            .unwrap();
    build.image = Some(odd);
    world.koji.put(build);
    world.settle(&["build/eog-1-1", "build/odd-1-1"]).await;
    assert!(world.parked()["build/odd-1-1"].contains("[[consumer_config.sources]]"), "{:?}", world.parked());
    assert_eq!(world.parked().len(), 1);
    assert_eq!(world.tags("eog")["latest"], 1);
}
