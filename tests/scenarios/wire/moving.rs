//! A world that changes between two requests, and answers that are lost after the work was done.

use std::sync::Arc;

use flatbus_embedded::{
    Fault,
    registry::{Content, Memory},
};
use http::Method;

use super::{
    hosts::{CANDIDATE, CDN, EOG, PUBLIC},
    stage::{Setting, story, story_on},
    strike::{ALWAYS, is},
    truth::Push::Stable,
};

#[test]
fn a_tag_that_was_set_before_the_answer_was_lost_is_told_of() {
    story(async |stage| {
        stage.strike(PUBLIC, 1, is(Method::PUT, "/manifests/latest"), Fault::HangUpAfter);
        stage.push(1, Stable);
    });
}

#[test]
fn a_blob_that_was_kept_before_the_answer_was_lost_is_not_sent_twice() {
    story(async |stage| {
        stage.strike(PUBLIC, 1, is(Method::PUT, "/uploads/"), Fault::HangUpAfter);
        stage.push(1, Stable);
        stage.quiet().await;
        let begun = stage.asked(PUBLIC, is(Method::POST, "/uploads/"));
        assert_eq!(begun.len(), 4, "two configs and two layers: {begun:?}");
    });
}

#[test]
fn a_tag_that_somebody_moves_between_look_and_write_ends_right() {
    story(async |stage| {
        stage.push(1, Stable);
        stage.quiet().await;
        let (content, old) = (stage.hosts.public.content.clone(), stage.build(1).image.index);
        stage.strike_by(PUBLIC, 1, is(Method::PUT, "/manifests/42.2"), move |_| {
            content.put_manifest(EOG, Some("latest"), old.media_type, old.bytes.clone()).unwrap();
            Fault::None
        });
        stage.push(2, Stable);
    });
}

#[test]
fn a_tag_that_bodhi_moves_between_look_and_write_is_looked_at_again() {
    let setting = Setting { config: "tag_writer = \"bodhi\"\n", ..Setting::default() };
    story_on(setting, async |stage| {
        stage.push(1, Stable);
        stage.quiet().await;
        let mut image = stage.build(2).image;
        let content = stage.hosts.public.content.clone();
        stage.strike_by(PUBLIC, 1, is(Method::PATCH, "/uploads/"), move |_| {
            image.repository = EOG.to_owned();
            image.put(&content).unwrap();
            let index = image.index.clone();
            content.put_manifest(EOG, Some("latest"), index.media_type, index.bytes).unwrap();
            Fault::None
        });
        stage.push(2, Stable);
    });
}

#[test]
fn a_tag_that_somebody_moves_is_put_right_by_the_next_survey() {
    story(async |stage| {
        stage.push(1, Stable);
        stage.quiet().await;
        stage.push(2, Stable);
        stage.quiet().await;
        let old = stage.build(1).image.index;
        stage.hosts.public.content.put_manifest(EOG, Some("latest"), old.media_type, old.bytes).unwrap();
        assert_eq!(stage.tags()["latest"], 1);
        stage.survey().await;
        assert_eq!(stage.tags()["latest"], 2);
    });
}

#[test]
fn an_image_that_vanished_and_comes_back_is_published_by_the_next_message() {
    story(async |stage| {
        let build = stage.build(1);
        stage.hosts.candidate.content.remove_manifest("eog", &build.image.index.digest);
        stage.push(1, Stable);
        let sentence = "its image is unavailable, none of candidate.test/eog has it";
        stage.expect_parked("withheld/eog-flatpak-42.1-1", sentence).await;
        build.image.put(&stage.hosts.candidate.content).unwrap();
        let told_again = stage.push_in_silence(1, Stable);
        stage.deliver(told_again);
    });
}

#[test]
fn an_image_that_vanishes_in_mid_copy_leaves_nothing_tagged() {
    story(async |stage| {
        let (build, content) = (stage.build(1), stage.hosts.candidate.content.clone());
        let child = build.image.children[1].manifest.digest.clone();
        stage.strike_by(CANDIDATE, 1, is(Method::GET, build.layer()), move |_| {
            content.remove_manifest("eog", &child);
            Fault::None
        });
        stage.push(1, Stable);
        stage.quiet().await;
    });
}

#[test]
fn an_image_that_is_gone_for_good_calls_a_person_and_holds_up_no_other() {
    story(async |stage| {
        let build = stage.build(1);
        stage.hosts.candidate.content.remove_manifest("eog", &build.image.index.digest);
        stage.push(1, Stable);
        stage.expect_parked("withheld/eog-flatpak-42.1-1", "so its bytes should be there").await;
        stage.push(2, Stable);
    });
}

#[test]
fn a_repository_that_is_private_calls_a_person_and_is_named_only_once_it_is_public() {
    let public = Content::with(Arc::new(Memory::default()), true);
    story_on(Setting { public, ..Setting::default() }, async |stage| {
        stage.push(1, Stable);
        let sentence = "public.test/fedora/eog is not public: make it public there";
        stage.expect_parked("repository/eog", sentence).await;
        assert!(!stage.tags().contains_key("latest"), "nobody could read what it names");
        stage.hosts.public.content.set_private(EOG, false);
        stage.retry_all_parked().await;
    });
}

#[test]
fn a_repository_that_somebody_makes_private_keeps_its_tags_until_it_is_public_again() {
    story(async |stage| {
        stage.push(1, Stable);
        stage.quiet().await;
        stage.hosts.public.content.set_private(EOG, true);
        stage.push(2, Stable);
        stage.expect_parked("repository/eog", "public.test/fedora/eog is not public").await;
        assert_eq!(stage.tags()["latest"], 1);
        stage.hosts.public.content.set_private(EOG, false);
        stage.retry_all_parked().await;
    });
}

#[test]
fn a_redirect_to_a_cdn_that_is_allowed_is_followed() {
    story(async |stage| {
        let to_cdn = Fault::Redirect { base: format!("https://{CDN}") };
        stage.strike(CANDIDATE, ALWAYS, is(Method::GET, "/blobs/"), to_cdn);
        stage.push(1, Stable);
        stage.quiet().await;
        assert!(stage.hosts.wire.asked()[CDN] >= 4, "two configs and two layers");
    });
}

#[test]
fn a_source_that_redirects_in_a_loop_calls_a_person() {
    story(async |stage| {
        let loops = Fault::Redirect { base: format!("https://{CANDIDATE}") };
        stage.strike(CANDIDATE, ALWAYS, is(Method::GET, "/blobs/"), loops);
        stage.push(1, Stable);
        stage.expect_parked("repository/eog", "candidate.test redirects in a loop").await;
        stage.mend();
        stage.retry_all_parked().await;
    });
}

#[test]
fn a_redirect_to_a_host_that_is_not_allowed_is_never_followed() {
    story(async |stage| {
        let elsewhere = Fault::Redirect { base: "https://elsewhere.test".to_owned() };
        stage.strike(CANDIDATE, ALWAYS, is(Method::GET, "/blobs/"), elsewhere);
        stage.push(1, Stable);
        let sentence = "elsewhere.test is not among the hosts that may be contacted";
        stage.expect_parked("repository/eog", sentence).await;
        assert!(!stage.hosts.wire.asked().contains_key("elsewhere.test"));
        stage.mend();
        stage.retry_all_parked().await;
    });
}
