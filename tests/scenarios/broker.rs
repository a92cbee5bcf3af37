//! The broker goes away, forgets, refuses, or takes nothing.

use std::time::Duration;

use flatbus_world::{Blow, Fault};

use crate::day::{Day, FIRST_STABLE, FIRST_TESTING};

#[test]
fn a_broker_that_comes_back_is_consumed_again() {
    let told = Day::new().before(FIRST_STABLE, Blow::of(Fault::BrokerGone)).told();
    told.says("Not consuming: the broker is gone").says("Consuming");
}

#[test]
fn a_cancelled_consumer_gets_again_what_it_had_not_acknowledged() {
    Day::new().before(FIRST_STABLE, Blow::of(Fault::ConsumerCancelled)).told().says("Not consuming");
}

#[test]
fn a_broker_that_takes_no_publications_gets_them_later_and_is_read_meanwhile() {
    let blocked = Blow::of(Fault::BrokerBlocked).lasting(Duration::from_secs(300));
    let told = Day::new().before(FIRST_TESTING, blocked).told();
    told.says("An announcement waits").says("Moved fedora/eog:latest");
}

#[test]
fn a_queue_made_anew_owes_a_survey() {
    let told = Day::new().before(FIRST_STABLE, Blow::of(Fault::QueueMissing)).told();
    told.says("Consuming gap=true");
    assert!(told.times("Survey begins") >= 3, "first start, the gap, and the last");
}

#[test]
fn a_lost_acknowledgement_brings_the_message_again_and_harms_nothing() {
    let told = Day::new().before(FIRST_STABLE, Blow::of(Fault::AckLost)).told();
    assert_eq!(told.times("Moved fedora/eog:latest"), 1);
}

#[test]
fn an_announcement_whose_confirm_is_lost_is_sent_again() {
    let told = Day::new().before(FIRST_STABLE, Blow::of(Fault::ConfirmLost)).told();
    told.says("An announcement waits");
}

#[test]
fn a_refused_announcement_is_sent_again() {
    let told = Day::new().before(FIRST_STABLE, Blow::of(Fault::PublishRefused).times(3)).told();
    told.says("An announcement waits");
    assert_eq!(told.report.struck[&Fault::PublishRefused], 3);
}
