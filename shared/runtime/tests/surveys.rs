//! The survey: when it is owed, what it looks at, and what it never does.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod toy;

use std::time::Duration;

use flatbus_base::{Clock, SimClock};
use flatbus_bus::MemoryBus;
use flatbus_ledger::MemoryStore;
use flatbus_runtime::{Settings, SurveyScope};
use serde_json::Value;
use toy::{
    Toy, Trouble, changed,
    running::{QUEUE, Running, settings},
};

fn clock() -> SimClock {
    SimClock::starting_at("2026-01-01T00:00:00Z".parse().unwrap())
}

async fn surveyed(unit: &Running, times: usize) {
    unit.until("surveyed", |unit| unit.toy.world(|w| w.surveys.len()) >= times).await;
    unit.quiet().await;
}

#[tokio::test(start_paused = true)]
async fn a_first_start_owes_a_survey_of_everything() {
    let toy = Toy::default();
    toy.truth("eog", "1");
    let unit = Running::start(toy).await;
    surveyed(&unit, 1).await;
    assert_eq!(unit.toy.world(|w| w.surveys.clone()), [SurveyScope::Full]);
    assert_eq!(unit.toy.world(|w| w.made["eog"].clone()), "1");
    assert_eq!(unit.bus.take_announced().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_unclean_stop_owes_a_survey_and_a_clean_one_does_not() {
    let unit = Running::start(Toy::default()).await;
    surveyed(&unit, 1).await;
    let (store, bus, clock, toy) = unit.kill().await;
    let unit = Running::start_on(store, bus, clock, toy, settings()).await;
    surveyed(&unit, 2).await;
    let (store, toy, clock) = (unit.store.clone(), unit.toy.clone(), unit.clock.clone());
    unit.stop().await.unwrap();
    let unit = Running::start_on(store, MemoryBus::new(), clock, toy, settings()).await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(unit.toy.world(|w| w.surveys.len()), 2);
}

#[tokio::test(start_paused = true)]
async fn a_gap_in_the_queue_owes_a_survey() {
    let unit = Running::start(Toy::default()).await;
    surveyed(&unit, 1).await;
    unit.toy.truth("missed", "1");
    unit.bus.lose_queue(QUEUE);
    surveyed(&unit, 2).await;
    assert_eq!(unit.toy.world(|w| w.made["missed"].clone()), "1");
}

#[tokio::test(start_paused = true)]
async fn any_lost_message_heals_at_the_next_survey_by_the_clock() {
    let often = Settings {
        survey_every: Duration::from_secs(600),
        survey_full_every: Duration::from_secs(86_400),
        ..settings()
    };
    let unit = Running::start_with(Toy::default(), often).await;
    surveyed(&unit, 1).await;
    unit.toy.truth("lost", "1");
    tokio::time::sleep(Duration::from_secs(620)).await;
    unit.quiet().await;
    assert_eq!(unit.toy.world(|w| w.made["lost"].clone()), "1");
    let scopes = unit.toy.world(|w| w.surveys.clone());
    assert!(matches!(scopes[..], [SurveyScope::Full, SurveyScope::Since(_)]), "{scopes:?}");
    tokio::time::sleep(Duration::from_secs(90_000)).await;
    assert!(unit.toy.world(|w| w.surveys[1..].contains(&SurveyScope::Full)));
}

#[tokio::test(start_paused = true)]
async fn a_survey_whose_listing_failed_is_owed_still() {
    let toy = Toy::default();
    toy.truth("eog", "1");
    toy.world(|w| w.survey_fails = true);
    let unit = Running::start(toy).await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert!(unit.ledger.survey().owed.is_some());
    assert!(unit.toy.settled().is_empty());
    assert!(unit.status().await.attention.iter().any(|line| line.contains("the listing failed")));
    unit.toy.world(|w| w.survey_fails = false);
    unit.quiet().await;
    assert_eq!(unit.toy.settled(), ["eog"]);
}

#[tokio::test(start_paused = true)]
async fn the_status_page_tells_whether_a_survey_runs() {
    let toy = Toy::default();
    (0..200).for_each(|n| toy.truth(&format!("thing{n:03}"), "1"));
    let unit = Running::start_with(toy, Settings { survey_keys_per_s: 20, ..settings() }).await;
    unit.until("begun", |unit| !unit.toy.settled().is_empty()).await;
    assert!(unit.status().await.survey.running, "200 keys at 20 a second take a while");
    unit.until("over", |unit| unit.ledger.survey().owed.is_none()).await;
    unit.quiet().await;
    assert!(!unit.status().await.survey.running);
}

#[tokio::test(start_paused = true)]
async fn surveys_keep_their_distance() {
    let far = Settings { survey_gap_min: Duration::from_secs(300), ..settings() };
    let unit = Running::start_with(Toy::default(), far).await;
    surveyed(&unit, 1).await;
    for _ in 0..10 {
        unit.ask::<Value>("POST", "/survey", r#"{"full": true}"#).await;
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    assert_eq!(unit.toy.world(|w| w.surveys.len()), 1);
    surveyed(&unit, 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_survey_keeps_its_pace_and_lets_events_pass() {
    let toy = Toy::default();
    for n in 0..100 {
        toy.truth(&format!("t{n:03}"), "1");
    }
    let slow = Settings { survey_keys_per_s: 10, settles_max: 1, ..settings() };
    let unit = Running::start_with(toy, slow).await;
    unit.until("begun", |unit| unit.toy.settled().len() > 2).await;
    unit.toy.truth("urgent", "1");
    unit.bus.publish(changed("m1", &["urgent"]));
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(unit.toy.settled().contains(&"urgent".to_owned()));
    let begun = unit.clock.monotonic();
    unit.quiet().await;
    assert!(unit.clock.monotonic().duration_since(begun) >= Duration::from_secs(6));
}

#[tokio::test(start_paused = true)]
async fn a_survey_does_not_shorten_the_wait_of_a_failing_thing() {
    let unit = Running::start(Toy::default()).await;
    surveyed(&unit, 1).await;
    unit.toy.truth("eog", "1");
    unit.toy.trouble("eog", [Trouble::After(Duration::from_secs(900))]);
    unit.bus.publish(changed("m1", &["eog"]));
    unit.until("waits", |unit| unit.ledger.counts().waiting == 1).await;
    unit.ask::<Value>("POST", "/survey", r#"{"full": true}"#).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(unit.toy.settled(), ["eog"]);
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_tells_what_would_be_done_and_does_nothing() {
    let unit =
        Running::start_on(MemoryStore::new(), MemoryBus::new(), clock(), Toy::default(), settings()).await;
    surveyed(&unit, 1).await;
    unit.toy.truth("eog", "1");
    let commits = unit.store.commits();
    let (status, lines) = unit.ask_raw("POST", "/survey/dry", "").await;
    let lines: Vec<Value> = lines
        .split(|b| *b == b'\n')
        .filter(|l| !l.is_empty())
        .map(|l| serde_json::from_slice(l).unwrap())
        .collect();
    assert_eq!(status, 200);
    assert_eq!(lines[0]["key"], "eog");
    assert!(lines[0]["would"][0].as_str().unwrap().contains("make eog"));
    assert_eq!(lines[1]["keys"], 1);
    assert!(unit.toy.world(|w| w.made.is_empty()));
    assert_eq!(unit.store.commits(), commits);
}

#[tokio::test(start_paused = true)]
async fn a_survey_cut_short_goes_on_where_it_was() {
    let toy = Toy::default();
    for n in 0..320 {
        toy.truth(&format!("t{n:03}"), "1");
    }
    let slow = Settings { survey_keys_per_s: 32, survey_gap_min: Duration::ZERO, ..settings() };
    let unit = Running::start_with(toy, slow.clone()).await;
    unit.until("half way", |unit| unit.toy.settled().len() > 160).await;
    let (store, toy, clock) = (unit.store.clone(), unit.toy.clone(), unit.clock.clone());
    unit.stop().await.unwrap();
    let unit = Running::start_on(store, MemoryBus::new(), clock, toy, slow).await;
    unit.quiet().await;
    assert_eq!(unit.toy.world(|w| w.made.len()), 320);
    let settled = unit.toy.settled().len();
    assert!(settled < 320 + 64, "{settled} settles: what was looked at before the stop was looked at again");
}

#[tokio::test(start_paused = true)]
async fn a_survey_owed_anew_does_not_go_on_in_the_middle() {
    let toy = Toy::default();
    for n in 0..320 {
        toy.truth(&format!("t{n:03}"), "1");
    }
    let slow = Settings { survey_keys_per_s: 32, survey_gap_min: Duration::ZERO, ..settings() };
    let unit = Running::start_with(toy, slow.clone()).await;
    unit.until("half way", |unit| unit.toy.settled().len() > 160).await;
    let (store, bus, clock, toy) = unit.kill().await;
    toy.truth("t000", "2");
    let unit = Running::start_on(store, bus, clock, toy, slow).await;
    unit.quiet().await;
    assert_eq!(unit.toy.world(|w| w.made["t000"].clone()), "2");
}

#[tokio::test(start_paused = true)]
async fn a_survey_is_made_after_the_clock_jumped_back_and_it_is_a_full_one() {
    let unit = Running::start(Toy::default()).await;
    surveyed(&unit, 1).await;
    unit.clock.jump(jiff::SignedDuration::from_hours(-48));
    unit.toy.truth("missed", "1");
    unit.bus.lose_queue(QUEUE);
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(unit.toy.world(|w| w.surveys.clone()), [SurveyScope::Full; 2]);
    assert_eq!(unit.toy.world(|w| w.made["missed"].clone()), "1");
    unit.bus.lose_queue(QUEUE);
    surveyed(&unit, 3).await;
    unit.bus.lose_queue(QUEUE); // Owed, and too early for it.
    tokio::time::sleep(Duration::from_millis(100)).await;
    unit.clock.jump(jiff::SignedDuration::from_hours(-48));
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(
        unit.toy.world(|w| w.surveys.len()),
        4,
        "what is owed by a clock that was wrong is paid by one survey"
    );
}
