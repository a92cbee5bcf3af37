//! The process dies, its disk fills up, fails, is slow, corrupt, or somebody else's; the clock jumps.

use std::time::Duration;

use flatbus_world::{Blow, Event, Fault};

use crate::day::{Day, FIRST_STABLE, FIRST_TESTING, SECOND_TESTING};

#[test]
fn a_ledger_held_by_another_process_is_waited_for() {
    let told = Day::new().before(FIRST_STABLE, Blow::of(Fault::StoreHeld)).told();
    told.says("is in use by another process");
    assert!(told.report.lives > 5, "it is tried again and again");
}

#[test]
fn a_corrupt_ledger_is_set_aside_and_a_survey_restores_it() {
    let told = Day::new()
        .before(FIRST_STABLE, Blow::of(Fault::StoreCorrupt))
        .before(SECOND_TESTING, Blow::of(Fault::Killed))
        .told();
    told.says("The ledger was corrupt. It was set aside");
}

#[test]
fn a_full_disk_stops_the_reading_and_loses_nothing() {
    let told = Day::new().before(FIRST_STABLE, Blow::of(Fault::StoreFull)).told();
    told.says("The ledger can't be written; reading stops until it can")
        .says("The ledger can be written again");
}

#[test]
fn a_failing_disk_stops_the_reading_and_loses_nothing() {
    Day::new().before(FIRST_STABLE, Blow::of(Fault::StoreFailing)).told().says("The ledger can't be written");
}

#[test]
fn a_slow_disk_only_makes_it_slower() {
    let told = Day::new().before(FIRST_TESTING, Blow::of(Fault::StoreSlow)).told();
    assert_eq!(told.report.lives, 1);
}

#[test]
fn a_power_cut_loses_nothing_that_was_acknowledged_however_much_reached_the_disk() {
    for after in 0..40 {
        for kept in 0..3 {
            Day::new().before(FIRST_STABLE, Blow::of(Fault::PowerCut).after(after).times(kept)).told();
        }
    }
}

#[test]
fn a_process_killed_between_any_two_steps_ends_the_same() {
    let whole = Day::new().told().report.tags;
    let mut deaths = 0;
    loop {
        let told = Day::new().before(FIRST_STABLE, Blow::of(Fault::Killed).after(deaths)).told();
        assert_eq!(told.report.tags, whole, "killed before call {deaths} after the push");
        if told.report.lives == 1 {
            break; // There are no more calls.
        }
        deaths += 1;
    }
    assert!(deaths > 40, "only {deaths}");
}

#[test]
fn a_clean_stop_and_start_surveys_nothing() {
    let told = Day::new().then(Event::Restart).then(Event::Noise(1)).told();
    told.says("life 1 stopped");
}

#[test]
fn a_clock_that_jumps_forward_harms_nothing() {
    Day::new()
        .before(FIRST_STABLE, Blow::of(Fault::ClockForward).lasting(Duration::from_secs(200_000)))
        .told();
}

#[test]
fn a_clock_that_jumps_back_harms_nothing() {
    Day::new().before(FIRST_STABLE, Blow::of(Fault::ClockBack).lasting(Duration::from_secs(200_000))).told();
}
