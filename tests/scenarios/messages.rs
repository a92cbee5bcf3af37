//! Messages that are lost, doubled, late, out of order, broken or lies.

use std::time::Duration;

use flatbus_world::{Blow, Event, Fault};

use crate::day::{Day, FIRST_STABLE, FIRST_TESTING, SECOND_TESTING};

#[test]
fn a_day_on_which_nothing_goes_wrong() {
    let told = Day::new().told();
    told.says("Moved fedora/eog:latest to eog-flatpak-1-1");
    for tag in
        ["fedora/eog:latest", "fedora/eog:testing", "fedora/eog:1-1", "fedora/eog:2", "fedora/eog:build-2"]
    {
        assert!(told.tags().contains(tag), "{:?}", told.tags());
    }
    assert_eq!(told.report.lives, 1);
}

#[test]
fn a_lost_message_is_healed_by_the_next_survey() {
    let told = Day::new().before(SECOND_TESTING, Blow::of(Fault::MessageLost)).told();
    let (moved, survey) = ("Moved fedora/eog:testing to eog-flatpak-2-1", "## everything is mended");
    let trace = &told.report.trace;
    assert!(trace.find(moved) > trace.find(survey), "nothing told of the push before the survey:\n{trace}");
}

#[test]
fn a_message_that_comes_twice_moves_a_tag_once() {
    let told = Day::new().before(FIRST_STABLE, Blow::of(Fault::MessageDoubled)).told();
    assert_eq!(told.times("Moved fedora/eog:latest"), 1);
}

#[test]
fn a_message_that_is_days_late_changes_nothing_that_is_newer() {
    let late = Blow::of(Fault::MessageLate).lasting(Duration::from_secs(3 * 86_400));
    let told = Day::new().before(FIRST_TESTING, late).told();
    told.says("a late message arrives");
    assert_eq!(told.times("Moved fedora/eog:latest"), 1);
}

#[test]
fn messages_out_of_order_lead_to_the_same_tags() {
    let told = Day::new().before(FIRST_TESTING, Blow::of(Fault::MessagesReordered)).told();
    assert_eq!(told.report.tags, Day::new().told().report.tags);
}

#[test]
fn a_malformed_message_is_parked_and_acknowledged_and_holds_up_nobody() {
    let told = Day::new().before(FIRST_STABLE, Blow::of(Fault::MessageMalformed)).told();
    told.says("Parked a message that can't be understood");
}

#[test]
fn a_forged_message_only_makes_us_look() {
    let pushed = Blow::of(Fault::MessageForged).on(1);
    let invented = Blow::of(Fault::MessageForged).on(0);
    let told = Day::new().before(FIRST_TESTING, pushed).before(FIRST_STABLE, invented).told();
    told.says("Koji knows no build forged-flatpak-0-1");
    let (forged, latest) = ("message forged", "Moved fedora/eog:latest");
    assert!(told.report.trace.find(forged) < told.report.trace.find(latest));
    assert_eq!(told.times(latest), 1);
}

#[test]
fn a_message_of_staging_marks_nothing() {
    let told = Day::new()
        .then(Event::Noise(3))
        .before(SECOND_TESTING, Blow::of(Fault::MessageFromStaging).on(3))
        .told();
    assert_eq!(told.times("Koji knows no build"), 0);
}
