//! Writes large files of many pieces again and again, at the cost of writing them: what didn't change is copied.
//!
//! A file is a head, its pieces in the order of their names with a separator between them, and a tail. Each part is
//! [`Packed`]: encoded once in a form that doesn't depend on where it stands. So a file in any of its three encodings is
//! its parts in a row, and a new one is made from the last by copying all but a few pieces: [`weave()`]. What stands where
//! is told by the file's [`Layout`], which [`Layouts`] keeps across restarts. A file with no layout is built: [`Builder`].
//!
//! Everything here is written to temporary files beside those that it will replace, and synced. Never renames, and knows
//! nothing of what the pieces say.

mod build;
mod copy;
mod error;
mod layout;
mod names;
mod packed;
mod plan;
mod sink;
mod store;
#[cfg(test)]
mod tests;
mod work;

pub use build::Builder;
pub(crate) use error::At;
pub use error::Error;
pub use layout::{Files, Layout, Whole};
pub use names::{Each, Encoding, Stamp, Target};
pub(crate) use names::{is_waiting, waiting};
pub use packed::{Frame, Packed, Packer, Piece};
pub(crate) use sink::{Temp, seal, sync_folder, write};
pub use store::Layouts;
pub use work::{Job, Woven, weave};
