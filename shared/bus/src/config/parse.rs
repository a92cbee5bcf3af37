//! TOML into a type, with errors that can be acted on. Also for the sections that other crates own.

use std::{borrow::Cow, path::Path};

use serde::de::DeserializeOwned;
use toml::{
    Spanned,
    de::{DeTable, Deserializer},
};

use super::error::ConfigError;

/// Longest configuration file read.
pub const CONFIG_BYTES_MAX: usize = 1 << 20;

/// Reads a whole file's text as `T`. Top-level keys are lower-cased first, as fedora-messaging does.
///
/// `T` with `deny_unknown_fields` makes an unknown key an error that names the nearest known one; a `T` that only wants
/// its own section leaves that off at the top. `toml::Spanned` members let [`ConfigError::at`] point at a value that is
/// well-formed but not allowed.
///
/// # Errors
/// With file, line, column and key, when the text isn't TOML or doesn't fit `T`.
pub fn parse<T: DeserializeOwned>(text: &str, path: &Path) -> Result<T, ConfigError> {
    if text.len() > CONFIG_BYTES_MAX {
        let reason = format!("larger than {CONFIG_BYTES_MAX} bytes: not a configuration file");
        return Err(ConfigError::at("", path, 0..0, reason));
    }
    let table = DeTable::parse(text).map_err(|error| ConfigError::from_toml(text, path, &error))?;
    let lowered = lower_keys(table, text, path)?;
    T::deserialize(Deserializer::from(lowered)).map_err(|error| ConfigError::from_toml(text, path, &error))
}

fn lower_keys<'t>(
    table: Spanned<DeTable<'t>>,
    text: &str,
    path: &Path,
) -> Result<Spanned<DeTable<'t>>, ConfigError> {
    let span = table.span();
    let mut lowered = DeTable::new();
    for (key, value) in table.into_inner() {
        let place = key.span();
        let name = Spanned::new(place.clone(), Cow::Owned(key.get_ref().to_lowercase()));
        if lowered.insert(name, value).is_some() {
            return Err(ConfigError::at(text, path, place, "given twice, in different case"));
        }
    }
    Ok(Spanned::new(span, lowered))
}
