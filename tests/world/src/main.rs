//! `world`: plays histories by the thousand, and tells one as a story.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command for a terminal")]

use std::{
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use clap::{Parser, Subcommand};
use flatbus_world::{
    Fault, draw, follow,
    many::{Order, Sum, play_many},
    shrink, tell,
};

/// A simulated world around flatbus' consumers.
#[derive(Debug, Parser)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Plays many histories; tells the first that breaks a promise, as short as it can be made
    Many {
        /// How many
        #[arg(long, default_value_t = 10_000)]
        histories: u64,
        /// Events in each
        #[arg(long, default_value_t = 100)]
        events: usize,
        /// The first seed
        #[arg(long, default_value_t = 1)]
        from: u64,
        /// Stop after so many seconds
        #[arg(long)]
        seconds: Option<u64>,
    },
    /// Tells the history of one seed: what happened, every call, every line that was logged
    Story {
        /// The seed
        seed: u64,
        /// Events in it
        #[arg(long, default_value_t = 100)]
        events: usize,
    },
}

fn main() -> ExitCode {
    match Args::parse().command {
        Command::Many { histories, events, from, seconds } => {
            let threads = thread::available_parallelism().map_or(1, usize::from);
            many(Order { from, histories, events, threads }, seconds.map(Duration::from_secs))
        }
        Command::Story { seed, events } => {
            let history = draw::history(seed, events);
            println!("{history}");
            let report = follow(&history);
            report.violations.iter().for_each(|(which, what)| println!("BROKEN: {which}: {what}"));
            ExitCode::from(u8::from(!report.is_good()))
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "how long the real machine took, for a person")]
fn many(order: Order, limit: Option<Duration>) -> ExitCode {
    let began = Instant::now();
    let sum = play_many(order, |_| limit.is_none_or(|limit| began.elapsed() < limit));
    let took = began.elapsed();
    print_sum(&sum, order, took);
    let Some((history, report)) = sum.failed else { return ExitCode::SUCCESS };
    let Some((broken, what)) = report.violations.first() else { return ExitCode::SUCCESS };
    println!(
        "\nBROKEN by seed {}: {broken}\n  {what}\nlooking for the shortest history that does",
        history.seed
    );
    let shortest = shrink::shortest(&history, *broken);
    let told = tell(&shortest);
    println!("\n{shortest}\n{}", told.trace);
    told.violations.iter().for_each(|(which, what)| println!("BROKEN: {which}: {what}"));
    println!("\nthe whole of it: world story {} --events {}", history.seed, order.events);
    ExitCode::FAILURE
}

fn print_sum(sum: &Sum, order: Order, took: Duration) {
    let rate = sum.histories as f64 / took.as_secs_f64();
    println!(
        "{} histories of {} events in {:.1} s ({rate:.0} a second): {} calls, {} lives, {} settles compared with their second ({} overtaken)",
        sum.histories,
        order.events,
        took.as_secs_f64(),
        sum.calls,
        sum.lives,
        sum.compared,
        sum.overtaken
    );
    let never: Vec<String> =
        Fault::ALL.iter().filter(|fault| !sum.struck.contains_key(fault)).map(ToString::to_string).collect();
    println!("{} kinds of fault struck; never: [{}]", sum.struck.len(), never.join(", "));
}
