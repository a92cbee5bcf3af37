//! What an operator says under `[consumer_config]`: read once, then turned into types that can't be wrong.
//!
//! The defaults here are those that the shipped example states; a test compares the two.

use std::{collections::BTreeSet, num::NonZeroU32, path::PathBuf, time::Duration};

use flatbus_http::RequestBudget;
use flatbus_oci::{Glob, Location};
use flatbus_upstream::bodhi::ReleaseState;
use serde::{Deserialize, de::IgnoredAny};
use url::Url;

use crate::{
    releases::Releases,
    sources::{Source, Sources},
    writer::TagWriter,
};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// `[consumer_config]` as written. Unknown keys are errors.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawConfig {
    /// The runtime's own table: read by the runtime.
    #[serde(default)]
    pub runtime: Option<IgnoredAny>,
    destination: String,
    staging: Option<String>,
    #[serde(default = "defaults::staging_keep_days")]
    staging_keep_days: u32,
    #[serde(default = "defaults::staging_max_bytes")]
    staging_max_bytes: u64,
    #[serde(default = "defaults::tag_writer")]
    tag_writer: TagWriter,
    #[serde(default = "defaults::settle_after_s")]
    settle_after_s: u64,
    #[serde(default = "defaults::holding_grace_days")]
    holding_grace_days: u32,
    #[serde(default = "defaults::unavailable_again_days")]
    unavailable_again_days: u32,
    #[serde(default = "defaults::imports_per_s")]
    imports_per_s: NonZeroU32,
    #[serde(default = "defaults::copies_max")]
    copies_max: NonZeroU32,
    #[serde(default = "defaults::koji")]
    koji: String,
    #[serde(default = "defaults::koji_base_urls")]
    koji_base_urls: Vec<String>,
    #[serde(default = "defaults::bodhi")]
    bodhi: String,
    quay_api: Option<String>,
    #[serde(default = "defaults::release_id_prefix")]
    release_id_prefix: String,
    #[serde(default = "defaults::release_states")]
    release_states: Vec<RawReleaseState>,
    #[serde(default)]
    rawhide: bool,
    #[serde(default = "defaults::protected")]
    protected: Vec<Glob>,
    #[serde(default = "defaults::runtimes")]
    runtimes: Vec<Glob>,
    auth_file: Option<PathBuf>,
    quay_token_file: Option<PathBuf>,
    ca_file: Option<PathBuf>,
    #[serde(default = "defaults::redirect_hosts")]
    redirect_hosts: Vec<String>,
    #[serde(default = "defaults::sources")]
    sources: Vec<RawSource>,
    #[serde(default = "defaults::budgets")]
    budgets: Vec<RequestBudget>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSource {
    pull_spec: String,
    bytes_at: Vec<String>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawReleaseState {
    Disabled,
    Pending,
    Frozen,
    Current,
    Archived,
}

/// Where builds go before an update is pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Staging {
    /// A namespace of the destination's registry.
    pub at: Location,
    /// A build that no update pushes goes after this.
    pub keep: Duration,
    /// Past this nothing more is staged; publishing goes on.
    pub max_bytes: u64,
}

/// The mirror's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where the tags are made true.
    pub destination: Location,
    /// Where builds wait for their update, if they do.
    pub staging: Option<Staging>,
    /// Who else writes tags.
    pub tag_writer: TagWriter,
    /// How long a tag that Bodhi may have written must stay untouched before it is replaced.
    pub settle_after: Duration,
    /// How long a digest stays held after the last tag left it.
    pub holding_grace: Duration,
    /// After this an image that no source had is asked for again; one pushed since is a person's business.
    pub unavailable_again: Duration,
    /// `getBuild` calls a second for builds that came without a task.
    pub imports_per_s: NonZeroU32,
    /// Images copied at once.
    pub copies_max: NonZeroU32,
    /// Koji's hub.
    pub koji: Url,
    /// Messages of other hubs are dropped.
    pub koji_base_urls: BTreeSet<String>,
    /// Bodhi's API.
    pub bodhi: Url,
    /// quay's own API, where the destination is a quay.
    pub quay_api: Option<Url>,
    /// Which releases' updates count.
    pub releases: Releases,
    /// Repositories that are never written to, by canonical or full name.
    pub protected: Vec<Glob>,
    /// Repositories of runtimes: they go first.
    pub runtimes: Vec<Glob>,
    /// Registry credentials in the docker/podman format. Default: the credential `auth.json` of the service manager.
    pub auth_file: Option<PathBuf>,
    /// An OAuth token of quay's API. Default: the credential `quay-token` of the service manager, if there is one.
    pub quay_token_file: Option<PathBuf>,
    /// Certificates trusted beside the system's.
    pub ca_file: Option<PathBuf>,
    /// Hosts that registries may redirect downloads to.
    pub redirect_hosts: Vec<String>,
    /// Where builds' bytes are.
    pub sources: Sources,
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

fn bad(key: impl Into<String>, problem: impl ToString) -> BadConfig {
    BadConfig { key: key.into(), problem: problem.to_string() }
}

impl TryFrom<RawConfig> for Config {
    type Error = BadConfig;

    fn try_from(raw: RawConfig) -> Result<Self, BadConfig> {
        let destination = Location::parse(&raw.destination).map_err(|error| bad("destination", error))?;
        Ok(Self {
            staging: raw.staging(&destination)?,
            tag_writer: raw.tag_writer,
            settle_after: Duration::from_secs(raw.settle_after_s),
            holding_grace: days("holding_grace_days", raw.holding_grace_days)?,
            unavailable_again: days("unavailable_again_days", raw.unavailable_again_days)?,
            imports_per_s: raw.imports_per_s,
            copies_max: raw.copies_max,
            koji: service("koji", &raw.koji)?,
            koji_base_urls: raw
                .koji_base_urls
                .iter()
                .map(|url| url.trim_end_matches('/').to_owned())
                .collect(),
            bodhi: service("bodhi", &raw.bodhi)?,
            quay_api: raw.quay_api.as_deref().map(|url| service("quay_api", url)).transpose()?,
            releases: raw.releases()?,
            sources: Sources::new(sources(&raw.sources)?),
            destination,
            protected: raw.protected,
            runtimes: raw.runtimes,
            auth_file: raw.auth_file,
            quay_token_file: raw.quay_token_file,
            ca_file: raw.ca_file,
            redirect_hosts: raw.redirect_hosts,
            budgets: raw.budgets,
        })
    }
}

impl RawConfig {
    fn staging(&self, destination: &Location) -> Result<Option<Staging>, BadConfig> {
        let Some(text) = &self.staging else { return Ok(None) };
        let at = Location::parse(text).map_err(|error| bad("staging", error))?;
        if at.registry != destination.registry {
            return Err(bad(
                "staging",
                format!("must be a namespace of {}, so that publishing copies nothing", destination.host()),
            ));
        }
        if at.namespace == destination.namespace || at.namespace.is_empty() {
            return Err(bad("staging", "must be a namespace of its own, apart from destination"));
        }
        let keep = days("staging_keep_days", self.staging_keep_days)?;
        Ok(Some(Staging { at, keep, max_bytes: self.staging_max_bytes }))
    }

    fn releases(&self) -> Result<Releases, BadConfig> {
        if self.release_id_prefix.is_empty() {
            return Err(bad(
                "release_id_prefix",
                "must not be empty: Bodhi's Flatpak releases have FEDORA-FLATPAK",
            ));
        }
        let states = self.release_states.iter().map(|&state| state.into()).collect();
        Ok(Releases { id_prefix: self.release_id_prefix.clone(), states, rawhide: self.rawhide })
    }
}

fn days(key: &str, days: u32) -> Result<Duration, BadConfig> {
    if days == 0 {
        return Err(bad(key, "must be at least 1"));
    }
    Ok(DAY * days)
}

fn service(key: &str, text: &str) -> Result<Url, BadConfig> {
    let not = |why: &str| bad(key, format!("is not the URL of a service ({why}): write https://host/path"));
    let url = Url::parse(text).map_err(|error| not(&error.to_string()))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(not("credentials don't belong into it"));
    }
    if !matches!(url.scheme(), "https" | "http") || url.host_str().is_none() {
        return Err(not("neither https nor http"));
    }
    Ok(url)
}

fn sources(raw: &[RawSource]) -> Result<Vec<Source>, BadConfig> {
    if raw.is_empty() {
        return Err(bad("sources", "there must be at least one: without it no build's bytes are known"));
    }
    raw.iter().enumerate().map(|(n, raw)| source(n, raw)).collect()
}

fn source(n: usize, raw: &RawSource) -> Result<Source, BadConfig> {
    let key = |name: &str| format!("sources[{n}].{name}");
    let pull_spec = raw.pull_spec.to_ascii_lowercase();
    if !pull_spec.ends_with('/') || pull_spec.contains("://") || pull_spec.starts_with('/') {
        return Err(bad(
            key("pull_spec"),
            "must be a host or a host and a namespace, with a slash at the end: quay.io/fedora-candidates/",
        ));
    }
    if raw.bytes_at.is_empty() {
        return Err(bad(key("bytes_at"), "must name at least one place"));
    }
    let location = |text: &String| Location::parse(text).map_err(|error| bad(key("bytes_at"), error));
    Ok(Source { pull_spec, bytes_at: raw.bytes_at.iter().map(location).collect::<Result<_, _>>()? })
}

impl From<RawReleaseState> for ReleaseState {
    fn from(raw: RawReleaseState) -> Self {
        match raw {
            RawReleaseState::Disabled => Self::Disabled,
            RawReleaseState::Pending => Self::Pending,
            RawReleaseState::Frozen => Self::Frozen,
            RawReleaseState::Current => Self::Current,
            RawReleaseState::Archived => Self::Archived,
        }
    }
}

impl Config {
    /// Whether a repository is one that is never written to.
    pub fn is_protected(&self, canonical: &str) -> bool {
        let full = format!("{}/{canonical}", self.destination.namespace);
        self.protected.iter().any(|glob| glob.matches(canonical) || glob.matches(&full))
    }
}

/// What is used where the file says nothing. The shipped example states the same.
mod defaults {
    use super::{Glob, NonZeroU32, RawReleaseState, RawSource, RequestBudget, TagWriter};

    pub fn staging_keep_days() -> u32 {
        30
    }

    pub fn staging_max_bytes() -> u64 {
        200 << 30
    }

    pub fn tag_writer() -> TagWriter {
        TagWriter::Mirror
    }

    pub fn settle_after_s() -> u64 {
        600
    }

    pub fn holding_grace_days() -> u32 {
        30
    }

    pub fn unavailable_again_days() -> u32 {
        7
    }

    pub fn imports_per_s() -> NonZeroU32 {
        NonZeroU32::MIN.saturating_add(1)
    }

    pub fn copies_max() -> NonZeroU32 {
        NonZeroU32::MIN.saturating_add(3)
    }

    pub fn koji() -> String {
        "https://koji.fedoraproject.org/kojihub".to_owned()
    }

    pub fn koji_base_urls() -> Vec<String> {
        vec!["https://koji.fedoraproject.org".to_owned(), "https://koji.fedoraproject.org/koji".to_owned()]
    }

    pub fn bodhi() -> String {
        "https://bodhi.fedoraproject.org/".to_owned()
    }

    pub fn release_id_prefix() -> String {
        "FEDORA-FLATPAK".to_owned()
    }

    pub fn release_states() -> Vec<RawReleaseState> {
        use RawReleaseState::{Archived, Current, Frozen, Pending};
        vec![Current, Frozen, Pending, Archived]
    }

    pub fn protected() -> Vec<Glob> {
        [
            "fedora",
            "fedora-*",
            "eln",
            "eln-*",
            "coreos",
            "coreos-*",
            "*bootc*",
            "*toolbox*",
            "*minimal*",
            "rawhide*",
        ]
        .map(Glob::new)
        .into()
    }

    pub fn runtimes() -> Vec<Glob> {
        ["*flatpak-runtime", "*flatpak-sdk", "*flatpak-*-runtime", "*flatpak-*-sdk"].map(Glob::new).into()
    }

    pub fn redirect_hosts() -> Vec<String> {
        ["*.quay.io", "*.cloudfront.net", "cdn.registry.fedoraproject.org"].map(str::to_owned).into()
    }

    pub fn sources() -> Vec<RawSource> {
        vec![RawSource {
            pull_spec: "candidate-registry.fedoraproject.org/".to_owned(),
            bytes_at: ["https://candidate-registry.fedoraproject.org", "https://registry.fedoraproject.org"]
                .map(str::to_owned)
                .into(),
        }]
    }

    pub fn budgets() -> Vec<RequestBudget> {
        vec![RequestBudget::quay()]
    }
}

#[cfg(test)]
mod tests;
