//! What is doubtful, tried, parked, announced and remembered; survives `kill -9` at any instant.
//!
//! [`Store`] is the small trait over the embedded database; [`Files`] keeps what is too large for it; [`Ledger`] is the
//! record the runtime keeps in both. Nothing here knows the bus, a registry or a consumer, or reads a clock.

mod codec;
mod files;
mod ledger;
mod space;
mod store;

pub use files::*;
pub use ledger::*;
pub use store::*;
