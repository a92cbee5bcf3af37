//! A disk that fills up, for real: in a small file system where one may be mounted, and by a limit on file size always.

use std::process::{Command, Output};

use flatbus_base::{Remediable, Remedy};

use super::*;

/// Tells the test binary that it is the child, and where to work.
const CHILD: &str = "FLATBUS_LEDGER_FULL_CHILD";
/// How the child makes room: remove the ballast file, or have the limit lifted.
const ROOM: &str = "FLATBUS_LEDGER_FULL_ROOM";
/// Batches after which a disk this small must be full.
const BATCHES_MAX: u32 = 20_000;

#[test]
fn a_full_file_system_loses_nothing_and_goes_on_when_there_is_room() {
    let temp = tempfile::tempdir().unwrap();
    let mount = "mount -t tmpfs -o size=12m tmpfs \"$0\" && exec \"$@\"";
    let output = run(temp.path(), "ballast", &["unshare", "--map-root-user", "--mount", "sh", "-c", mount]);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() && (errors.contains("unshare:") || errors.contains("mount:")) {
        eprintln!("no file system may be mounted here; the limit on file size stands in for it: {errors}");
        return;
    }
    assert!(output.status.success(), "{errors}{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn a_failed_write_loses_nothing_and_is_not_the_last() {
    let temp = tempfile::tempdir().unwrap();
    let limit = "trap '' XFSZ; ulimit -S -f 6000; exec \"$@\"";
    let output = run(temp.path(), "limit", &["sh", "-c", limit]);
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success(), "{said}");
}

fn run(dir: &Path, room: &str, wrapper: &[&str]) -> Output {
    Command::new(wrapper[0])
        .args(&wrapper[1..])
        .arg(dir)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "store::disk::tests::full::child_that_fills_its_disk", "--nocapture"])
        .env(CHILD, dir)
        .env(ROOM, room)
        .output()
        .unwrap()
}

/// Not a test of its own: the child of those above.
#[tokio::test]
async fn child_that_fills_its_disk() {
    let Some(dir) = std::env::var_os(CHILD).map(PathBuf::from) else { return };
    let by_ballast = std::env::var_os(ROOM).is_some_and(|room| room == "ballast");
    if by_ballast {
        fs::write(dir.join("ballast"), vec![1; 7 << 20]).unwrap();
    }
    let store = open(&dir.join("ledger")).store;
    put(store.as_ref(), b"first", b"1").await.unwrap();
    let (written, error) = fill(store.as_ref()).await;
    assert_eq!(matches!(error, StoreError::Full { .. }), by_ballast, "{error:?}");
    assert_eq!(error.remedy(), Remedy::Retry);

    assert!(put(store.as_ref(), b"still", b"1").await.is_err(), "there is still no room");
    if by_ballast {
        assert_eq!(store.get(b"first").unwrap().as_deref(), Some(b"1".as_slice()), "it can still be read");
    }
    make_room(&dir, by_ballast);
    put(store.as_ref(), b"after", b"1").await.unwrap();
    drop(store);

    let store = open(&dir.join("ledger")).store;
    for number in 0..written {
        assert!(store.get(&number.to_be_bytes()).unwrap().is_some(), "{number} of {written} was answered");
    }
    assert_eq!(store.get(b"after").unwrap().as_deref(), Some(b"1".as_slice()));
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

fn make_room(dir: &Path, by_ballast: bool) {
    if by_ballast {
        fs::remove_file(dir.join("ballast")).unwrap();
        return;
    }
    let pid = std::process::id().to_string();
    let lifted = Command::new("prlimit").args(["--fsize=unlimited", "--pid", &pid]).status().unwrap();
    assert!(lifted.success());
}
