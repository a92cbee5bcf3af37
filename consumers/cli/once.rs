//! `flatbus once`: settle what is doubtful now, show it, and end.

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::bail;
use flatbus_ledger::{KeyState, Shown};
use flatbus_runtime::{Left, Status, admin::{Keys, KeysDone, OneKey}};

use super::{
    args::{Common, Once},
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
        let said: KeysDone = desk.post("/keys/mark", &Keys { keys: what.keys.clone(), all_parked: false }).await?;
        if let Some(wrong) = said.wrong.first() {
            bail!("{wrong}");
        }
    }
    let left = if desk.is_running() {
        let limit = Duration::from_secs(what.timeout);
        tokio::time::timeout(limit, watch(&desk, &what.keys)).await.map_err(|_| anyhow::anyhow!("not settled within {limit:?}; the unit goes on"))??
    } else {
        desk.close().await?;
        settle(common, &what).await?
    };
    say(common, left)
}

/// In this process, on the unit's store, with bars.
async fn settle(common: &Common, what: &Once) -> anyhow::Result<Left> {
    let config = wiring::load(common, what.consumer)?;
    let publisher = wiring::publisher(&config, what.consumer);
    let bars = Arc::new(progress::Bars::new(!common.json));
    let unit = wiring::open_unit(config, bars).await?;
    let limit = Duration::from_secs(what.timeout);
    let left = tokio::time::timeout(limit, unit.settle_due(&*publisher)).await.unwrap_or_else(|_| unit.left());
    unit.close().await?;
    Ok(left)
}

/// Waits until the running unit has settled the keys, or all that were due.
async fn watch(desk: &Desk, keys: &[String]) -> anyhow::Result<Left> {
    let bar = progress::counter("turns waited for the unit");
    loop {
        bar.inc(1);
        let status: Status = desk.get("/status", &()).await?;
        let busy = if keys.is_empty() { status.ledger.due + status.ledger.in_flight > 0 } else { any_due(desk, keys).await? };
        if !busy {
            bar.finish_and_clear();
            let counts = status.ledger;
            return Ok(Left { waiting: counts.waiting, parked: counts.parked, outbox: counts.outbox });
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

async fn any_due(desk: &Desk, keys: &[String]) -> anyhow::Result<bool> {
    for key in keys {
        let shown: Result<Shown, _> = desk.get("/key", &OneKey { key: key.clone() }).await;
        if shown.is_ok_and(|shown| matches!(shown.state, KeyState::Due | KeyState::InFlight)) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn say(common: &Common, left: Left) -> anyhow::Result<ExitCode> {
    if common.json {
        json(&left)?;
    } else if left == (Left { waiting: 0, parked: 0, outbox: 0 }) {
        line("Nothing is doubtful any more.");
    } else {
        line(format!(
            "Left: {} keys wait for another try, {} are parked, {} announcements are not yet confirmed (`flatbus ledger list` tells why).",
            left.waiting, left.parked, left.outbox
        ));
    }
    Ok(ExitCode::from(if left.waiting + left.parked == 0 { exit::DONE } else { exit::FAILED }))
}
