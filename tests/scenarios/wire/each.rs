//! Every request of a push meets a fault in turn, whatever it asks: each time everything ends right, without a person.

use bytes::Bytes;
use flatbus_embedded::Fault;
use http::{HeaderName, StatusCode};

use super::{stage::story, strike::ANYBODY, truth::Push::Stable};

/// Plays a push once for every request that it takes, which meets the fault.
fn in_turn(fault: Fault) {
    let mut requests = 0;
    story(async |stage| {
        let before = stage.requests();
        stage.push(1, Stable);
        stage.quiet().await;
        requests = stage.requests() - before;
    });
    assert!(requests > 40, "a push takes {requests} requests");
    for number in 1..=requests {
        let (fault, mut came) = (fault.clone(), 0);
        story(async |stage| {
            let this = move |_: &_| {
                came += 1;
                came == number
            };
            stage.strike(ANYBODY, 1, this, fault);
            stage.push(1, Stable);
        });
    }
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
