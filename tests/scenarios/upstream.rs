//! Koji and Bodhi give answers of the wrong shape, none, old ones, or lies; Bodhi's composer writes tags on its own.

use std::time::Duration;

use flatbus_world::{
    Blow, Event, Fault,
    fedora::{Deed, Push},
};

use crate::day::{Day, FIRST_STABLE, FIRST_TESTING, SECOND_TESTING};

/// The fault strikes each of the next calls of Koji and Bodhi in turn; the day ends as if it had not.
fn at_each_call(fault: Fault) {
    let whole = Day::new().told().report.tags;
    for chapter in [FIRST_TESTING, FIRST_STABLE] {
        let told = Day::new().before(chapter, Blow::of(fault)).told();
        assert_eq!(told.report.tags, whole, "{fault} before chapter {chapter}");
    }
    let told = Day::new().before(0, Blow::of(fault).on(1)).told();
    assert_eq!(told.report.tags, whole, "{fault} of Koji");
}

#[test]
fn an_answer_with_a_value_of_the_wrong_type_is_asked_for_again() {
    at_each_call(Fault::WrongType);
}

#[test]
fn an_answer_without_a_field_is_asked_for_again() {
    at_each_call(Fault::FieldMissing);
}

#[test]
fn a_fault_of_the_service_is_asked_for_again() {
    at_each_call(Fault::FaultAnswer);
}

#[test]
fn an_empty_answer_withdraws_nothing() {
    let told = Day::new().before(SECOND_TESTING, Blow::of(Fault::EmptyAnswer).times(2)).told();
    assert_eq!(told.times("DELETE tag"), 0);
    at_each_call(Fault::EmptyAnswer);
}

#[test]
fn a_listing_that_shifts_while_it_is_read_is_read_again() {
    let told = Day::new().before(FIRST_STABLE, Blow::of(Fault::ListingShifts).times(3)).told();
    assert_eq!(told.report.tags, Day::new().told().report.tags);
}

#[test]
fn a_stale_answer_that_is_believed_is_mended_by_the_next_survey() {
    let told = Day::new().before(FIRST_STABLE, Blow::of(Fault::StaleAnswer).on(2).times(2)).told();
    assert_eq!(told.report.tags, Day::new().told().report.tags);
}

#[test]
fn a_service_that_does_not_answer_is_asked_again() {
    at_each_call(Fault::TimeOut);
}

#[test]
fn an_unpush_takes_testing_away_or_back() {
    let told = Day::new().then(Event::Deed(Deed::Unpush { pick: 0 })).told();
    let names = |tag: &str| told.report.tags.get(&format!("fedora/eog:{tag}")).cloned();
    assert_eq!(names("testing"), names("latest"), "back to what is stable, which was in testing");
}

#[test]
fn what_bodhi_copied_before_its_database_says_so_is_left_alone() {
    let told = Day::new()
        .in_a(|setting| setting.bodhi_writes = true)
        .before(FIRST_STABLE, Blow::of(Fault::BodhiCopiesFirst))
        .told();
    assert!(told.tags().contains("fedora/eog:latest"));
}

#[test]
fn what_a_dead_compose_left_behind_is_mended_once_nobody_is_at_work() {
    let told = Day::new()
        .in_a(|setting| setting.bodhi_writes = true)
        .before(SECOND_TESTING, Blow::of(Fault::ComposeDies))
        .then(Event::Deed(Deed::Push { pick: 0, to: Push::Testing }))
        .told();
    assert!(told.tags().contains("fedora/eog:latest"));
}

#[test]
fn a_runtime_that_comes_long_after_its_application_holds_up_nothing() {
    let late = Blow::of(Fault::RuntimeLate).lasting(Duration::from_secs(2 * 86_400));
    let told = Day::new().before(FIRST_TESTING, late).told();
    let trace = &told.report.trace;
    assert!(trace.find("Moved fedora/eog:latest") < trace.find("Moved fedora/f42/flatpak-runtime:latest"));
    assert!(told.tags().contains("fedora/f42/flatpak-runtime:latest"));
}
