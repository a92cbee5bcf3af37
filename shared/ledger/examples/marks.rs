//! Measures the ledger on disk: `cargo run --release -p flatbus-ledger --example marks -- <folder> [marks] [in flight]`.
//! Prints marks a second, each durable before the next of its place begins, and what opening and memory cost.

use std::{env, fs, path::Path, time::Duration};

use flatbus_base::{Clock, SystemClock};
use flatbus_ledger::{Ledger, Limits, Mark, Origin, Settlement, SledStore, StoreOptions};
use futures::future::join_all;

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() -> Fallible<()> {
    let mut arguments = env::args().skip(1);
    let dir = arguments.next().ok_or("which folder?")?;
    let marks = arguments.next().map_or(Ok(50_000), |marks| marks.parse())?;
    let in_flight = arguments.next().map_or(Ok(100), |marks| marks.parse())?;
    let ledger = open(Path::new(&dir)).await?;
    report("before", Duration::ZERO, 0);

    let began = SystemClock.monotonic();
    join_all((0..in_flight).map(|lane| mark(&ledger, lane, in_flight, marks)))
        .await
        .into_iter()
        .collect::<Fallible<()>>()?;
    report("marked", SystemClock.monotonic() - began, marks);
    ledger.close().await?;
    drop(ledger);

    let began = SystemClock.monotonic();
    let ledger = open(Path::new(&dir)).await?;
    report("opened again", SystemClock.monotonic() - began, ledger.counts().doubtful);

    let began = SystemClock.monotonic();
    let mut settled = 0;
    loop {
        let taken = ledger.take(SystemClock.now(), in_flight, &mut |_| true);
        if taken.is_empty() {
            break;
        }
        settled += taken.len();
        let landing = taken.iter().map(|taken| {
            let facts = vec![(taken.key.clone(), Some("sha256:0123456789".to_owned()))];
            ledger.settled(taken, Settlement { facts, ..Settlement::default() }, SystemClock.now())
        });
        join_all(landing).await.into_iter().collect::<Result<(), _>>()?;
    }
    report("settled", SystemClock.monotonic() - began, settled);
    Ok(ledger.close().await?)
}

async fn open(dir: &Path) -> Fallible<Ledger> {
    let opened = SledStore::open(dir, &StoreOptions::new(SystemClock.wall()))?;
    Ok(Ledger::open(opened.store, opened.files, Limits::default(), SystemClock.now()).await?)
}

async fn mark(ledger: &Ledger, lane: usize, lanes: usize, marks: usize) -> Fallible<()> {
    for number in (lane..marks).step_by(lanes) {
        let key = format!("registry.example/repository-{number}:latest");
        let causes = [format!("00000000-0000-4000-8000-{number:012}")];
        ledger
            .mark(&[Mark { key, rank: 0, origin: Origin::Event }], &causes, None, SystemClock.now())
            .commit
            .await?;
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "it is what this program is for")]
fn report(what: &str, took: Duration, count: usize) {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let memory = status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or_default();
    let rate = count as f64 / took.as_secs_f64().max(f64::MIN_POSITIVE);
    println!("{what}: {count} in {took:.3?}, {rate:.0}/s; {memory}");
}
