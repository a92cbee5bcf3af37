//! index at the command line: how it is made, and the verbs that only it has.

use std::{fs, path::Path, process::ExitCode};

use anyhow::Context;
use flatbus_http::{Client, Request, Settings, Url};
use flatbus_index::{
    Index,
    compare::{Difference, compare},
    config::{Config, RawConfig},
    httpd,
    recover::{self, Shown},
    wiring as own,
};
use flatbus_runtime::{Finding, config};
use jiff::Timestamp;
use serde::Serialize;

use super::{
    args::{Common, Compare, Name},
    exit::{self, Misconfigured},
    output::{json, line, table},
    wired::Wired,
    wiring,
};

/// Largest index that is compared, in bytes: ten times the largest of Fedora's.
const INDEX_BYTES_MAX: usize = 1 << 30;

impl Wired for Index {
    type Raw = RawConfig;
    type Config = Config;

    fn build(
        config: &Config,
        _folder: Option<&Path>,
        _mounted: bool,
    ) -> Result<(Self, Client), Misconfigured> {
        let http = Client::new(own::http_settings(config), wiring::random()).map_err(Misconfigured::by)?;
        let index = Self::from_config(config.clone(), &http).map_err(Misconfigured::by)?;
        Ok((index, http))
    }

    async fn check(&self, _now: Timestamp) -> Vec<Finding> {
        Self::check(self).await
    }
}

fn load(common: &Common) -> anyhow::Result<Config> {
    let path = wiring::path(common, Name::Index);
    let raw: config::Config<RawConfig> = config::load(Name::Index.as_str(), &path)?;
    let own = Config::try_from(raw.consumer);
    Ok(own.map_err(|error| Misconfigured(format!("{}: {error}", path.display())))?)
}

/// `flatbus index httpd-config`: what Apache httpd serves the site with.
pub fn httpd_config(common: &Common) -> anyhow::Result<ExitCode> {
    let site = own::site(&load(common)?).map_err(Misconfigured::by)?;
    line(httpd::config(&site).map_err(Misconfigured::by)?.trim_end());
    Ok(ExitCode::from(exit::DONE))
}

/// A difference and the file that it is in.
#[derive(Serialize)]
struct Found {
    file: String,
    #[serde(flatten)]
    difference: Difference,
}

/// `flatbus index compare`: explains each difference of our files to those of another index.
pub async fn compare_with(common: &Common, what: Compare) -> anyhow::Result<ExitCode> {
    let config = load(common)?;
    let mut found = Vec::new();
    for output in &config.outputs {
        let ours = read(&config.site_dir.join(&output.path))?;
        let theirs = other(&what.against, &output.path).await?;
        let differences = compare(&ours, &theirs).into_iter();
        found.extend(differences.map(|difference| Found { file: output.path.clone(), difference }));
    }
    if common.json {
        found.iter().try_for_each(json)?;
    } else {
        let row = |found: &Found| {
            let Difference { name, architecture, how } = &found.difference;
            vec![found.file.clone(), name.clone(), architecture.clone(), how.to_string()]
        };
        let nothing = format!("All {} files show what those of {} show.", config.outputs.len(), what.against);
        table(&["FILE", "REF", "ARCHITECTURE", "DIFFERENCE"], found.iter().map(row).collect(), &nothing);
    }
    Ok(ExitCode::from(if found.is_empty() { exit::DONE } else { exit::FINDINGS }))
}

fn read(path: &Path) -> anyhow::Result<Shown> {
    let file = fs::File::open(path).with_context(|| format!("opening {}", path.display()))?;
    recover::parse(std::io::BufReader::new(file)).with_context(|| format!("{} is no index", path.display()))
}

/// The other's file of this name: at a URL, or in a folder, where it may also lie without ours.
async fn other(against: &str, path: &str) -> anyhow::Result<Shown> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let Ok(base) = Url::parse(against) else {
        let folder = Path::new(against);
        let whole = folder.join(path);
        return read(&if whole.exists() { whole } else { folder.join(name) });
    };
    let url = Url::parse(&format!("{}/{name}", base.as_str().trim_end_matches('/')))?;
    let mut settings = Settings::default();
    let host = url.host_str().unwrap_or_default();
    settings.hosts.allow(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")));
    let http = Client::new(settings, wiring::random())?;
    let answer = http.send(Request::get(url.clone())).await?.success().await?;
    let bytes = answer.bytes(INDEX_BYTES_MAX).await?;
    recover::parse(&bytes[..]).with_context(|| format!("{url} is no index"))
}
