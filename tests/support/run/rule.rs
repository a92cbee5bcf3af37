//! The rule for tags, read once more and simply, from the records of Koji and Bodhi themselves: what a registry should
//! hold in the end. Shares no line with the consumer that it judges.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// A build of a repository, with when an update brought it where it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    pub repository: String,
    pub digest: String,
    pub nvr: String,
    pub id: i64,
    versions: [String; 2],
    /// When it came to stable, if its update is stable.
    stable: Option<String>,
    /// When it came to testing, if its update is in testing or stable.
    testing: Option<String>,
    /// Whether it ever was in either.
    once: bool,
}

/// What the rule says of each (repository, tag).
pub type Desired<'a> = BTreeMap<(&'a str, String), &'a Pushed>;

/// Every build that an update names and Koji knows, as far as such updates count.
pub fn pushed(updates: &[Value], build: impl Fn(&str) -> Option<Value>) -> Vec<Pushed> {
    let mut found = Vec::new();
    for update in updates.iter().filter(|update| counts(&update["release"])) {
        let builds = update["builds"].as_array().unwrap().iter().filter(|build| build["type"] == "flatpak");
        for record in builds.filter_map(|named| build(named["nvr"].as_str().unwrap())) {
            found.push(Pushed::read(update, &record));
        }
    }
    found
}

fn counts(release: &Value) -> bool {
    let state = release["state"].as_str().unwrap();
    release["id_prefix"] == "FEDORA-FLATPAK"
        && ["current", "frozen", "pending", "archived"].contains(&state)
        && release["branch"] != "rawhide"
}

impl Pushed {
    fn read(update: &Value, build: &Value) -> Self {
        let image = build.pointer("/extra/typeinfo/image").or(build.pointer("/extra/image")).unwrap();
        let specs = image["index"]["pull"].as_array().unwrap().iter().filter_map(Value::as_str);
        let (place, digest) = specs.into_iter().find_map(|spec| spec.split_once('@')).unwrap();
        let (_host, repository) = place.split_once('/').unwrap();
        let text = |key: &str| build[key].as_str().unwrap().to_owned();
        let date = |key: &str| update[key].as_str().map(str::to_owned);
        let (version, release) = (text("version"), text("release"));
        let is = |status: &str| update["status"] == status;
        Self {
            repository: repository.to_owned(),
            digest: digest.to_owned(),
            nvr: text("nvr"),
            id: build["id"].as_i64().unwrap(),
            versions: [tag(&format!("{version}-{release}")), tag(&version)],
            stable: date("date_stable").filter(|_| is("stable")),
            testing: date("date_testing").filter(|_| is("stable") || is("testing")),
            once: date("date_stable").or(date("date_testing")).is_some(),
        }
    }

    /// The tag that holds it.
    pub fn holding_tag(&self) -> String {
        format!("build-{}", self.id)
    }
}

/// What no tag can hold becomes `_`.
fn tag(version: &str) -> String {
    version.replace(|c: char| !(c.is_ascii_alphanumeric() || "._-".contains(c)), "_")
}

/// `latest` is what came to stable last, `testing` what came to testing last and is there or stable still; both also
/// have their versions for tags, and what is stable comes first.
pub fn desired(builds: &[Pushed]) -> Desired<'_> {
    let mut desired = Desired::new();
    let repositories: BTreeSet<&str> = builds.iter().map(|build| build.repository.as_str()).collect();
    for repository in repositories {
        let here = || builds.iter().filter(|build| build.repository == repository);
        let latest = here().filter(|build| build.stable.is_some()).max_by_key(|build| &build.stable);
        let testing = here().filter(|build| build.testing.is_some()).max_by_key(|build| &build.testing);
        for (name, owner) in [("latest", latest), ("testing", testing)] {
            let Some(owner) = owner else { continue };
            desired.insert((repository, name.to_owned()), owner);
            for version in &owner.versions {
                desired.entry((repository, version.clone())).or_insert(owner);
            }
        }
    }
    desired
}

/// Whether a tag that the rule does not speak of any more is right: a version that names a build which once had it.
pub fn was_right(builds: &[Pushed], repository: &str, tag: &str, digest: &str) -> bool {
    let mut once = builds.iter().filter(|build| build.once && build.repository == repository);
    once.any(|build| build.digest == digest && build.versions.iter().any(|version| version == tag))
}
