//! Small Flatpak images for build records: what Koji's records name does not exist any more, so this makes something
//! that does, and changes the records to name it.
//!
//! An image is the same for the same record and settings, byte by byte: digests can be relied on. It is real as far as it
//! goes (an index, a manifest and one layer for each architecture, the labels that Flatpak needs); only the
//! program inside is a script with some ballast. Images are made in memory: this is not for layers of gigabytes.

mod labels;
mod layer;
mod push;
pub(crate) mod records;

use std::{collections::BTreeMap, ops::RangeInclusive};

use bytes::Bytes;
use serde_json::{Map, Value, json};

pub use push::NotPushed;
pub use records::NotMade;

use crate::registry::Digest;
use labels::Labels;
use records::Record;

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// How images are made.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How many bytes of ballast a layer has; which size of these depends on the build.
    pub ballast_bytes: RangeInclusive<u64>,
    /// RPM names of the architectures of a build whose archives are not known.
    pub architectures: Vec<String>,
    /// Whether an image gets Flatpak's labels though its record, of before 2020, tells of none.
    pub label_old: bool,
}

impl Default for Settings {
    fn default() -> Self {
        let architectures = vec!["x86_64".to_owned(), "aarch64".to_owned()];
        Self { ballast_bytes: (256 << 10)..=(2 << 20), architectures, label_old: true }
    }
}

/// A build, as far as an image is made from it: records of Koji, of either era.
#[derive(Debug, Clone)]
pub struct Source<'a> {
    /// What `getBuild` answers.
    pub build: &'a Value,
    /// What `listArchives` answers; may be empty.
    pub archives: &'a [Value],
    /// The archives of another build of the same application, for what the own ones don't tell.
    pub likeness: &'a [Value],
}

/// A manifest or index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its media type.
    pub media_type: &'static str,
    /// Its bytes.
    pub bytes: Bytes,
    /// Of its bytes.
    pub digest: Digest,
}

/// The image of one architecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    /// RPM's name of it: `x86_64`.
    pub architecture: String,
    /// Names config and layer.
    pub manifest: Part,
    /// The image's config, with the labels.
    pub config: Bytes,
    /// The layer, gzipped.
    pub layer: Bytes,
    /// Digest and size of the layer before gzip.
    pub diff_id: (Digest, u64),
}

/// The image of a build, for all its architectures.
#[derive(Debug, Clone)]
pub struct Image {
    /// The build.
    pub nvr: String,
    /// Where its pull specs say it is, without the host: `f41/flatpak-runtime`.
    pub repository: String,
    /// The tag that Koji's record names.
    pub tag: String,
    /// Names the children.
    pub index: Part,
    /// One for each architecture, in the order of the archives.
    pub children: Vec<Child>,
}

/// Makes the image of a build.
///
/// # Errors
/// When the records are not those of a Flatpak.
pub fn make(source: &Source<'_>, settings: &Settings) -> Result<Image, NotMade> {
    let record = Record::read(source.build)?;
    let children: Vec<Child> = record
        .architectures(source, settings)
        .into_iter()
        .map(|architecture| child(&record, source, settings, architecture))
        .collect::<Result<_, _>>()?;
    let entries: Vec<Value> = children.iter().map(entry).collect();
    let index = part(INDEX, &json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}));
    Ok(Image { nvr: record.nvr.to_owned(), repository: record.repository, tag: record.tag, index, children })
}

/// Makes the images of all Flatpak builds among these, by their number. Builds that are none are left out.
pub fn make_all(
    builds: &BTreeMap<i64, Value>,
    archives: &BTreeMap<i64, Vec<Value>>,
    settings: &Settings,
) -> BTreeMap<i64, Image> {
    let alike = records::Likenesses::new(builds, archives);
    let one = |(id, build): (&i64, &Value)| {
        let archives = archives.get(id).map_or(&[][..], Vec::as_slice);
        let source = Source { build, archives, likeness: alike.of(build) };
        make(&source, settings).ok().map(|image| (*id, image))
    };
    builds.iter().filter_map(one).collect()
}

fn child(
    record: &Record<'_>,
    source: &Source<'_>,
    settings: &Settings,
    architecture: String,
) -> Result<Child, NotMade> {
    let labels = Labels::of(record, source, settings, &architecture);
    let ballast = layer::Ballast::of(&record.repository, record.nvr, &architecture, &settings.ballast_bytes);
    let layer = layer::make(&labels, &ballast, record.completed)
        .map_err(|error| NotMade::Layer(error.to_string()))?;
    let labels = labels.finish(layer.unpacked_bytes, layer.gzipped.len() as u64);
    let created = record.completed.to_string();
    let config = json!({
        "created": created, "architecture": go_architecture(&architecture), "os": "linux",
        "config": if labels.is_empty() { json!({}) } else { json!({"Labels": labels}) },
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id.as_str()]},
        "history": [{"created": created, "created_by": "flatpak build-bundle"}],
    });
    let config = Bytes::from(config.to_string());
    let manifest = part(
        MANIFEST,
        &json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": descriptor(CONFIG, &config),
            "layers": [descriptor(LAYER, &layer.gzipped)],
        }),
    );
    Ok(Child {
        architecture,
        manifest,
        config,
        layer: layer.gzipped,
        diff_id: (layer.diff_id, layer.unpacked_bytes),
    })
}

fn part(media_type: &'static str, content: &Value) -> Part {
    let bytes = Bytes::from(content.to_string());
    Part { media_type, digest: Digest::of(&bytes), bytes }
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Map<String, Value> {
    let digest = Digest::of(bytes);
    let members =
        [("mediaType", media_type.into()), ("digest", digest.as_str().into()), ("size", bytes.len().into())];
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn entry(child: &Child) -> Value {
    let mut entry = descriptor(MANIFEST, &child.manifest.bytes);
    let platform = json!({"architecture": go_architecture(&child.architecture), "os": "linux"});
    entry.insert("platform".to_owned(), platform);
    entry.into()
}

/// What OCI calls an architecture of RPM.
fn go_architecture(architecture: &str) -> &str {
    match architecture {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "i686" => "386",
        other => other,
    }
}

#[cfg(test)]
mod tests;
