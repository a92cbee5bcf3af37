//! What is taken, in what order, and what becomes of it.

use super::*;

#[tokio::test(start_paused = true)]
async fn events_go_before_people_and_other_keys_before_retries_before_survey() {
    let mut desk = Desk::new().await;
    desk.mark("retried", Origin::Event).await;
    desk.fail(&desk.take_one(), wait(5)).await;
    desk.later(6);
    desk.mark("surveyed", Origin::Survey).await;
    desk.mark("asked", Origin::Hand).await;
    desk.mark("found", Origin::Also).await;
    desk.mark("b-new", Origin::Event).await;
    desk.later(1);
    desk.mark("a-newer", Origin::Event).await;
    assert_eq!(keys(&desk.take()), ["b-new", "a-newer", "asked", "found", "retried", "surveyed"]);
}

#[tokio::test(start_paused = true)]
async fn a_lower_rank_goes_first_among_equals() {
    let desk = Desk::new().await;
    let marks = [("a", 2), ("b", 0), ("c", 1)].map(|(key, rank)| Mark { rank, ..mark(key, Origin::Event) });
    desk.ledger.mark(&marks, &[], None, desk.now()).commit.await.unwrap();
    assert_eq!(keys(&desk.take()), ["b", "c", "a"]);
}

#[tokio::test(start_paused = true)]
async fn a_key_not_admitted_stays_due_and_others_pass_it() {
    let desk = Desk::new().await;
    for key in ["a", "b", "c"] {
        desk.mark(key, Origin::Event).await;
    }
    assert_eq!(keys(&desk.ledger.take(desk.now(), 1, &mut |key| key != "a")), ["b"]);
    assert_eq!(desk.state("a"), Some(KeyState::Due));
    assert_eq!(keys(&desk.take()), ["a", "c"], "what is in flight is not taken again");
    assert!(desk.take().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_settled_key_is_doubtful_no_more() {
    let desk = Desk::new().await;
    desk.mark("a", Origin::Event).await;
    desk.settle(&desk.take_one(), Settlement::default()).await;
    assert_eq!(desk.ledger.counts(), Counts::default());
    assert_eq!(desk.crashed().await.ledger.counts(), Counts::default());
}

#[tokio::test(start_paused = true)]
async fn a_key_marked_again_in_flight_stays_doubtful_with_the_new_cause_alone() {
    let desk = Desk::new().await;
    desk.mark_for("a", Origin::Event, &["one"]).await;
    let taken = desk.take_one();
    desk.mark_for("a", Origin::Event, &["two"]).await;
    desk.settle(&taken, Settlement::default()).await;
    for desk in [&desk, &desk.crashed().await] {
        let again = desk.take_one();
        assert_eq!((again.causes, again.attempts), (vec!["two".to_owned()], 0));
    }
}

#[tokio::test(start_paused = true)]
async fn causes_are_bounded_and_the_newest_kept() {
    let desk = Desk::new().await;
    for causes in [["1", "2"].as_slice(), &["3", "1"], &["4"]] {
        desk.mark_for("a", Origin::Event, causes).await;
    }
    assert_eq!(desk.crashed().await.take_one().causes, ["3", "1", "4"]);
}

#[tokio::test(start_paused = true)]
async fn an_error_is_kept_as_far_as_there_is_room_and_never_cut_within_a_letter() {
    let desk = Desk::new().await;
    desk.mark("a", Origin::Event).await;
    let error = format!("a{}", "é".repeat(2000));
    desk.ledger.failed(&desk.take_one(), &error, Next::Park, Vec::new(), desk.now()).await.unwrap();
    assert_eq!(desk.ledger.show("a").unwrap().last_error, Some(error[..1023].to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_key_in_flight_counts_for_nothing_even_if_marked_and_taken_anew() {
    let desk = Desk::new().await;
    desk.mark("a", Origin::Event).await;
    let old = desk.take_one();
    desk.ledger.drop_key("a").unwrap().await.unwrap();
    desk.mark("a", Origin::Event).await;
    let new = desk.take_one();
    let fact = Settlement { facts: vec![("a".to_owned(), Some("old".to_owned()))], ..Settlement::default() };
    desk.settle(&old, fact).await;
    desk.fail(&old, Next::Park).await;
    desk.ledger.release(&old);
    assert_eq!(desk.state("a"), Some(KeyState::InFlight));
    assert_eq!(desk.ledger.fact("a").unwrap(), None);
    desk.settle(&new, Settlement::default()).await;
    assert_eq!(desk.state("a"), None);
    assert!(desk.ledger.drop_key("a").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_released_key_is_as_doubtful_as_before() {
    let desk = Desk::new().await;
    desk.mark_for("a", Origin::Event, &["one"]).await;
    let taken = desk.take_one();
    desk.mark_for("a", Origin::Event, &["two"]).await;
    desk.ledger.release(&taken);
    assert_eq!(desk.take_one().causes, ["one", "two"]);
}

#[tokio::test(start_paused = true)]
async fn what_settling_found_is_marked_in_the_same_commit_with_its_causes() {
    let desk = Desk::new().await;
    desk.mark_for("build", Origin::Event, &["one"]).await;
    let found = Settlement { also: vec![mark("repository", Origin::Also)], ..Settlement::default() };
    let taken = desk.take_one();
    desk.settle(&taken, found).await;
    let taken = desk.crashed().await.take_one();
    assert_eq!(
        (taken.key.as_str(), taken.origin, taken.causes),
        ("repository", Origin::Also, vec!["one".to_owned()])
    );
}

#[tokio::test(start_paused = true)]
async fn marks_are_told_apart() {
    let desk = Desk::with(Limits { doubtful_max: 2, ..limits() }).await;
    let marks = ["a", "a", "b", "c"].map(|key| mark(key, Origin::Event));
    let marked = desk.ledger.mark(&marks, &[], None, desk.now());
    assert_eq!((marked.new, marked.again, marked.collapsed), (2, 1, 1));
    marked.commit.await.unwrap();
    let owed = desk.crashed().await.ledger.survey().owed.unwrap();
    assert!(owed.full, "any key may be among those there was no room for");
}

#[tokio::test(start_paused = true)]
async fn what_a_person_asks_for_does_not_collapse() {
    let desk = Desk::with(Limits { doubtful_max: 1, ..limits() }).await;
    desk.mark("a", Origin::Event).await;
    let marked = desk.ledger.mark(&[mark("adopt", Origin::Hand)], &[], None, desk.now());
    assert_eq!((marked.new, marked.collapsed), (1, 0));
    assert!(desk.ledger.survey().owed.is_none());
}

#[tokio::test(start_paused = true)]
async fn what_is_parked_takes_no_room_from_what_can_be_settled() {
    let desk = Desk::with(Limits { doubtful_max: 2, ..limits() }).await;
    for key in ["a", "b"] {
        desk.mark(key, Origin::Event).await;
        desk.fail(&desk.take_one(), Next::Park).await;
    }
    let marks = ["c", "d", "e"].map(|key| mark(key, Origin::Event));
    let marked = desk.ledger.mark(&marks, &[], None, desk.now());
    assert_eq!((marked.new, marked.collapsed), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_key_longer_than_any_real_one_collapses() {
    let desk = Desk::new().await;
    let marks = [4096, 4097].map(|bytes| mark(&"x".repeat(bytes), Origin::Event));
    let marked = desk.ledger.mark(&marks, &[], None, desk.now());
    assert_eq!((marked.new, marked.collapsed), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn next_due_is_that_of_the_earliest_key_not_in_flight() {
    let mut desk = Desk::new().await;
    assert_eq!(desk.ledger.next_due(), None);
    desk.mark("a", Origin::Event).await;
    assert_eq!(desk.ledger.next_due(), Some(desk.now().monotonic));
    let taken = desk.take_one();
    assert_eq!(desk.ledger.next_due(), None);
    desk.fail(&taken, wait(30)).await;
    let due = desk.now().monotonic + Duration::from_secs(30);
    assert_eq!((desk.ledger.next_due(), desk.ledger.next_wait_ends()), (Some(due), Some(due)));
    desk.later(29);
    assert!(desk.take().is_empty());
    desk.later(1);
    assert_eq!(desk.take_one().attempts, 1);
}

#[tokio::test(start_paused = true)]
async fn counts_and_lists_agree() {
    let desk = Desk::new().await;
    for key in ["due", "flying", "parked", "waiting"] {
        desk.mark(key, Origin::Event).await;
    }
    for taken in desk.ledger.take(desk.now(), 9, &mut |key| key != "due") {
        match taken.key.as_str() {
            "parked" => desk.fail(&taken, Next::Park).await,
            "waiting" => desk.fail(&taken, wait(9)).await,
            _ => {}
        }
    }
    let counts = desk.ledger.counts();
    assert_eq!(
        (counts.doubtful, counts.due, counts.waiting, counts.in_flight, counts.parked),
        (4, 1, 1, 1, 1)
    );
    assert_eq!(counts.oldest_due, Some(desk.now().wall));
    for (state, key) in [
        (KeyState::Due, "due"),
        (KeyState::InFlight, "flying"),
        (KeyState::Parked, "parked"),
        (KeyState::Waiting, "waiting"),
    ] {
        let filter = Filter { state: Some(state), ..Filter::default() };
        let listed = desk.ledger.list(&filter, None, 9);
        assert_eq!(listed.iter().map(|shown| shown.key.as_str()).collect::<Vec<_>>(), [key]);
    }
    let filter = Filter { prefix: "p".to_owned(), ..Filter::default() };
    assert_eq!(desk.ledger.list(&filter, Some("a"), 9)[0].last_error.as_deref(), Some("it failed"));
    assert_eq!(desk.ledger.list(&Filter::default(), Some("due"), 2).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_long_error_is_cut_between_characters() {
    let desk = Desk::new().await;
    desk.mark("a", Origin::Event).await;
    let error = format!("x{}", "ñ".repeat(2000));
    desk.ledger.failed(&desk.take_one(), &error, wait(1), Vec::new(), desk.now()).await.unwrap();
    assert_eq!(desk.ledger.show("a").unwrap().last_error.unwrap().len(), 1023);
}
