//! Bodhi: which builds users should get.

use async_trait::async_trait;
use jiff::Timestamp;

use crate::Error;

/// `status` of an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// Submitted.
    Pending,
    /// Pushed to testing.
    Testing,
    /// Pushed to stable.
    Stable,
    /// Withdrawn.
    Unpushed,
    /// Replaced by a newer one.
    Obsolete,
    /// Its side tag is open.
    SideTagActive,
    /// Its side tag is gone.
    SideTagExpired,
}

/// `state` of a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReleaseState {
    /// Not in use.
    Disabled,
    /// Before its release.
    Pending,
    /// Freeze before its release.
    Frozen,
    /// Released.
    Current,
    /// End of life.
    Archived,
}

/// A release, as far as flatbus reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// `F41F`
    pub name: String,
    /// `FEDORA-FLATPAK`
    pub id_prefix: String,
    /// `f41`; `rawhide` for rawhide.
    pub branch: String,
    /// `41`
    pub version: String,
    /// Its state.
    pub state: ReleaseState,
}

/// A build of an update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateBuild {
    /// `name-version-release`
    pub nvr: String,
    /// `flatpak`, `rpm`, `module`, `container`.
    pub kind: String,
}

/// An update, as far as flatbus reads it. Bodhi's texts without offset are UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// `FEDORA-FLATPAK-2025-0123456789`
    pub alias: String,
    /// Its status.
    pub status: Status,
    /// `testing`, `stable`, `unpush`, …, or none.
    pub request: Option<String>,
    /// Whether a compose holds it.
    pub locked: bool,
    /// Its release.
    pub release: Release,
    /// Its builds.
    pub builds: Vec<UpdateBuild>,
    /// When it was submitted.
    pub date_submitted: Option<Timestamp>,
    /// When it last changed.
    pub date_modified: Option<Timestamp>,
    /// When it last came to testing.
    pub date_testing: Option<Timestamp>,
    /// When it came to stable.
    pub date_stable: Option<Timestamp>,
    /// When it was last pushed.
    pub date_pushed: Option<Timestamp>,
}

/// A compose: its updates are being pushed right now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compose {
    /// `F41F`
    pub release: String,
    /// `testing` or `stable`.
    pub request: String,
    /// Aliases of its updates.
    pub updates: Vec<String>,
}

/// What to list. Pages are read to the end before anything is answered; a listing that shifts while it is read is read
/// again, and one that never holds still is an error: never half an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpdateQuery {
    /// Only updates with one of these builds (NVRs).
    pub builds: Vec<String>,
    /// Only updates of these Koji packages.
    pub packages: Vec<String>,
    /// Only updates changed since.
    pub modified_since: Option<Timestamp>,
}

/// Bodhi's REST API.
#[async_trait]
pub trait Bodhi: Send + Sync + 'static {
    /// An update by its alias, or `None` where Bodhi knows none.
    async fn update(&self, alias: &str) -> Result<Option<Update>, Error>;
    /// Flatpak updates (`content_type=flatpak`, and those of Flatpak releases whose content type is null), all pages.
    async fn updates(&self, query: &UpdateQuery) -> Result<Vec<Update>, Error>;
    /// Composes under way.
    async fn composes(&self) -> Result<Vec<Compose>, Error>;
    /// One cheap call that proves that Bodhi answers.
    async fn ping(&self) -> Result<(), Error>;
}
