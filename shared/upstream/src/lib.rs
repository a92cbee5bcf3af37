//! Fedora's own services: Koji over XML-RPC, Bodhi over REST, quay's API. Traits, typed clients, in-memory twins.
//!
//! Answers are facts of the moment they were read. Nothing here decides what to do with them.

pub mod bodhi;
mod error;
pub mod koji;
pub mod quay;

pub use error::Error;
