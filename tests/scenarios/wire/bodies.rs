//! Bodies that break off, stop, or are not what they should be: nothing is tagged on the strength of one.

use flatbus_embedded::Fault;
use flatbus_http::Settings;
use http::Method;

use super::{
    hosts::{CANDIDATE, PUBLIC},
    stage::{HOUR, Setting, Stage, story, story_on},
    strike::{ALWAYS, is},
    truth::Push::Stable,
};

/// A layer comes so, once.
async fn once(stage: &mut Stage, fault: Fault) {
    let layer = stage.build(1).layer();
    stage.strike(CANDIDATE, 1, is(Method::GET, layer), fault);
    stage.push(1, Stable);
    stage.quiet().await;
}

#[test]
fn a_layer_that_is_cut_is_taken_up_where_it_broke() {
    story(async |stage| {
        once(stage, Fault::CutAnswer { after: 30_000 }).await;
        let layer = stage.build(1).layer();
        let rest = stage.asked(CANDIDATE, |seen| {
            seen.path.contains(&layer) && seen.headers.get("range").is_some_and(|from| from == "bytes=30000-")
        });
        assert_eq!(rest.len(), 1, "what came is not asked for again");
    });
}

#[test]
fn a_layer_that_stalls_is_given_up_after_the_read_time_out() {
    story(async |stage| {
        once(stage, Fault::StallAnswer { after: 30_000 }).await;
        let layer = stage.build(1).layer();
        let asked = stage.asked(CANDIDATE, is(Method::GET, layer));
        let waited = asked[1] - asked[0];
        let timeout = Settings::default().read_timeout;
        assert!(waited >= timeout && waited < timeout * 2, "{asked:?}");
    });
}

#[test]
fn an_upload_that_is_cut_is_taken_up() {
    story(async |stage| {
        stage.strike(PUBLIC, 1, is(Method::PATCH, "/uploads/"), Fault::CutRequest { after: 30_000 });
        stage.push(1, Stable);
    });
}

#[test]
fn wrong_bytes_of_a_layer_are_found_out_and_asked_for_again() {
    story(async |stage| once(stage, Fault::Corrupt).await);
}

#[test]
fn a_layer_that_stays_wrong_is_never_tagged_and_calls_a_person_in_the_end() {
    story_on(Setting { park_after: HOUR, ..Setting::default() }, async |stage| {
        let layer = stage.build(1).layer();
        stage.strike(CANDIDATE, ALWAYS, is(Method::GET, layer), Fault::Corrupt);
        stage.push(1, Stable);
        stage
            .expect_parked("repository/eog", "copying eog-flatpak-42.1-1 to fedora/eog: candidate.test gave")
            .await;
        assert!(stage.tags().is_empty());
        stage.mend();
        stage.retry_all_parked().await;
    });
}

#[test]
fn wrong_bytes_of_a_manifest_are_found_out_and_asked_for_again() {
    story(async |stage| {
        stage.strike(CANDIDATE, 1, is(Method::GET, "/manifests/"), Fault::Corrupt);
        stage.push(1, Stable);
    });
}

#[test]
fn a_layer_that_is_announced_too_short_is_found_out() {
    story(async |stage| once(stage, Fault::Length(100)).await);
}

#[test]
fn a_layer_that_is_announced_too_long_is_found_out() {
    story(async |stage| once(stage, Fault::Length(1 << 20)).await);
}
