//! Every request of a push meets a fault in turn, whatever it asks: each time everything ends right, without a person.

use bytes::Bytes;
use flatbus_embedded::{Fault, Seen, registry::Digest};
use http::{HeaderName, StatusCode};

use super::{
    hosts::EOG,
    stage::{Stage, story},
    strike::ANYBODY,
    truth::Push::Stable,
};

type Blow = Box<dyn FnMut(&Seen) -> Fault + Send>;

/// Plays a push once for every request that it takes, which meets the fault.
fn in_turn(fault: Fault) {
    happens_at_each(|_| {
        let fault = fault.clone();
        Box::new(move |_| fault.clone())
    });
}

/// Likewise, and it is something that happens in the world.
fn happens_at_each(blow: impl Fn(&mut Stage) -> Blow) {
    for number in 1..=requests_of_a_push() {
        story(async |stage| {
            strike_one(stage, number, &blow);
            stage.push(1, Stable);
        });
    }
}

/// Likewise, and a person may have to look.
fn in_turn_with_a_person(fault: Fault) {
    for number in 1..=requests_of_a_push() {
        story(async |stage| {
            strike_one(stage, number, &|_| {
                let fault = fault.clone();
                Box::new(move |_| fault.clone())
            });
            stage.push(1, Stable);
            stage.a_person_looks().await;
        });
    }
}

fn requests_of_a_push() -> usize {
    let mut requests = 0;
    story(async |stage| {
        let before = stage.requests();
        stage.push(1, Stable);
        stage.quiet().await;
        requests = stage.requests() - before;
    });
    assert!(requests > 40, "a push takes {requests} requests");
    requests
}

fn strike_one(stage: &mut Stage, number: usize, blow: &impl Fn(&mut Stage) -> Blow) {
    let (mut came, blow) = (0, blow(stage));
    let this = move |_: &Seen| {
        came += 1;
        came == number
    };
    stage.strike_by(ANYBODY, 1, this, blow);
}

#[test]
fn any_request_may_be_answered_500() {
    in_turn(Fault::status(StatusCode::INTERNAL_SERVER_ERROR));
}

#[test]
fn any_request_may_be_called_a_bad_one() {
    in_turn(Fault::status(StatusCode::BAD_REQUEST));
}

#[test]
fn any_request_may_be_answered_by_a_page_of_a_proxy() {
    let body = "<html>We are back soon</html>".to_owned();
    in_turn(Fault::Answer { status: StatusCode::OK, headers: Vec::new(), body });
}

#[test]
fn any_request_may_be_accepted_and_nothing_done() {
    in_turn(Fault::status(StatusCode::ACCEPTED));
}

#[test]
fn any_request_may_be_lost() {
    in_turn(Fault::HangUp);
}

#[test]
fn any_answer_may_be_lost_after_the_work_was_done() {
    in_turn(Fault::HangUpAfter);
}

#[test]
fn any_request_may_never_be_answered() {
    in_turn(Fault::Stall);
}

#[test]
fn any_request_may_be_cut() {
    in_turn(Fault::CutRequest { after: 5 });
}

#[test]
fn any_answer_may_be_cut() {
    in_turn(Fault::CutAnswer { after: 5 });
}

#[test]
fn any_answer_may_be_empty() {
    in_turn(Fault::edit(|_| Bytes::new()));
}

#[test]
fn any_answer_may_have_a_wrong_byte() {
    in_turn(Fault::Corrupt);
}

#[test]
fn any_answer_may_lack_its_digest() {
    in_turn(Fault::DropHeader(HeaderName::from_static("docker-content-digest")));
}

#[test]
fn any_request_may_be_refused_and_calls_a_person_at_most() {
    in_turn_with_a_person(Fault::status(StatusCode::FORBIDDEN));
}

#[test]
fn any_request_may_be_unauthorized_and_calls_a_person_at_most() {
    in_turn_with_a_person(Fault::status(StatusCode::UNAUTHORIZED));
}

#[test]
fn any_request_may_find_nothing_and_calls_a_person_at_most() {
    in_turn_with_a_person(Fault::status(StatusCode::NOT_FOUND));
}

#[test]
fn any_request_may_be_redirected_to_a_host_that_is_not_allowed_which_is_never_contacted() {
    in_turn_with_a_person(Fault::Redirect { base: "https://elsewhere.test".to_owned() });
}

#[test]
fn the_network_may_break_at_any_request() {
    happens_at_each(|stage| {
        let wire = stage.hosts.wire.clone();
        Box::new(move |_| {
            wire.cut_all();
            Fault::None
        })
    });
}

#[test]
fn tokens_may_end_at_any_request() {
    happens_at_each(|stage| {
        let control = stage.hosts.public.control();
        Box::new(move |_| {
            control.expire_tokens();
            Fault::None
        })
    });
}

#[test]
fn uploads_may_be_forgotten_at_any_request() {
    happens_at_each(|stage| {
        let control = stage.hosts.public.control();
        Box::new(move |_| {
            control.forget_uploads();
            Fault::None
        })
    });
}

/// As quay does after an hour with what no tag holds.
#[test]
fn what_no_tag_holds_may_be_collected_at_any_request() {
    happens_at_each(|stage| {
        let (content, image) = (stage.hosts.public.content.clone(), stage.build(1).image);
        Box::new(move |_| {
            if content.tags(EOG).is_none_or(|tags| tags.is_empty()) {
                content.remove_manifest(EOG, &image.index.digest);
                for child in &image.children {
                    content.remove_manifest(EOG, &child.manifest.digest);
                    for blob in [&child.config, &child.layer] {
                        content.remove_blob(EOG, &Digest::of(blob));
                    }
                }
            }
            Fault::None
        })
    });
}
