//! The mirror on a simulated world: registries, Koji, Bodhi, quay and the ledger in memory, on paused time.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod bytes;
mod checks;
mod ends;
mod history;
mod neighbour;
mod ownership;
mod reads;
mod rule;
mod staging;
mod surveys;
mod world;
