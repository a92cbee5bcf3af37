//! OCI registries: the [`Registry`] trait, its HTTP and in-memory adapters, credentials, and the copy engine.
//!
//! Every request goes through `flatbus-http`. Nothing here knows Koji, Bodhi, messages or the ledger.

mod registry;

pub use registry::*;
