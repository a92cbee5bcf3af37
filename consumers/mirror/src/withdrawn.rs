//! What stands at a withdrawn tag where the registry can't delete tags: an empty index that says so.

use bytes::Bytes;
use flatbus_oci::{Digest, Manifest, manifest::OCI_INDEX};

/// Read by index as "no image".
const BYTES: &[u8] = br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[],"annotations":{"flatbus.withdrawn":"true"}}"#;

/// The one manifest of withdrawn tags: the same bytes, so the same digest, everywhere.
pub fn manifest() -> Manifest {
    Manifest { bytes: Bytes::from_static(BYTES), media_type: OCI_INDEX.to_owned(), digest: Digest::of(BYTES) }
}

/// Whether a tag that names this digest is withdrawn.
pub fn is(digest: &Digest) -> bool {
    *digest == Digest::of(BYTES)
}
