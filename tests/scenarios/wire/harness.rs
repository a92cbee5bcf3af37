//! The stage itself: a story that shows nothing fails, and so does one that leaves anything or goes where it may not. One
//! story told twice is the same story.

use flatbus_embedded::Fault;
use http::{Method, StatusCode};

use super::{
    hosts::{BODHI, CANDIDATE, KOJI, PUBLIC},
    stage::{Setting, Stage, story, story_on},
    strike::{call, is, updates},
    truth::Push::{Stable, Testing},
};

#[test]
fn without_a_fault_what_is_pushed_is_there_and_told() {
    story(async |stage| {
        stage.push(1, Testing);
        stage.push(2, Stable);
    });
}

#[test]
#[should_panic(expected = "the story shows nothing")]
fn a_story_whose_fault_never_struck_fails() {
    story(async |stage| {
        stage.strike(KOJI, 1, call("listArchives"), Fault::status(StatusCode::BAD_GATEWAY));
        stage.push(1, Stable);
    });
}

#[test]
#[should_panic(expected = "a person was called")]
fn a_story_that_calls_a_person_without_saying_so_fails() {
    story(async |stage| {
        stage.strike(KOJI, 1, call("getBuild"), Fault::rpc_fault(1000, "invalid format"));
        stage.push(1, Stable);
        stage.quiet().await;
        stage.retry_all_parked().await;
    });
}

#[test]
#[should_panic(expected = "keys are left")]
fn a_story_that_leaves_a_key_parked_fails() {
    story(async |stage| {
        stage.strike(KOJI, 2, call("getBuild"), Fault::rpc_fault(1000, "invalid format"));
        stage.complete(2);
        stage.expect_parked("build/eog-flatpak-42.2-1", "invalid format").await;
        stage.retry_all_parked().await;
    });
}

#[test]
#[should_panic(expected = "a host outside of the list was contacted")]
fn a_story_that_contacts_a_host_outside_of_the_list_fails() {
    let setting = Setting { config: "redirect_hosts = [\"elsewhere.test\"]\n", ..Setting::default() };
    story_on(setting, async |stage| {
        let elsewhere = Fault::Redirect { base: "https://elsewhere.test".to_owned() };
        stage.strike(CANDIDATE, 1, is(Method::GET, "/blobs/"), elsewhere);
        stage.push(1, Stable);
    });
}

#[test]
fn a_story_told_twice_asks_the_same_to_the_byte() {
    let tell = async |stage: &mut Stage| {
        let control = stage.hosts.public.control();
        stage.strike_by(PUBLIC, 1, is(Method::PATCH, "/uploads/"), move |_| {
            control.expire_tokens();
            Fault::CutRequest { after: 30_000 }
        });
        stage.strike(KOJI, 2, call("getBuild"), Fault::HangUp);
        stage.strike(BODHI, 1, updates, Fault::status(StatusCode::BAD_GATEWAY));
        stage.push(1, Testing);
        stage.push(2, Stable);
    };
    let (first, second) = (story(tell), story(tell));
    assert!(first.lines().count() > 50, "{first}");
    let differs = first.lines().zip(second.lines()).find(|(first, second)| first != second);
    assert_eq!((differs, first.len()), (None, second.len()));
}
