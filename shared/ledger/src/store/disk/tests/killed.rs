//! A child process writes and is killed at any instant, also while it opens.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
};

use super::*;

/// Tells the test binary that it is the child, and where the store is.
const CHILD: &str = "FLATBUS_LEDGER_KILLED_CHILD";
const KILLS: u64 = 150;
/// Longest life of a child. Some die before the store is open, most of the others between two commits.
const LIFE_MS_MAX: u64 = 45;

#[test]
fn no_answered_write_is_lost_and_none_torn_however_a_process_dies() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("ledger");
    let (mut answered, mut never_opened) = (None, 0);
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    for kill in 0..KILLS {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let acked = run_and_kill(&dir, Duration::from_micros(random % (LIFE_MS_MAX * 1000)));
        never_opened += u64::from(acked.is_none());
        answered = answered.max(acked);
        if kill % 5 == 0 {
            check(&dir, answered);
        }
    }
    check(&dir, answered);
    assert!(answered.is_some() && never_opened > 0, "the kills missed: {answered:?} {never_opened}");
}

/// Not a test of its own: the child of the one above.
#[tokio::test]
async fn child_that_is_killed() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let store = open(Path::new(&dir)).store;
    let last = store.scan(b"a", None, usize::MAX).unwrap().pop();
    let mut number = last.map_or(0, |(key, _)| u64::from_be_bytes(key[1..].try_into().unwrap()) + 1);
    loop {
        let value = Some(vec![number as u8; 100]);
        let both =
            [b"a", b"b"].map(|name| ([name.as_slice(), &number.to_be_bytes()].concat(), value.clone()));
        store.commit(Batch(both.to_vec())).await.unwrap();
        println!("{number}");
        number += 1;
    }
}

/// The highest number the child saw answered before it died.
fn run_and_kill(dir: &Path, life: Duration) -> Option<u64> {
    let mut child = spawn(dir);
    thread::sleep(life);
    child.kill().unwrap();
    child.wait().unwrap();
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert!(!errors.contains("panicked"), "{errors}");
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines.filter_map(|line| line.unwrap().parse().ok()).last()
}

fn spawn(dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store::disk::tests::killed::child_that_is_killed", "--nocapture"])
        .env(CHILD, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn check(dir: &Path, answered: Option<u64>) {
    let opened = open(dir);
    assert_eq!(opened.moved_aside, None);
    let numbers = |name: &[u8]| -> Vec<Vec<u8>> {
        let records = opened.store.scan(name, None, usize::MAX).unwrap();
        records.into_iter().map(|(key, _)| key[1..].to_vec()).collect()
    };
    let (a, b) = (numbers(b"a"), numbers(b"b"));
    assert_eq!(a, b, "a batch was torn");
    assert!(a.len() as u64 >= answered.map_or(0, |answered| answered + 1), "an answered write was lost");
}
