//! Bodhi: which builds users should get.

use async_trait::async_trait;
use jiff::Timestamp;

use crate::Error;

mod api;
mod listing;
mod parse;

#[cfg(feature = "fuzzing")]
pub(crate) use api::fuzzing;
pub use api::{BodhiApi, BodhiLimits};
pub(crate) use api::{check_alias, check_names, newest_first};

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

impl Update {
    /// Whether this is an update of Flatpaks; one that lost all its builds is told by its release.
    pub fn is_flatpak(&self) -> bool {
        self.builds.first().map_or_else(|| self.release.is_flatpak(), |build| build.kind == "flatpak")
    }
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

/// What to list: updates that fit every part that is given. Pages are read to the end before anything is answered; a
/// listing that shifts while it is read is read again, and one that never holds still is an error: never half an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpdateQuery {
    /// Only updates with one of these builds (NVRs); empty for any.
    pub builds: Vec<String>,
    /// Only updates with a build of one of these Koji packages; empty for any.
    pub packages: Vec<String>,
    /// Only updates submitted, edited or pushed since. Bodhi's own `modified_since` knows edits alone (`date_modified` of
    /// an update that nobody edited is null), so three listings are put together. No date tells of an update that was
    /// unpushed or made obsolete: only a listing without this part shows those.
    pub modified_since: Option<Timestamp>,
}

impl UpdateQuery {
    /// Whether the update is one that is asked for.
    pub fn admits(&self, update: &Update) -> bool {
        let of_builds = |nvr: &str| self.builds.is_empty() || self.builds.iter().any(|wanted| wanted == nvr);
        let of_packages =
            |nvr: &str| self.packages.is_empty() || self.packages.iter().any(|wanted| wanted == package(nvr));
        let named = self.builds.is_empty() && self.packages.is_empty();
        let dates = [update.date_submitted, update.date_modified, update.date_pushed];
        (named
            || (update.builds.iter().any(|build| of_builds(&build.nvr))
                && update.builds.iter().any(|build| of_packages(&build.nvr))))
            && self
                .modified_since
                .is_none_or(|since| dates.iter().flatten().any(|date| date.as_second() >= since.as_second()))
    }
}

/// The Koji package in an NVR, which is taken apart from the right only.
fn package(nvr: &str) -> &str {
    nvr.rsplitn(3, '-').nth(2).unwrap_or(nvr)
}

/// Bodhi's REST API.
#[async_trait]
pub trait Bodhi: Send + Sync + 'static {
    /// An update by its alias, or `None` where Bodhi knows none.
    async fn update(&self, alias: &str) -> Result<Option<Update>, Error>;
    /// Flatpak updates (of the Flatpak releases, those whose content type is null included), newest first.
    async fn updates(&self, query: &UpdateQuery) -> Result<Vec<Update>, Error>;
    /// Composes of Flatpak releases under way.
    async fn composes(&self) -> Result<Vec<Compose>, Error>;
    /// One cheap call that proves that Bodhi answers.
    async fn ping(&self) -> Result<(), Error>;
}
