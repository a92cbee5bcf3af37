//! `flatbus replay`: recorded messages mark keys exactly as live ones do. An interrupted replay goes on where it was: how
//! far it came is recorded together with what it marked.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Seek, SeekFrom},
    process::ExitCode,
};

use anyhow::{Context, bail};
use flatbus_runtime::admin::{REPLAY_BYTES_MAX, ReplayPosition, ReplayQuery, Replayed};

use super::{
    args::{Common, Replay},
    desk::Desk,
    exit,
    output::{json, line},
    progress,
};

/// Lines sent at once: each batch is answered once it is durable.
const BATCH_LINES: usize = 200;
/// A batch is sent when it has this many bytes, whatever its lines.
const BATCH_BYTES: usize = REPLAY_BYTES_MAX / 4;

pub async fn replay(common: &Common, what: Replay) -> anyhow::Result<ExitCode> {
    let named = || format!("reading {}", what.file.display());
    let mut file = File::open(&what.file).with_context(named)?;
    let size = file.metadata().with_context(named)?.len();
    let desk = Desk::open(common, what.consumer).await?;
    let source = format!("file:{}", what.file.canonicalize().with_context(named)?.display());
    let start = if what.from_start {
        0
    } else {
        position(&desk, &source).await?.filter(|at| *at <= size).unwrap_or(0)
    };
    file.seek(SeekFrom::Start(start)).with_context(named)?;
    let bar = progress::bytes("replaying", size);
    bar.set_position(start);
    let mut sum = Replayed::default();
    let mut batches = Batches { lines: BufReader::new(file), at: start };
    while let Some(batch) = batches.next().with_context(named)? {
        let query = ReplayQuery { source: Some(source.clone()), position: Some(batches.at.to_string()) };
        let said: Replayed = desk.post_lines("/replay", &query, batch).await?;
        sum.messages += said.messages;
        sum.marked += said.marked;
        sum.parked += said.parked;
        bar.set_position(batches.at);
    }
    bar.finish_and_clear();
    let running = desk.is_running();
    desk.close().await?;
    say(common, &sum, start, running)?;
    Ok(ExitCode::from(exit::DONE))
}

fn say(common: &Common, sum: &Replayed, start: u64, running: bool) -> anyhow::Result<()> {
    if common.json {
        return json(sum);
    }
    if start > 0 {
        line(format!(
            "Went on at byte {start}, where an earlier replay of this file ended (--from-start begins anew)."
        ));
    }
    line(format!(
        "{} messages replayed: {} marked something, {} could not be understood and are parked.",
        sum.messages, sum.marked, sum.parked
    ));
    if !running && sum.marked > 0 {
        line("The unit settles what they marked when it runs; `flatbus once` does so at once.");
    }
    Ok(())
}

async fn position(desk: &Desk, source: &str) -> anyhow::Result<Option<u64>> {
    let asked = ReplayPosition { source: source.to_owned(), position: None };
    let told: ReplayPosition = desk.get("/position", &asked).await?;
    Ok(told.position.and_then(|text| text.parse().ok()))
}

/// A file cut into batches of whole lines.
struct Batches {
    lines: BufReader<File>,
    at: u64,
}

impl Batches {
    fn next(&mut self) -> anyhow::Result<Option<Vec<u8>>> {
        let mut batch = Vec::new();
        for _ in 0..BATCH_LINES {
            let before = batch.len();
            let limit = (REPLAY_BYTES_MAX - BATCH_BYTES) as u64;
            let read = (&mut self.lines).take(limit).read_until(b'\n', &mut batch)?;
            if read as u64 == limit {
                bail!("the line at byte {} is longer than {limit} bytes", self.at);
            }
            self.at += (batch.len() - before) as u64;
            if read == 0 || batch.len() >= BATCH_BYTES {
                break;
            }
        }
        Ok(Some(batch).filter(|batch| !batch.is_empty()))
    }
}
