//! Fedora's own services: Koji over XML-RPC, Bodhi over REST, quay's API. Traits, typed clients, in-memory twins.
//!
//! Answers are facts of the moment they were read. Nothing here decides what to do with them.

pub mod bodhi;
mod error;
mod fetch;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod koji;
pub mod memory;
pub mod quay;
mod shape;
mod xmlrpc;

pub use error::Error;
