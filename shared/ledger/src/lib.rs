//! What is doubtful, tried, parked, announced and remembered; survives `kill -9` at any instant.
//!
//! [`Store`] is the small trait over the embedded database; [`Ledger`] is the record the runtime keeps in it.

mod store;

pub use store::*;
