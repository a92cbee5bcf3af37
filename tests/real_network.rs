//! The broken network: the real unit works through the real history while every line it has, to the broker, the
//! registries, Koji and Bodhi, is late, cut, stalled, reset, half closed and refused at random. Once it is calm the end
//! is that of the plain run, nothing was waited for longer than its time-out, and no thread or descriptor is left over.
//!
//! `FLATBUS_NETWORK_ROUNDS` asks for another number of rounds, `FLATBUS_SOAK_S` goes on for so many seconds, and
//! `FLATBUS_SEED` repeats a run's mischief.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]
#![expect(clippy::print_stdout, reason = "the figures, and the seed of a run that fails")]

#[path = "support/network/mod.rs"]
mod network;
#[path = "support/proxy/mod.rs"]
mod proxy;
#[path = "support/rabbitmq.rs"]
mod rabbitmq;
#[path = "support/registry.rs"]
mod registry;
#[path = "support/run/mod.rs"]
#[allow(dead_code, reason = "the real run uses all of it")]
mod run;

use std::{env, thread::sleep, time::Duration};

use flatbus_base::{Clock as _, Random, SystemClock};
use network::{
    judge::judge,
    stage::{Before, Stage},
};
use tokio::time::Instant;

/// Rounds where nobody asks for another number.
const ROUNDS: u64 = 100;
/// Rounds that one history is spread over; more rounds are played on a new stage.
const ROUNDS_PER_HISTORY: u64 = 100;
const ROUNDS_BETWEEN_CALMS: u64 = 10;
/// How long a round lasts: most of what it has in store strikes within this.
const ROUND: Duration = Duration::from_millis(500);
/// Played before the first round: until the first Flatpak is in testing.
const WARM_UP_PERCENT: u64 = 35;
/// The last rounds of a history begin with a survey each.
const SURVEYS: u64 = 5;
const REPEATS_PER_ROUND: usize = 6;
/// The status is told in this time, whatever the network does, on a busy machine.
const ANSWER_MAX: Duration = Duration::from_secs(10);

#[test]
fn a_history_over_a_broken_network_ends_as_over_a_whole_one_with_no_hang_and_no_leak() {
    let (seed, rounds) = (seed(), number("FLATBUS_NETWORK_ROUNDS").unwrap_or(ROUNDS));
    let (began, soak) = (SystemClock.monotonic(), Duration::from_secs(number("FLATBUS_SOAK_S").unwrap_or(0)));
    let (mut played, mut histories) = (0, 0);
    while played < rounds || SystemClock.monotonic() - began < soak {
        let left = if soak.is_zero() { rounds - played } else { ROUNDS };
        play(seed.wrapping_add(histories), left.min(ROUNDS_PER_HISTORY));
        played += left.min(ROUNDS_PER_HISTORY);
        histories += 1;
    }
    println!("{played} rounds in {:.0?}", SystemClock.monotonic() - began);
}

fn play(seed: u64, rounds: u64) {
    println!("FLATBUS_SEED={seed} FLATBUS_NETWORK_ROUNDS={rounds}");
    let began = SystemClock.monotonic();
    let mut stage = Stage::set();
    stage.mirror.start();
    warm_up(&mut stage);
    let before = Before::of(&stage);
    println!("{:.0?} to set the stage; the unit holds {:?}", SystemClock.monotonic() - began, stage.held());
    let random = Random::from_seed(seed);
    let (mut longest, mut surveyed) = (Duration::ZERO, None);

    for round in 1..=rounds {
        println!("round {round}: {}", stage.lines.told(seed, round));
        stage.lines.follow(seed, round);
        if round + SURVEYS > rounds {
            surveyed.get_or_insert(SystemClock.monotonic());
            stage.mirror.ask(&["survey", "mirror"]);
        }
        stage.repeat(&random, REPEATS_PER_ROUND);
        stage.play_to(WARM_UP_PERCENT + (100 - WARM_UP_PERCENT) * round / rounds);
        if round == rounds {
            stage.play_encore();
        }
        answers(&stage);
        sleep(ROUND);
        if round % ROUNDS_BETWEEN_CALMS == 0 || round == rounds {
            println!("{:.0?} after the beginning:", SystemClock.monotonic() - began);
            longest = longest.max(calm(&stage, &before, surveyed));
        }
    }

    stage.until_queue_is_empty();
    assert!(rounds < ROUNDS || stage.lines.struck_by_every_fault(), "{}", stage.lines.figures());
    let tags = judge(&stage);
    println!(
        "{}{tags} tags are right; {longest:.1?} from calm to nothing left to do, at the longest",
        stage.lines.figures()
    );
    stop_on_dead_lines(&mut stage, &random);
}

/// Told to stop with work on its hands and nobody answering, it ends in good order all the same.
fn stop_on_dead_lines(stage: &mut Stage, random: &Random) {
    stage.repeat(random, REPEATS_PER_ROUND);
    stage.lines.stall();
    let began = SystemClock.monotonic();
    assert_eq!(stage.mirror.terminate().code(), Some(0), "{}", stage.mirror.log());
    println!("stopped on dead lines in {:.1?}", SystemClock.monotonic() - began);
}

/// Plays until everything was done once, a lost connection included, so that what is set up once is there (lapin lets
/// a runtime of its own close what was lost).
fn warm_up(stage: &mut Stage) {
    stage.play_to(WARM_UP_PERCENT / 2);
    stage.until_calm();
    stage.until_connected();
    stage.lines.reset();
    stage.lines.calm();
    stage.play_to(WARM_UP_PERCENT);
    stage.until_calm();
    stage.until_connected();
}

/// The mischief ends, what was missed is made up for, and nothing is left of it. Tells how long it took.
fn calm(stage: &Stage, before: &Before, surveyed: Option<Instant>) -> Duration {
    stage.lines.calm();
    let took = stage.until_calm();
    let long = stage.lines.too_long(surveyed);
    assert!(
        long.is_empty(),
        "put up with for longer than the time-outs:\n{}\n{}",
        long.join("\n"),
        stage.mirror.log()
    );
    stage.until_as_before(before);
    println!("calm after {took:.1?}; {} descriptors for the lines", stage.lines.descriptors());
    took
}

/// The unit answers for itself whatever its lines do.
fn answers(stage: &Stage) {
    let began = SystemClock.monotonic();
    let status = stage.mirror.status();
    let took = SystemClock.monotonic() - began;
    assert!(took < ANSWER_MAX, "the status took {took:?}: {status}");
}

fn seed() -> u64 {
    number("FLATBUS_SEED").unwrap_or_else(|| SystemClock.wall().as_nanosecond().unsigned_abs() as u64)
}

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is a number, not {text:?}")))
}
