//! What a manifest needs to be there first, and who may see which. Pure.

use http::{HeaderMap, header};
use serde::Deserialize;

use super::Digest;

pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(crate) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// What must be in the repository before a manifest.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Needed {
    pub(crate) blobs: Vec<Digest>,
    pub(crate) manifests: Vec<Digest>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    schema_version: u32,
    media_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: String,
    #[serde(default)]
    urls: Vec<String>,
}

/// Reads a manifest of a media type.
pub(crate) fn needed(media_type: &str, bytes: &[u8]) -> Result<Needed, String> {
    let wire: Wire = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if wire.schema_version != 2 {
        return Err(format!("schemaVersion is {}, not 2", wire.schema_version));
    }
    if let Some(said) = wire.media_type.as_deref().filter(|said| *said != media_type) {
        return Err(format!("mediaType is {said}, Content-Type {media_type}"));
    }
    match media_type {
        OCI_MANIFEST | DOCKER_MANIFEST => {
            let config = wire.config.ok_or("a manifest without config")?;
            let layers = wire.layers.ok_or("a manifest without layers")?;
            let held = std::iter::once(config).chain(layers).filter(|blob| blob.urls.is_empty());
            Ok(Needed { blobs: digests(held)?, manifests: Vec::new() })
        }
        OCI_INDEX | DOCKER_LIST => {
            let children = wire.manifests.ok_or("an index without manifests")?;
            Ok(Needed { blobs: Vec::new(), manifests: digests(children.into_iter())? })
        }
        other => Err(format!("unknown media type {other}")),
    }
}

fn digests(descriptors: impl Iterator<Item = Descriptor>) -> Result<Vec<Digest>, String> {
    descriptors
        .map(|d| d.digest.parse().map_err(|_| format!("{:.80} is no sha256 digest", d.digest)))
        .collect()
}

/// Whether docker-registry shows a manifest of this type to who sent these headers. It shows OCI types only to who names
/// them (`*/*` does not), and the older ones to everybody (it then converts, which is left out here).
pub(crate) fn shown(media_type: &str, headers: &HeaderMap) -> Result<(), &'static str> {
    let named = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|one| one.split(';').next().is_some_and(|name| name.trim() == media_type));
    match media_type {
        OCI_INDEX if !named => Err("OCI index found, but accept header does not support OCI indexes"),
        OCI_MANIFEST if !named => Err("OCI manifest found, but accept header does not support OCI manifests"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn an_oci_index_is_shown_only_to_who_names_it() {
        let mut headers = HeaderMap::new();
        assert!(shown(OCI_INDEX, &headers).is_err());
        headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
        assert!(shown(OCI_INDEX, &headers).is_err());
        let both = format!("{DOCKER_MANIFEST}, {OCI_INDEX};q=0.9");
        headers.insert(header::ACCEPT, HeaderValue::from_str(&both).unwrap());
        assert!(shown(OCI_INDEX, &headers).is_ok());
        assert!(shown(OCI_MANIFEST, &headers).is_err());
    }

    #[test]
    fn foreign_layers_need_not_be_there() {
        let digest = Digest::of(b"x");
        let text = format!(
            r#"{{"schemaVersion":2,"config":{{"digest":"{digest}"}},"layers":[{{"digest":"{digest}","urls":["https://x/"]}}]}}"#
        );
        assert_eq!(needed(OCI_MANIFEST, text.as_bytes()).unwrap().blobs, [digest]);
    }

    #[test]
    fn what_is_no_manifest_is_told_why() {
        for (kind, text) in [
            (OCI_MANIFEST, "[]"),
            (OCI_MANIFEST, r#"{"schemaVersion":1}"#),
            (OCI_MANIFEST, r#"{"schemaVersion":2,"layers":[]}"#),
            (OCI_INDEX, r#"{"schemaVersion":2,"mediaType":"text/plain","manifests":[]}"#),
            ("text/plain", r#"{"schemaVersion":2}"#),
            (OCI_INDEX, r#"{"schemaVersion":2,"manifests":[{"digest":"sha512:00"}]}"#),
        ] {
            assert!(needed(kind, text.as_bytes()).is_err(), "{text}");
        }
    }
}
