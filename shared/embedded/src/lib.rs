//! An OCI registry, Koji and Bodhi in this process, and a real history to play on them: what the demo runs on, and what
//! tests run on.
//!
//! Each server listens on a port of 127.0.0.1, or is on a [`Wire`] inside this process, and ends with its handle. They
//! hold what they are given and invent nothing; what they are kinder about than the real ones is said where it is so.
//! Nothing here knows a consumer.

pub mod bodhi;
pub mod faults;
pub mod history;
pub mod images;
pub mod koji;
pub mod registry;
mod samples;
mod server;
mod times;
pub mod wire;
pub mod world;

pub use faults::{Edit, Fault, Faults, Seen};
pub use samples::{BadSample, Samples};
pub use server::{Handle, Server};
pub use wire::{Reach, Wire};
