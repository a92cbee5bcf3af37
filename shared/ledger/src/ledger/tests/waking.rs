//! Who wakes a key that waits or is parked: the table of the rules, each checked before and after a crash.

use super::*;

/// How a key stands before it is marked.
#[derive(Debug, Clone, Copy)]
enum Before {
    Waiting,
    ToldToWait,
    Parked,
}

async fn standing(before: Before) -> Desk {
    let desk = Desk::new().await;
    desk.mark("a", Origin::Event).await;
    let next = match before {
        Before::Waiting => wait(100),
        Before::ToldToWait => told(100),
        Before::Parked => Next::Park,
    };
    desk.fail(&desk.take_one(), next).await;
    desk
}

#[tokio::test(start_paused = true)]
async fn who_wakes_what() {
    use Before::{Parked, ToldToWait, Waiting};
    use KeyState::Due;
    for (before, origin, state, parked, attempts) in [
        (Waiting, Origin::Event, Due, false, 1),
        (Waiting, Origin::Also, Due, false, 1),
        (Waiting, Origin::Hand, Due, false, 1),
        (Waiting, Origin::Survey, KeyState::Waiting, false, 1),
        (ToldToWait, Origin::Event, KeyState::Waiting, false, 1),
        (ToldToWait, Origin::Also, KeyState::Waiting, false, 1),
        (ToldToWait, Origin::Hand, KeyState::Waiting, false, 1),
        (ToldToWait, Origin::Survey, KeyState::Waiting, false, 1),
        (Parked, Origin::Event, Due, false, 0),
        (Parked, Origin::Also, Due, false, 0),
        (Parked, Origin::Hand, Due, false, 0),
        (Parked, Origin::Survey, Due, true, 1),
    ] {
        let desk = standing(before).await;
        desk.mark("a", origin).await;
        for desk in [&desk, &desk.crashed().await] {
            let shown = desk.ledger.show("a").unwrap();
            let stands = (shown.state, shown.parked_since.is_some(), shown.attempts);
            assert_eq!(stands, (state, parked, attempts), "{before:?} marked by {origin:?}");
            assert_eq!(desk.ledger.counts().parked, usize::from(parked));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_person_who_asks_for_a_key_gets_it_whatever_it_waits_for() {
    for before in [Before::Waiting, Before::ToldToWait, Before::Parked] {
        let desk = standing(before).await;
        desk.ledger.retry("a", desk.now()).unwrap().await.unwrap();
        let taken = desk.crashed().await.take_one();
        assert_eq!((taken.attempts, taken.parked, taken.failing_since), (0, false, None), "{before:?}");
    }
    assert!(
        Desk::new()
            .await
            .ledger
            .retry("never marked", SimClock::starting_at(Default::default()).now())
            .is_none()
    );
}

#[tokio::test(start_paused = true)]
async fn survey_tries_a_parked_key_once_and_parking_it_again_is_not_announced() {
    let desk = standing(Before::Parked).await;
    for next in [Next::Park, wait(1), told(1)] {
        desk.mark("a", Origin::Survey).await;
        let taken = desk.take_one();
        assert!(taken.parked);
        let announcement = vec![b"parked".to_vec()];
        let outbox = if next == Next::Park { announcement } else { Vec::new() };
        desk.ledger.failed(&taken, "still", next, outbox, desk.now()).await.unwrap();
        assert_eq!(desk.state("a"), Some(KeyState::Parked), "{next:?}");
        assert!(desk.take().is_empty());
    }
    assert_eq!(desk.ledger.counts().outbox, 0);
    desk.mark("a", Origin::Survey).await;
    desk.settle(&desk.take_one(), Settlement::default()).await;
    assert_eq!(desk.ledger.counts().parked, 0);
}

#[tokio::test(start_paused = true)]
async fn parking_is_announced_in_the_commit_that_parks() {
    let desk = Desk::new().await;
    desk.mark("a", Origin::Event).await;
    let announcement = vec![b"parked".to_vec()];
    desk.ledger.failed(&desk.take_one(), "no", Next::Park, announcement, desk.now()).await.unwrap();
    let after = desk.crashed().await;
    assert_eq!(after.state("a"), Some(KeyState::Parked));
    assert_eq!(after.ledger.outbox(9).unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn news_that_came_in_flight_outweighs_the_failure() {
    for (next, state) in
        [(wait(100), KeyState::Due), (Next::Park, KeyState::Due), (told(100), KeyState::Waiting)]
    {
        let desk = Desk::new().await;
        desk.mark("a", Origin::Event).await;
        let taken = desk.take_one();
        desk.mark("a", Origin::Event).await;
        let announcement = if next == Next::Park { vec![b"parked".to_vec()] } else { Vec::new() };
        desk.ledger.failed(&taken, "no", next, announcement, desk.now()).await.unwrap();
        for desk in [&desk, &desk.crashed().await] {
            assert_eq!(desk.state("a"), Some(state), "{next:?}");
            assert_eq!((desk.ledger.counts().parked, desk.ledger.counts().outbox), (0, 0), "{next:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn survey_that_comes_in_flight_does_not_shorten_the_wait_but_outlives_success() {
    let desk = Desk::new().await;
    desk.mark("a", Origin::Event).await;
    let taken = desk.take_one();
    desk.mark("a", Origin::Survey).await;
    desk.fail(&taken, wait(100)).await;
    assert_eq!(desk.state("a"), Some(KeyState::Waiting));

    desk.ledger.retry("a", desk.now()).unwrap().await.unwrap();
    let taken = desk.take_one();
    desk.mark("a", Origin::Survey).await;
    desk.settle(&taken, Settlement::default()).await;
    assert_eq!(desk.take_one().origin, Origin::Survey, "survey saw the world after the settling began");
}

#[tokio::test(start_paused = true)]
async fn what_survey_led_to_wakes_nobody() {
    let desk = standing(Before::Parked).await;
    desk.mark("parent", Origin::Survey).await;
    let parent = desk.take_one();
    desk.settle(&parent, Settlement { also: vec![mark("a", Origin::Also)], ..Settlement::default() }).await;
    assert_eq!(desk.ledger.counts().parked, 1);
    assert!(desk.take_one().parked, "it is tried once, as for survey itself");
}

#[tokio::test(start_paused = true)]
async fn a_surveys_mark_does_not_make_a_listing_older_than_the_mark() {
    let mut desk = Desk::new().await;
    desk.mark("a", Origin::Event).await;
    let marked = desk.now().wall;
    desk.later(10);
    desk.mark("a", Origin::Survey).await;
    let taken = desk.take_one();
    assert_eq!((taken.last_marked, taken.origin), (marked, Origin::Event));
}

#[tokio::test(start_paused = true)]
async fn a_wait_goes_on_after_a_restart_but_no_longer_than_the_longest() {
    let mut desk = standing(Before::Waiting).await;
    desk.later(40);
    assert_eq!(desk.crashed().await.ledger.next_due(), Some(desk.now().monotonic + Duration::from_secs(60)));
    desk.started.wall -= Duration::from_secs(10 * 24 * 3600);
    let due = desk.crashed().await.ledger.next_due().unwrap();
    assert_eq!(due, desk.now().monotonic + limits().own_wait_max, "the clock jumped back ten days");
    desk.started.wall += Duration::from_secs(20 * 24 * 3600);
    assert_eq!(keys(&desk.crashed().await.take()), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn with_a_clock_that_jumped_back_nothing_waits_longer_than_it_ever_would() {
    let ten_days = Duration::from_secs(10 * 24 * 3600);
    let mut desk = standing(Before::ToldToWait).await;
    desk.started.wall -= ten_days;
    let due = desk.crashed().await.ledger.next_due().unwrap();
    assert_eq!(due, desk.now().monotonic + limits().wait_max, "somebody else asked for it");
    let mut desk = Desk::new().await;
    desk.mark("a", Origin::Event).await;
    desk.started.wall -= ten_days;
    assert_eq!(keys(&desk.crashed().await.take()), ["a"], "nothing was tried yet");
    let mut desk = standing(Before::Parked).await;
    desk.mark("a", Origin::Survey).await;
    desk.started.wall -= ten_days;
    assert_eq!(keys(&desk.crashed().await.take()), ["a"], "survey has it tried at once");
}
