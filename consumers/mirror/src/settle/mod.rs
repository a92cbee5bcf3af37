//! Settling: read the present truth, decide without I/O, then act. Twice is harmless, and so is being cut short anywhere.

mod act;
mod again;
mod bring;
mod build;
mod ownership;
mod public;
mod read;
mod repository;
mod stage;
mod withheld;

pub use ownership::Proof;
