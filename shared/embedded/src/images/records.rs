//! What Koji's records say of an image, and the same records when they name an image of ours. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Child, INDEX, Image, MANIFEST, Settings, Source, go_architecture};
use crate::registry::Digest;

/// Why there is no image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotMade {
    /// The record lacks something, or is not one of a Flatpak.
    #[error("the record has no {0}")]
    Missing(&'static str),
    /// The layer could not be written.
    #[error("the layer could not be written: {0}")]
    Layer(String),
}

/// A build record of a Flatpak, as far as it is read.
#[derive(Debug)]
pub(crate) struct Record<'a> {
    pub(crate) nvr: &'a str,
    pub(crate) name: &'a str,
    pub(crate) version: &'a str,
    pub(crate) release: &'a str,
    pub(crate) completed: Timestamp,
    pub(crate) repository: String,
    pub(crate) tag: String,
}

impl<'a> Record<'a> {
    pub(crate) fn read(build: &'a Value) -> Result<Self, NotMade> {
        let text = |key: &'static str| build[key].as_str().ok_or(NotMade::Missing(key));
        let seconds = build["completion_ts"].as_f64().ok_or(NotMade::Missing("completion_ts"))?;
        #[expect(clippy::cast_possible_truncation, reason = "a cast saturates; no calendar has such a time")]
        let completed =
            Timestamp::from_second(seconds as i64).map_err(|_| NotMade::Missing("completion_ts"))?;
        let (version, release) = (text("version")?, text("release")?);
        Ok(Self {
            nvr: text("nvr")?,
            name: text("name")?,
            version,
            release,
            completed,
            repository: repository(build).ok_or(NotMade::Missing("pull spec of a Flatpak"))?,
            tag: tag_of(&format!("{version}-{release}")),
        })
    }

    pub(crate) fn architectures(&self, source: &Source<'_>, settings: &Settings) -> Vec<String> {
        let told =
            source.archives.iter().filter_map(|archive| archive.pointer("/extra/image/arch")?.as_str());
        let told: Vec<String> = told.map(str::to_owned).collect();
        if told.is_empty() { settings.architectures.clone() } else { told }
    }
}

/// `f41/flatpak-runtime` of a Flatpak's pull spec `host/f41/flatpak-runtime@sha256:…`.
pub(crate) fn repository(build: &Value) -> Option<String> {
    let image = image(build)?;
    let spec = image.pointer("/index/pull/0")?.as_str()?;
    let (_, path) = spec.split_once('/')?;
    let path = path.split_once('@').map_or(path, |(path, _)| path);
    let name = path.rsplit_once(':').map_or(path, |(path, _)| path);
    (image["flatpak"] == true).then(|| name.to_owned())
}

fn image(build: &Value) -> Option<&Value> {
    build.pointer("/extra/typeinfo/image").or_else(|| build.pointer("/extra/image"))
}

/// Which archives show what an application is like: labels of an older build, else of a newer one.
pub(crate) struct Likenesses<'a>(BTreeMap<String, Vec<(f64, &'a [Value])>>);

impl<'a> Likenesses<'a> {
    pub(crate) fn new(builds: &'a BTreeMap<i64, Value>, archives: &'a BTreeMap<i64, Vec<Value>>) -> Self {
        let mut alike: BTreeMap<String, Vec<(f64, &[Value])>> = BTreeMap::new();
        for (id, archives) in archives {
            let Some(build) = builds.get(id) else { continue };
            let labelled = archives.iter().any(|archive| archive.pointer(LABELS).is_some());
            if let (true, Some(repository), Some(at)) =
                (labelled, repository(build), build["completion_ts"].as_f64())
            {
                alike.entry(repository).or_default().push((at, archives));
            }
        }
        for builds in alike.values_mut() {
            builds.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        }
        Self(alike)
    }

    /// The archives most like those of a build; empty where there are none.
    pub(crate) fn of(&self, build: &Value) -> &'a [Value] {
        let at = build["completion_ts"].as_f64().unwrap_or_default();
        let alike = repository(build).and_then(|repository| self.0.get(&repository));
        let older = |alike: &Vec<(f64, &'a [Value])>| {
            alike
                .iter()
                .rev()
                .find(|(other, _)| *other <= at)
                .or(alike.first())
                .map(|(_, archives)| *archives)
        };
        alike.and_then(older).unwrap_or_default()
    }
}

/// Where an archive record keeps the image's labels.
pub(crate) const LABELS: &str = "/extra/docker/config/config/Labels";

/// What Koji's plugin makes of a version: characters that a tag can't hold become `_`.
fn tag_of(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' })
        .take(128)
        .collect()
}

impl Image {
    /// The build's record, naming this image on `host` (`127.0.0.1:5000`).
    #[must_use]
    pub fn build_record(&self, build: &Value, host: &str) -> Value {
        let place = format!("{host}/{}", self.repository);
        let pull = json!([format!("{place}@{}", self.index.digest), format!("{place}:{}", self.tag)]);
        let mut build = build.clone();
        for pointer in ["/extra/image/index", "/extra/typeinfo/image/index"] {
            if let Some(index) = build.pointer_mut(pointer).filter(|index| index.is_object()) {
                index["pull"] = pull.clone();
                index["digests"] = json!({INDEX: self.index.digest.as_str()});
            }
        }
        build
    }

    /// The build's archive records, telling of this image on `host`. Those that are missing are made.
    #[must_use]
    pub fn archive_records(&self, build: &Value, archives: &[Value], host: &str) -> Vec<Value> {
        let records = self.children.iter().enumerate().map(|(number, child)| {
            let own = archives
                .iter()
                .find(|archive| archive["extra"]["image"]["arch"] == child.architecture.as_str());
            let mut record = own.cloned().unwrap_or_else(|| new_archive(build, number));
            record["size"] = child.layer.len().into();
            record["filename"] =
                format!("oci-image-{}.{}.tar.gz", Digest::of(&child.config), child.architecture).into();
            record["extra"]["image"] = json!({"arch": child.architecture});
            record["extra"]["docker"] = self.docker(child, host);
            record
        });
        records.collect()
    }

    fn docker(&self, child: &Child, host: &str) -> Value {
        let tag = format!("{}-{}", self.tag, go_architecture(&child.architecture));
        let place = format!("{host}/{}", self.repository);
        let (diff_id, bytes) = &child.diff_id;
        json!({
            "id": Digest::of(&child.config).as_str(),
            "digests": {MANIFEST: child.manifest.digest.as_str()},
            "repositories": [format!("{place}:{tag}"), format!("{place}@{}", child.manifest.digest)],
            "tags": [tag],
            "layer_sizes": [{"diff_id": diff_id.as_str(), "size": bytes}],
            "parent_id": null,
            "config": serde_json::from_slice::<Value>(&child.config).unwrap_or_default(),
        })
    }
}

/// An archive record's other keys, as the hub has them.
pub(crate) fn new_archive(build: &Value, number: usize) -> Value {
    let id = build["build_id"].as_i64().unwrap_or_default();
    json!({
        "id": id * 10 + i64::try_from(number).unwrap_or_default(), "build_id": id, "btype": "image", "btype_id": 4,
        "buildroot_id": null, "type_id": 4, "type_name": "tar", "type_description": "Tar files",
        "type_extensions": "tar tar.gz tar.bz2 tar.xz tgz", "checksum": "", "checksum_type": 0,
        "compression_type": "tar", "metadata_only": false, "extra": {},
    })
}
