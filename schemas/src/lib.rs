//! Typed Fedora messages: the envelope, the bodies flatbus reads, and flatbus' own topics. Types only.
//!
//! Tolerant of fields it does not know, exact about those it reads.

mod message;

pub use message::*;
