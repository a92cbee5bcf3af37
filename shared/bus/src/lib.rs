//! Where messages come from and where they go: AMQP, JSONL files, memory; a publisher with confirms;
//! fedora-messaging's configuration. Nothing here knows the ledger or a consumer.

mod amqp;
mod broker_request;
pub mod config;
mod decode;
mod encode;
mod file;
mod memory;
mod publisher;
mod source;

#[cfg(any(test, feature = "testing"))]
pub mod conformance;

#[cfg(feature = "fuzzing")]
pub use amqp::fuzzing;
pub use amqp::{AmqpPublisher, AmqpSource};
pub use broker_request::broker_request;
pub use config::{Config, ConfigError};
pub use encode::CAUSES_HEADER;
pub use file::FileSource;
pub use memory::{Fault, MemoryBus, MemoryPublisher, MemorySource};
pub use publisher::*;
pub use source::*;
