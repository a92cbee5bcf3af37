//! OCI registries: the [`Registry`] trait, its HTTP and in-memory adapters, credentials, and the copy engine.
//!
//! Every request goes through `flatbus-http`. Nothing here knows Koji, Bodhi, messages or the ledger.

pub mod copy;
mod credentials;
mod error;
mod glob;
mod location;
pub mod manifest;
pub mod memory;
pub mod name;
mod registry;
mod remote;
mod small;
pub mod withdrawn;

#[cfg(any(test, feature = "testing"))]
pub mod conformance;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use copy::{Copied, Copier, CopySettings, Destination, NoProgress, Progress, Source, UploadMode};
pub use credentials::{AuthFile, Credentials};
pub use error::Error;
pub use glob::Glob;
pub use location::{BadLocation, Location};
pub use memory::MemoryRegistry;
pub use name::{Digest, ImageRef, NameError, Reference, Repository, Tag};
pub use registry::*;
#[cfg(feature = "fuzzing")]
pub use remote::fuzzing;
pub use remote::{HttpRegistry, RemoteSettings};
pub use small::small_blob;
