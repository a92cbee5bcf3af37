//! What the index shows of a registry's tags, with everything but the files in memory.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod files;
mod rules;
mod world;
