//! Puts images into registries: straight into an embedded one, or through the registry client into any.

use flatbus_oci::{Error, Manifest, NameError, Reference, Registry, Repository};

use super::{Image, Part};
use crate::registry::{Content, NotPut};

/// Why an image is not in the registry.
#[derive(Debug, thiserror::Error)]
pub enum NotPushed {
    /// The embedded registry's storage failed.
    #[error("the storage failed: {0}")]
    Storage(#[from] std::io::Error),
    /// The embedded registry refused a manifest.
    #[error(transparent)]
    Refused(#[from] NotPut),
    /// A name in the record is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The registry failed.
    #[error(transparent)]
    Registry(#[from] Error),
}

impl Image {
    /// Puts the image into an embedded registry, without requests. Blocks on its storage.
    ///
    /// # Errors
    /// When the storage fails.
    pub fn put(&self, content: &Content) -> Result<(), NotPushed> {
        for child in &self.children {
            content.put_blob(&self.repository, &child.config)?;
            content.put_blob(&self.repository, &child.layer)?;
            let manifest = &child.manifest;
            content.put_manifest(&self.repository, None, manifest.media_type, manifest.bytes.clone())?;
        }
        content.put_manifest(
            &self.repository,
            Some(&self.tag),
            self.index.media_type,
            self.index.bytes.clone(),
        )?;
        Ok(())
    }

    /// Pushes the image to a registry: blobs, manifests, and the tag last.
    ///
    /// # Errors
    /// When the registry fails or refuses it.
    pub async fn push(&self, registry: &dyn Registry) -> Result<(), NotPushed> {
        let repository: Repository = self.repository.parse()?;
        for child in &self.children {
            for blob in [&child.config, &child.layer] {
                let digest = flatbus_oci::Digest::of(blob);
                if registry.blob_head(&repository, &digest).await?.is_none() {
                    let upload = registry.upload_begin(&repository).await?;
                    registry.upload_put(&repository, upload, &digest, Some((0, blob.clone()))).await?;
                }
            }
            let (manifest, digest) = part(&child.manifest);
            registry.manifest_put(&repository, &Reference::Digest(digest), &manifest).await?;
        }
        let (index, _) = part(&self.index);
        registry.manifest_put(&repository, &Reference::Tag(self.tag.parse()?), &index).await?;
        Ok(())
    }
}

fn part(part: &Part) -> (Manifest, flatbus_oci::Digest) {
    let digest = flatbus_oci::Digest::of(&part.bytes);
    (Manifest { bytes: part.bytes.clone(), media_type: part.media_type.to_owned(), digest }, digest)
}
