//! The twin in memory keeps the conformance suite, and suffers as told.

use std::{sync::Arc, time::Duration};

use super::*;

fn batch(key: &[u8], value: &[u8]) -> Batch {
    Batch(vec![(key.to_vec(), Some(value.to_vec()))])
}

#[test]
fn a_batch_is_as_large_as_what_it_writes() {
    let mut batch = batch(b"key", b"value");
    batch.0.push((b"gone".to_vec(), None));
    assert_eq!(batch.bytes(), 12);
}

#[tokio::test]
async fn the_store_in_memory_conforms() {
    conformance::all(|| Arc::new(MemoryStore::new())).await;
}

#[tokio::test]
async fn a_crash_keeps_what_was_answered_and_nothing_else() {
    let store = MemoryStore::new();
    store.commit(batch(b"answered", b"1")).await.unwrap();
    let waiting = store.commit(batch(b"waiting", b"1"));
    assert_eq!(
        store.get(b"waiting").unwrap().as_deref(),
        Some(b"1".as_slice()),
        "visible before it is durable"
    );
    assert_eq!(store.undurable(), 1);
    let crashed = store.crash();
    assert_eq!(crashed.scan(&[], None, 9).unwrap(), [(b"answered".to_vec(), b"1".to_vec())]);
    assert_eq!(store.crash_keeping(1).scan(&[], None, 9).unwrap().len(), 2);
    waiting.await.unwrap();
    assert_eq!(crashed.scan(&[], None, 9).unwrap().len(), 1, "the world before the crash is another");
}

#[tokio::test]
async fn a_full_store_takes_nothing_and_goes_on_when_there_is_room() {
    let store = MemoryStore::new();
    store.commit(batch(b"a", b"1")).await.unwrap();
    store.set_fault(Some(Fault::Full));
    assert!(matches!(store.commit(batch(b"a", b"2")).await, Err(StoreError::Full { .. })));
    assert_eq!(store.get(b"a").unwrap().as_deref(), Some(b"1".as_slice()));
    store.set_fault(None);
    store.commit(batch(b"a", b"3")).await.unwrap();
    assert_eq!(store.crash().get(b"a").unwrap().as_deref(), Some(b"3".as_slice()));
}

#[tokio::test]
async fn a_store_told_to_be_corrupt_or_locked_does_not_open() {
    let store = MemoryStore::new();
    for (fault, remedy) in
        [(Fault::Corrupt, Remedy::Fatal), (Fault::Locked, Remedy::Retry), (Fault::Io, Remedy::Retry)]
    {
        store.set_fault(Some(fault));
        assert_eq!(store.open().unwrap_err().remedy(), remedy, "{fault:?}");
    }
    store.set_fault(None);
    assert!(store.open().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_slow_store_answers_late_and_loses_what_it_did_not_answer() {
    let store = MemoryStore::new();
    store.set_slow(Some(Duration::from_secs(5)));
    let commit = store.commit(batch(b"a", b"1"));
    let early = tokio::time::timeout(Duration::from_secs(4), commit).await;
    assert!(early.is_err());
    assert_eq!(store.crash().get(b"a").unwrap(), None);
    store.commit(batch(b"b", b"1")).await.unwrap();
    assert_eq!(store.crash().scan(&[], None, 9).unwrap().len(), 2, "a later batch takes the earlier along");
}
