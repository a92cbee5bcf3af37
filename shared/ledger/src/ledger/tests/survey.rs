//! What is owed is owed until a survey that began later is done.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_survey_pays_what_was_owed_before_it_began() {
    let mut desk = Desk::new().await;
    desk.ledger.survey_owe(false, "first start", desk.now()).await.unwrap();
    assert_eq!(desk.crashed().await.ledger.survey().owed.unwrap().reason, "first start");
    desk.later(5);
    let started = desk.now();
    desk.ledger.survey_started(started).await.unwrap();
    assert!(desk.crashed().await.ledger.survey().owed.is_some(), "owed until it is done");
    desk.later(5);
    desk.ledger.survey_done(true, started.wall, desk.now()).await.unwrap();
    let begun = Some(started.wall);
    let expected = SurveyState { owed: None, last_started: begun, last_complete: begun, last_full: begun };
    assert_eq!(desk.crashed().await.ledger.survey(), expected);
}

#[tokio::test(start_paused = true)]
async fn what_was_owed_while_it_ran_is_owed_still_even_at_the_same_instant() {
    for seconds in [0, 5] {
        let mut desk = Desk::new().await;
        desk.ledger.survey_owe(false, "before", desk.now()).await.unwrap();
        let started = desk.now();
        desk.ledger.survey_started(started).await.unwrap();
        desk.later(seconds);
        desk.ledger.survey_owe(false, "meanwhile", desk.now()).await.unwrap();
        desk.ledger.survey_done(true, started.wall, desk.now()).await.unwrap();
        assert!(desk.crashed().await.ledger.survey().owed.is_some(), "{seconds} s later");
    }
}

#[tokio::test(start_paused = true)]
async fn a_partial_survey_does_not_pay_for_a_full_one() {
    let mut desk = Desk::new().await;
    desk.ledger.survey_owe(true, "too much doubt", desk.now()).await.unwrap();
    desk.later(5);
    let started = desk.now();
    desk.ledger.survey_started(started).await.unwrap();
    desk.ledger.survey_done(false, started.wall, desk.now()).await.unwrap();
    let state = desk.ledger.survey();
    assert!(state.owed.is_some_and(|owed| owed.full));
    assert_eq!((state.last_complete, state.last_full), (Some(started.wall), None));
}

#[tokio::test(start_paused = true)]
async fn owing_twice_keeps_the_first_time_and_the_greater_scope() {
    let mut desk = Desk::new().await;
    let first = desk.now().wall;
    desk.ledger.survey_owe(false, "gap", desk.now()).await.unwrap();
    desk.later(5);
    desk.ledger.survey_owe(true, "unclean stop", desk.now()).await.unwrap();
    desk.ledger.survey_owe(false, "gap", desk.now()).await.unwrap();
    let owed = desk.ledger.survey().owed.unwrap();
    assert_eq!((owed.full, owed.since, owed.reason.as_str()), (true, first, "unclean stop"));
}

#[tokio::test(start_paused = true)]
async fn what_is_owed_while_a_survey_runs_is_owed_from_then_on() {
    let mut desk = Desk::new().await;
    let started = desk.now();
    desk.ledger.survey_started(started).await.unwrap();
    desk.ledger.survey_done(true, started.wall, desk.now()).await.unwrap();
    desk.later(5);
    let first = desk.now().wall;
    desk.ledger.survey_owe(true, "gap", desk.now()).await.unwrap();
    desk.later(5);
    desk.ledger.survey_owe(true, "gap", desk.now()).await.unwrap();
    assert_eq!(desk.ledger.survey().owed.unwrap().since, first, "a survey that was over says nothing of it");
    desk.ledger.survey_started(desk.now()).await.unwrap();
    desk.later(5);
    desk.ledger.survey_owe(true, "gap", desk.now()).await.unwrap();
    assert_eq!(
        desk.ledger.survey().owed.unwrap().since,
        desk.now().wall,
        "one that runs may have passed it by"
    );
}
