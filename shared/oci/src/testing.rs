//! Made-up images for tests and demonstrations: small, repeatable, and shaped like Flatpaks.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::{
    Digest, Error, Manifest, Reference, Registry, Repository, Tag,
    manifest::{DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST},
    memory::MemoryRegistry,
};

/// How an image is made. The same recipe gives the same bytes.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// OCI architectures; one image each.
    pub architectures: Vec<String>,
    /// Size of each layer in bytes; every architecture has one layer of its own.
    pub layer_bytes: usize,
    /// Labels of each config; `{arch}` in them is the architecture in Flatpak's spelling.
    pub labels: BTreeMap<String, String>,
    /// Docker's media types in place of OCI's.
    pub docker: bool,
    /// Other seeds give other layers.
    pub seed: u64,
}

impl Recipe {
    /// A Flatpak of two architectures: `app/org.gnome.eog/x86_64/stable`.
    pub fn flatpak(flatpak_ref: &str, seed: u64) -> Self {
        let metadata = "[Application]\nname=demo\n".to_owned();
        let labels = BTreeMap::from([
            ("org.flatpak.ref".to_owned(), flatpak_ref.to_owned()),
            ("org.flatpak.metadata".to_owned(), metadata),
        ]);
        Self { labels, ..Self::plain(seed) }
    }

    /// An image of two architectures that is no Flatpak.
    pub fn plain(seed: u64) -> Self {
        let architectures = vec!["amd64".to_owned(), "arm64".to_owned()];
        Self { architectures, layer_bytes: 1000, labels: BTreeMap::new(), docker: false, seed }
    }

    /// Makes the image.
    pub fn make(&self) -> Sample {
        let mut sample =
            Sample { index: Manifest::of(Bytes::new(), ""), manifests: Vec::new(), blobs: Vec::new() };
        let children =
            self.architectures.iter().map(|architecture| self.image(architecture, &mut sample)).collect();
        let media_type = if self.docker { DOCKER_LIST } else { OCI_INDEX };
        let index = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": Value::Array(children)});
        sample.index = Manifest::of(index.to_string().into(), media_type);
        sample
    }

    fn image(&self, architecture: &str, sample: &mut Sample) -> Value {
        let (manifest_type, config_type, layer_type) = if self.docker {
            (
                DOCKER_MANIFEST,
                "application/vnd.docker.container.image.v1+json",
                "application/vnd.docker.image.rootfs.diff.tar.gzip",
            )
        } else {
            (
                OCI_MANIFEST,
                "application/vnd.oci.image.config.v1+json",
                "application/vnd.oci.image.layer.v1.tar+gzip",
            )
        };
        let layer = noise(self.layer_bytes, self.seed, architecture);
        let own = |(name, value): (&String, &String)| {
            (name.clone(), value.replace("{arch}", spelled(architecture)))
        };
        let labels: BTreeMap<String, String> = self.labels.iter().map(own).collect();
        let config = json!({
            "architecture": architecture,
            "os": "linux",
            "config": {"Labels": labels},
            "rootfs": {"type": "layers", "diff_ids": [Digest::of(&layer).to_string()]},
        });
        let config = Bytes::from(config.to_string());
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": manifest_type,
            "config": descriptor(config_type, &config),
            "layers": [descriptor(layer_type, &layer)],
        });
        let manifest = Manifest::of(manifest.to_string().into(), manifest_type);
        let mut child = descriptor(manifest_type, &manifest.bytes);
        child["platform"] = json!({"architecture": architecture, "os": "linux"});
        sample.blobs.extend([config, layer]);
        sample.manifests.push(manifest);
        child
    }
}

/// As Flatpak spells an architecture of OCI's.
fn spelled(architecture: &str) -> &str {
    match architecture {
        "amd64" => "x86_64",
        "arm64" => "aarch64",
        same => same,
    }
}

/// An image in memory.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The index.
    pub index: Manifest,
    /// What it names.
    pub manifests: Vec<Manifest>,
    /// What those name.
    pub blobs: Vec<Bytes>,
}

impl Sample {
    /// The index's digest.
    pub fn digest(&self) -> Digest {
        self.index.digest
    }

    /// Puts it all into an in-memory registry, past faults.
    pub fn put(&self, registry: &MemoryRegistry, repository: &Repository, tags: &[Tag]) {
        for blob in &self.blobs {
            registry.put_blob(repository, blob.clone());
        }
        for manifest in &self.manifests {
            registry.put_manifest(repository, manifest, &[]);
        }
        registry.put_manifest(repository, &self.index, tags);
    }

    /// Pushes it to any registry.
    ///
    /// # Errors
    /// When the registry refuses.
    pub async fn push(
        &self,
        registry: &dyn Registry,
        repository: &Repository,
        tags: &[Tag],
    ) -> Result<(), Error> {
        for blob in &self.blobs {
            push_blob(registry, repository, blob.clone()).await?;
        }
        for manifest in self.manifests.iter().chain([&self.index]) {
            registry.manifest_put(repository, &manifest.digest.into(), manifest).await?;
        }
        for tag in tags {
            registry.manifest_put(repository, &Reference::Tag(tag.clone()), &self.index).await?;
        }
        Ok(())
    }
}

/// Pushes one blob from memory.
///
/// # Errors
/// When the registry refuses.
pub async fn push_blob(
    registry: &dyn Registry,
    repository: &Repository,
    bytes: Bytes,
) -> Result<Digest, Error> {
    let digest = Digest::of(&bytes);
    let upload = registry.upload_begin(repository).await?;
    registry.upload_put(repository, upload, &digest, Some((0, bytes))).await?;
    Ok(digest)
}

impl Manifest {
    /// A manifest of known type, unchecked.
    fn of(bytes: Bytes, media_type: &str) -> Self {
        Self { digest: Digest::of(&bytes), bytes, media_type: media_type.to_owned() }
    }
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": Digest::of(bytes).to_string(), "size": bytes.len()})
}

/// Bytes that don't compress and differ by seed and name (xorshift).
pub fn noise(len: usize, seed: u64, name: &str) -> Bytes {
    let mut state = name.bytes().fold(seed.wrapping_add(0x9e37_79b9_7f4a_7c15), |state, byte| {
        (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3).rotate_left(23)
    }) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes.into()
}
