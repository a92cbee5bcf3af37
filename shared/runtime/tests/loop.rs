//! The loop, from a delivery to its announcement, with a toy consumer on paused time.

mod toy;

use std::{sync::Arc, time::Duration};

use flatbus_base::{Clock, SimClock};
use flatbus_bus::{Fault as PublishFault, MemoryBus, Undecodable};
use flatbus_ledger::{Fault, KeyState, MemoryStore};
use flatbus_runtime::{Mode, Settings};
use flatbus_telemetry::metrics::{Counter, Gauge};
use tokio::sync::Notify;
use toy::{
    Sharing, Toy, Trouble, changed, message,
    running::{QUEUE, Running, settings},
};

fn toy_with(truth: &[(&str, &str)]) -> Toy {
    let toy = Toy::default();
    for (thing, value) in truth {
        toy.truth(thing, value);
    }
    toy
}

/// A unit whose first-start survey is over, so that a test sees only its own doings.
async fn started(toy: Toy) -> Running {
    started_with(toy, settings()).await
}

async fn started_with(toy: Toy, settings: Settings) -> Running {
    let unit = Running::start_with(toy, settings).await;
    unit.until("first survey over", |unit| unit.ledger.survey().last_complete.is_some()).await;
    unit.quiet().await;
    unit.toy.world(|world| world.settled.clear());
    unit.bus.take_announced();
    unit
}

#[tokio::test(start_paused = true)]
async fn a_message_makes_its_thing_true_and_is_announced_with_its_cause() {
    let unit = started(Toy::default()).await;
    unit.toy.truth("eog", "1");
    unit.bus.publish(changed("m1", &["eog"]));
    unit.quiet().await;
    assert_eq!(unit.toy.world(|w| w.made["eog"].clone()), "1");
    let announced = unit.bus.take_announced();
    assert_eq!(announced.len(), 1);
    assert_eq!(announced[0].causes, ["m1"]);
    assert_eq!(announced[0].announcement.body["value"], "1");
    assert_eq!(unit.bus.acked(QUEUE), ["m1"]);
    unit.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn nothing_is_acknowledged_before_it_is_durable() {
    let unit = started(Toy::default()).await;
    unit.store.set_slow(Some(Duration::from_secs(3)));
    unit.bus.publish(changed("m1", &["eog"]));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(unit.bus.unacked(QUEUE), 1);
    assert!(unit.bus.acked(QUEUE).is_empty());
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(unit.bus.acked(QUEUE), ["m1"]);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_marks_nothing_is_acknowledged_without_a_write() {
    let unit = started(Toy::default()).await;
    let before = unit.store.commits();
    for n in 0..50 {
        unit.bus.publish(message(&n.to_string(), "org.fedoraproject.prod.buildsys.tag", b"{}"));
    }
    unit.quiet().await;
    assert_eq!(unit.bus.acked(QUEUE).len(), 50);
    assert_eq!(unit.store.commits(), before);
}

#[tokio::test(start_paused = true)]
async fn a_message_of_another_environment_is_counted_and_dropped() {
    let unit = started(Toy::default()).await;
    unit.bus.publish(message("stg", "org.fedoraproject.stg.toy.changed", br#"["eog"]"#));
    unit.quiet().await;
    assert_eq!(unit.metrics.get(Counter::Foreign), 1);
    assert!(unit.toy.settled().is_empty());
    assert_eq!(unit.bus.acked(QUEUE), ["stg"]);
}

#[tokio::test(start_paused = true)]
async fn what_cant_be_understood_is_parked_with_its_body_and_acknowledged() {
    let unit = started(Toy::default()).await;
    unit.bus.publish(message("bad", "org.fedoraproject.prod.toy.changed", br#"{"no": "list"}"#));
    let undecodable =
        Undecodable { topic: "t".into(), id: "x".into(), reason: "not UTF-8".into(), body: vec![0xff] };
    unit.bus.publish_undecodable(&undecodable);
    unit.until("both parked", |unit| unit.ledger.counts().parked_messages == 2).await;
    let parked = unit.ledger.parked_messages(None, 10).unwrap();
    assert_eq!(unit.ledger.parked_message(parked[0].number).unwrap().unwrap().body, br#"{"no": "list"}"#);
    assert_eq!(unit.ledger.parked_message(parked[1].number).unwrap().unwrap().body, [0xff]);
    unit.until("acked", |unit| unit.bus.unacked(QUEUE) == 0).await;
    let attention = unit.status().await.attention;
    assert!(matches!(&attention[..], [only] if only.starts_with("2 messages")), "{attention:?}");
}

#[tokio::test(start_paused = true)]
async fn a_thing_marked_again_while_it_is_settled_is_settled_again() {
    let unit = started(toy_with(&[("eog", "1")])).await;
    let go = Arc::new(Notify::new());
    unit.toy.truth("eog", "2");
    unit.toy.trouble("eog", [Trouble::Wait(Arc::clone(&go))]);
    unit.bus.publish(changed("m1", &["eog"]));
    unit.until("in work", |unit| unit.toy.world(|w| w.made["eog"] == "2")).await;
    unit.toy.truth("eog", "3");
    unit.bus.publish(changed("m2", &["eog"]));
    unit.until("m2 recorded", |unit| unit.bus.acked(QUEUE).len() == 2).await;
    go.notify_one();
    unit.quiet().await;
    assert_eq!(unit.toy.world(|w| w.made["eog"].clone()), "3");
    assert_eq!(unit.toy.settled(), ["eog", "eog"]);
}

#[tokio::test(start_paused = true)]
async fn things_of_one_lane_never_run_together_and_those_of_others_do() {
    let toy = Toy { lanes: true, ..Toy::default() };
    let unit = started(toy).await;
    unit.toy.world(|w| w.most_running = 0);
    unit.bus.publish(changed("m1", &["a1", "a2", "a3", "b1", "b2"]));
    unit.quiet().await;
    assert_eq!(unit.toy.settled().len(), 5);
    assert_eq!(unit.toy.world(|w| w.most_running), 2);
}

#[tokio::test(start_paused = true)]
async fn what_ranks_lower_runs_first() {
    let unit = started_with(Toy::default(), Settings { settles_max: 1, ..settings() }).await;
    unit.bus.publish(changed("m1", &["eog", "runtime/f41"]));
    unit.quiet().await;
    assert_eq!(unit.toy.settled(), ["runtime/f41", "eog"]);
}

#[tokio::test(start_paused = true)]
async fn a_fact_that_holds_already_is_told_once_and_not_again() {
    let unit = started(toy_with(&[("eog", "1")])).await;
    for n in 0..3 {
        unit.bus.publish(changed(&format!("m{n}"), &["eog"]));
        unit.quiet().await;
    }
    assert!(unit.bus.take_announced().is_empty());
    unit.toy.world(|w| w.truth.clear());
    unit.bus.publish(changed("gone", &["eog"]));
    unit.quiet().await;
    let announced = unit.bus.take_announced();
    assert_eq!(announced.len(), 1);
    assert_eq!(announced[0].announcement.body["previous"], "1");
    assert!(announced[0].announcement.body["value"].is_null());
}

#[tokio::test(start_paused = true)]
async fn a_crash_between_the_effect_and_its_commit_swallows_no_announcement() {
    let unit = started(Toy::default()).await;
    unit.toy.truth("eog", "1");
    unit.toy.trouble("eog", [Trouble::DieAfterEffect]);
    unit.bus.publish(changed("m1", &["eog"]));
    unit.until("effect", |unit| unit.toy.world(|w| w.made.contains_key("eog"))).await;
    let (store, bus, clock, toy) = unit.kill().await;
    let unit = Running::start_on(store, bus, clock, toy, settings()).await;
    unit.quiet().await;
    let announced = unit.bus.take_announced();
    assert_eq!(announced.len(), 1);
    assert_eq!(announced[0].causes, ["m1"]);
}

#[tokio::test(start_paused = true)]
async fn a_crash_before_the_ack_only_means_that_the_message_comes_again() {
    let unit = started(Toy::default()).await;
    unit.toy.truth("eog", "1");
    unit.store.set_slow(Some(Duration::from_secs(60)));
    unit.bus.publish(changed("m1", &["eog"]));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (store, bus, clock, toy) = unit.kill().await;
    toy.world(|w| w.made.clear());
    let unit = Running::start_on(store, bus, clock, toy, settings()).await;
    unit.quiet().await;
    assert_eq!(unit.bus.acked(QUEUE), ["m1"]);
    assert_eq!(unit.toy.world(|w| w.made["eog"].clone()), "1");
}

#[tokio::test(start_paused = true)]
async fn an_announcement_waits_for_the_broker_and_is_sent_again_under_its_id() {
    let unit = started(Toy::default()).await;
    unit.toy.truth("eog", "1");
    unit.bus.fail_publishing([
        PublishFault::Unreachable("down".into()),
        PublishFault::ConfirmLost,
        PublishFault::Refused("no".into()),
    ]);
    unit.bus.publish(changed("m1", &["eog"]));
    unit.quiet().await;
    let ids: Vec<_> = unit.bus.take_announced().into_iter().map(|message| message.id).collect();
    assert_eq!(ids.len(), 2);
    assert_eq!(ids[0], ids[1]);
}

#[tokio::test(start_paused = true)]
async fn what_settling_finds_doubtful_is_settled_too() {
    let unit = started(Toy::default()).await;
    unit.toy.world(|w| w.also.insert("build".into(), vec!["repository".into()]));
    unit.toy.truth("repository", "1");
    unit.bus.publish(changed("m1", &["build"]));
    unit.quiet().await;
    assert_eq!(unit.toy.settled(), ["build", "repository"]);
    assert_eq!(unit.bus.take_announced().pop().unwrap().causes, ["m1"]);
}

#[tokio::test(start_paused = true)]
async fn a_failing_thing_is_tried_again_with_growing_waits() {
    let unit = started(Toy::default()).await;
    unit.toy.trouble("eog", vec![Trouble::Retry; 4]);
    unit.bus.publish(changed("m1", &["eog"]));
    let begun = unit.clock.monotonic();
    unit.quiet().await;
    assert_eq!(unit.toy.settled().len(), 5);
    let waited = unit.clock.monotonic().duration_since(begun);
    assert!(waited >= Duration::from_secs(15) && waited <= Duration::from_secs(31), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_was_told_is_kept_even_when_an_event_comes() {
    let unit = started(Toy::default()).await;
    unit.toy.trouble("eog", [Trouble::After(Duration::from_secs(300))]);
    unit.bus.publish(changed("m1", &["eog"]));
    unit.until("waits", |unit| unit.ledger.counts().waiting == 1).await;
    unit.bus.publish(changed("m2", &["eog"]));
    tokio::time::sleep(Duration::from_secs(290)).await;
    assert_eq!(unit.toy.settled().len(), 1);
    unit.quiet().await;
    assert_eq!(unit.toy.settled().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_fails_for_a_day_is_parked_and_told_once_and_an_event_brings_it_back() {
    let unit = started(Toy::default()).await;
    unit.toy.trouble("eog", vec![Trouble::Retry; 10_000]);
    unit.bus.publish(changed("m1", &["eog"]));
    tokio::time::sleep(Duration::from_secs(23 * 3600)).await;
    assert_eq!(unit.ledger.counts().parked, 0);
    tokio::time::sleep(Duration::from_secs(3600 + 700)).await;
    let parked = unit.ledger.show("eog").unwrap();
    assert_eq!(parked.state, KeyState::Parked);
    let told = unit.bus.take_announced();
    assert_eq!(
        told.iter().map(|m| m.announcement.topic.as_str()).collect::<Vec<_>>(),
        ["flatbus.key.parked"]
    );
    assert_eq!(told[0].announcement.body["attempts"], parked.attempts);
    unit.toy.world(|w| w.trouble.clear());
    unit.bus.publish(changed("m2", &["eog"]));
    unit.quiet().await;
    assert!(unit.ledger.show("eog").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_parked_thing_is_tried_once_by_a_survey_and_stays_parked_unless_that_succeeds() {
    let unit = started(toy_with(&[("eog", "1")])).await;
    unit.toy.trouble("eog", [Trouble::Park, Trouble::Park]);
    unit.bus.publish(changed("m1", &["eog"]));
    unit.until("parked", |unit| unit.ledger.counts().parked == 1).await;
    let attention = unit.status().await.attention;
    assert!(matches!(&attention[..], [only] if only.starts_with("1 keys are parked")), "{attention:?}");
    let summary = unit.status().await.summary;
    assert!(summary.starts_with("consuming; 1 doubtful, 0 waiting, 1 parked, "), "{summary}");
    for (round, parked) in [(1, 1), (2, 0)] {
        tokio::time::sleep(Duration::from_secs(5)).await;
        unit.ask::<serde_json::Value>("POST", "/survey", r#"{"full": true}"#).await;
        unit.until("survey over", |unit| unit.ledger.survey().owed.is_none()).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(unit.toy.settled().len(), 1 + round);
        assert_eq!(unit.ledger.counts().parked, parked);
    }
    assert!(unit.status().await.attention.is_empty());
    let told = unit.bus.take_announced();
    assert_eq!(told.iter().filter(|m| m.announcement.topic == "flatbus.key.parked").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_failure_of_its_thing_alone() {
    let unit = started(Toy::default()).await;
    unit.toy.trouble("eog", [Trouble::Panic]);
    unit.bus.publish(changed("m1", &["eog", "baobab"]));
    unit.until("tried", |unit| unit.ledger.show("eog").is_some_and(|shown| shown.attempts == 1)).await;
    assert!(unit.ledger.show("eog").unwrap().last_error.unwrap().contains("a bug"));
    unit.quiet().await;
    unit.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_settle_that_hangs_is_given_up_and_tried_again() {
    let unit =
        started_with(Toy::default(), Settings { settle_timeout: Duration::from_secs(30), ..settings() })
            .await;
    unit.toy.trouble("eog", [Trouble::Hang]);
    unit.bus.publish(changed("m1", &["eog"]));
    unit.quiet().await;
    assert_eq!(unit.toy.settled().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_can_never_work_ends_the_process_and_leaves_its_thing_doubtful() {
    let unit = started(Toy::default()).await;
    unit.toy.trouble("eog", [Trouble::Fatal]);
    unit.bus.publish(changed("m1", &["eog"]));
    let ledger = unit.ledger.clone();
    let failure = unit.ended().await.unwrap_err();
    assert_eq!(failure.message, "no");
    assert!(ledger.show("eog").is_some());
}

#[tokio::test(start_paused = true)]
async fn too_much_doubt_collapses_into_a_survey_and_reading_goes_on() {
    let toy = Toy::default();
    let unit = started_with(toy, Settings { doubtful_max: 10, settles_max: 1, ..settings() }).await;
    let go = Arc::new(Notify::new());
    unit.toy.trouble("t000", [Trouble::Wait(Arc::clone(&go))]);
    for n in 0..100 {
        let thing = format!("t{n:03}");
        unit.toy.truth(&thing, "1");
        unit.bus.publish(changed(&format!("m{n}"), &[&thing]));
    }
    unit.until("all acked", |unit| unit.bus.acked(QUEUE).len() == 100).await;
    assert!(unit.ledger.counts().doubtful <= 10);
    assert!(unit.ledger.survey().owed.is_some());
    assert!(unit.metrics.get(Counter::Collapsed) >= 90, "who alarms on it is told");
    go.notify_one();
    unit.until("all made", |unit| unit.toy.world(|w| w.made.len()) == 100).await;
}

#[tokio::test(start_paused = true)]
async fn where_others_consume_the_queue_too_much_doubt_leaves_it_to_them() {
    let (toy, bus) = (Toy::default(), MemoryBus::new());
    let clock = SimClock::starting_at("2026-01-01T00:00:00Z".parse().unwrap());
    let settings = Settings { doubtful_max: 10, settles_max: 1, ..settings() };
    let sharing = Sharing(toy.clone());
    let unit = Running::start_as(sharing, MemoryStore::new(), bus, clock, toy, settings).await;
    unit.quiet().await;
    let go = Arc::new(Notify::new());
    unit.toy.trouble("t000", [Trouble::Wait(Arc::clone(&go))]);
    for n in 0..100 {
        unit.bus.publish(changed(&format!("m{n}"), &[&format!("t{n:03}")]));
    }
    unit.until("full", |unit| unit.ledger.counts().doubtful >= 10).await;
    unit.until("given back", |unit| unit.bus.unacked(QUEUE) == 0 && unit.bus.waiting(QUEUE) > 0).await;
    assert!(!unit.status().await.bus.consuming);
    assert_eq!(unit.ledger.survey().owed, None, "nothing collapsed");
    go.notify_one();
    unit.quiet().await;
    assert_eq!(unit.bus.acked(QUEUE).len(), 100);
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_stops_reading_loses_nothing_and_goes_on_by_itself() {
    let unit = started(Toy::default()).await;
    unit.toy.truth("eog", "1");
    unit.store.set_fault(Some(Fault::Full));
    unit.bus.publish(changed("m1", &["eog"]));
    unit.until("paused", |unit| unit.metrics.value(Gauge::Paused) == 1).await;
    unit.until("given back", |unit| unit.bus.unacked(QUEUE) == 0 && unit.bus.waiting(QUEUE) == 1).await;
    assert!(unit.bus.acked(QUEUE).is_empty());
    assert!(unit.status().await.attention[0].contains("no space left"));
    let (ready, _) = unit.ask_raw("GET", "/ready", "").await;
    assert_eq!(ready, 503);
    unit.store.set_fault(None);
    unit.quiet().await;
    assert_eq!(unit.bus.acked(QUEUE), ["m1"]);
    assert_eq!(unit.toy.world(|w| w.made["eog"].clone()), "1");
}

#[tokio::test(start_paused = true)]
async fn stopping_lets_running_things_finish_and_closes_the_ledger_cleanly() {
    let unit = started(Toy::default()).await;
    let go = Arc::new(Notify::new());
    unit.toy.truth("eog", "1");
    unit.toy.trouble("eog", [Trouble::Wait(Arc::clone(&go))]);
    unit.bus.publish(changed("m1", &["eog"]));
    unit.until("in work", |unit| unit.ledger.counts().in_flight == 1).await;
    let (store, toy) = (unit.store.clone(), unit.toy.clone());
    unit.stop.cancel();
    go.notify_one();
    unit.ended().await.unwrap();
    let clock = SimClock::starting_at("2026-01-02T00:00:00Z".parse().unwrap());
    let unit = Running::start_on(store, MemoryBus::new(), clock, toy, settings()).await;
    assert!(unit.ledger.opened().clean);
    assert!(unit.ledger.survey().owed.is_none());
    assert_eq!(unit.ledger.counts().doubtful, 0);
    unit.until("announced after the restart", |unit| unit.bus.announced().len() == 1).await;
}

#[tokio::test(start_paused = true)]
async fn what_does_not_finish_in_time_is_doubtful_still() {
    let unit = started(Toy::default()).await;
    unit.toy.trouble("eog", [Trouble::Hang]);
    unit.bus.publish(changed("m1", &["eog"]));
    unit.until("in work", |unit| unit.toy.settled().len() == 1).await;
    let (store, toy, clock) = (unit.store.clone(), unit.toy.clone(), unit.clock.clone());
    unit.stop().await.unwrap();
    let unit = Running::start_on(store, MemoryBus::new(), clock, toy, settings()).await;
    unit.until("settled again", |unit| unit.toy.settled().len() == 2).await;
}

#[tokio::test(start_paused = true)]
async fn shadow_changes_nothing_tells_nobody_and_lists_what_it_would_have_done() {
    let unit = Running::start_with(Toy::default(), Settings { mode: Mode::Shadow, ..settings() }).await;
    unit.toy.truth("eog", "1");
    unit.toy.trouble("baobab", [Trouble::Park]);
    unit.bus.publish(changed("m1", &["eog", "baobab"]));
    unit.until("settled", |unit| unit.ledger.counts().deeds == 1 && unit.ledger.counts().parked == 1).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(unit.toy.world(|w| w.made.is_empty()));
    assert!(unit.bus.announced().is_empty());
    let (_, deeds): (_, serde_json::Value) = unit.ask("GET", "/deeds", "").await;
    assert!(deeds[0]["text"].as_str().unwrap().contains("make eog"));
}

#[tokio::test(start_paused = true)]
async fn what_is_remembered_is_written_with_the_commit_that_clears_the_thing() {
    let unit = started(Toy::default()).await;
    unit.toy.truth("eog", "1");
    unit.toy.trouble("eog", [Trouble::Retry]);
    unit.bus.publish(changed("m1", &["eog"]));
    unit.until("failed once", |unit| unit.ledger.counts().waiting == 1).await;
    assert!(unit.ledger.memo("seen/eog").unwrap().is_none());
    unit.quiet().await;
    assert_eq!(unit.ledger.memo("seen/eog").unwrap().unwrap(), br#""1""#);
}

#[tokio::test(start_paused = true)]
async fn a_probe_goes_all_the_way_round() {
    let bus = MemoryBus::new();
    bus.set_loops_back(true);
    let clock = SimClock::starting_at("2026-01-01T00:00:00Z".parse().unwrap());
    let probing = Settings {
        probe_every: Duration::from_secs(60),
        alive_within: Duration::from_secs(120),
        ..settings()
    };
    let unit = Running::start_on(MemoryStore::new(), bus, clock, Toy::default(), probing).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(unit.ask_raw("GET", "/live", "").await.0, 200);
    unit.bus.disconnect("gone");
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(unit.ask_raw("GET", "/live", "").await.0, 503);
}

#[tokio::test(start_paused = true)]
async fn what_comes_together_is_recorded_in_few_commits() {
    let bus = MemoryBus::new();
    bus.set_prefetch_count(std::num::NonZeroUsize::new(100).unwrap());
    let clock = SimClock::starting_at("2026-01-01T00:00:00Z".parse().unwrap());
    let settings = Settings { settles_max: 1, ..settings() };
    let unit = Running::start_on(MemoryStore::new(), bus, clock, Toy::default(), settings).await;
    unit.toy.trouble("t000", [Trouble::Hang]);
    unit.quiet().await;
    let before = unit.store.commits();
    for n in 0..200 {
        unit.bus.publish(changed(&format!("m{n}"), &[&format!("t{n:03}")]));
    }
    unit.until("all acked", |unit| unit.bus.acked(QUEUE).len() == 200).await;
    let commits = unit.store.commits() - before;
    assert!(commits <= 8, "{commits} commits for 200 messages");
}

#[tokio::test(start_paused = true)]
async fn a_lone_message_waits_for_company_only_a_moment() {
    let unit = started(Toy::default()).await;
    let begun = unit.clock.monotonic();
    unit.bus.publish(changed("m1", &["eog"]));
    while unit.bus.acked(QUEUE).is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(unit.clock.monotonic().duration_since(begun) <= Duration::from_millis(10));
}

/// Plays a story whose time must go on: a loop that turns without waiting would hold it for ever.
fn in_real_seconds<F: Future<Output = ()> + 'static>(story: fn() -> F) {
    let (ended, end) = std::sync::mpsc::channel();
    let play = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(story());
        ended.send(()).expect("somebody waits for the end");
    };
    std::thread::spawn(play);
    end.recv_timeout(Duration::from_secs(30)).expect("the loop waits instead of turning");
}

#[test]
fn a_unit_with_nothing_to_do_sleeps() {
    in_real_seconds(|| async {
        let unit = started(Toy::default()).await;
        tokio::time::sleep(Duration::from_secs(10 * 86_400)).await;
        unit.quiet().await;
    });
}

#[test]
fn a_key_whose_wait_is_over_does_not_spin_the_loop_while_every_slot_is_taken() {
    in_real_seconds(|| async {
        let unit = started_with(toy_with(&[("a", "1")]), Settings { settles_max: 1, ..settings() }).await;
        unit.toy.trouble("a", [Trouble::Retry]);
        let go = Arc::new(Notify::new());
        unit.toy.trouble("b", [Trouble::Wait(Arc::clone(&go))]);
        unit.bus.publish(changed("1", &["a"]));
        unit.until("a waits", |unit| unit.ledger.counts().waiting == 1).await;
        unit.bus.publish(changed("2", &["b"]));
        tokio::time::sleep(Duration::from_secs(60)).await;
        go.notify_one();
        unit.quiet().await;
    });
}

#[test]
fn a_key_whose_wait_is_over_does_not_spin_the_loop_while_the_disk_is_full() {
    in_real_seconds(|| async {
        let unit = started(toy_with(&[("a", "1")])).await;
        unit.toy.trouble("a", [Trouble::Retry]);
        unit.bus.publish(changed("1", &["a"]));
        unit.until("a waits", |unit| unit.ledger.counts().waiting == 1).await;
        unit.store.set_fault(Some(Fault::Full));
        unit.bus.publish(changed("2", &["b"]));
        tokio::time::sleep(Duration::from_secs(60)).await;
        unit.store.set_fault(None);
        unit.quiet().await;
    });
}
