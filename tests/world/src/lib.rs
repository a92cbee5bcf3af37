//! A world in memory around flatbus' consumers, on paused time, from one seed: Fedora and its tools, a broker, registries,
//! a disk, a clock. What happens in it is a [`History`], which is data; [`play`] plays one and says what was broken.
//!
//! The consumers and the runtime are the real ones: only what lies outside of the process is made of memory, and every
//! call of it goes through one [`gate`], where it takes its time, meets its fault, and where the process may die. A
//! [`witness`] sees every effect at its moment. Nothing here reads a real clock or draws a real number, so that a seed
//! gives the same trace each time, to the byte.

pub mod doubles;
pub mod draw;
pub mod fault;
pub mod fedora;
pub mod gate;
pub mod history;
pub mod invariant;
pub mod many;
mod mirror;
mod play;
pub mod rule;
pub mod shrink;
pub mod trace;
mod twice;
pub mod unit;
pub mod witness;
mod world;

pub use fault::Fault;
pub use history::{Blow, Chapter, Event, History, Setting};
pub use invariant::Invariant;
pub use play::{Report, follow, play, tell};
pub use world::World;
