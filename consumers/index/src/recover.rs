//! Reads back what a published file shows, where nothing else remembers it: a lost state folder, or a site that somebody
//! else wrote until now. So an index is never made smaller by what was forgotten.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufReader},
    path::Path,
};

use flatbus_oci::Digest;
use serde::Deserialize;
use tracing::warn;

use crate::image::Image;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Index {
    results: Vec<Repository>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Repository {
    name: String,
    #[serde(default)]
    images: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    digest: Digest,
    media_type: String,
    #[serde(rename = "OS")]
    os: String,
    architecture: String,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

/// The images of an index by the repository's name, with their labels as they are shown.
pub type Shown = BTreeMap<String, Vec<Image>>;

/// Reads an index, in either form.
///
/// # Errors
/// When it is none.
pub fn parse(text: impl io::Read) -> serde_json::Result<Shown> {
    let index: Index = serde_json::from_reader(text)?;
    Ok(index.results.into_iter().map(|found| (found.name, images(found.images))).collect())
}

/// A published file. Nothing where there is none, or none that can be read.
pub(crate) fn read(path: &Path) -> Shown {
    let Ok(file) = File::open(path) else { return Shown::new() };
    parse(BufReader::new(file)).unwrap_or_else(|error| {
        warn!(%error, "{} is no index and is written anew: {error}", path.display());
        Shown::new()
    })
}

fn images(entries: Vec<Entry>) -> Vec<Image> {
    let image = |entry: Entry| Image {
        digest: entry.digest,
        media_type: entry.media_type,
        os: entry.os,
        architecture: entry.architecture,
        labels: entry.annotations.into_iter().chain(entry.labels).collect(),
        diff_id: None,
    };
    entries.into_iter().map(image).collect()
}
