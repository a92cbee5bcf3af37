//! Manifests, and the configs that prove a Flatpak. What is taken means the same to a second reader.

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
};

use flatbus_mirror::image::{self, Verdict};
use flatbus_oci::{
    Digest, Manifest, MemoryRegistry, Repository,
    manifest::{CHILDREN_MAX, DOCKER_LIST, Descriptor, MANIFEST_TYPES, Named, OCI_INDEX},
};
use serde_json::{Value, json};

use crate::rules::{halves, told};

const HOST: &str = "registry.example";
/// What is shown of a ref, in characters.
const REF_CHARS_MAX: usize = 200;
/// A registry in memory answers after a few turns; more would be for ever.
const TURNS_MAX: usize = 10_000;

/// The first line is a media type, or nothing; the rest is a manifest.
pub fn check_manifest(data: &[u8]) {
    let (media_type, bytes) = halves(data);
    let Ok(media_type) = str::from_utf8(media_type) else { return };
    let told_type = Some(media_type).filter(|text| !text.is_empty());
    let manifest = match Manifest::new(bytes.to_vec().into(), told_type, HOST) {
        Ok(manifest) => manifest,
        Err(error) => return drop(told(&error)),
    };
    assert_eq!((&manifest.bytes[..], manifest.digest), (bytes, Digest::of(bytes)));
    match manifest.named(HOST) {
        Ok(named) => understood(&manifest, &named),
        Err(error) => drop(told(&error)),
    }
}

/// A tree of values names the same content in the same order, and the type can be sent in a header.
fn understood(manifest: &Manifest, named: &Named) {
    assert!(
        MANIFEST_TYPES.contains(&&*manifest.media_type),
        "{:?} is no type of manifests",
        manifest.media_type
    );
    let (named, is_index) = match named {
        Named::Index(manifests) => (manifests, true),
        Named::Image(blobs) => (blobs, false),
    };
    assert!(named.len() <= CHILDREN_MAX);
    assert_eq!(is_index, [OCI_INDEX, DOCKER_LIST].contains(&&*manifest.media_type));
    let Ok(tree) = serde_json::from_slice::<Value>(&manifest.bytes) else { return }; // Nests deeper than a tree may.
    let listed = |key: &str| tree[key].as_array().cloned().unwrap_or_default();
    let again = if is_index {
        listed("manifests")
    } else {
        [vec![tree["config"].clone()], listed("layers")].concat()
    };
    let plain = |descriptor: &Descriptor| (descriptor.digest.to_string(), descriptor.size);
    let read = |value: &Value| Some((value["digest"].as_str()?.to_owned(), value["size"].as_u64()?));
    assert_eq!(
        named.iter().map(plain).map(Some).collect::<Vec<_>>(),
        again.iter().map(read).collect::<Vec<_>>()
    );
}

/// The first line is the root, the second another manifest, the rest a config. In the first two `CHILD`, `CONFIG` stand
/// for the digests of what comes after them, and `BYTES` for the size of the config.
pub fn check_image(data: &[u8]) {
    let (root, rest) = halves(data);
    let (child, config) = halves(rest);
    let (Ok(root), Ok(child)) = (str::from_utf8(root), str::from_utf8(child)) else { return };
    let repository: Repository = "fedora/eog".parse().unwrap_or_else(|error| panic!("{error}"));
    let registry = MemoryRegistry::new(HOST);
    let config = registry.put_blob(&repository, config.to_vec());
    let size = registry_size(data, root, child);
    let with_config = |text: &str| text.replace("CONFIG", &config.to_string()).replace("BYTES", &size);
    let child = with_config(child);
    let root = with_config(root).replace("CHILD", &Digest::of(child.as_bytes()).to_string());
    if let Ok(child) = Manifest::new(child.into(), None, HOST) {
        registry.put_manifest(&repository, &child, &[]);
    }
    let Ok(root) = Manifest::new(root.into(), None, HOST) else { return };
    match done(image::inspect_manifest(&registry, &repository, &root)) {
        Ok(None) => {}
        Ok(Some(Verdict::Flatpak(seen))) => {
            assert!(!seen.refs.is_empty());
            for name in seen.refs {
                assert!(!name.is_empty() && name.chars().count() <= REF_CHARS_MAX, "{name}");
                assert!(!name.contains(char::is_control), "a ref goes into logs and messages: {name:?}");
            }
        }
        Ok(Some(Verdict::Other(why))) => drop(told(&why)),
        Err(error) => drop(told(&error)),
    }
}

/// The outcome of a future that waits for nothing but its turn.
fn done<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut turn = Context::from_waker(Waker::noop());
    for _ in 0..TURNS_MAX {
        if let Poll::Ready(outcome) = future.as_mut().poll(&mut turn) {
            return outcome;
        }
    }
    panic!("not done after {TURNS_MAX} turns");
}

fn registry_size(data: &[u8], root: &str, child: &str) -> String {
    data.len().saturating_sub(root.len() + child.len() + 2).to_string()
}

fn descriptor(digest: &str) -> Value {
    json!({"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest, "size": 7})
}

/// An index and an image of each family.
pub fn manifests() -> Vec<Vec<u8>> {
    let digest = Digest::of(b"x").to_string();
    let foreign = json!({"mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar", "digest": digest,
        "size": 1, "urls": ["https://elsewhere.example/x"]});
    let made = MANIFEST_TYPES.iter().flat_map(|media_type| {
        let mut body = json!({"schemaVersion": 2, "mediaType": media_type});
        if [OCI_INDEX, DOCKER_LIST].contains(media_type) {
            body["manifests"] = json!([descriptor(&digest), descriptor(&digest)]);
        } else {
            body["config"] = descriptor(&digest);
            body["layers"] = json!([descriptor(&digest), foreign.clone()]);
        }
        [format!("{media_type}\n{body}"), format!("\n{body}")]
    });
    made.map(String::into_bytes).collect()
}

/// A Flatpak, alone and in an index.
pub fn images() -> Vec<Vec<u8>> {
    let config = json!({"architecture": "amd64", "os": "linux",
        "config": {"Labels": {"org.flatpak.ref": "app/org.gnome.eog/x86_64/stable", "org.flatpak.metadata": "[Application]\n"}}});
    let image = r#"{"schemaVersion":2,"config":{"digest":"CONFIG","size":BYTES},"layers":[{"digest":"CONFIG","size":9223372036854775807}]}"#;
    let index =
        r#"{"schemaVersion":2,"manifests":[{"digest":"CHILD","size":7},{"digest":"CHILD","size":7}]}"#;
    [format!("{image}\n\n{config}"), format!("{index}\n{image}\n{config}")].map(String::into_bytes).into()
}
