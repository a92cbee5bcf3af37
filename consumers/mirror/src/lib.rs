//! Makes the public registry's tags equal Koji's and Bodhi's truth.
//!
//! A message only marks keys doubtful. Settling a build asks Koji where its image was pushed and marks the repository;
//! settling a repository reads every update of every package that feeds it, computes the desired tags, and makes the
//! destination match: bytes, a holding tag, visibility, tags last. Of flatbus' consumers this one alone writes to
//! registries, and only to repositories that it created or was told to adopt.

pub mod belief;
pub mod config;
pub mod desired;
pub mod fact;
pub mod glob;
pub mod key;
pub mod plan;
pub mod releases;
pub mod sources;
pub mod tagname;
pub mod writer;

#[cfg(test)]
mod testing;

pub use key::Key;
