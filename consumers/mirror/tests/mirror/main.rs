//! The mirror on a simulated world: registries, Koji, Bodhi, quay and the ledger in memory, on paused time.

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
