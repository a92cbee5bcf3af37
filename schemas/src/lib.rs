//! Typed Fedora messages: the envelope, the bodies flatbus reads, and flatbus' own topics. Types only: no I/O, no clock.
//!
//! Tolerant of fields it does not know, exact about those it reads. A message goes through two doors: the envelope is
//! checked on arrival ([`Message::from_parts`], [`Message::from_record`]), and the body only where somebody reads it
//! ([`FromMessage`]): noise costs no parsing.

mod bodhi;
mod event;
mod grammar;
mod koji;
mod lenient;
mod message;
mod nvr;
mod own;
mod receive;
mod record;

pub use bodhi::*;
pub use event::FedoraEvent;
pub use koji::*;
pub use message::*;
pub use nvr::{InvalidNvr, Nvr};
pub use own::*;
pub use receive::*;
