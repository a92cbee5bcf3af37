//! Stories of the simulated world: each shows one fault, or one promise.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod same;
mod wire;
