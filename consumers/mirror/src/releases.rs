//! Which releases' updates count.

use std::collections::BTreeSet;

use flatbus_upstream::bodhi::{Release, ReleaseState, Update};

/// The rule: a prefix of update ids, states, and whether rawhide is one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Releases {
    /// `FEDORA-FLATPAK`
    pub id_prefix: String,
    /// Current, frozen, pending and archived ones: an app of an archived release stays until it is retired.
    pub states: BTreeSet<ReleaseState>,
    /// Rawhide goes "stable" with every build; nobody should be served that unasked.
    pub rawhide: bool,
}

impl Releases {
    /// Whether updates of this release count.
    pub fn count(&self, release: &Release) -> bool {
        release.id_prefix == self.id_prefix
            && self.states.contains(&release.state)
            && (self.rawhide || release.branch != "rawhide")
    }

    /// The builds of an update that may be published: Flatpaks of a release that counts.
    pub fn builds<'a>(&self, update: &'a Update) -> impl Iterator<Item = &'a str> {
        let counts = self.count(&update.release);
        update
            .builds
            .iter()
            .filter(move |build| counts && build.kind == "flatpak")
            .map(|build| build.nvr.as_str())
    }
}
