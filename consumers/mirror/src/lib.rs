//! Makes the public registry's tags equal Koji's and Bodhi's truth.
//!
//! A message only marks keys doubtful. Settling a build asks Koji where its image was pushed and marks the repository;
//! settling a repository reads every update of every package that feeds it, computes the desired tags, and makes the
//! destination match: bytes, a holding tag, visibility, tags last. Of flatbus' consumers this one alone writes to
//! registries, and only to repositories that it created or was told to adopt.
//!
//! What decides is pure and stands apart from what reads and writes: [`desired`], [`plan`], [`belief`], [`writer`].

pub mod belief;
mod builds;
mod catalogue;
mod check;
pub mod config;
pub mod desired;
pub mod event;
pub mod fact;
pub mod image;
pub mod key;
pub mod memory;
mod mirror;
mod pacer;
pub mod plan;
mod quiet;
pub mod releases;
mod settle;
pub mod sources;
mod survey;
pub mod tagname;
pub mod telling;
pub mod wiring;
pub mod writer;

#[cfg(test)]
mod testing;

pub use config::{BadConfig, Config, RawConfig};
pub use key::Key;
pub use mirror::{Mirror, Registries};
pub use settle::Proof;
pub use wiring::{Secrets, http_settings};
