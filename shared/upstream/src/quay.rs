//! quay's own API: the visibility of a repository. Needs an OAuth token that is used for nothing else.

use async_trait::async_trait;

use crate::Error;

mod api;

pub use api::QuayApi;
pub(crate) use api::split;

/// Whether anybody may pull.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visibility {
    /// Anybody may pull.
    Public,
    /// Only those with a right may pull.
    Private,
}

/// The part of quay's API that flatbus uses. `repository` is the full name: `fedora/eog`.
#[async_trait]
pub trait Quay: Send + Sync + 'static {
    /// Creates a public repository (`POST /api/v1/repository`); one that exists is no error.
    async fn create_public(&self, repository: &str) -> Result<(), Error>;
    /// The visibility, or `None` where the repository is unknown.
    async fn visibility(&self, repository: &str) -> Result<Option<Visibility>, Error>;
    /// Makes a repository public (`POST …/changevisibility`). Idempotent.
    async fn make_public(&self, repository: &str) -> Result<(), Error>;
}
