//! Stories of the simulated world: each shows one fault, or one promise.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod broker;
mod day;
mod messages;
mod order;
mod process;
mod registries;
mod same;
mod table;

mod upstream;
mod wire;
