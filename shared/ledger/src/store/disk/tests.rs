//! Each of sled's traps, and what must hold in spite of it.

mod full;
mod killed;

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    time::Duration,
};

use tempfile::TempDir;

use super::*;
use crate::{Files, conformance, store::disk::live::guarded};

fn options() -> StoreOptions {
    StoreOptions::new("2026-11-23T04:05:06Z".parse().unwrap())
}

fn open(dir: &Path) -> OpenedStore {
    SledStore::open(dir, &options()).unwrap()
}

async fn put(store: &dyn Store, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
    store.commit(Batch(vec![(key.to_vec(), Some(value.to_vec()))])).await
}

/// A closed store that holds `a`.
async fn written() -> (TempDir, PathBuf) {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("ledger");
    put(open(&dir).store.as_ref(), b"a", b"1").await.unwrap();
    (temp, dir)
}

fn snapshots(dir: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("snap.")).collect()
}

#[tokio::test]
async fn the_store_on_disk_conforms() {
    let temp = tempfile::tempdir().unwrap();
    let number = std::cell::Cell::new(0);
    conformance::all(|| {
        number.set(number.get() + 1);
        open(&temp.path().join(number.get().to_string())).store
    })
    .await;
}

#[tokio::test]
async fn what_was_answered_is_there_when_opened_again() {
    let (_temp, dir) = written().await;
    let opened = open(&dir);
    assert_eq!(opened.store.get(b"a").unwrap().as_deref(), Some(b"1".as_slice()));
    assert_eq!(opened.moved_aside, None);
    assert!(opened.store.disk_bytes() > 0);
}

#[tokio::test]
async fn a_half_written_snapshot_bricks_sled_and_not_us() {
    let (_temp, dir) = written().await;
    let leftover = dir.join("snap.00000000FFFFFFFF.generating");
    fs::write(&leftover, b"").unwrap();
    assert!(sled::Config::new().path(&dir).open().is_err(), "sled was mended: the rule may go");
    fs::write(&leftover, b"").unwrap();
    let opened = open(&dir);
    assert_eq!(opened.moved_aside, None);
    assert_eq!(opened.store.get(b"a").unwrap().as_deref(), Some(b"1".as_slice()));
    assert!(!leftover.exists());
}

#[tokio::test]
async fn what_this_process_closed_just_now_is_waited_for() {
    let (_temp, dir) = written().await;
    let held = sled::Config::new().path(&dir).open().unwrap();
    let closing = thread::spawn(move || {
        thread::sleep(Duration::from_millis(100));
        drop(held);
    });
    assert!(SledStore::open(&dir, &options()).is_ok());
    closing.join().unwrap();
}

#[tokio::test]
async fn a_second_opener_is_told_who_is_in_the_way() {
    let (_temp, dir) = written().await;
    let first = open(&dir);
    let error = SledStore::open(&dir, &options()).unwrap_err();
    assert!(matches!(error, StoreError::Locked { .. }));
    assert!(error.to_string().contains("in use by another process"));
    drop(first);
    assert!(SledStore::open(&dir, &options()).is_ok());
}

#[tokio::test]
async fn a_second_opener_waits_when_told_to() {
    let (_temp, dir) = written().await;
    let first = open(&dir);
    let (opened, second) = mpsc::channel();
    let patient = StoreOptions { lock_wait: Duration::from_secs(60), ..options() };
    let thread = thread::spawn(move || opened.send(SledStore::open(&dir, &patient).is_ok()));
    assert!(second.recv_timeout(Duration::from_millis(250)).is_err(), "it got in beside us");
    drop(first);
    assert_eq!(second.recv_timeout(Duration::from_secs(60)), Ok(true));
    thread.join().unwrap().unwrap();
}

#[tokio::test]
async fn a_corrupt_store_is_moved_aside_whole_and_an_empty_one_opened() {
    let (temp, dir) = written().await;
    let opened = open(&dir);
    let name = opened.files.put(b"beside".to_vec()).await.unwrap();
    drop(opened);
    let snapshot = snapshots(&dir).pop().unwrap();
    fs::write(&snapshot, b"not a snapshot").unwrap();
    let log = fs::read(dir.join("db")).unwrap();

    let opened = open(&dir);
    let aside = opened.moved_aside.unwrap();
    assert_eq!(aside, temp.path().join("ledger.corrupt-20261123T040506Z"));
    assert_eq!(fs::read(aside.join("db")).unwrap(), log, "nothing of it is lost");
    assert!(aside.join(FILES).join(name.to_string()).exists());
    assert_eq!(opened.store.get(b"a").unwrap(), None);
    put(opened.store.as_ref(), b"b", b"1").await.unwrap();
    drop(opened.store);

    drop(open(&dir)); // sled writes a snapshot when it opens what it finds.
    fs::write(snapshots(&dir).pop().unwrap(), b"not a snapshot").unwrap();
    let again = open(&dir).moved_aside.unwrap();
    assert_ne!(again, aside, "a second one in the same second does not overwrite the first");
}

#[test]
fn a_panic_of_the_database_is_an_error() {
    let error =
        guarded(Path::new("somewhere"), || -> sled::Result<()> { panic!("as sled does on some damage") });
    assert!(matches!(error, Err(StoreError::Corrupt { .. })));
}

#[tokio::test]
async fn dropping_the_store_writes_what_was_queued_and_ends_its_thread() {
    let temp = tempfile::tempdir().unwrap();
    let store = open(temp.path()).store;
    let waiting: Vec<_> = (0..100u8).map(|n| store.commit(Batch(vec![(vec![n], Some(vec![n]))]))).collect();
    let live = Arc::downgrade(&store.live);
    drop(store);
    assert!(live.upgrade().is_none(), "the thread still holds the database");
    for answer in waiting {
        answer.await.unwrap();
    }
    assert_eq!(open(temp.path()).store.scan(&[], None, 1000).unwrap().len(), 100);
}

/// What the test below looks for in sled's file.
const MARKER: &[u8] = b"flushed before it was synced";

#[test]
fn nothing_is_answered_before_it_is_flushed_and_then_synced() {
    let temp = tempfile::tempdir().unwrap();
    let batch = [Batch(vec![(b"a".to_vec(), Some(MARKER.to_vec()))])];
    let (db, _) = open::open_or_move_aside(temp.path(), &options()).unwrap();
    let finds_it = |file: &File| {
        let mut content = Vec::new();
        file.try_clone()?.read_to_end(&mut content)?;
        let found = content.windows(MARKER.len()).any(|bytes| bytes == MARKER);
        if found {
            Err(io::Error::other("it was there"))
        } else {
            Err(io::Error::other("it was not flushed"))
        }
    };
    let live = Live::new(temp.path(), &options(), db, finds_it).unwrap();
    let error = live.write(&batch).unwrap_err();
    assert!(error.to_string().ends_with("it was there"), "{error}");
}

#[test]
fn the_call_that_deadlocks_is_banned() {
    let bans = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../clippy.toml")).unwrap();
    assert!(bans.contains("sled::Tree::flush_async"));
}
