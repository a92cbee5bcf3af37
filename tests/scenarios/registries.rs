//! Registries that refuse, limit, break off, lie, forget, or are somebody else's playground. What they look like in HTTP
//! is told in `wire`.

use std::time::Duration;

use flatbus_world::{Blow, Fault};

use crate::day::{Day, FIRST_TESTING, SECOND_TESTING, Told};

/// The candidate registry, and the destination.
const CANDIDATE: u8 = 1;
const PUBLIC: u8 = 2;

/// The fault strikes while the first version is copied; the day ends as if it had not.
fn in_the_copy(blow: Blow) -> Told {
    let told = Day::new().before(FIRST_TESTING, blow).told();
    assert_eq!(told.report.tags, Day::new().told().report.tags);
    told
}

/// Each of the first so many calls that it can strike is struck in turn.
fn at_each_call(fault: Fault, registry: u8, calls: u16) {
    for after in 0..calls {
        in_the_copy(Blow::of(fault).on(registry).after(after));
    }
}

#[test]
fn a_token_that_expires_in_mid_copy() {
    at_each_call(Fault::Unauthorized, PUBLIC, 12);
}

#[test]
fn a_limit_with_a_time_is_waited_for_that_long() {
    in_the_copy(Blow::of(Fault::LimitedForATime).on(PUBLIC).after(3)).says("asks us to wait 120 s");
}

#[test]
fn a_limit_without_a_time_is_tried_again() {
    in_the_copy(Blow::of(Fault::Limited).on(PUBLIC).after(3).times(5));
}

#[test]
fn a_registry_that_answers_500() {
    at_each_call(Fault::Answered500, PUBLIC, 12);
}

#[test]
fn a_registry_that_answers_502() {
    at_each_call(Fault::Answered502, PUBLIC, 12);
}

#[test]
fn a_registry_that_answers_503() {
    at_each_call(Fault::Answered503, CANDIDATE, 6);
}

#[test]
fn a_registry_that_answers_504() {
    at_each_call(Fault::Answered504, CANDIDATE, 6);
}

#[test]
fn a_body_that_breaks_off_goes_on_where_it_was() {
    at_each_call(Fault::BodyCut, CANDIDATE, 3);
}

#[test]
fn a_body_that_stalls_is_given_up() {
    in_the_copy(Blow::of(Fault::BodyStalled).on(CANDIDATE)).says("did not go on within");
}

#[test]
fn wrong_bytes_are_never_named_by_a_tag() {
    at_each_call(Fault::BytesWrong, CANDIDATE, 5);
}

#[test]
fn a_body_of_the_wrong_length_is_asked_for_again() {
    in_the_copy(Blow::of(Fault::LengthWrong).on(CANDIDATE));
}

#[test]
fn an_upload_without_a_location_is_begun_again() {
    in_the_copy(Blow::of(Fault::LocationMissing).on(PUBLIC));
}

#[test]
fn a_declined_mount_is_an_upload() {
    let told = Day::new()
        .in_a(|setting| setting.staging = true)
        .before(FIRST_TESTING, Blow::of(Fault::MountDeclined).times(2))
        .told();
    told.says("meets: mount declined");
}

#[test]
fn a_refused_range_begins_the_blob_anew() {
    in_the_copy(Blow::of(Fault::RangeRefused).on(PUBLIC));
}

#[test]
fn an_upload_that_expired_begins_anew() {
    at_each_call(Fault::UploadExpired, PUBLIC, 2);
}

#[test]
fn work_whose_answer_was_lost_is_not_done_twice_and_is_announced() {
    at_each_call(Fault::AnswerLost, PUBLIC, 25);
}

#[test]
fn a_tag_that_somebody_moved_is_moved_back() {
    let told = Day::new().before(SECOND_TESTING, Blow::of(Fault::TagMoved).on(2)).told();
    assert_eq!(told.report.tags, Day::new().told().report.tags);
}

#[test]
fn an_image_that_no_source_has_blocks_no_other_tag_and_comes_when_it_is_back() {
    let gone = Blow::of(Fault::ManifestVanished).on(1).lasting(Duration::from_secs(3600));
    let told = Day::new().before(SECOND_TESTING, gone).told();
    told.says("can't be published");
    assert_eq!(told.report.tags, Day::new().told().report.tags);
}

#[test]
fn a_destination_that_became_private_gets_no_tag_that_nobody_could_follow() {
    let private = Blow::of(Fault::RepositoryPrivate).lasting(Duration::from_secs(3600));
    let told = Day::new().before(SECOND_TESTING, private).told();
    assert_eq!(told.report.tags, Day::new().told().report.tags);
}

#[test]
fn a_registry_that_redirects_for_ever_is_given_up_and_tried_later() {
    in_the_copy(Blow::of(Fault::RedirectLoop).on(CANDIDATE));
}

#[test]
fn a_redirect_to_a_stranger_parks_the_key_for_a_person() {
    in_the_copy(Blow::of(Fault::RedirectForbidden).on(CANDIDATE)).says("evil.example is not among the hosts");
}

#[test]
fn an_outage_of_an_hour_is_waited_for() {
    let outage = Blow::of(Fault::Outage).lasting(Duration::from_secs(3600));
    let told = Day::new().before(FIRST_TESTING, outage).told();
    told.says("connection refused");
    assert_eq!(told.report.tags, Day::new().told().report.tags);
}
