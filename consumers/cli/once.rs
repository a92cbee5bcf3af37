//! `flatbus once`: settle what is doubtful now, show it, and end.

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::bail;
use flatbus_ledger::{KeyState, Shown};
use flatbus_runtime::{
    Left, Status,
    admin::{Keys, KeysDone, OneKey},
};

use super::{
    args::{Common, Name, Once},
    desk::Desk,
    exit,
    output::{json, line},
    progress, wiring,
};

/// How often a running unit is asked whether it is done.
const ASK_EVERY: Duration = Duration::from_millis(250);

pub async fn once(common: &Common, what: Once) -> anyhow::Result<ExitCode> {
    let desk = Desk::open(common, what.consumer).await?;
    if !what.keys.is_empty() {
        let said: KeysDone =
            desk.post("/keys/mark", &Keys { keys: what.keys.clone(), all_parked: false }).await?;
        if let Some(wrong) = said.wrong.first() {
            bail!("{wrong}");
        }
    }
    let limit = Duration::from_secs(what.timeout);
    let desk = settle_keys(common, desk, what.consumer, &what.keys, limit).await?;
    let counts = desk.get::<Status>("/status", &()).await?.ledger;
    let failed = failed(&desk, &what.keys, counts.waiting + counts.parked).await?;
    desk.close().await?;
    let left = Left { waiting: counts.waiting, parked: counts.parked, outbox: counts.outbox };
    say(common, left, failed)
}

/// Settles what is doubtful: the running unit does, or this process on its store, with bars. `keys`: those waited for, or
/// everything that is due.
pub async fn settle_keys(
    common: &Common,
    desk: Desk,
    consumer: Name,
    keys: &[String],
    limit: Duration,
) -> anyhow::Result<Desk> {
    if !desk.is_running() {
        let config = wiring::load(common, consumer)?;
        let publisher = wiring::publisher(&config, consumer);
        return desk
            .settle_here(config, &*publisher, Arc::new(progress::Bars::new(!common.json)), limit)
            .await;
    }
    match tokio::time::timeout(limit, watch(&desk, keys)).await {
        Ok(watched) => watched?,
        Err(_) => bail!("not settled within {limit:?}; the unit goes on"),
    }
    Ok(desk)
}

/// Waits until the running unit has tried the keys, or all that were due.
async fn watch(desk: &Desk, keys: &[String]) -> anyhow::Result<()> {
    let bar = progress::counter("turns waited for the unit");
    loop {
        bar.inc(1);
        let busy = if keys.is_empty() {
            let counts = desk.get::<Status>("/status", &()).await?.ledger;
            counts.due + counts.in_flight > 0
        } else {
            any(desk, keys, |shown| matches!(shown.state, KeyState::Due | KeyState::InFlight)).await > 0
        };
        if !busy {
            bar.finish_and_clear();
            return Ok(());
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

async fn any(desk: &Desk, keys: &[String], is: impl Fn(&Shown) -> bool) -> usize {
    let mut found = 0;
    for key in keys {
        let shown: Result<Shown, _> = desk.get("/key", &OneKey { key: key.clone() }).await;
        found += usize::from(shown.is_ok_and(|shown| is(&shown)));
    }
    found
}

/// How many of the keys asked for are still not true; of all, where none were named.
async fn failed(desk: &Desk, keys: &[String], all: usize) -> anyhow::Result<usize> {
    Ok(if keys.is_empty() { all } else { any(desk, keys, |_| true).await })
}

fn say(common: &Common, left: Left, failed: usize) -> anyhow::Result<ExitCode> {
    if common.json {
        json(&left)?;
    } else {
        say_in_words(left);
    }
    Ok(ExitCode::from(if failed == 0 { exit::DONE } else { exit::FAILED }))
}

fn say_in_words(left: Left) {
    if left.waiting + left.parked == 0 {
        line("Nothing is doubtful any more.");
    } else {
        line(format!(
            "{} keys wait for another try, {} are parked: `flatbus ledger list` tells why.",
            left.waiting, left.parked
        ));
    }
    if left.outbox > 0 {
        line(format!("{} announcements are not confirmed yet: the unit sends them.", left.outbox));
    }
}
