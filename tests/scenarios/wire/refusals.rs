//! A registry that refuses or fails a request, and serves the next.

use std::time::Duration;

use flatbus_embedded::{Fault, Reach};
use http::{HeaderValue, Method, StatusCode, header};

use super::{
    hosts::{CANDIDATE, PUBLIC},
    stage::{HOUR, MINUTE, Stage, story},
    strike::{any, is},
    truth::Push::Stable,
};

#[test]
fn a_token_that_ends_in_mid_copy_is_replaced() {
    story(async |stage| {
        let control = stage.hosts.public.control();
        stage.strike_by(PUBLIC, 1, is(Method::PATCH, "/uploads/"), move |_| {
            control.expire_tokens();
            Fault::None
        });
        stage.push(1, Stable);
        stage.quiet().await;
        let tokens = stage.asked(PUBLIC, |seen| seen.query.contains("push"));
        assert_eq!((tokens.len(), stage.put_off()), (2, 0), "one more token, in the same copy");
    });
}

#[test]
fn a_password_that_is_refused_for_an_hour_loses_nothing() {
    story(async |stage| {
        let refused = Fault::status(StatusCode::UNAUTHORIZED);
        stage.strike_for(HOUR, PUBLIC, is(Method::GET, "/token"), refused);
        stage.push(1, Stable);
        stage.pass(HOUR).await;
        assert!(stage.tags().is_empty());
    });
}

/// The same fault once at the source and twice at the destination.
async fn strikes_both(stage: &mut Stage, fault: Fault) {
    let layer = stage.build(1).layer();
    stage.strike(CANDIDATE, 1, is(Method::GET, layer), fault.clone());
    stage.strike(PUBLIC, 1, is(Method::POST, "/uploads/"), fault.clone());
    stage.strike(PUBLIC, 1, is(Method::PUT, "/manifests/latest"), fault);
    stage.push(1, Stable);
    stage.quiet().await;
    assert_eq!(stage.put_off(), 0, "the client's own tries are enough");
}

fn costs_moments(status: StatusCode) {
    story(async |stage| {
        strikes_both(stage, Fault::status(status)).await;
        let tags = stage.asked(PUBLIC, is(Method::PUT, "/manifests/"));
        assert!(*tags.last().unwrap() < MINUTE / 6, "{tags:?}");
    });
}

#[test]
fn a_429_that_tells_how_long_to_wait_is_waited_for() {
    story(async |stage| {
        let wait = Duration::from_secs(25);
        strikes_both(stage, Fault::retry_after(StatusCode::TOO_MANY_REQUESTS, wait)).await;
        let puts = stage.asked(PUBLIC, is(Method::PUT, "/manifests/latest"));
        assert!(puts.len() == 2 && puts[1] - puts[0] >= wait, "{puts:?}");
    });
}

#[test]
fn a_429_that_tells_a_date_is_waited_for() {
    story(async |stage| {
        let date = HeaderValue::from_static("Wed, 14 Sep 2022 02:47:30 GMT"); // The story begins at 02:47:00.
        let headers = vec![(header::RETRY_AFTER, date)];
        let limited = Fault::Answer { status: StatusCode::TOO_MANY_REQUESTS, headers, body: String::new() };
        stage.strike(PUBLIC, 1, is(Method::PUT, "/manifests/latest"), limited);
        stage.push(1, Stable);
        stage.quiet().await;
        let puts = stage.asked(PUBLIC, is(Method::PUT, "/manifests/latest"));
        assert!(puts[0] < MINUTE / 6 && puts[1] >= MINUTE / 2 && puts[1] < MINUTE, "{puts:?}");
    });
}

#[test]
fn a_429_that_tells_a_wait_of_an_hour_is_waited_for_in_the_ledger() {
    story(async |stage| {
        let limited = Fault::retry_after(StatusCode::TOO_MANY_REQUESTS, HOUR);
        stage.strike(PUBLIC, 1, is(Method::PUT, "/manifests/latest"), limited);
        stage.push(1, Stable);
        stage.quiet().await;
        let puts = stage.asked(PUBLIC, is(Method::PUT, "/manifests/latest"));
        assert!(puts.len() == 2 && puts[1] - puts[0] >= HOUR, "{puts:?}");
    });
}

#[test]
fn a_429_that_tells_nothing_costs_moments() {
    costs_moments(StatusCode::TOO_MANY_REQUESTS);
}

#[test]
fn a_500_costs_moments() {
    costs_moments(StatusCode::INTERNAL_SERVER_ERROR);
}

#[test]
fn a_502_costs_moments() {
    costs_moments(StatusCode::BAD_GATEWAY);
}

#[test]
fn a_503_costs_moments() {
    costs_moments(StatusCode::SERVICE_UNAVAILABLE);
}

#[test]
fn a_504_costs_moments() {
    costs_moments(StatusCode::GATEWAY_TIMEOUT);
}

#[test]
fn a_destination_that_never_answers_a_request_is_asked_again() {
    story(async |stage| {
        stage.strike(PUBLIC, 1, is(Method::PUT, "/uploads/"), Fault::Stall);
        stage.strike(PUBLIC, 1, is(Method::PUT, "/manifests/latest"), Fault::Stall);
        stage.push(1, Stable);
    });
}

#[test]
fn a_destination_that_is_gone_for_an_hour_in_mid_copy_is_copied_to_when_it_is_back() {
    story(async |stage| {
        let (wire, layer) = (stage.hosts.wire.clone(), stage.build(1).layer());
        stage.strike_by(CANDIDATE, 1, is(Method::GET, layer), move |_| {
            wire.set(PUBLIC, Reach::Refused);
            wire.cut(PUBLIC);
            Fault::None
        });
        stage.push(1, Stable);
        stage.pass(HOUR).await;
        let before = stage.hosts.wire.asked()[PUBLIC];
        assert!(stage.tags().is_empty(), "{:?}", stage.tags());
        stage.hosts.wire.set(PUBLIC, Reach::Up);
        stage.pass(11 * MINUTE).await; // A key waits for ten minutes at most.
        assert!(stage.hosts.wire.asked()[PUBLIC] > before && stage.tags()["latest"] == 1);
    });
}

#[test]
fn a_source_that_answers_nobody_for_an_hour_is_copied_from_when_it_does() {
    story(async |stage| {
        stage.strike_for(HOUR, CANDIDATE, any, Fault::Stall);
        stage.push(1, Stable);
        stage.pass(HOUR).await;
        assert!(stage.tags().is_empty());
    });
}
