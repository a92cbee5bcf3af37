//! The operator's door: one router, served on the unit's socket, on TCP for reads where configured, and called in process
//! by the command line when no unit runs. So every verb has one implementation.
//!
//! Reads answer JSON; writes are answered once they are durable.

mod api;
mod door;
mod lobby;
mod routes;
mod server;

pub use api::*;
pub use lobby::Lobby;
pub(crate) use routes::{Door, reads, router};
pub(crate) use server::{serve_tcp, serve_unix};
