//! Small blobs, whole: what is read here and not only passed on.
//!
//! Never holds more than was named, and never gives bytes other than those that were named.

use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;

use crate::{Digest, Error, Registry, Repository, manifest::Descriptor};

/// All bytes of a blob, verified. A blob that is named as larger than `bytes_max` is not asked for.
///
/// # Errors
/// When it is too large, absent or unreadable, or when its bytes are not those that were named.
pub async fn small_blob(
    registry: &dyn Registry,
    repository: &Repository,
    wanted: &Descriptor,
    bytes_max: u64,
) -> Result<Bytes, Error> {
    let (host, expected) = (|| registry.host().to_owned(), wanted.size);
    let what = || format!("blob {repository}@{}", wanted.digest);
    if expected > bytes_max {
        let why = format!("it has {expected} bytes, at most {bytes_max} are taken");
        return Err(Error::TooLarge { host: host(), what: what(), why });
    }
    let mut stream = registry.blob_get(repository, &wanted.digest, 0).await?;
    let mut bytes = BytesMut::new();
    while let Some(chunk) = stream.chunks.next().await {
        bytes.extend_from_slice(&chunk?);
        let got = bytes.len() as u64;
        if got > expected {
            return Err(Error::WrongSize { host: host(), what: what(), expected, got });
        }
    }
    let got = Digest::of(&bytes);
    if got != wanted.digest {
        return Err(Error::WrongDigest { host: host(), what: what(), expected: wanted.digest, got });
    }
    Ok(bytes.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        MemoryRegistry,
        memory::{Fault, Op},
    };

    const BYTES: &[u8] = b"{\"config\":{}}";
    const BYTES_MAX: u64 = 1024;

    fn held() -> (MemoryRegistry, Repository, Descriptor) {
        let (registry, repository) = (MemoryRegistry::new("h"), "fedora/eog".parse().unwrap());
        let digest = registry.put_blob(&repository, BYTES);
        let size = BYTES.len() as u64;
        (registry, repository, Descriptor { media_type: String::new(), digest, size, urls: Vec::new() })
    }

    #[tokio::test]
    async fn a_small_blob_is_read_whole() {
        let (registry, repository, wanted) = held();
        assert_eq!(small_blob(&registry, &repository, &wanted, wanted.size).await.unwrap(), BYTES);
    }

    #[tokio::test]
    async fn one_that_is_named_as_too_large_is_not_asked_for() {
        let (registry, repository, wanted) = held();
        registry.set_fault(|call| panic!("asked: {call:?}"));
        let refused = small_blob(&registry, &repository, &wanted, wanted.size - 1).await.unwrap_err();
        assert!(matches!(refused, Error::TooLarge { .. }), "{refused}");
    }

    #[tokio::test]
    async fn other_bytes_than_those_that_were_named_are_refused() {
        let (registry, repository, wanted) = held();
        let smaller = Descriptor { size: wanted.size - 1, ..wanted.clone() };
        let refused = small_blob(&registry, &repository, &smaller, BYTES_MAX).await.unwrap_err();
        assert!(matches!(refused, Error::WrongSize { .. }), "{refused}");
        registry.set_fault(|call| matches!(call.op, Op::BlobGet { .. }).then_some(Fault::Garble));
        let refused = small_blob(&registry, &repository, &wanted, BYTES_MAX).await.unwrap_err();
        assert!(matches!(refused, Error::WrongDigest { .. }), "{refused}");
    }
}
