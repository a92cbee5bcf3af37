//! What an operator says under `[consumer_config]`: read once, then turned into types that can't be wrong.
//!
//! The defaults here are those that the shipped example states; a test compares the two.

use std::{collections::BTreeSet, net::SocketAddr, path::PathBuf, time::Duration};

use flatbus_http::RequestBudget;
use flatbus_oci::{Glob, Location, Repository, Tag};
use serde::{Deserialize, de::IgnoredAny};

use crate::{
    retired::{RawRetired, Retired},
    serve::{BadRoute, Route},
};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Where an output's architecture stands in its path.
const ARCHITECTURE: &str = "{architecture}";

/// `[consumer_config]` as written. Unknown keys are errors.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawConfig {
    /// The runtime's own table: read by the runtime.
    #[serde(default)]
    pub runtime: Option<IgnoredAny>,
    registry: String,
    clients: Option<String>,
    site_dir: PathBuf,
    #[serde(default = "defaults::icons_uri")]
    icons_uri: String,
    #[serde(default)]
    force_flatpak_token: bool,
    #[serde(default = "defaults::include")]
    include: Vec<Glob>,
    #[serde(default)]
    exclude: Vec<Glob>,
    #[serde(default)]
    priority: Vec<Glob>,
    #[serde(default = "defaults::runtime_wait_s")]
    runtime_wait_s: u64,
    #[serde(default)]
    foreign_runtimes: Vec<Glob>,
    #[serde(default = "defaults::shrink_limit_percent")]
    shrink_limit_percent: u8,
    #[serde(default = "defaults::grace_days")]
    grace_days: u32,
    ca_file: Option<PathBuf>,
    #[serde(default = "defaults::redirect_hosts")]
    redirect_hosts: Vec<String>,
    listen: Option<SocketAddr>,
    indexes: Vec<RawIndex>,
    #[serde(default)]
    retired: Vec<RawRetired>,
    #[serde(default = "defaults::budgets")]
    budgets: Vec<RequestBudget>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawIndex {
    output: String,
    tag: String,
    architecture: Option<String>,
    #[serde(default)]
    architecture_expand: Vec<String>,
    #[serde(default)]
    flatpak_annotations: bool,
    #[serde(default)]
    extract_icons: bool,
    #[serde(default)]
    delta_keep_days: u32,
}

/// One file that clients are served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Below the site's folder: `index/flatpak-latest-amd64.json`.
    pub path: String,
    /// The tag whose images stand in it.
    pub tag: Tag,
    /// The one architecture that stands in it, in OCI's spelling; `None`: all.
    pub architecture: Option<String>,
    /// Flatpak's labels as annotations: what clients before 1.6 read.
    pub annotations: bool,
    /// Icons as files of their own instead of inside the labels.
    pub extract_icons: bool,
    /// How long deltas from an image that was replaced are wanted; zero: none are.
    pub delta_keep: Duration,
}

/// The index's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where images are read, by tag: a registry and the namespace that repositories stand under.
    pub registry: Location,
    /// Where clients are sent for them: `Registry` and what stands before each `Name`.
    pub clients: Location,
    /// The folder that is published.
    pub site_dir: PathBuf,
    /// What stands before an icon's path, with a slash at its end; clients read it relative to the index.
    pub icons_uri: String,
    /// Makes clients ask for a token, with each image.
    pub force_flatpak_token: bool,
    /// Repositories that are looked at.
    pub include: Vec<Glob>,
    /// Repositories that are not, though included.
    pub exclude: Vec<Glob>,
    /// Of two repositories that claim one ref, the one whose pattern stands first has it.
    pub priority: Vec<Glob>,
    /// How long an application is held back for a runtime that isn't published.
    pub runtime_wait: Duration,
    /// Runtimes that clients have from elsewhere.
    pub foreign_runtimes: Vec<Glob>,
    /// How much smaller a file may become at once, in per cent of its images.
    pub shrink_limit_percent: u8,
    /// How long what no file names any more is kept.
    pub grace: Duration,
    /// Certificates trusted beside the system's.
    pub ca_file: Option<PathBuf>,
    /// Hosts that registries may redirect downloads to.
    pub redirect_hosts: Vec<String>,
    /// Where the site is served, if it is served from here.
    pub listen: Option<SocketAddr>,
    /// The files.
    pub outputs: Vec<Output>,
    /// Applications at the end of their life.
    pub retired: Vec<Retired>,
    /// How fast hosts may be asked.
    pub budgets: Vec<RequestBudget>,
}

/// What is wrong with a configuration. Names the key, and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("consumer_config.{key}: {problem}")]
pub struct BadConfig {
    /// The key.
    pub key: String,
    /// One sentence.
    pub problem: String,
}

pub(crate) fn bad(key: impl Into<String>, problem: impl ToString) -> BadConfig {
    BadConfig { key: key.into(), problem: problem.to_string() }
}

impl TryFrom<RawConfig> for Config {
    type Error = BadConfig;

    fn try_from(raw: RawConfig) -> Result<Self, BadConfig> {
        let registry = Location::parse(&raw.registry).map_err(|error| bad("registry", error))?;
        let clients = raw.clients.as_deref().map(Location::parse).transpose();
        if !raw.site_dir.is_absolute() {
            return Err(bad("site_dir", "must be the whole path of a folder, from / on"));
        }
        if raw.shrink_limit_percent > 100 {
            return Err(bad("shrink_limit_percent", "must be at most 100"));
        }
        let retired = raw
            .retired
            .into_iter()
            .enumerate()
            .map(|(n, raw)| Retired::try_from(raw).map_err(|error| bad(format!("retired[{n}]"), error)));
        Ok(Self {
            clients: clients.map_err(|error| bad("clients", error))?.unwrap_or_else(|| registry.clone()),
            registry,
            site_dir: raw.site_dir,
            icons_uri: icons_uri(&raw.icons_uri)?,
            force_flatpak_token: raw.force_flatpak_token,
            include: raw.include,
            exclude: raw.exclude,
            priority: raw.priority,
            runtime_wait: Duration::from_secs(raw.runtime_wait_s),
            foreign_runtimes: raw.foreign_runtimes,
            shrink_limit_percent: raw.shrink_limit_percent,
            grace: days("grace_days", raw.grace_days)?,
            ca_file: raw.ca_file,
            redirect_hosts: raw.redirect_hosts,
            listen: raw.listen,
            outputs: outputs(&raw.indexes)?,
            retired: retired.collect::<Result<_, _>>()?,
            budgets: raw.budgets,
        })
    }
}

impl Config {
    /// Whether a repository, by its name below the namespace, is looked at.
    pub fn covers(&self, repository: &Repository) -> bool {
        let listed = |globs: &[Glob]| globs.iter().any(|glob| glob.matches(repository.as_str()));
        listed(&self.include) && !listed(&self.exclude)
    }

    /// The tags that some output shows, in order.
    pub fn tags(&self) -> BTreeSet<Tag> {
        self.outputs.iter().map(|output| output.tag.clone()).collect()
    }

    /// `Registry` as the files say it: clients put `v2/<Name>/…` behind it.
    pub fn public_url(&self) -> &str {
        self.clients.registry.as_str()
    }

    /// `Name` as the files say it. `None` where it would be longer than a name may be.
    pub fn public_name(&self, repository: &Repository) -> Option<Repository> {
        self.clients.repository(repository)
    }
}

fn days(key: &str, days: u32) -> Result<Duration, BadConfig> {
    if days == 0 {
        return Err(bad(key, "must be at least 1"));
    }
    Ok(DAY * days)
}

fn icons_uri(text: &str) -> Result<String, BadConfig> {
    let absolute = text.starts_with("https://") || text.starts_with("http://") || text.starts_with('/');
    if !absolute || !text.ends_with('/') || text.contains(['"', '\\', ' ', '?', '#']) {
        return Err(bad("icons_uri", "must be a URL or an absolute path, with a slash at its end: /icons/"));
    }
    Ok(text.to_owned())
}

fn outputs(raw: &[RawIndex]) -> Result<Vec<Output>, BadConfig> {
    let mut outputs = Vec::new();
    for (n, raw) in raw.iter().enumerate() {
        outputs.extend(raw.outputs(|name| format!("indexes[{n}].{name}"))?);
    }
    let mut paths = BTreeSet::new();
    match outputs.iter().find(|output| !paths.insert(&output.path)) {
        _ if outputs.is_empty() => {
            Err(bad("indexes", "there must be at least one: nothing would be written"))
        }
        Some(twice) => Err(bad("indexes", format!("{} is the output of two", twice.path))),
        None => Ok(outputs),
    }
}

impl RawIndex {
    /// One output, or one an architecture.
    fn outputs(&self, key: impl Fn(&str) -> String) -> Result<Vec<Output>, BadConfig> {
        let architectures: Vec<Option<&String>> = match (&self.architecture, &self.architecture_expand[..]) {
            (Some(_), [_, ..]) => {
                return Err(bad(key("architecture"), "stands beside architecture_expand: choose one"));
            }
            (one, []) => vec![one.as_ref()],
            (None, many) => many.iter().map(Some).collect(),
        };
        if !self.architecture_expand.is_empty() && !self.output.contains(ARCHITECTURE) {
            return Err(bad(key("output"), format!("must contain {ARCHITECTURE}, or all would be one file")));
        }
        architectures.into_iter().map(|architecture| self.output(architecture, &key)).collect()
    }

    fn output(
        &self,
        architecture: Option<&String>,
        key: impl Fn(&str) -> String,
    ) -> Result<Output, BadConfig> {
        let path = self.output.replace(ARCHITECTURE, architecture.map_or("", String::as_str));
        let output = Output {
            path,
            tag: self.tag.parse().map_err(|error| bad(key("tag"), error))?,
            architecture: architecture.cloned(),
            annotations: self.flatpak_annotations,
            extract_icons: self.extract_icons,
            delta_keep: DAY * self.delta_keep_days,
        };
        match output.route().check() {
            Err(error @ BadRoute::Path { .. }) => Err(bad(key("output"), error)),
            Err(error @ BadRoute::Architecture { .. }) => Err(bad(key("architecture"), error)),
            Ok(()) => Ok(output),
        }
    }
}

impl Output {
    /// Which request for the index it answers.
    pub fn route(&self) -> Route {
        Route {
            tag: self.tag.clone(),
            architecture: self.architecture.clone(),
            annotations: self.annotations,
            path: self.path.clone(),
        }
    }
}

/// What is used where the file says nothing. The shipped example states the same.
mod defaults {
    use super::{Glob, RequestBudget};

    pub fn icons_uri() -> String {
        "/icons/".to_owned()
    }

    pub fn include() -> Vec<Glob> {
        vec![Glob::new("*")]
    }

    pub fn runtime_wait_s() -> u64 {
        3600
    }

    pub fn shrink_limit_percent() -> u8 {
        10
    }

    pub fn grace_days() -> u32 {
        30
    }

    pub fn redirect_hosts() -> Vec<String> {
        ["*.quay.io", "*.cloudfront.net", "cdn.registry.fedoraproject.org"].map(str::to_owned).into()
    }

    pub fn budgets() -> Vec<RequestBudget> {
        vec![RequestBudget::quay()]
    }
}

#[cfg(test)]
mod tests;
