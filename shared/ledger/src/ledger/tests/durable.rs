//! What is answered is durable, what fails is kept and written later, in order.

use super::*;
use crate::{Batch, Store};

#[tokio::test(start_paused = true)]
async fn a_commit_answers_only_once_it_is_durable() {
    let desk = Desk::new().await;
    desk.store.set_slow(Some(Duration::from_secs(1)));
    let mut commit = desk.ledger.mark(&[mark("a", Origin::Event)], &[], None, desk.now()).commit;
    assert!((&mut commit).now_or_never().is_none());
    assert_eq!(desk.state("a"), Some(KeyState::Due), "memory changes at the call");
    assert_eq!(desk.crashed().await.state("a"), None);
    commit.await.unwrap();
    assert_eq!(desk.crashed().await.state("a"), Some(KeyState::Due));
}

#[tokio::test(start_paused = true)]
async fn a_hundred_marks_at_once_are_two_batches() {
    let desk = Desk::new().await;
    desk.store.set_slow(Some(Duration::from_secs(1)));
    let before = desk.store.commits();
    let marks = (0..100)
        .map(|n| desk.ledger.mark(&[mark(&format!("key {n}"), Origin::Event)], &[], None, desk.now()).commit);
    for answer in future::join_all(marks.collect::<Vec<_>>()).await {
        answer.unwrap();
    }
    assert_eq!(desk.store.commits() - before, 2, "the first goes at once, the others together behind it");
    assert_eq!(desk.crashed().await.ledger.counts().doubtful, 100);
}

#[tokio::test(start_paused = true)]
async fn a_mark_that_changes_nothing_is_answered_with_what_it_relies_on() {
    let desk = Desk::new().await;
    desk.mark("settled long ago", Origin::Event).await;
    desk.store.set_slow(Some(Duration::from_secs(1)));
    drop(desk.ledger.mark(&[mark("a", Origin::Survey)], &[], None, desk.now()).commit);
    let again = desk.ledger.mark(&[mark("a", Origin::Survey)], &[], None, desk.now());
    assert_eq!(again.again, 1);
    again.commit.await.unwrap();
    assert_eq!(desk.crashed().await.state("a"), Some(KeyState::Due));
}

#[tokio::test(start_paused = true)]
async fn marking_nothing_writes_nothing() {
    let desk = Desk::new().await;
    let before = desk.store.commits();
    desk.ledger.mark(&[], &["noise".to_owned()], None, desk.now()).commit.await.unwrap();
    assert_eq!(desk.store.commits(), before);
}

#[tokio::test(start_paused = true)]
async fn where_all_is_durable_syncing_writes_nothing() {
    let desk = Desk::new().await;
    let before = desk.store.commits();
    desk.ledger.sync().await.unwrap();
    assert_eq!(desk.store.commits(), before);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_commit_is_written_all_the_same() {
    let desk = Desk::new().await;
    drop(desk.ledger.mark(&[mark("a", Origin::Event)], &[], None, desk.now()).commit);
    drop(desk.ledger.mark(&[mark("b", Origin::Event)], &[], None, desk.now()).commit);
    desk.ledger.sync().await.unwrap();
    assert_eq!(desk.crashed().await.ledger.counts().doubtful, 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_corked_waits_for_company_until_it_is_uncorked() {
    let desk = Desk::new().await;
    desk.ledger.cork();
    drop(desk.ledger.mark(&[mark("a", Origin::Event)], &[], None, desk.now()).commit);
    drop(desk.ledger.mark(&[mark("b", Origin::Event)], &[], None, desk.now()).commit);
    assert_eq!(desk.store.undurable(), 0);
    desk.ledger.uncork();
    assert_eq!(desk.store.undurable(), 1, "both in one batch");
}

#[tokio::test(start_paused = true)]
async fn the_cursor_moves_with_the_keys_or_not_at_all() {
    let desk = Desk::new().await;
    let at = |position: &str| Some(Position { source: "file".to_owned(), position: position.to_owned() });
    desk.ledger.mark(&[mark("a", Origin::Event)], &[], at("1"), desk.now()).commit.await.unwrap();
    desk.store.set_slow(Some(Duration::from_secs(1)));
    let _unanswered = desk.ledger.mark(&[mark("b", Origin::Event)], &[], at("2"), desk.now());
    assert_eq!(desk.ledger.position("file").unwrap().as_deref(), Some("2"));
    let crashed = desk.crashed().await;
    assert_eq!((crashed.ledger.position("file").unwrap().as_deref(), crashed.state("b")), (Some("1"), None));
}

#[tokio::test(start_paused = true)]
async fn a_failed_commit_leaves_memory_ahead_and_is_healed() {
    let desk = Desk::new().await;
    desk.store.set_fault(Some(Fault::Full));
    let failed = desk.ledger.mark(&[mark("a", Origin::Event)], &[], None, desk.now()).commit.await;
    assert!(matches!(failed, Err(StoreError::Full { .. })));
    assert!(desk.ledger.unwritten());
    assert_eq!(desk.state("a"), Some(KeyState::Due));
    assert!(desk.ledger.sync().await.is_err());
    desk.store.set_fault(None);
    desk.ledger.sync().await.unwrap();
    assert!(!desk.ledger.unwritten());
    assert_eq!(desk.crashed().await.state("a"), Some(KeyState::Due));
}

#[tokio::test(start_paused = true)]
async fn a_later_success_takes_what_failed_along_and_is_never_overtaken() {
    let desk = Desk::new().await;
    let fact = |value: &str| Settlement {
        facts: vec![("subject".to_owned(), Some(value.to_owned()))],
        ..Settlement::default()
    };
    desk.mark("a", Origin::Event).await;
    let taken = desk.take_one();
    desk.mark("a", Origin::Event).await;
    desk.store.set_fault(Some(Fault::Full));
    let position = Some(Position { source: "file".to_owned(), position: "1".to_owned() });
    assert!(desk.ledger.mark(&[mark("b", Origin::Event)], &[], position, desk.now()).commit.await.is_err());
    assert!(desk.ledger.settled(&taken, fact("old"), desk.now()).await.is_err());
    assert_eq!(desk.ledger.fact("subject").unwrap().as_deref(), Some("old"), "read before it is written");
    desk.store.set_fault(None);
    let taken = desk.take().remove(0);
    desk.settle(&taken, fact("new")).await;
    assert!(!desk.ledger.unwritten());
    let crashed = desk.crashed().await;
    assert_eq!(crashed.ledger.fact("subject").unwrap().as_deref(), Some("new"));
    assert_eq!(
        (crashed.state("b"), crashed.ledger.position("file").unwrap().as_deref()),
        (Some(KeyState::Due), Some("1"))
    );
}

#[tokio::test(start_paused = true)]
async fn what_waits_behind_a_failure_is_tried_on_its_own_account() {
    let desk = Desk::new().await;
    desk.store.set_slow(Some(Duration::from_secs(1)));
    desk.store.set_fault(Some(Fault::Full));
    let first = desk.ledger.mark(&[mark("a", Origin::Event)], &[], None, desk.now()).commit;
    let behind = desk.ledger.mark(&[mark("b", Origin::Event)], &[], None, desk.now()).commit;
    assert!(first.await.is_err());
    desk.store.set_fault(None);
    behind.await.unwrap();
    assert!(!desk.ledger.unwritten());
    assert_eq!(desk.crashed().await.ledger.counts().doubtful, 2, "it took along what had failed");
}

#[tokio::test(start_paused = true)]
async fn a_settlement_is_one_commit() {
    let desk = Desk::new().await;
    desk.mark("a", Origin::Event).await;
    let settlement = Settlement {
        facts: vec![("s".to_owned(), Some("v".to_owned()))],
        outbox: vec![b"one".to_vec(), b"two".to_vec()],
        also: vec![mark("b", Origin::Also)],
        memos: vec![("m".to_owned(), Some(b"memo".to_vec()))],
        deeds: vec!["would have".to_owned()],
    };
    let before = desk.store.commits();
    let taken = desk.take_one();
    desk.store.set_slow(Some(Duration::from_secs(1)));
    let commit = desk.ledger.settled(&taken, settlement, desk.now());
    let crashed = desk.crashed().await;
    assert_eq!((crashed.state("a"), crashed.state("b")), (Some(KeyState::Due), None));
    assert_eq!((crashed.ledger.fact("s").unwrap(), crashed.ledger.counts().outbox), (None, 0));
    commit.await.unwrap();
    assert_eq!(desk.store.commits() - before, 1);
    let crashed = desk.crashed().await;
    assert_eq!((crashed.state("a"), crashed.state("b")), (None, Some(KeyState::Due)));
    assert_eq!(crashed.ledger.facts("", None, 9).unwrap(), [("s".to_owned(), "v".to_owned())]);
    assert_eq!(crashed.ledger.memo("m").unwrap().unwrap(), b"memo");
    assert_eq!(crashed.ledger.deeds(9).unwrap()[0].text, "would have");
    let outbox = crashed.ledger.outbox(9).unwrap();
    assert_eq!(outbox.iter().map(|(_, bytes)| bytes.as_slice()).collect::<Vec<_>>(), [b"one", b"two"]);
    crashed.ledger.outbox_sent(&[outbox[0].0, 99]).await.unwrap();
    assert_eq!(crashed.crashed().await.ledger.outbox(9).unwrap(), outbox[1..]);
}

#[tokio::test(start_paused = true)]
async fn reads_page_over_what_is_written_and_what_is_not() {
    let desk = Desk::new().await;
    let facts = |names: &[&str], value: Option<&str>| Settlement {
        facts: names.iter().map(|name| ((*name).to_owned(), value.map(str::to_owned))).collect(),
        ..Settlement::default()
    };
    desk.mark("a", Origin::Event).await;
    desk.settle(&desk.take_one(), facts(&["1", "2", "3", "4", "5"], Some("written"))).await;
    desk.mark("a", Origin::Event).await;
    desk.mark("b", Origin::Event).await;
    desk.store.set_slow(Some(Duration::from_secs(1)));
    let taken = desk.take();
    let _gone = desk.ledger.settled(&taken[0], facts(&["1", "2", "4"], None), desk.now());
    let _new = desk.ledger.settled(&taken[1], facts(&["2", "6"], Some("new")), desk.now());
    let page = |after, limit| -> Vec<String> {
        desk.ledger.facts("", after, limit).unwrap().into_iter().map(|(subject, _)| subject).collect()
    };
    assert_eq!(page(None, 2), ["2", "3"]);
    assert_eq!(page(Some("3"), 2), ["5", "6"]);
    assert_eq!(page(None, 99), ["2", "3", "5", "6"]);
}

#[tokio::test(start_paused = true)]
async fn a_first_start_a_clean_stop_and_a_crash_are_told_apart() {
    let desk = Desk::new().await;
    assert_eq!(desk.ledger.opened(), Opened { first: true, clean: true });
    assert_eq!(desk.crashed().await.ledger.opened(), Opened { first: false, clean: false });
    desk.ledger.close().await.unwrap();
    assert_eq!(desk.crashed().await.ledger.opened(), Opened { first: false, clean: true });
    desk.mark("after the clean mark", Origin::Event).await;
    assert_eq!(desk.crashed().await.ledger.opened(), Opened { first: false, clean: false });
}

#[tokio::test(start_paused = true)]
async fn a_clean_mark_lasts_for_one_opening() {
    let desk = Desk::new().await;
    desk.ledger.close().await.unwrap();
    let reopened = desk.crashed().await;
    assert_eq!(reopened.crashed().await.ledger.opened(), Opened { first: false, clean: false });
}

#[tokio::test(start_paused = true)]
async fn a_record_of_another_release_or_a_damaged_one_is_refused_by_name() {
    for (space, record, expected) in [
        (Space::Format, vec![2], "format record of format version 2"),
        (Space::Doubt, vec![9, 1, 2], "doubt record of format version 9"),
        (Space::Doubt, vec![1], "doubt record of the ledger is damaged"),
        (Space::Survey, vec![1, 7], "survey record of the ledger is damaged"),
        (Space::Parked, vec![1, 7], "parked message record of the ledger is damaged"),
    ] {
        let desk = Desk::new().await;
        let key = match space {
            Space::Doubt => space.named("a"),
            Space::Parked => space.numbered(3),
            _ => space.only(),
        };
        desk.store.commit(Batch(vec![(key, Some(record))])).await.unwrap();
        let error = desk.open(&desk.store).await.err().unwrap().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_store_is_no_reason_to_start() {
    let desk = Desk::new().await;
    desk.store.set_fault(Some(Fault::Full));
    assert!(matches!(desk.open(&desk.store).await, Err(LedgerError::Store(StoreError::Full { .. }))));
}
