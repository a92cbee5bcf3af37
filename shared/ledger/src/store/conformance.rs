//! What every [`Store`] must do, as plain functions over one: the twin in memory can't promise what the disk doesn't.

#![expect(clippy::unwrap_used, reason = "a suite for tests: what fails here is meant to panic")]

use std::sync::Arc;

use futures::future::join_all;

use super::{Batch, Record, Store};

/// Checks everything, each time on a new, empty store.
pub async fn all(make: impl Fn() -> Arc<dyn Store>) {
    what_was_put_is_read(make()).await;
    a_scan_is_ordered_bounded_and_goes_on_after_a_key(make()).await;
    a_scan_stays_within_its_prefix(make()).await;
    a_batch_is_applied_in_its_order(make()).await;
    batches_take_effect_in_the_order_of_the_calls(make()).await;
    a_commit_is_visible_once_answered_however_many_wait(make()).await;
    a_commit_nobody_waits_for_is_written_before_a_later_one(make()).await;
    an_empty_batch_is_answered(make()).await;
    any_bytes_are_keys_and_values(make()).await;
}

/// Puts, replaces, deletes; what was never there is nothing.
pub async fn what_was_put_is_read(store: Arc<dyn Store>) {
    assert_eq!(store.get(b"a").unwrap(), None);
    put(&store, b"a", b"1").await;
    assert_eq!(store.get(b"a").unwrap().as_deref(), Some(b"1".as_slice()));
    put(&store, b"a", b"2").await;
    assert_eq!(store.get(b"a").unwrap().as_deref(), Some(b"2".as_slice()));
    store.commit(Batch(vec![(b"a".to_vec(), None), (b"never".to_vec(), None)])).await.unwrap();
    assert_eq!(store.get(b"a").unwrap(), None);
}

/// Pages join without a gap or a repeat.
pub async fn a_scan_is_ordered_bounded_and_goes_on_after_a_key(store: Arc<dyn Store>) {
    let records: Vec<Record> = (0..25u8).map(|n| (vec![7, n], vec![n])).collect();
    let batch = records.iter().rev().map(|(key, value)| (key.clone(), Some(value.clone()))).collect();
    store.commit(Batch(batch)).await.unwrap();
    let (mut read, mut after) = (Vec::new(), None);
    loop {
        let page = store.scan(&[7], after.as_deref(), 10).unwrap();
        assert!(page.len() <= 10);
        let Some((last, _)) = page.last() else { break };
        after = Some(last.clone());
        read.extend(page);
    }
    assert_eq!(read, records);
    assert_eq!(store.scan(&[7], Some(&[7, 3]), 1).unwrap(), [(vec![7, 4], vec![4])]);
    assert_eq!(store.scan(&[7], None, 0).unwrap(), []);
}

/// Neighbours are not read, `after` may lie anywhere.
pub async fn a_scan_stays_within_its_prefix(store: Arc<dyn Store>) {
    for key in [[1, 255].as_slice(), &[2], &[2, 0], &[2, 255], &[3], &[255, 255, 1]] {
        put(&store, key, b"x").await;
    }
    let keys = |prefix: &[u8], after: Option<&[u8]>| -> Vec<Vec<u8>> {
        store.scan(prefix, after, 100).unwrap().into_iter().map(|(key, _)| key).collect()
    };
    assert_eq!(keys(&[2], None), [vec![2], vec![2, 0], vec![2, 255]]);
    assert_eq!(keys(&[2], Some(&[1])), [vec![2], vec![2, 0], vec![2, 255]]);
    assert_eq!(keys(&[2], Some(&[2])), [vec![2, 0], vec![2, 255]]);
    assert_eq!(keys(&[2], Some(&[2, 255])), Vec::<Vec<u8>>::new());
    assert_eq!(keys(&[2], Some(&[9])), Vec::<Vec<u8>>::new());
    assert_eq!(keys(&[255, 255], None), [vec![255, 255, 1]]);
    assert_eq!(keys(&[], None).len(), 6);
}

/// The last word on a key counts.
pub async fn a_batch_is_applied_in_its_order(store: Arc<dyn Store>) {
    let batch = vec![
        (b"kept".to_vec(), None),
        (b"kept".to_vec(), Some(b"1".to_vec())),
        (b"kept".to_vec(), Some(b"2".to_vec())),
        (b"gone".to_vec(), Some(b"1".to_vec())),
        (b"gone".to_vec(), None),
    ];
    store.commit(Batch(batch)).await.unwrap();
    assert_eq!(store.get(b"kept").unwrap().as_deref(), Some(b"2".as_slice()));
    assert_eq!(store.get(b"gone").unwrap(), None);
}

/// The order of the calls counts, not that of the waiting.
pub async fn batches_take_effect_in_the_order_of_the_calls(store: Arc<dyn Store>) {
    let mut waiting: Vec<_> =
        (0..50u8).map(|n| store.commit(Batch(vec![(b"last".to_vec(), Some(vec![n]))]))).collect();
    waiting.reverse();
    for answer in join_all(waiting).await {
        answer.unwrap();
    }
    assert_eq!(store.get(b"last").unwrap(), Some(vec![49]));
}

/// Many writers at once.
pub async fn a_commit_is_visible_once_answered_however_many_wait(store: Arc<dyn Store>) {
    let write = |n: u8| {
        let store = store.clone();
        async move {
            put(&store, &[n], &[n]).await;
            assert_eq!(store.get(&[n]).unwrap(), Some(vec![n]));
        }
    };
    join_all((0..200).map(write)).await;
    assert_eq!(store.scan(&[], None, 1000).unwrap().len(), 200);
}

/// Dropping the wait does not drop the write.
pub async fn a_commit_nobody_waits_for_is_written_before_a_later_one(store: Arc<dyn Store>) {
    drop(store.commit(Batch(vec![(b"dropped".to_vec(), Some(b"1".to_vec()))])));
    put(&store, b"later", b"1").await;
    assert_eq!(store.get(b"dropped").unwrap().as_deref(), Some(b"1".as_slice()));
}

/// Nothing to write is written at once.
pub async fn an_empty_batch_is_answered(store: Arc<dyn Store>) {
    store.commit(Batch::default()).await.unwrap();
}

/// Empty values, all bytes, values of a parked body's size.
pub async fn any_bytes_are_keys_and_values(store: Arc<dyn Store>) {
    let all: Vec<u8> = (0..=255).collect();
    put(&store, &all, b"").await;
    assert_eq!(store.get(&all).unwrap(), Some(Vec::new()));
    let large = all.repeat(256);
    put(&store, b"large", &large).await;
    assert_eq!(store.get(b"large").unwrap(), Some(large));
}

async fn put(store: &Arc<dyn Store>, key: &[u8], value: &[u8]) {
    store.commit(Batch(vec![(key.to_vec(), Some(value.to_vec()))])).await.unwrap();
}
