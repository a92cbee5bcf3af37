//! Where messages come from and where they go: AMQP, JSONL files; a publisher with confirms; fedora-messaging's
//! configuration. Nothing here knows the ledger or a consumer.

mod publisher;
mod source;

pub use publisher::*;
pub use source::*;
