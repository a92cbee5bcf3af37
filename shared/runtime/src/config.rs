//! A consumer's file: fedora-messaging's keys, the runtime's settings, the consumer's own. Read once, then typed.

use std::{fs, io, path::Path};

use flatbus_bus::config::{CONFIG_BYTES_MAX, Config as BusConfig, ConfigError, parse};
use serde::{Deserialize, de::DeserializeOwned};

use crate::{RawSettings, Settings};

/// Everything a unit is told.
#[derive(Debug, Clone)]
pub struct Config<R> {
    /// What fedora-messaging's file means.
    pub bus: BusConfig,
    /// Sentences for the log: keys that are accepted and have no effect here.
    pub warnings: Vec<String>,
    /// `monitoring`: where reads are served over TCP.
    pub monitoring: Option<Monitoring>,
    /// `[consumer_config.runtime]`
    pub runtime: Settings,
    /// The rest of `[consumer_config]`, raw: the consumer turns it into types that can't be wrong.
    pub consumer: R,
}

/// Why a configuration can't be used. Exit code 78, whatever it is.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file can't be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// Something in it is wrong.
    #[error(transparent)]
    Wrong(#[from] ConfigError),
}

/// `monitoring`, as fedora-messaging has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Monitoring {
    /// Empty: every address.
    #[serde(default)]
    pub address: String,
    /// The port.
    pub port: u16,
}

#[derive(Deserialize)]
struct RuntimeOnly {
    #[serde(default)]
    monitoring: Option<MaybeMonitoring>,
    #[serde(default)]
    consumer_config: RuntimeTable,
}

/// An empty table is fedora-messaging's way to have none.
#[derive(Deserialize)]
#[serde(untagged)]
enum MaybeMonitoring {
    On(Monitoring),
    Off(Nothing),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Default, Deserialize)]
struct RuntimeTable {
    #[serde(default)]
    runtime: RawSettings,
}

#[derive(Deserialize)]
struct ConsumerOnly<R> {
    consumer_config: R,
}

/// Reads and checks a consumer's file.
///
/// # Errors
/// With file, line, column, key and what is allowed.
pub fn load<R: DeserializeOwned>(consumer: &str, path: &Path) -> Result<Config<R>, LoadError> {
    let unreadable = |source| LoadError::Unreadable { path: path.display().to_string(), source };
    if fs::metadata(path).map_err(unreadable)?.len() > CONFIG_BYTES_MAX as u64 {
        return Err(unreadable(io::Error::new(io::ErrorKind::FileTooLarge, "larger than any configuration")));
    }
    Ok(from_text(consumer, &fs::read_to_string(path).map_err(unreadable)?, path)?)
}

/// As [`load`], from text; `path` is for the messages.
///
/// # Errors
/// With file, line, column, key and what is allowed.
pub fn from_text<R: DeserializeOwned>(
    consumer: &str,
    text: &str,
    path: &Path,
) -> Result<Config<R>, ConfigError> {
    let (bus, warnings) = BusConfig::from_toml(text, path)?;
    let outer: RuntimeOnly = parse(text, path)?;
    let own: ConsumerOnly<R> = parse(text, path)?;
    let runtime = Settings::from_raw(consumer, outer.consumer_config.runtime);
    let monitoring = outer.monitoring.and_then(|given| match given {
        MaybeMonitoring::On(monitoring) => Some(monitoring),
        MaybeMonitoring::Off(Nothing {}) => None,
    });
    Ok(Config { bus, warnings, monitoring, runtime, consumer: own.consumer_config })
}
