//! What every [`Registry`] must do. Plain functions over the trait: the in-memory registry, the embedded one and real
//! servers behind the HTTP adapter all pass the same.
//!
//! Each check uses repositories of its own under the given one and leaves nothing open.

#![expect(clippy::missing_panics_doc, reason = "a check that fails panics: that is what it is for")]

use std::{collections::BTreeSet, sync::Arc};

use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, stream};

use crate::{
    Copier, CopySettings, Destination, Digest, Error, Manifest, Mounted, NoProgress, Reference, Registry,
    Repository, Source, Tag, TagDeleted, UploadMode,
    testing::{Recipe, noise, push_blob},
};

/// What a server can and cannot do, where the specification leaves it open.
#[derive(Debug, Clone, Copy)]
pub struct Expect {
    /// Whether a tag can be deleted alone.
    pub tag_delete: bool,
    /// Whether an upload that broke in the middle of a request can be taken up.
    pub resume: bool,
}

/// Runs every check. Panics at the first that fails, as a test does.
pub async fn all(registry: Arc<dyn Registry>, below: &Repository, expect: Expect) {
    let registry = registry.as_ref();
    let below = |name: &str| below.join(name).expect("a repository's name");
    what_is_not_there_is_none(registry, &below("nothing")).await;
    blobs_come_back_as_they_went(registry, &below("blobs")).await;
    blobs_can_be_sent_in_chunks_and_streams(registry, &below("chunks")).await;
    an_upload_tells_where_it_stands(registry, &below("status")).await;
    if expect.resume {
        a_broken_stream_is_taken_up(registry, &below("resume")).await;
    }
    wrong_blobs_are_refused(registry, &below("wrong")).await;
    blobs_are_mounted_or_an_upload_is_begun(registry, &below("mount/to"), &below("mount/from")).await;
    manifests_come_back_as_they_went(registry, &below("manifests")).await;
    manifests_that_name_what_is_missing_are_refused(registry, &below("children")).await;
    tags_move_and_are_listed(registry, &below("tags")).await;
    tags_are_deleted_alone_or_not_at_all(registry, &below("delete"), expect.tag_delete).await;
}

/// Reads of what isn't there are no errors, but for a blob's bytes.
async fn what_is_not_there_is_none(registry: &dyn Registry, repository: &Repository) {
    let nothing = Digest::of(b"nothing has this");
    assert_eq!(registry.manifest_get(repository, &nothing.into()).await, Ok(None));
    assert_eq!(registry.manifest_head(repository, &tag("latest").into()).await, Ok(None));
    assert_eq!(registry.blob_head(repository, &nothing).await, Ok(None));
    assert_eq!(registry.tags(repository).await, Ok(Vec::new()));
    assert!(matches!(registry.blob_get(repository, &nothing, 0).await, Err(Error::NotFound { .. })));
}

/// Small, large and empty, whole and from an offset.
async fn blobs_come_back_as_they_went(registry: &dyn Registry, repository: &Repository) {
    for size in [0, 1, 1000, 300_000] {
        let bytes = noise(size, 1, "blob");
        let digest = push_blob(registry, repository, bytes.clone()).await.expect("a blob is taken");
        assert_eq!(registry.blob_head(repository, &digest).await, Ok(Some(size as u64)));
        assert_eq!(read(registry, repository, &digest, 0).await, bytes);
        if size > 1 {
            assert_eq!(read(registry, repository, &digest, size as u64 / 2).await, bytes.slice(size / 2..));
        }
    }
}

async fn blobs_can_be_sent_in_chunks_and_streams(registry: &dyn Registry, repository: &Repository) {
    let bytes = noise(900_000, 2, "chunks");
    let digest = Digest::of(&bytes);
    let mut upload = registry.upload_begin(repository).await.expect("an upload begins");
    for at in [0, 300_000] {
        let chunk = bytes.slice(at..at + 300_000);
        registry.upload_patch(repository, &mut upload, at as u64, chunk).await.expect("a chunk is taken");
    }
    let last = Some((600_000, bytes.slice(600_000..)));
    registry.upload_put(repository, upload, &digest, last).await.expect("the blob is whole");
    assert_eq!(read(registry, repository, &digest, 0).await, bytes);

    let bytes = noise(900_000, 3, "stream");
    let digest = Digest::of(&bytes);
    let mut upload = registry.upload_begin(repository).await.expect("an upload begins");
    let sent =
        registry.upload_stream(repository, &mut upload, 0, Some(900_000), pieces(&bytes, 900_000)).await;
    sent.expect("a stream is taken");
    registry.upload_put(repository, upload, &digest, None).await.expect("the blob is whole");
    assert_eq!(read(registry, repository, &digest, 0).await, bytes);
}

async fn an_upload_tells_where_it_stands(registry: &dyn Registry, repository: &Repository) {
    let bytes = noise(200_000, 4, "status");
    let mut upload = registry.upload_begin(repository).await.expect("an upload begins");
    registry
        .upload_patch(repository, &mut upload, 0, bytes.slice(..100_000))
        .await
        .expect("a chunk is taken");
    assert_eq!(registry.upload_status(repository, &mut upload).await, Ok(Some(100_000)));
    let last = Some((100_000, bytes.slice(100_000..)));
    registry
        .upload_put(repository, upload.clone(), &Digest::of(&bytes), last)
        .await
        .expect("the blob is whole");
    assert_eq!(
        registry.upload_status(repository, &mut upload).await,
        Ok(None),
        "an upload that ended is forgotten"
    );

    let mut upload = registry.upload_begin(repository).await.expect("an upload begins");
    registry.upload_patch(repository, &mut upload, 0, bytes.slice(..100)).await.expect("a chunk is taken");
    registry.upload_cancel(repository, upload.clone()).await;
    assert_eq!(
        registry.upload_status(repository, &mut upload).await,
        Ok(None),
        "an upload given up is forgotten"
    );
}

async fn a_broken_stream_is_taken_up(registry: &dyn Registry, repository: &Repository) {
    let bytes = noise(3_000_000, 5, "resume");
    let mut upload = registry.upload_begin(repository).await.expect("an upload begins");
    let broken =
        registry.upload_stream(repository, &mut upload, 0, Some(3_000_000), pieces(&bytes, 2_000_000)).await;
    assert!(broken.is_err(), "a stream that gave out is no success");
    let held = held_at_rest(registry, repository, &mut upload).await;
    let at = usize::try_from(held).expect("a small number");
    let rest = pieces(&bytes.slice(at..), 3_000_000 - at);
    registry
        .upload_stream(repository, &mut upload, held, Some(3_000_000), rest)
        .await
        .expect("the rest is taken");
    let digest = Digest::of(&bytes);
    registry.upload_put(repository, upload, &digest, None).await.expect("the blob is whole");
    assert_eq!(read(registry, repository, &digest, 0).await, bytes);
}

/// A server may notice a broken connection a little later than we: asked until it says the same twice.
async fn held_at_rest(registry: &dyn Registry, repository: &Repository, upload: &mut crate::Upload) -> u64 {
    const ASKS_MAX: u32 = 50;
    let mut before = None;
    for _ in 0..ASKS_MAX {
        let held = registry.upload_status(repository, upload).await.expect("a state is told");
        if held.is_some() && held == before {
            return held.unwrap_or_default();
        }
        before = held;
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("the upload was forgotten or never comes to rest");
}

async fn wrong_blobs_are_refused(registry: &dyn Registry, repository: &Repository) {
    let (said, sent) = (Digest::of(b"this was said"), Bytes::from_static(b"this was sent"));
    let upload = registry.upload_begin(repository).await.expect("an upload begins");
    let put = registry.upload_put(repository, upload, &said, Some((0, sent))).await;
    assert!(put.is_err(), "bytes that aren't what they were said to be");
    assert_eq!(registry.blob_head(repository, &said).await, Ok(None));
}

async fn blobs_are_mounted_or_an_upload_is_begun(
    registry: &dyn Registry,
    to: &Repository,
    from: &Repository,
) {
    let bytes = noise(1000, 6, "mount");
    let digest = push_blob(registry, from, bytes.clone()).await.expect("a blob is taken");
    match registry.mount(to, &digest, from).await.expect("a mount is answered") {
        Mounted::Mounted => {}
        Mounted::Upload(upload) => {
            let put = registry.upload_put(to, upload, &digest, Some((0, bytes.clone()))).await;
            put.expect("the upload that was begun is one");
        }
    }
    assert_eq!(read(registry, to, &digest, 0).await, bytes);
    let missing = Digest::of(b"nobody has this to mount");
    match registry.mount(to, &missing, from).await.expect("a mount is answered") {
        Mounted::Mounted => panic!("mounted what isn't there"),
        Mounted::Upload(upload) => registry.upload_cancel(to, upload).await,
    }
}

/// OCI's and Docker's types, by digest and by tag, byte for byte.
async fn manifests_come_back_as_they_went(registry: &dyn Registry, repository: &Repository) {
    for docker in [false, true] {
        let image = Recipe { docker, ..Recipe::plain(7) }.make();
        let name = tag(if docker { "docker" } else { "oci" });
        image.push(registry, repository, std::slice::from_ref(&name)).await.expect("an image is taken");
        for manifest in image.manifests.iter().chain([&image.index]) {
            let reference = manifest.digest.into();
            assert_eq!(
                registry.manifest_get(repository, &reference).await.as_ref(),
                Ok(&Some(manifest.clone()))
            );
            expect_head(registry, repository, &reference, manifest).await;
        }
        expect_head(registry, repository, &name.into(), &image.index).await;
    }
}

async fn expect_head(
    registry: &dyn Registry,
    repository: &Repository,
    reference: &Reference,
    manifest: &Manifest,
) {
    let head = registry.manifest_head(repository, reference).await.expect("a head").expect("it is there");
    assert_eq!((head.digest, head.media_type.as_str()), (manifest.digest, manifest.media_type.as_str()));
    assert!(head.size.is_none_or(|size| size == manifest.bytes.len() as u64));
}

async fn manifests_that_name_what_is_missing_are_refused(registry: &dyn Registry, repository: &Repository) {
    let image = Recipe::plain(8).make();
    let put = registry.manifest_put(repository, &tag("latest").into(), &image.manifests[0]).await;
    assert!(matches!(put, Err(Error::NotFound { .. })), "an image without its blobs: {put:?}");
    let put = registry.manifest_put(repository, &tag("latest").into(), &image.index).await;
    assert!(matches!(put, Err(Error::NotFound { .. })), "an index without its images: {put:?}");
    assert_eq!(registry.manifest_head(repository, &tag("latest").into()).await, Ok(None));
    let other = Manifest { digest: Digest::of(b"other"), ..image.manifests[0].clone() };
    assert!(registry.manifest_put(repository, &other.digest.into(), &other).await.is_err(), "a wrong digest");
}

async fn tags_move_and_are_listed(registry: &dyn Registry, repository: &Repository) {
    let (old, new) = (Recipe::plain(9).make(), Recipe::plain(10).make());
    let names = [tag("1.0-1"), tag("_x"), tag("latest")];
    old.push(registry, repository, &names).await.expect("an image is taken");
    new.push(registry, repository, &names[2..]).await.expect("an image is taken");
    let listed: BTreeSet<_> = registry.tags(repository).await.expect("a list").into_iter().collect();
    assert_eq!(listed, names.iter().cloned().collect());
    expect_head(registry, repository, &names[0].clone().into(), &old.index).await;
    expect_head(registry, repository, &names[2].clone().into(), &new.index).await;
}

async fn tags_are_deleted_alone_or_not_at_all(registry: &dyn Registry, repository: &Repository, able: bool) {
    let image = Recipe::plain(11).make();
    image.push(registry, repository, &[tag("a"), tag("b")]).await.expect("an image is taken");
    let deleted = registry.tag_delete(repository, &tag("a")).await.expect("an answer");
    assert_eq!(deleted, if able { TagDeleted::Deleted } else { TagDeleted::Unsupported });
    let left = registry.manifest_head(repository, &tag("a").into()).await.expect("an answer");
    assert_eq!(left.is_none(), able);
    expect_head(registry, repository, &tag("b").into(), &image.index).await;
}

/// The engine's part: what was copied from one registry to another is there whole, and twice does nothing.
pub async fn copies(source: Arc<dyn Registry>, destination: Arc<dyn Registry>, below: &Repository) {
    let repository = below.join("copy").expect("a repository's name");
    let modes = [UploadMode::Stream, UploadMode::Chunks { bytes: 1 << 20 }];
    for (seed, upload) in (100..).zip(modes) {
        let image = Recipe { layer_bytes: 3_500_000, ..Recipe::plain(seed) }.make();
        image.push(source.as_ref(), &repository, &[]).await.expect("an image is taken");
        let engine =
            Copier::new(CopySettings { upload, small_blob_bytes_max: 1 << 20, ..CopySettings::default() });
        let from =
            Source { registry: source.clone(), repository: repository.clone(), digest: image.digest() };
        let to = Destination {
            registry: destination.clone(),
            repository: repository.clone(),
            mount_from: Vec::new(),
        };
        let tags = [tag("latest"), tag("testing")];
        let copied = engine.copy(from.clone(), to.clone(), &tags, &NoProgress).await.expect("a copy");
        assert_eq!((copied.blobs_copied, copied.manifests), (4, 5));
        for bytes in &image.blobs {
            assert_eq!(read(destination.as_ref(), &repository, &Digest::of(bytes), 0).await, bytes);
        }
        for manifest in image.manifests.iter().chain([&image.index]) {
            let held = destination.manifest_get(&repository, &manifest.digest.into()).await;
            assert_eq!(held.as_ref(), Ok(&Some(manifest.clone())));
        }
        let again = engine.copy(from, to, &tags[..1], &NoProgress).await.expect("a copy");
        assert_eq!((again.requests, again.changed()), (1, false));
    }
}

fn tag(text: &str) -> Tag {
    text.parse().expect("a tag")
}

fn pieces(bytes: &Bytes, until: usize) -> stream::BoxStream<'static, Result<Bytes, String>> {
    const PIECE_BYTES: usize = 64 << 10;
    let whole = until == bytes.len();
    let mut left = bytes.slice(..until);
    let next = move || (!left.is_empty()).then(|| Ok(left.split_to(left.len().min(PIECE_BYTES))));
    let end = (!whole).then(|| Err("it gave out".to_owned()));
    stream::iter(std::iter::from_fn(next).chain(end)).boxed()
}

async fn read(registry: &dyn Registry, repository: &Repository, digest: &Digest, offset: u64) -> Bytes {
    let mut blob = registry.blob_get(repository, digest, offset).await.expect("a blob's bytes");
    let mut bytes = BytesMut::new();
    while let Some(chunk) = blob.chunks.next().await {
        bytes.extend_from_slice(&chunk.expect("bytes"));
    }
    bytes.freeze().split_off(usize::try_from(offset - blob.offset).expect("a small number"))
}
