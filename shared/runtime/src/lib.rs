//! The only loop: what is received, recorded, acknowledged, settled, retried, parked, announced and surveyed.
//!
//! A [`Consumer`] says what a message makes doubtful and how a doubtful key is made true. A [`Unit`] is a consumer wired
//! to a store, a bus and the operator's door. Time, chance and all I/O come in through [`Parts`] and [`Ends`].
//!
//! Deliberately absent: a set of seen message ids (duplicates are harmless), a nack (nothing is ever given back but by a
//! closed channel), and any name of a consumer.

pub mod admin;
pub mod config;
mod consumer;
mod ctx;
mod dispatch;
mod engine;
mod finding;
mod notify;
mod outbox;
mod policy;
mod probe;
mod progress;
mod reader;
mod settings;
mod status;
mod survey;
#[cfg(feature = "testing")]
pub mod testing;
mod unit;

pub use consumer::{Change, Consumer, Fact, Failure, Settled, SurveyScope, no_survey};
pub use ctx::{Ctx, MEMO_BYTES_MAX};
pub use finding::Finding;
pub use notify::Manager;
pub use progress::{Progress, Unwatched};
pub use settings::{Mode, RawSettings, Settings};
pub use status::{BusStatus, Consumed, Ready, Status, SurveyStatus};
pub use unit::{Ends, Gather, Left, Parts, Unit};
