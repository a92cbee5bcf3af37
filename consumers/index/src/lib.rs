//! Makes the flatpak index, and the icons that it names, equal the registry.
//!
//! A message only marks a repository doubtful. Settling it reads what its tags name from the registry, anonymously as a
//! client would, and puts that into every output file that it stands in. What one changed image costs is in proportion
//! to the change, but for writing the files: those are woven from the pieces of the last ones. Never writes to a registry.
//!
//! What decides is pure and stands apart from what reads and writes: [`shelf`], [`entry`], [`retired`]. What writes knows
//! nothing of Flatpaks: [`weave`].

pub mod cache;
mod check;
pub mod compare;
pub mod config;
pub mod dress;
pub mod entry;
pub mod event;
pub mod httpd;
pub mod icon;
pub mod image;
mod index;
pub mod key;
mod look;
mod plate;
mod press;
pub mod read;
pub mod recover;
pub mod retired;
pub mod serve;
pub mod shelf;
pub mod site;
mod telling;
pub mod weave;
pub mod wiring;

pub use index::Index;
