//! The kill soak: `flatbus run mirror` as a process between real servers, killed at random instants, over and over, while it
//! works through real messages. Whatever it was doing: nothing that it acknowledged is lost, no tag names an image that is
//! not complete, every restart is ready within five seconds, and when nobody kills any more everything comes true.
//!
//! `FLATBUS_SOAK_S` makes the round longer, `FLATBUS_SEED` repeats its choices.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "support/kill/mod.rs"]
mod kill;
#[path = "support/proxy/mod.rs"]
#[allow(unused_imports, reason = "only a slow line is needed of it")]
mod proxy;
#[path = "support/rabbitmq.rs"]
mod rabbitmq;
#[path = "support/registry.rs"]
mod registry;
#[path = "support/run/mod.rs"]
#[allow(dead_code, reason = "the real run uses more of it")]
mod run;

use std::{env, time::Duration};

use flatbus_base::{Clock as _, Random, SystemClock};
use kill::{stage::Stage, tally::Tally};

/// Without `FLATBUS_SOAK_S`: how long it is killed, and how often at least.
const SHORT: Duration = Duration::from_secs(75);
const KILLS_MIN: usize = 60;
/// Kills in one world; then a new one begins, with its history untold.
const KILLS_A_WORLD: usize = 250;

#[test]
fn killed_at_any_instant_it_loses_nothing_names_nothing_incomplete_and_is_ready_within_five_seconds() {
    let seed = number("FLATBUS_SEED").unwrap_or_else(|| Random::from_system().below(u64::MAX));
    eprintln!("FLATBUS_SEED={seed}");
    let time = number("FLATBUS_SOAK_S").map_or(SHORT, Duration::from_secs);
    let end = SystemClock.monotonic() + time;
    let random = Random::from_seed(seed);
    let mut tally = Tally::default();
    let goes_on = |tally: &Tally| SystemClock.monotonic() < end || tally.kills() < KILLS_MIN;
    while goes_on(&tally) {
        let mut stage = Stage::set(random.clone());
        let enough = tally.kills() + KILLS_A_WORLD;
        while goes_on(&tally) && tally.kills() < enough {
            stage.kill_once(&mut tally);
        }
        stage.everything_comes_true(&mut tally);
        eprintln!("{tally}\n");
    }
    assert_eq!(tally.missed(), Vec::<&str>::new(), "no kill hit these\n{tally}");
}

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is a number, not {text:?}")))
}
