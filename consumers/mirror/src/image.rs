//! Proof that a digest is a Flatpak: every image it names has a config with the label `org.flatpak.ref`.
//!
//! Reads manifests and configs, never layers.

use flatbus_oci::{
    Digest, Error, Manifest, Registry, Repository,
    manifest::{Descriptor, Named},
    small_blob,
};
use serde::Deserialize;

/// Largest config read, in bytes. Appdata and icons of the largest known ones make 200 KiB.
const CONFIG_BYTES_MAX: u64 = 8 << 20;
/// Most images an index may name to be looked at.
const IMAGES_MAX: usize = 64;
/// What is shown of a ref, in characters.
const REF_CHARS_MAX: usize = 200;

/// The label that makes an image a Flatpak.
pub const REF_LABEL: &str = "org.flatpak.ref";

/// What an image is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// A Flatpak.
    Flatpak(Seen),
    /// Something else, or something that is not complete.
    Other(String),
}

/// What was seen of a Flatpak.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen {
    /// `app/org.gnome.eog/x86_64/stable`, one an architecture.
    pub refs: Vec<String>,
    /// Size of all its blobs in bytes, those named twice counted twice.
    pub bytes: u64,
}

impl Seen {
    /// Whether it is a runtime.
    pub fn is_runtime(&self) -> bool {
        self.refs.iter().any(|name| name.starts_with("runtime/"))
    }
}

/// Looks at an image. `None` where the registry lacks it, or any part of it that is looked at.
///
/// # Errors
/// When the registry can't be read, or holds something that is no manifest.
pub async fn inspect(
    registry: &dyn Registry,
    repository: &Repository,
    digest: &Digest,
) -> Result<Option<Verdict>, Error> {
    let Some(root) = registry.manifest_get(repository, &(*digest).into()).await? else { return Ok(None) };
    inspect_manifest(registry, repository, &root).await
}

/// As [`inspect`], of a manifest already read.
///
/// # Errors
/// When the registry can't be read, or holds something that is no manifest.
pub async fn inspect_manifest(
    registry: &dyn Registry,
    repository: &Repository,
    root: &Manifest,
) -> Result<Option<Verdict>, Error> {
    let images = match root.named(registry.host())? {
        Named::Image(blobs) => vec![blobs],
        Named::Index(children) => match images(registry, repository, &children).await? {
            Ok(Some(images)) => images,
            Ok(None) => return Ok(None),
            Err(other) => return Ok(Some(Verdict::Other(other))),
        },
    };
    let mut seen = Seen::default();
    for blobs in &images {
        seen.bytes = blobs.iter().map(|blob| blob.size).fold(seen.bytes, u64::saturating_add);
        let Some(config) = blobs.first() else {
            return Ok(Some(Verdict::Other("an image without a config".to_owned())));
        };
        match flatpak_ref(registry, repository, config).await? {
            None => return Ok(None),
            Some(Ok(name)) => seen.refs.push(name),
            Some(Err(other)) => return Ok(Some(Verdict::Other(other))),
        }
    }
    Ok(Some(Verdict::Flatpak(seen)))
}

type Blobs = Vec<Descriptor>;

/// The blobs of each image of an index; the inner error says what else it is.
async fn images(
    registry: &dyn Registry,
    repository: &Repository,
    children: &[Descriptor],
) -> Result<Result<Option<Vec<Blobs>>, String>, Error> {
    if children.is_empty() {
        return Ok(Err("an index that names no image".to_owned()));
    }
    if children.len() > IMAGES_MAX {
        return Ok(Err(format!("an index of {} images, at most {IMAGES_MAX} are looked at", children.len())));
    }
    let mut images = Vec::with_capacity(children.len());
    for child in children {
        let Some(manifest) = registry.manifest_get(repository, &child.digest.into()).await? else {
            return Ok(Ok(None));
        };
        match manifest.named(registry.host())? {
            Named::Image(blobs) => images.push(blobs),
            Named::Index(_) => return Ok(Err("an index within an index".to_owned())),
        }
    }
    Ok(Ok(Some(images)))
}

#[derive(Deserialize)]
struct Config {
    config: Option<Inner>,
}

#[derive(Deserialize)]
struct Inner {
    #[serde(rename = "Labels")]
    labels: Option<std::collections::BTreeMap<String, serde_json::Value>>,
}

async fn flatpak_ref(
    registry: &dyn Registry,
    repository: &Repository,
    config: &Descriptor,
) -> Result<Option<Result<String, String>>, Error> {
    let bytes = match small_blob(registry, repository, config, CONFIG_BYTES_MAX).await {
        Ok(bytes) => bytes,
        Err(Error::NotFound { .. }) => return Ok(None),
        Err(Error::TooLarge { .. }) if config.size > CONFIG_BYTES_MAX => {
            return Ok(Some(Err(format!("a config of {} bytes", config.size))));
        }
        Err(error) => return Err(error),
    };
    let Ok(config) = serde_json::from_slice::<Config>(&bytes) else {
        return Ok(Some(Err("a config that is not JSON".to_owned())));
    };
    let label = config.config.and_then(|inner| inner.labels).and_then(|mut labels| labels.remove(REF_LABEL));
    Ok(Some(match label.as_ref().and_then(serde_json::Value::as_str) {
        Some(name) if !name.is_empty() => Ok(name.chars().take(REF_CHARS_MAX).collect()),
        _ => Err(format!("a config without {REF_LABEL}")),
    }))
}

#[cfg(test)]
mod tests {
    use flatbus_oci::MemoryRegistry;
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn sizes_past_all_bounds_are_the_largest_size() {
        let (registry, repository) = (MemoryRegistry::new("h"), "fedora/eog".parse().unwrap());
        let config =
            json!({"config": {"Labels": {REF_LABEL: "app/org.gnome.eog/x86_64/stable"}}}).to_string();
        let size = config.len();
        let config = registry.put_blob(&repository, config);
        let manifest = |body: serde_json::Value| Manifest::new(body.to_string().into(), None, "h").unwrap();
        let child = manifest(json!({"schemaVersion": 2, "config": {"digest": config, "size": size},
            "layers": [{"digest": config, "size": u64::MAX / 2}]}));
        registry.put_manifest(&repository, &child, &[]);
        let named = json!({"digest": child.digest, "size": 1});
        let root = manifest(json!({"schemaVersion": 2, "manifests": [named, named, named]}));
        let verdict = inspect_manifest(&registry, &repository, &root).await.unwrap();
        assert!(matches!(verdict, Some(Verdict::Flatpak(seen)) if seen.bytes == u64::MAX));
    }
}
