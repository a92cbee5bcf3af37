//! RabbitMQ, through lapin, under our own supervision: one connection at a time, every phase with a time-out, and on any
//! fault all of it is dropped and built anew. lapin's own recovery is not used: it replays without a word, and has no
//! time-outs. Consuming and publishing have a connection each, since a broker short of memory stops all that a
//! publishing connection sends, acknowledgements too.

mod connect;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod properties;
mod publisher;
mod screen;
mod screened;
mod source;
mod tls;
mod topology;
mod trouble;
mod wire;

pub use publisher::AmqpPublisher;
pub use source::AmqpSource;
pub(crate) use tls::certificates;
pub(crate) use wire::json_arguments;
