//! Reads what a manifest names, and nothing more: manifests are passed on as the bytes they are.

use serde::Deserialize;

use crate::{Digest, Error, Manifest};

/// Media types of manifests: every request for one accepts them all, since docker-registry answers 404 to an index
/// whose type wasn't asked for.
pub const MANIFEST_TYPES: [&str; 4] = [OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST];
/// An OCI image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// An OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Docker's manifest list.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker's image manifest.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// Largest manifest taken, in bytes: registries allow 4 MiB (quay 5).
pub const MANIFEST_BYTES_MAX: usize = 4 << 20;
/// Most manifests an index may name, and most blobs a manifest may.
pub const CHILDREN_MAX: usize = 512;

/// Most that is told of what a parser says, in characters: it quotes what it read.
const SAID_CHARS_MAX: usize = 200;

/// Something named by a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Its type.
    #[serde(default)]
    pub media_type: String,
    /// Its content.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Where else its bytes are.
    #[serde(default)]
    pub urls: Vec<String>,
}

impl Descriptor {
    /// Whether its bytes are elsewhere by right, so that registries needn't hold them.
    pub fn is_foreign(&self) -> bool {
        !self.urls.is_empty()
            && (self.media_type.contains(".nondistributable.") || self.media_type.contains(".foreign."))
    }
}

/// What a manifest names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// An index: other manifests.
    Index(Vec<Descriptor>),
    /// An image: its config first, then its layers.
    Image(Vec<Descriptor>),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    schema_version: u64,
    media_type: Option<String>,
    manifests: Option<Vec<Descriptor>>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
}

impl Manifest {
    /// A manifest of these bytes. Where its type isn't known (`None`, or a generic one), it is found in the bytes.
    ///
    /// # Errors
    /// When the bytes are no manifest, or of a type that is none of [`MANIFEST_TYPES`]: it couldn't be asked for by it, nor
    /// sent under it.
    pub fn new(bytes: bytes::Bytes, media_type: Option<&str>, host: &str) -> Result<Self, Error> {
        let digest = Digest::of(&bytes);
        let told = media_type.map(|told| told.split(';').next().unwrap_or(told).trim());
        let media_type = match told.filter(|told| MANIFEST_TYPES.contains(told)) {
            Some(told) => told.to_owned(),
            None => {
                let raw = raw(&bytes, &digest, host)?;
                let own = MANIFEST_TYPES.into_iter().find(|known| *known == raw.own_type());
                own.ok_or_else(|| invalid(&digest, host, "its media type is not one of manifests"))?
                    .to_owned()
            }
        };
        Ok(Self { bytes, media_type, digest })
    }

    /// What it names. Refuses what two readers could understand differently.
    ///
    /// # Errors
    /// When it is not valid, names too much, or is of Docker's first schema.
    pub fn named(&self, host: &str) -> Result<Named, Error> {
        let invalid = |why| invalid(&self.digest, host, why);
        let raw = raw(&self.bytes, &self.digest, host)?;
        if raw.schema_version != 2 {
            let why = format!("its schema version is {}", raw.schema_version);
            return Err(Error::Unsupported {
                host: host.into(),
                what: "give an image that can be copied".into(),
                why,
            });
        }
        if raw.media_type.as_ref().is_some_and(|own| *own != self.media_type) {
            return Err(invalid("it says another media type than its registry"));
        }
        let index = matches!(self.media_type.as_str(), OCI_INDEX | DOCKER_LIST);
        let children = match (raw.manifests, raw.config, raw.layers) {
            (Some(manifests), None, None) if index => manifests,
            (None, Some(config), layers) if !index => [vec![config], layers.unwrap_or_default()].concat(),
            _ => return Err(invalid("it is neither clearly an index nor clearly an image")),
        };
        if children.len() > CHILDREN_MAX {
            let why = format!("it names {} others, at most {CHILDREN_MAX} are taken", children.len());
            return Err(Error::TooLarge { host: host.into(), what: self.digest.to_string(), why });
        }
        Ok(if index { Named::Index(children) } else { Named::Image(children) })
    }
}

impl Raw {
    fn own_type(&self) -> &str {
        match (&self.media_type, &self.manifests) {
            (Some(own), _) => own,
            (None, Some(_)) => OCI_INDEX,
            (None, None) => OCI_MANIFEST,
        }
    }
}

fn raw(bytes: &[u8], digest: &Digest, host: &str) -> Result<Raw, Error> {
    serde_json::from_slice(bytes).map_err(|error| invalid(digest, host, &error.to_string()))
}

fn invalid(digest: &Digest, host: &str, why: &str) -> Error {
    let why = why.chars().take(SAID_CHARS_MAX).collect();
    Error::Manifest { host: host.into(), what: digest.to_string(), why }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(media_type: Option<&str>, json: &str) -> Result<Named, Error> {
        Manifest::new(json.to_owned().into(), media_type, "h")?.named("h")
    }

    fn descriptor() -> String {
        format!(r#"{{"mediaType":"x","digest":"{}","size":1,"annotations":{{}}}}"#, Digest::of(b"x"))
    }

    #[test]
    fn config_comes_first_and_a_missing_type_is_found() {
        let json = format!(r#"{{"schemaVersion":2,"config":{0},"layers":[{0}],"unknown":1}}"#, descriptor());
        assert!(matches!(named(None, &json), Ok(Named::Image(blobs)) if blobs.len() == 2));
        assert!(matches!(named(Some("application/json; charset=utf-8"), &json), Ok(Named::Image(_))));
        let index = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, descriptor());
        assert!(matches!(named(None, &index), Ok(Named::Index(children)) if children.len() == 1));
        assert!(matches!(named(Some(DOCKER_LIST), &index), Ok(Named::Index(_))));
    }

    #[test]
    fn what_two_readers_could_understand_differently_is_refused() {
        let d = descriptor();
        for (media_type, json) in [
            (None, format!(r#"{{"schemaVersion":2,"manifests":[],"config":{d},"layers":[]}}"#)),
            (Some(OCI_INDEX), format!(r#"{{"schemaVersion":2,"config":{d},"layers":[]}}"#)),
            (
                Some(OCI_INDEX),
                format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","manifests":[]}}"#),
            ),
            (None, r#"{"schemaVersion":2}"#.to_owned()),
            (None, r#"{"schemaVersion":1,"manifests":[]}"#.to_owned()),
            (None, format!(r#"{{"schemaVersion":2,"mediaType":"text/plain","config":{d},"layers":[]}}"#)),
            (None, format!(r#"{{"schemaVersion":2,"mediaType":"a\\nb","config":{d},"layers":[]}}"#)),
            (None, "[]".to_owned()),
            (None, "not json".to_owned()),
            (None, "[".repeat(100_000)),
            (None, r#"{"schemaVersion":2,"manifests":[{"digest":"sha256:../..","size":1}]}"#.to_owned()),
            (None, r#"{"schemaVersion":2,"manifests":[{"digest":"x","size":-1}]}"#.to_owned()),
        ] {
            assert!(named(media_type, &json).is_err(), "{}", &json[..json.len().min(100)]);
        }
    }

    #[test]
    fn what_is_wrong_is_told_in_a_few_words() {
        let long = "x".repeat(1 << 20);
        for json in [
            format!(r#"{{"schemaVersion":"{long}"}}"#),
            format!(r#"{{"schemaVersion":2,"mediaType":"{long}"}}"#),
        ] {
            let why = named(None, &json).unwrap_err().to_string();
            assert!(why.len() < 1024, "{} bytes", why.len());
        }
    }

    #[test]
    fn an_index_of_thousands_is_refused() {
        let many = vec![descriptor(); CHILDREN_MAX + 1].join(",");
        let refused = named(None, &format!(r#"{{"schemaVersion":2,"manifests":[{many}]}}"#));
        assert!(matches!(refused, Err(Error::TooLarge { .. })));
    }
}
