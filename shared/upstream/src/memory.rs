//! Koji, Bodhi and quay in memory, for tests and simulated worlds. They answer as the HTTP clients do, at once or after a
//! set latency, fail as they are told to, and count what they were asked. Nothing here is random or reads a clock.

mod bodhi;
mod desk;
mod koji;
mod quay;

pub use bodhi::{BodhiCall, MemoryBodhi};
pub use desk::{Desk, Fault};
pub use koji::{KojiCall, MemoryKoji};
pub use quay::{MemoryQuay, QuayCall};

#[cfg(test)]
mod tests;
