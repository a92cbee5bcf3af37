//! Plays the history and notes what moved, where, and why.

use std::{collections::BTreeMap, time::Duration};

use anyhow::bail;
use flatbus_base::{Clock, SystemClock};
use flatbus_schemas::{Message, TagMoved};
use jiff::Timestamp;

use super::{
    super::{args::Common, progress},
    servers::{Running, Servers},
};

/// How long one message may take to come true.
const SETTLE_MAX: Duration = Duration::from_secs(60);
/// How often it is looked whether it has.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// What happened.
pub struct Told {
    pub messages: usize,
    /// Messages that moved nothing.
    pub noise: usize,
    pub moves: Vec<Move>,
    pub took: Duration,
}

/// One tag that moved.
pub struct Move {
    /// When the message was sent, back then.
    pub at: Option<Timestamp>,
    /// The message that made it so: its topic, less the prefix.
    pub because: String,
    pub moved: TagMoved,
    /// From the message to the confirmed announcement.
    pub took: Duration,
}

/// Plays the whole history, waiting after each message until it has come true.
pub async fn play(common: &Common, servers: &mut Servers, unit: &Running) -> anyhow::Result<Told> {
    let bar = progress::items("playing the history", servers.world.player.total() as u64);
    let begun = SystemClock.monotonic();
    let mut told = Told { messages: 0, noise: 0, moves: Vec::new(), took: Duration::ZERO };
    let mut sent: BTreeMap<String, Message> = BTreeMap::new();
    wait_until_true(servers, unit).await?;
    while let Some(message) = servers.world.player.step() {
        let published = SystemClock.monotonic();
        sent.insert(message.id.clone(), message.clone());
        servers.bus.publish(message);
        wait_until_true(servers, unit).await?;
        let took = SystemClock.monotonic().duration_since(published);
        let moves = take_moves(servers, &sent, took)?;
        told.noise += usize::from(moves.is_empty());
        if !common.json {
            bar.suspend(|| super::show::moves(&moves));
        }
        told.moves.extend(moves);
        told.messages += 1;
        bar.inc(1);
    }
    servers.world.player.finish();
    bar.finish_and_clear();
    told.took = SystemClock.monotonic().duration_since(begun);
    Ok(told)
}

async fn wait_until_true(servers: &Servers, unit: &Running) -> anyhow::Result<()> {
    let deadline = SystemClock.monotonic() + SETTLE_MAX;
    loop {
        let counts = unit.ledger.counts();
        if servers.all_recorded() && counts.due + counts.in_flight + counts.outbox == 0 {
            return Ok(());
        }
        if SystemClock.monotonic() > deadline {
            bail!("the demo stands still: {counts:?}");
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn take_moves(
    servers: &Servers,
    sent: &BTreeMap<String, Message>,
    took: Duration,
) -> anyhow::Result<Vec<Move>> {
    let mut moves = Vec::new();
    for said in servers.bus.take_announced() {
        if said.announcement.topic != TagMoved::TOPIC {
            continue;
        }
        let cause = said.causes.last().and_then(|id| sent.get(id));
        moves.push(Move {
            at: cause.and_then(|message| message.sent_at),
            because: cause.map_or_else(|| "survey".to_owned(), |message| message.name().to_owned()),
            moved: serde_json::from_value(said.announcement.body)?,
            took,
        });
    }
    Ok(moves)
}
