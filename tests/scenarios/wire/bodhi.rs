//! What Bodhi may answer.

use std::time::Duration;

use flatbus_embedded::{Fault, Seen, bodhi::answering};
use http::StatusCode;
use serde_json::{Value, json};

use super::{
    hosts::BODHI,
    stage::{HOUR, MINUTE, story},
    strike::{any, updates},
    truth::{self, Push::Stable, Push::Testing},
};

/// A second build is pushed, and Bodhi's list is wrong so often.
fn passes(times: u64, fault: Fault) {
    story(async |stage| {
        stage.push(1, Stable);
        stage.quiet().await;
        stage.strike(BODHI, times, updates, fault);
        stage.push(2, Stable);
    });
}

#[test]
fn an_update_with_a_field_of_a_wrong_type_is_asked_for_again() {
    passes(1, Fault::json(|list| list["updates"][0]["builds"] = json!({})));
}

#[test]
fn an_update_with_a_field_missing_is_asked_for_again() {
    passes(1, Fault::json(|list| drop(list["updates"][0].as_object_mut().unwrap().remove("status"))));
}

#[test]
fn an_empty_page_of_a_list_that_is_not_empty_is_no_answer() {
    passes(3, Fault::json(|list| list["updates"] = json!([])));
}

#[test]
fn a_list_without_the_updates_that_were_acted_on_is_a_failed_read() {
    let nothing = |list: &mut Value| (list["updates"], list["total"]) = (json!([]), json!(0));
    passes(2, Fault::json(nothing));
}

#[test]
fn a_page_that_shifts_while_it_is_read_is_read_again() {
    story(async |stage| {
        let (build, now) = (stage.build(1), "2022-09-01T00:00:00Z".parse().unwrap());
        for number in 0..60 {
            stage.hosts.bodhi.updates.set_update(truth::old_update(&build, number, now)).unwrap();
        }
        let (known, mut number) = (stage.hosts.bodhi.updates.clone(), 60);
        let second = |seen: &Seen| seen.query.ends_with("page=2");
        stage.strike_by(BODHI, 2, second, move |_| {
            number += 1;
            known.set_update(truth::old_update(&build, number, now)).unwrap();
            Fault::None
        });
        stage.push(1, Stable);
    });
}

#[test]
fn a_stale_list_is_believed_until_the_next_survey() {
    story(async |stage| {
        stage.push(1, Stable);
        stage.quiet().await;
        let stale = Fault::By(answering(stage.hosts.bodhi.updates.snapshot()));
        stage.strike_for(MINUTE, BODHI, any, stale);
        stage.push(2, Stable);
        stage.quiet().await;
        assert_eq!(stage.tags()["latest"], 1);
        stage.pass(HOUR).await;
        assert_eq!(stage.tags()["latest"], 2);
    });
}

#[test]
fn an_update_that_goes_back_in_a_stale_list_moves_no_tag_back() {
    story(async |stage| {
        stage.push(1, Testing);
        let stale = Fault::By(answering(stage.hosts.bodhi.updates.snapshot()));
        stage.quiet().await;
        stage.push(1, Stable);
        stage.quiet().await;
        stage.strike_for(10 * MINUTE, BODHI, any, stale);
        let told_again = stage.push_in_silence(1, Stable);
        stage.deliver(told_again);
        stage.pass(5 * MINUTE).await;
        assert_eq!(stage.tags()["latest"], 1);
    });
}

#[test]
fn a_bodhi_that_does_not_answer_is_asked_again() {
    passes(1, Fault::Stall);
}

#[test]
fn a_bodhi_that_answers_late_is_waited_for() {
    passes(1, Fault::Late(Duration::from_secs(50)));
}

#[test]
fn a_bodhi_that_fails_for_ten_minutes_costs_ten_minutes() {
    story(async |stage| {
        let broken = Fault::status(StatusCode::INTERNAL_SERVER_ERROR);
        stage.strike_for(10 * MINUTE, BODHI, any, broken);
        stage.push(1, Stable);
        stage.pass(10 * MINUTE).await;
        assert!(stage.tags().is_empty());
        stage.pass(15 * MINUTE).await;
        assert_eq!(stage.tags()["latest"], 1);
    });
}
