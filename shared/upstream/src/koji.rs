//! Koji: what a build is, and where its image was pushed.

use std::fmt;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::Error;

mod hub;
mod parse;

pub use hub::{KojiHub, KojiLimits};
pub(crate) use hub::{check_ref, nvr_problem};

/// Most builds asked for in one call of [`Koji::builds`].
pub const BUILDS_PER_CALL_MAX: usize = 100;

/// Koji's build states (`koji.BUILD_STATES`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuildState {
    /// 0
    Building,
    /// 1
    Complete,
    /// 2
    Deleted,
    /// 3
    Failed,
    /// 4
    Canceled,
}

/// How a build is asked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum BuildRef {
    /// `name-version-release`
    Nvr(String),
    /// Koji's number.
    Id(i64),
}

impl fmt::Display for BuildRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nvr(nvr) => write!(f, "build {nvr}"),
            Self::Id(id) => write!(f, "build {id}"),
        }
    }
}

/// What `getBuild` tells, as far as flatbus reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// Koji's number.
    pub id: i64,
    /// `name-version-release`
    pub nvr: String,
    /// Koji package; not the repository.
    pub name: String,
    /// As in the NVR.
    pub version: String,
    /// As in the NVR.
    pub release: String,
    /// Present state.
    pub state: BuildState,
    /// When it ended, if it did.
    pub completed: Option<Timestamp>,
    /// The image, where this is an image build.
    pub image: Option<Image>,
}

/// `extra.typeinfo.image`, else `extra.image`, of both eras.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Whether either place says `flatpak`.
    pub flatpak: bool,
    /// `index.pull`: pull specs by digest and by tag, as written there. May be empty.
    pub pull: Vec<String>,
}

/// Koji's hub.
#[async_trait]
pub trait Koji: Send + Sync + 'static {
    /// The build, or `None` where Koji knows none.
    async fn build(&self, build: &BuildRef) -> Result<Option<Build>, Error>;
    /// Many builds in one call, answers in order, each its own: one that Koji refuses hurts no other. At most
    /// [`BUILDS_PER_CALL_MAX`].
    async fn builds(&self, builds: &[BuildRef]) -> Result<Vec<Result<Option<Build>, Error>>, Error>;
    /// Complete image builds (`listBuilds(type="image", state=1, completeAfter=)`), oldest first.
    async fn image_builds_since(&self, since: Timestamp) -> Result<Vec<Build>, Error>;
    /// One cheap call that proves that the hub answers (`getAPIVersion`).
    async fn ping(&self) -> Result<(), Error>;
}
