//! Large memos and bodies are files, within limits, and removed when nothing names them.

use super::*;
use crate::{FILE_BYTES_MAX, FileName, Files};

const LARGE: usize = 100_000;

async fn remember(desk: &Desk, name: &str, value: Option<Vec<u8>>) {
    desk.mark("a", Origin::Event).await;
    let settlement = Settlement { memos: vec![(name.to_owned(), value)], ..Settlement::default() };
    desk.settle(&desk.take_one(), settlement).await;
}

fn message(body: usize, at: u8) -> ParkedMessage {
    ParkedMessage {
        id: "id".to_owned(),
        topic: "topic".to_owned(),
        reason: "not JSON".to_owned(),
        at: jiff::Timestamp::UNIX_EPOCH,
        body: vec![at; body],
    }
}

#[tokio::test(start_paused = true)]
async fn a_large_memo_is_a_file_as_long_as_something_names_it() {
    let desk = Desk::new().await;
    remember(&desk, "small", Some(vec![1; 4096])).await;
    assert!(desk.files.list().unwrap().is_empty());
    remember(&desk, "one", Some(vec![7; LARGE])).await;
    remember(&desk, "two", Some(vec![7; LARGE])).await;
    assert_eq!(desk.files.list().unwrap(), [FileName::of(&[7; LARGE])]);
    remember(&desk, "one", Some(vec![8; LARGE])).await;
    assert_eq!(desk.files.list().unwrap().len(), 2, "the other still names it");
    remember(&desk, "two", None).await;
    assert_eq!(desk.files.list().unwrap(), [FileName::of(&[8; LARGE])]);
    let crashed = desk.crashed().await;
    assert_eq!(crashed.ledger.memo("one").unwrap().unwrap(), vec![8; LARGE]);
    assert_eq!(crashed.ledger.memos("", None, 9).unwrap().len(), 2);
    remember(&crashed, "one", None).await;
    assert!(crashed.files.list().unwrap().is_empty());
    assert_eq!(crashed.ledger.counts().memos, 1);
}

#[tokio::test(start_paused = true)]
async fn a_file_is_written_before_and_removed_after_its_record() {
    let desk = Desk::new().await;
    desk.mark("a", Origin::Event).await;
    desk.store.set_slow(Some(Duration::from_secs(1)));
    let settlement =
        Settlement { memos: vec![("m".to_owned(), Some(vec![7; LARGE]))], ..Settlement::default() };
    let taken = desk.take_one();
    let mut commit = desk.ledger.settled(&taken, settlement, desk.now());
    assert_eq!(desk.ledger.memo("m").unwrap().unwrap().len(), LARGE, "read before it is written");
    assert!((&mut commit).now_or_never().is_none());
    assert_eq!(desk.files.list().unwrap().len(), 1);
    commit.await.unwrap();

    desk.mark("a", Origin::Event).await;
    let taken = desk.take_one();
    let forget = Settlement { memos: vec![("m".to_owned(), None)], ..Settlement::default() };
    let mut commit = desk.ledger.settled(&taken, forget, desk.now());
    assert!((&mut commit).now_or_never().is_none());
    assert_eq!(desk.files.list().unwrap().len(), 1, "a crash now would need it");
    commit.await.unwrap();
    assert!(desk.files.list().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn no_room_for_a_file_is_no_room_for_its_record() {
    let desk = Desk::new().await;
    desk.mark("a", Origin::Event).await;
    desk.files.set_full(true);
    let settlement =
        Settlement { memos: vec![("m".to_owned(), Some(vec![7; LARGE]))], ..Settlement::default() };
    assert!(desk.ledger.settled(&desk.take_one(), settlement, desk.now()).await.is_err());
    assert!(desk.ledger.unwritten());
    assert_eq!(desk.ledger.memo("m").unwrap().unwrap().len(), LARGE);
    desk.files.set_full(false);
    desk.ledger.sync().await.unwrap();
    assert_eq!(desk.crashed().await.ledger.memo("m").unwrap().unwrap().len(), LARGE);
}

#[tokio::test(start_paused = true)]
async fn files_nothing_names_and_memos_without_file_go_at_the_next_start() {
    let desk = Desk::new().await;
    remember(&desk, "lost", Some(vec![7; LARGE])).await;
    desk.files.remove(FileName::of(&[7; LARGE])).unwrap();
    assert_eq!(desk.ledger.memo("lost").unwrap(), None);
    desk.files.put(b"a crash left this".to_vec()).await.unwrap();
    let crashed = desk.crashed().await;
    assert!(crashed.files.list().unwrap().is_empty());
    assert_eq!((crashed.ledger.memo("lost").unwrap(), crashed.ledger.counts().memos), (None, 0));
}

#[tokio::test(start_paused = true)]
async fn memos_past_the_limits_are_refused_counted_and_never_stale() {
    let desk = Desk::with(Limits { memos_max: 1, ..limits() }).await;
    remember(&desk, "one", Some(b"1".to_vec())).await;
    remember(&desk, "two", Some(b"2".to_vec())).await;
    remember(&desk, "one", Some(vec![0; FILE_BYTES_MAX + 1])).await;
    assert_eq!((desk.ledger.memo("one").unwrap(), desk.ledger.memo("two").unwrap()), (None, None));
    assert_eq!((desk.ledger.counts().memos, desk.ledger.counts().memos_refused), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn parked_messages_come_back_with_their_bodies() {
    let desk = Desk::new().await;
    for (body, at) in [(10, 1), (LARGE, 2)] {
        desk.ledger.park_message(message(body, at), None, desk.now()).await.unwrap();
    }
    let crashed = desk.crashed().await;
    let shown = crashed.ledger.parked_messages(None, 9).unwrap();
    assert_eq!(shown.iter().map(|shown| shown.body_bytes).collect::<Vec<_>>(), [10, LARGE as u64]);
    assert_eq!(crashed.ledger.parked_messages(Some(shown[0].number), 9).unwrap(), shown[1..]);
    let large = crashed.ledger.parked_message(shown[1].number).unwrap().unwrap();
    assert_eq!(large, message(LARGE, 2));
    crashed.ledger.drop_message(shown[1].number).await.unwrap();
    assert!(crashed.files.list().unwrap().is_empty());
    assert_eq!(crashed.ledger.parked_message(shown[1].number).unwrap(), None);
    assert_eq!(crashed.ledger.counts().parked_bytes, 10);
    let again = crashed.crashed().await;
    again.ledger.park_message(message(1, 3), None, again.now()).await.unwrap();
    assert_eq!(
        again.ledger.parked_messages(None, 9).unwrap().len(),
        2,
        "a number of its own after a restart"
    );
}

#[tokio::test(start_paused = true)]
async fn of_a_parked_message_only_the_body_may_be_long() {
    let desk = Desk::new().await;
    let long = "x".repeat(5000);
    let message =
        ParkedMessage { id: long.clone(), topic: long.clone(), reason: long.clone(), ..message(1, 1) };
    desk.ledger.park_message(message, None, desk.now()).await.unwrap();
    let shown = desk.ledger.parked_messages(None, 9).unwrap().remove(0);
    assert_eq!([shown.id.len(), shown.topic.len(), shown.reason.len()], [1024; 3]);
}

#[tokio::test(start_paused = true)]
async fn past_the_limits_the_oldest_parked_message_goes_and_is_counted() {
    let desk = Desk::with(Limits { parked_messages_max: 3, parked_bytes_max: 250, ..limits() }).await;
    let park = async |body, at| desk.ledger.park_message(message(body, at), None, desk.now()).await.unwrap();
    for at in 0..4 {
        park(10, at).await;
    }
    assert_eq!((desk.ledger.counts().parked_messages, desk.ledger.counts().parked_dropped), (3, 1));
    park(240, 4).await;
    let left = desk.ledger.parked_messages(None, 9).unwrap();
    assert_eq!(left.iter().map(|shown| shown.body_bytes).collect::<Vec<_>>(), [10, 240]);
    let dropped = desk.ledger.counts().parked_dropped;
    park(1000, 5).await;
    assert_eq!(desk.ledger.counts().parked_dropped, dropped + 1);
    let last = desk.ledger.parked_messages(None, 9).unwrap().pop().unwrap();
    assert_eq!(last.body_bytes, 1000, "kept without the body, which is larger than all may be");
    assert!(desk.ledger.parked_message(last.number).unwrap().unwrap().body.is_empty());
    assert_eq!(desk.crashed().await.ledger.counts().parked_bytes, desk.ledger.counts().parked_bytes);
}

#[tokio::test(start_paused = true)]
async fn deeds_are_bounded_and_numbered_on_after_a_restart() {
    let desk = Desk::with(Limits { deeds_max: 2, ..limits() }).await;
    for deed in ["one", "two", "three"] {
        desk.mark("a", Origin::Event).await;
        desk.settle(&desk.take_one(), Settlement { deeds: vec![deed.to_owned()], ..Settlement::default() })
            .await;
    }
    let crashed = desk.crashed().await;
    crashed.mark("a", Origin::Event).await;
    crashed
        .settle(&crashed.take_one(), Settlement { deeds: vec!["four".to_owned()], ..Settlement::default() })
        .await;
    let deeds = crashed.ledger.deeds(9).unwrap();
    assert_eq!(deeds.iter().map(|deed| deed.text.as_str()).collect::<Vec<_>>(), ["two", "three", "four"]);
}
