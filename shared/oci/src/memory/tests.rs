use super::*;
use crate::{conformance, manifest::OCI_INDEX};

fn eog() -> Repository {
    "fedora/eog".parse().unwrap()
}

#[tokio::test]
async fn a_stranger_reads_what_is_public_and_nothing_else() {
    let registry =
        MemoryRegistry::with("r", Abilities { new_repositories_public: false, ..Abilities::default() });
    let digest = registry.put_blob(&eog(), "x");
    let stranger = registry.anonymous();
    assert!(matches!(stranger.blob_head(&eog(), &digest).await, Err(Error::Unauthorized { .. })));
    registry.set_public(&eog(), true);
    assert_eq!(stranger.blob_head(&eog(), &digest).await, Ok(Some(1)));
    assert!(stranger.upload_begin(&eog()).await.is_err());
}

#[tokio::test]
async fn a_fault_hook_sees_each_call_and_decides() {
    let registry = MemoryRegistry::new("r");
    let digest = registry.put_blob(&eog(), vec![0; 200_000]);
    registry.set_fault(|call| match call.op {
        Op::BlobGet { offset: 0 } => Some(Fault::Cut { after: 100_000 }),
        _ => None,
    });
    let read = registry.blob_get(&eog(), &digest, 0).await.unwrap().chunks.collect::<Vec<_>>().await;
    let bytes: usize = read.iter().flatten().map(Bytes::len).sum();
    assert!(bytes == 100_000 && read.last().unwrap().is_err());
    assert_eq!(registry.blob_get(&eog(), &digest, 150_000).await.unwrap().offset, 150_000);
    assert_eq!(registry.count(Op::BlobGet { offset: 0 }), 2);
}

#[tokio::test]
async fn a_lost_answer_leaves_the_effect() {
    let registry = MemoryRegistry::new("r");
    let bytes = Bytes::from_static(br#"{"schemaVersion":2,"manifests":[]}"#);
    let manifest = Manifest::new(bytes, Some(OCI_INDEX), "r").unwrap();
    let tag: Tag = "latest".parse().unwrap();
    registry.set_fault(|_| Some(Fault::FailAfter(fault::cut("r"))));
    assert!(registry.manifest_put(&eog(), &tag.clone().into(), &manifest).await.is_err());
    assert_eq!(registry.tags_of(&eog())[&tag], manifest.digest);
}

#[tokio::test]
async fn it_passes_the_suite_of_every_registry() {
    for tag_delete in [true, false] {
        let registry =
            MemoryRegistry::with("r", Abilities { tag_delete, mount: tag_delete, ..Abilities::default() });
        let expect = conformance::Expect { tag_delete, resume: true };
        conformance::all(Arc::new(registry.clone()), &eog(), expect).await;
        assert_eq!(registry.open_uploads(), 0);
        conformance::copies(Arc::new(registry), Arc::new(MemoryRegistry::new("other")), &eog()).await;
    }
}
