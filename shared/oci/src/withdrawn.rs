//! What stands at a withdrawn tag where the registry can't delete tags: an empty index that says so.

use bytes::Bytes;

use crate::{Digest, Manifest, manifest::OCI_INDEX};

/// Whoever lists images reads it as "no image".
const BYTES: &[u8] = br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[],"annotations":{"flatbus.withdrawn":"true"}}"#;

/// The one manifest of withdrawn tags: the same bytes, so the same digest, everywhere.
pub fn manifest() -> Manifest {
    Manifest { bytes: Bytes::from_static(BYTES), media_type: OCI_INDEX.to_owned(), digest: Digest::of(BYTES) }
}

/// Whether a tag that names this digest is withdrawn.
pub fn is(digest: &Digest) -> bool {
    *digest == Digest::of(BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Named;

    #[test]
    fn what_says_withdrawn_is_an_index_that_names_no_image() {
        let manifest = manifest();
        assert_eq!(manifest.named("h").unwrap(), Named::Index(Vec::new()));
        assert!(is(&manifest.digest) && !is(&Digest::of(b"")));
    }
}
