//! What every part shares and none owns: what to do about an error, the time, randomness, secrets.
//!
//! Nothing here does I/O but [`Secret`], which reads its file; nothing here knows another part of flatbus.

mod clock;
mod random;
mod remedy;
mod secret;

pub use clock::{Clock, Moment, SimClock, SystemClock};
pub use random::Random;
pub use remedy::{Remediable, Remedy, chain};
pub use secret::{Secret, SecretError};
