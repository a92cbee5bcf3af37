//! What Koji may answer.

use std::sync::Arc;

use flatbus_embedded::{
    Fault,
    koji::{Builds, answering},
};
use serde_json::json;

use super::{
    hosts::KOJI,
    stage::{HOUR, MINUTE, story},
    strike::{ALWAYS, call},
    truth::Push::Stable,
};

/// Koji answers so, a few times: alone, and among other builds.
fn passes(fault: Fault) {
    story(async |stage| {
        stage.strike(KOJI, 3, call("getBuild"), fault);
        stage.push(1, Stable);
    });
}

#[test]
fn a_build_of_a_wrong_type_is_asked_for_again() {
    passes(Fault::rpc(|answer| *answer = json!("eog")));
}

#[test]
fn a_state_of_a_wrong_type_is_asked_for_again() {
    passes(Fault::rpc(|answer| {
        let build = if answer.is_array() { &mut answer[0][0] } else { answer };
        build["state"] = json!("COMPLETE");
    }));
}

#[test]
fn a_build_with_a_field_missing_is_asked_for_again() {
    passes(Fault::rpc(|answer| {
        let build = if answer.is_array() { &mut answer[0][0] } else { answer };
        build.as_object_mut().unwrap().remove("nvr");
    }));
}

#[test]
fn a_hub_that_is_off_line_is_asked_again() {
    passes(Fault::rpc_fault(1014, "database outage"));
}

#[test]
fn a_call_that_koji_refuses_calls_a_person() {
    story(async |stage| {
        let refused = Fault::rpc_fault(1000, "invalid format: eog-flatpak-42.1-1");
        stage.strike(KOJI, ALWAYS, call("getBuild"), refused);
        stage.push(1, Stable);
        let sentence = "koji answered build eog-flatpak-42.1-1 with fault 1000: invalid format";
        stage.expect_parked("build/eog-flatpak-42.1-1", sentence).await;
        stage.mend();
        stage.retry_all_parked().await;
    });
}

#[test]
fn a_hub_that_knows_of_no_build_yet_is_believed_until_the_next_survey() {
    story(async |stage| {
        let stale = Fault::By(answering(Arc::new(Builds::default())));
        stage.strike_for(MINUTE, KOJI, call("getBuild"), stale);
        stage.push(1, Stable);
        stage.quiet().await;
        assert!(stage.tags().is_empty());
        stage.pass(HOUR).await;
    });
}

#[test]
fn a_hub_that_does_not_answer_is_asked_again() {
    passes(Fault::Stall);
}
