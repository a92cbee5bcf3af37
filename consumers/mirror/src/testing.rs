//! Small builders for this crate's tests.

use std::collections::BTreeSet;

use flatbus_oci::Digest;
use flatbus_schemas::Nvr;
use flatbus_upstream::bodhi::{Release, ReleaseState, Status, Update, UpdateBuild};
use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

use crate::{fact::BuildFact, releases::Releases, sources::Placed};

/// Bodhi's times: UTC without offset.
pub fn at(text: &str) -> Timestamp {
    text.parse::<DateTime>().unwrap().to_zoned(TimeZone::UTC).unwrap().timestamp()
}

/// A digest that stands for a number.
pub fn digest(n: u64) -> Digest {
    Digest::of(&n.to_be_bytes())
}

/// A pending update of F36F.
pub fn update(alias: &str, nvrs: &[&str]) -> Update {
    let build = |nvr: &&str| UpdateBuild { nvr: (*nvr).to_owned(), kind: "flatpak".to_owned() };
    Update {
        alias: alias.to_owned(),
        status: Status::Pending,
        request: None,
        locked: false,
        release: release("F36F"),
        builds: nvrs.iter().map(build).collect(),
        date_submitted: None,
        date_modified: None,
        date_testing: None,
        date_stable: None,
        date_pushed: None,
    }
}

/// In testing since.
pub fn testing(alias: &str, nvrs: &[&str], since: &str) -> Update {
    Update { status: Status::Testing, date_testing: Some(at(since)), ..update(alias, nvrs) }
}

/// Stable since, never in testing.
pub fn stable(alias: &str, nvrs: &[&str], since: &str) -> Update {
    Update { status: Status::Stable, date_stable: Some(at(since)), ..update(alias, nvrs) }
}

/// A current Flatpak release.
pub fn release(name: &str) -> Release {
    Release {
        name: name.to_owned(),
        id_prefix: "FEDORA-FLATPAK".to_owned(),
        branch: name.to_lowercase().trim_end_matches('f').to_owned(),
        version: "36".to_owned(),
        state: ReleaseState::Current,
    }
}

/// A build with `digest(id)` in a repository.
pub fn placed(nvr: &str, id: u64, repository: &str) -> Placed {
    let nvr: Nvr = nvr.parse().unwrap();
    let pull_spec = format!("candidate.example/{repository}@{}", digest(id));
    Placed {
        fact: BuildFact {
            id: i64::try_from(id).unwrap(),
            nvr: nvr.to_string(),
            package: nvr.name().to_owned(),
            version: nvr.version().to_owned(),
            release: nvr.release().to_owned(),
            flatpak: true,
            complete: true,
            completed_s: None,
            pull_spec: Some(pull_spec),
        },
        repository: repository.parse().unwrap(),
        digest: digest(id),
    }
}

/// The shipped rule.
pub fn releases() -> Releases {
    Releases {
        id_prefix: "FEDORA-FLATPAK".to_owned(),
        states: BTreeSet::from([
            ReleaseState::Current,
            ReleaseState::Frozen,
            ReleaseState::Pending,
            ReleaseState::Archived,
        ]),
        rawhide: false,
    }
}
