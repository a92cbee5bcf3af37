//! What Koji says of a build, as far as the mirror remembers it: raw, so that a changed configuration reads it anew.

use flatbus_upstream::koji::{Build, BuildState};
use serde::{Deserialize, Serialize};

/// A build as Koji told it. Immutable once complete, so remembered for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildFact {
    /// Koji's number.
    pub id: i64,
    /// `name-version-release`
    pub nvr: String,
    /// Koji package; not the repository.
    pub package: String,
    /// As in the NVR.
    pub version: String,
    /// As in the NVR.
    pub release: String,
    /// Whether its image is a Flatpak.
    pub flatpak: bool,
    /// Complete in Koji: what was read won't change.
    pub complete: bool,
    /// When it completed, in seconds since the epoch.
    pub completed_s: Option<i64>,
    /// The first pull spec by digest: repository and digest come from it.
    pub pull_spec: Option<String>,
}

impl BuildFact {
    /// What to remember of Koji's answer.
    pub fn of(build: &Build) -> Self {
        let image = build.image.as_ref();
        Self {
            id: build.id,
            nvr: build.nvr.clone(),
            package: build.name.clone(),
            version: build.version.clone(),
            release: build.release.clone(),
            flatpak: image.is_some_and(|image| image.flatpak),
            complete: build.state == BuildState::Complete,
            completed_s: build.completed.map(|at| at.as_second()),
            pull_spec: image.and_then(|image| image.pull.iter().find(|spec| spec.contains('@')).cloned()),
        }
    }

    /// The memo it is kept under.
    pub fn memo(nvr: &str) -> String {
        format!("build|{nvr}")
    }
}
