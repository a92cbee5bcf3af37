//! Every request of a push meets a fault in turn, whatever it asks: each time everything ends right, without a person.

use std::time::Duration;

use flatbus_embedded::Fault;
use http::{HeaderName, StatusCode, header};

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

macro_rules! in_turn {
    ($($name:ident: $fault:expr;)*) => { $(#[test] fn $name() { in_turn($fault); })* };
}

in_turn! {
    a_500_in_turn: Fault::status(StatusCode::INTERNAL_SERVER_ERROR);
    a_429_in_turn: Fault::status(StatusCode::TOO_MANY_REQUESTS);
    a_bad_request_in_turn: Fault::status(StatusCode::BAD_REQUEST);
    a_range_refused_in_turn: Fault::status(StatusCode::RANGE_NOT_SATISFIABLE);
    a_page_of_a_proxy_in_turn: Fault::Answer { status: StatusCode::OK, headers: vec![], body: "<html>We are back soon</html>".to_owned() };
    an_accepted_that_is_none_in_turn: Fault::status(StatusCode::ACCEPTED);
    a_lost_request_in_turn: Fault::HangUp;
    a_lost_answer_in_turn: Fault::HangUpAfter;
    silence_in_turn: Fault::Stall;
    a_late_answer_in_turn: Fault::Late(Duration::from_secs(100));
    a_cut_answer_in_turn: Fault::CutAnswer { after: 5 };
    a_stalled_answer_in_turn: Fault::StallAnswer { after: 5 };
    a_cut_request_in_turn: Fault::CutRequest { after: 5 };
    a_wrong_byte_in_turn: Fault::Corrupt;
    a_wrong_length_in_turn: Fault::Length(3);
    an_empty_answer_in_turn: Fault::edit(|_| bytes::Bytes::new());
    a_location_missing_in_turn: Fault::DropHeader(header::LOCATION);
    a_type_missing_in_turn: Fault::DropHeader(header::CONTENT_TYPE);
    a_digest_missing_in_turn: Fault::DropHeader(HeaderName::from_static("docker-content-digest"));
}
