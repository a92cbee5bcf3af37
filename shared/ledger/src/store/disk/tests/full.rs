//! A disk that fills up, for real: in a small file system where one may be mounted, and by a limit on file size always.

use std::process::{Command, Output};

use flatbus_base::{Remediable, Remedy};

use super::*;

/// Tells the test binary that it is the child, and where to work.
const CHILD: &str = "FLATBUS_LEDGER_FULL_CHILD";
/// How the child's disk fills up.
const WAY: &str = "FLATBUS_LEDGER_FULL_WAY";
/// The file system is full; the store looked first.
const FORESEEN: &str = "foreseen";
/// The file system is full; the store ran into it.
const RUN_INTO: &str = "run into";
/// A limit on the size of files, which no file system tells.
const LIMIT: &str = "limit";
/// Batches after which a disk this small must be full.
const BATCHES_MAX: u32 = 20_000;

#[test]
fn a_full_file_system_is_foreseen_and_can_be_read_meanwhile() {
    fill_a_file_system(FORESEEN);
}

#[test]
fn a_full_file_system_that_was_run_into_loses_nothing_and_goes_on_when_there_is_room() {
    fill_a_file_system(RUN_INTO);
}

#[test]
fn a_failed_write_loses_nothing_and_is_not_the_last() {
    let temp = tempfile::tempdir().unwrap();
    let limit = "trap '' XFSZ; ulimit -S -f 6000; exec \"$@\"";
    let output = run(temp.path(), LIMIT, &["sh", "-c", limit]);
    assert!(output.status.success(), "{output:?}");
}

fn fill_a_file_system(way: &str) {
    let temp = tempfile::tempdir().unwrap();
    let mount = "mount -t tmpfs -o size=16m tmpfs \"$0\" && exec \"$@\"";
    let output = run(temp.path(), way, &["unshare", "--map-root-user", "--mount", "sh", "-c", mount]);
    let errors = String::from_utf8_lossy(&output.stderr);
    if errors.contains("unshare:") || errors.contains("mount:") {
        eprintln!("no file system may be mounted here; the limit on file size stands in for it: {errors}");
        return;
    }
    assert!(output.status.success(), "{output:?}");
}

fn run(dir: &Path, way: &str, wrapper: &[&str]) -> Output {
    Command::new(wrapper[0])
        .args(&wrapper[1..])
        .arg(dir)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "store::disk::tests::full::child_that_fills_its_disk", "--nocapture"])
        .env(CHILD, dir)
        .env(WAY, way)
        .output()
        .unwrap()
}

/// Not a test of its own: the child of those above.
#[tokio::test]
async fn child_that_fills_its_disk() {
    let Some(dir) = std::env::var_os(CHILD).map(PathBuf::from) else { return };
    let way = std::env::var(WAY).unwrap();
    let room_bytes_min = if way == FORESEEN { options().room_bytes_min } else { 0 };
    let options = StoreOptions { room_bytes_min, ..options() };
    if way != LIMIT {
        fs::write(dir.join("ballast"), vec![1; 7 << 20]).unwrap();
    }
    let store = SledStore::open(&dir.join("ledger"), &options).unwrap().store;
    put(store.as_ref(), b"first", b"1").await.unwrap();
    let (written, error) = fill(store.as_ref()).await;
    assert_eq!(matches!(error, StoreError::Full { .. }), way != LIMIT, "{error:?}");
    assert_eq!(error.remedy(), Remedy::Retry);

    assert!(put(store.as_ref(), b"still", b"1").await.is_err(), "there is still no room");
    if way == FORESEEN {
        all_there(store.as_ref(), written);
    }
    make_room(&dir, way == LIMIT);
    put(store.as_ref(), b"after", b"1").await.unwrap();
    drop(store);

    let store = open(&dir.join("ledger")).store;
    all_there(store.as_ref(), written);
    assert_eq!(store.get(b"after").unwrap().as_deref(), Some(b"1".as_slice()));
}

fn all_there(store: &dyn Store, written: u32) {
    for number in 0..written {
        assert!(store.get(&number.to_be_bytes()).unwrap().is_some(), "{number} of {written} was answered");
    }
}

async fn fill(store: &dyn Store) -> (u32, StoreError) {
    for number in 0..BATCHES_MAX {
        let value = number.to_le_bytes().repeat(250);
        if let Err(error) = put(store, &number.to_be_bytes(), &value).await {
            return (number, error);
        }
    }
    panic!("the disk never filled up");
}

fn make_room(dir: &Path, limited: bool) {
    if !limited {
        fs::remove_file(dir.join("ballast")).unwrap();
        return;
    }
    let pid = std::process::id().to_string();
    let lifted = Command::new("prlimit").args(["--fsize=unlimited", "--pid", &pid]).status().unwrap();
    assert!(lifted.success());
}
