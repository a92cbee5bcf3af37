//! An image's labels as the files show them: what the operator adds, and icons as files of their own.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
};

use flatbus_oci::Digest;

use crate::{
    config::Config,
    icon::{self, BadIcon},
    image::{Image, REF},
    retired::{self, TOKEN_TYPE},
};

/// Labels as they are shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dressed {
    /// By name.
    pub labels: BTreeMap<String, String>,
    /// Icons that are files of the site and that the labels name.
    pub icons: BTreeSet<Digest>,
    /// Icons that were left out, by label.
    pub lost: Vec<(&'static str, BadIcon)>,
}

/// Dresses an image. With `extract_icons` its icons are files of the site when this returns.
///
/// # Errors
/// When an icon can't be written.
pub fn dress(image: &Image, config: &Config, extract_icons: bool) -> io::Result<Dressed> {
    let mut dressed = Dressed { labels: image.labels.clone(), ..Dressed::default() };
    let labels = &mut dressed.labels;
    if config.force_flatpak_token {
        let (name, value) = TOKEN_TYPE;
        labels.insert(name.to_owned(), value.to_owned());
    }
    if let Some(name) = image.labels.get(REF).and_then(|name| name.parse().ok()) {
        let ended = retired::labels(&config.retired, &name);
        labels.extend(ended.into_iter().map(|(name, value)| (name.to_owned(), value)));
    }
    for name in icon::LABELS {
        let Some(uri) = labels.get_mut(name) else { continue };
        match icon::decode(uri) {
            Ok(None) => {} // An address already.
            Ok(Some(found)) if extract_icons => {
                icon::store(&config.site_dir, &found)?;
                dressed.icons.insert(found.digest);
                *uri = address(&config.icons_uri, &icon::path(&found.digest));
            }
            Ok(Some(_)) => {}
            Err(bad) => {
                labels.remove(name);
                dressed.lost.push((name, bad));
            }
        }
    }
    Ok(dressed)
}

/// `icons/ab/cd.png` behind what stands before icons' paths.
fn address(icons_uri: &str, path: &str) -> String {
    let below = Path::new(path).strip_prefix("icons").unwrap_or(Path::new(path));
    format!("{icons_uri}{}", below.display())
}
