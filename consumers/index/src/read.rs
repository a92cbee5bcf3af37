//! What a tag of a repository names, as anybody may read it: its images, one an architecture, and why others are left out.
//!
//! A failed read is never a smaller truth: what came and is no image is left out and told, what didn't come is an error.
//! Never reads layers.

mod config;
mod index;

use std::collections::{BTreeMap, BTreeSet};

use flatbus_base::{Remediable, Remedy};
use flatbus_oci::{
    Digest, Error, Registry, Repository, Tag,
    manifest::{DOCKER_LIST, Descriptor, MANIFEST_BYTES_MAX, Named as Content, OCI_INDEX},
    small_blob, withdrawn,
};
use futures::{StreamExt as _, stream};
use tokio::task::spawn_blocking;
use tracing::warn;

use self::{
    config::Config,
    index::{Child, Index},
};
use crate::{
    cache::{Cache, Kept},
    image::Image,
};

/// Largest config read, in bytes. Appdata and icons of the largest known ones make 200 KiB.
const CONFIG_BYTES_MAX: u64 = 8 << 20;
/// Most labels that the images of one tag may have together, in bytes: four times the largest config.
const LABELS_BYTES_MAX: usize = 32 << 20;
/// Most images an index may name.
const CHILDREN_MAX: usize = 64;
/// How many images of one tag are read at once.
const CHILDREN_AT_ONCE: usize = 4;

/// A repository of a registry.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// The registry, as somebody without credentials sees it.
    pub registry: &'a dyn Registry,
    /// The repository's full name there.
    pub repository: &'a Repository,
}

/// What a tag names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// There is no such tag, or no such repository.
    Absent,
    /// The tag says itself that it names nothing any more.
    Withdrawn,
    /// Images, or none that is one.
    Images {
        /// What the tag names: an index, or the one image.
        root: Digest,
        /// The images, in the order of the index. Flatpaks or not.
        images: Vec<Image>,
        /// What else is named, and should have been an image.
        left_out: Vec<LeftOut>,
    },
}

/// Something that is named as an image and is none that a client could install.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// As the index has it, shortened where it is no digest.
    pub digest: String,
    /// As the index has it, if it has one.
    pub architecture: Option<String>,
    /// Half a sentence.
    pub why: String,
}

/// Why a tag could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The registry could not be read, or what it gave makes no sense as a whole.
    #[error(transparent)]
    Registry(#[from] Error),
    /// An entry for it would be dead.
    #[error(
        "clients can't get {digest} from {place} ({why}): if it stays so, make that repository public, or mend `clients`"
    )]
    NotForClients {
        /// Where clients will look.
        place: String,
        /// Of the image's manifest.
        digest: Digest,
        /// What the registry there said.
        why: String,
    },
}

impl Remediable for ReadError {
    fn remedy(&self) -> Remedy {
        match self {
            Self::Registry(error) => error.remedy(),
            Self::NotForClients { .. } => Remedy::Retry, // Visibility is given, and caches of "not found" run out.
        }
    }
}

/// Reads what a tag names `at` a place, and proves that `clients` get it where they will look. What `cache` holds is read
/// from there, and what is read is put there.
///
/// # Errors
/// When a place can't be read, or when clients would not get an image that stands in no index yet.
pub async fn read(at: Place<'_>, clients: Place<'_>, cache: &Cache, tag: &Tag) -> Result<Named, ReadError> {
    let Some(root) = at.registry.manifest_get(at.repository, &tag.clone().into()).await? else {
        return Ok(Named::Absent);
    };
    let children = if matches!(root.media_type.as_str(), OCI_INDEX | DOCKER_LIST) {
        let index = Index::parse(&root, at.registry.host())?;
        if withdrawn::is(&root.digest) || index.is_withdrawn() {
            return Ok(Named::Withdrawn);
        }
        index.children
    } else {
        vec![Child::alone(&root)]
    };
    if children.len() > CHILDREN_MAX {
        let why = format!("it names {} images, at most {CHILDREN_MAX} are read", children.len());
        let (host, what) = (at.registry.host().to_owned(), root.digest.to_string());
        return Err(Error::TooLarge { host, what, why }.into());
    }
    let mut seen = BTreeSet::new();
    let children = children.into_iter().filter(|child| seen.insert(child.digest.clone())).collect::<Vec<_>>();
    let reader = Reader { at, clients, held: held(cache, &children).await };
    let (Gathered { images, fresh, left_out, .. }, end) = reader.children(children).await;
    keep(cache, fresh).await; // Also where the end is an error: what was read until then isn't asked for again.
    end?;
    Ok(Named::Images { root: root.digest, images, left_out })
}

/// What the cache holds of these, up to what may count together. In one go, so that the order of requests depends on no
/// thread.
async fn held(cache: &Cache, children: &[Child]) -> BTreeMap<Digest, Kept> {
    let digests: Vec<Digest> = children.iter().filter_map(|child| child.digest.parse().ok()).collect();
    let cache = cache.clone();
    let look = move || {
        let mut bytes = 0;
        let kept = digests.iter().filter_map(|digest| cache.kept(digest));
        let within = kept.take_while(|kept| {
            bytes += labels_bytes(&kept.image);
            bytes <= LABELS_BYTES_MAX
        });
        within.map(|kept| (kept.image.digest, kept)).collect()
    };
    spawn_blocking(look).await.unwrap_or_default() // A look that broke off found nothing.
}

async fn keep(cache: &Cache, fresh: Vec<Kept>) {
    if fresh.is_empty() {
        return;
    }
    let cache = cache.clone();
    let put = spawn_blocking(move || fresh.iter().try_for_each(|kept| cache.put(kept))).await;
    if let Err(error) = put.unwrap_or_else(|ended| Err(std::io::Error::other(ended))) {
        warn!("An image isn't kept and will be read again: {error}");
    }
}

fn labels_bytes(image: &Image) -> usize {
    image.labels.iter().map(|(name, value)| name.len() + value.len()).sum()
}

/// What something named as an image is.
enum Found {
    Image {
        kept: Kept,
        /// The cache doesn't hold it so.
        fresh: bool,
    },
    /// Neither an image nor meant to be one.
    Other,
    LeftOut(String),
}

#[derive(Default)]
struct Gathered {
    images: Vec<Image>,
    /// For the cache.
    fresh: Vec<Kept>,
    left_out: Vec<LeftOut>,
    /// Of all images so far, also of those left out for it.
    labels_bytes: usize,
}

impl Gathered {
    fn add(&mut self, found: Found, child: &Child) {
        match found {
            Found::Image { kept, fresh } => {
                self.labels_bytes += labels_bytes(&kept.image);
                if self.labels_bytes > LABELS_BYTES_MAX {
                    let why = "its labels, and those of the images before it, have more than";
                    self.left_out.push(child.left_out(format!("{why} {LABELS_BYTES_MAX} bytes")));
                    return;
                }
                if fresh {
                    self.fresh.push(kept.clone());
                }
                self.images.push(kept.image);
            }
            Found::Other => {}
            Found::LeftOut(why) => self.left_out.push(child.left_out(why)),
        }
    }
}

struct Reader<'a> {
    at: Place<'a>,
    clients: Place<'a>,
    held: BTreeMap<Digest, Kept>,
}

impl Reader<'_> {
    /// What was read, and whether that is all.
    async fn children(&self, children: Vec<Child>) -> (Gathered, Result<(), ReadError>) {
        let reads: Vec<_> =
            children.into_iter().map(|child| async move { (self.child(&child).await, child) }).collect();
        let mut reads = stream::iter(reads).buffered(CHILDREN_AT_ONCE);
        let mut gathered = Gathered::default();
        while let Some((found, child)) = reads.next().await {
            match found {
                Ok(found) => gathered.add(found, &child),
                Err(error) => return (gathered, Err(error)),
            }
        }
        (gathered, Ok(()))
    }

    async fn child(&self, child: &Child) -> Result<Found, ReadError> {
        if child.is_attestation() {
            return Ok(Found::Other);
        }
        let Ok(digest) = child.digest.parse() else {
            return Ok(Found::LeftOut(
                "its digest is not a sha256, which is all that clients take".to_owned(),
            ));
        };
        if child.size > MANIFEST_BYTES_MAX as u64 {
            let why = format!("its manifest has {} bytes, at most {MANIFEST_BYTES_MAX} are read", child.size);
            return Ok(Found::LeftOut(why));
        }
        let place = self.clients.name();
        match self.held.get(&digest).cloned() {
            Some(kept) if kept.proved.contains(&place) => Ok(Found::Image { kept, fresh: false }),
            Some(mut kept) => {
                self.prove(&digest, false).await?;
                kept.proved.insert(place);
                Ok(Found::Image { kept, fresh: true })
            }
            None => self.fresh(digest, place).await,
        }
    }

    /// An image that isn't in the cache.
    async fn fresh(&self, digest: Digest, place: String) -> Result<Found, ReadError> {
        let Place { registry, repository } = self.at;
        let manifest = match registry.manifest_get(repository, &digest.into()).await {
            Ok(Some(manifest)) => manifest,
            Ok(None) | Err(Error::NotFound { .. }) => {
                return Ok(Found::LeftOut(format!("{} doesn't have its manifest", registry.host())));
            }
            // The bytes are those of the digest: they will never be a manifest.
            Err(Error::Manifest { why, .. }) => {
                return Ok(Found::LeftOut(format!("its manifest is not valid: {why}")));
            }
            Err(error) => return Err(error.into()),
        };
        let blobs = match manifest.named(registry.host()) {
            Ok(Content::Image(blobs)) => blobs,
            Ok(Content::Index(_)) => return Ok(Found::LeftOut("it is an index within an index".to_owned())),
            Err(error) => return Ok(Found::LeftOut(error.to_string())),
        };
        // Proved beside the reading, to be quick; but what is left out needs no proof.
        let (config, proved) = tokio::join!(self.config(&blobs), self.prove(&digest, true));
        let config = match config? {
            Ok(Some(config)) => config,
            Ok(None) => return Ok(Found::Other),
            Err(why) => return Ok(Found::LeftOut(why)),
        };
        proved?;
        let Config { os, architecture, labels, diff_id, .. } = config;
        let image = Image { digest, media_type: manifest.media_type, os, architecture, labels, diff_id };
        Ok(Found::Image { kept: Kept { image, proved: [place].into() }, fresh: true })
    }

    /// The config of an image with these blobs; `None` for an attestation's. The inner error says what is wrong with it.
    async fn config(&self, blobs: &[Descriptor]) -> Result<Result<Option<Config>, String>, ReadError> {
        let Place { registry, repository } = self.at;
        let Some((wanted, layers)) = blobs.split_first() else {
            return Ok(Err("it has no config".to_owned()));
        };
        if wanted.size > CONFIG_BYTES_MAX {
            return Ok(Err(format!(
                "its config has {} bytes, at most {CONFIG_BYTES_MAX} are read",
                wanted.size
            )));
        }
        let bytes = match small_blob(registry, repository, wanted, CONFIG_BYTES_MAX).await {
            Ok(bytes) => bytes,
            Err(Error::NotFound { .. }) => {
                return Ok(Err(format!("{} doesn't have its config", registry.host())));
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Config::parse(&bytes).and_then(|config| match config {
            // Clients compare the two, and install nothing where they differ.
            Some(config) if config.layers != layers.len() || layers.is_empty() => {
                let (told, there) = (config.layers, layers.len());
                Err(format!("it has {there} layers where its config names {told}: clients refuse it"))
            }
            config => Ok(config),
        }))
    }

    /// Proves that anybody gets the manifest where clients will look, by GET and by HEAD: clients begin with a HEAD.
    /// `got`: it was got by digest from where it is read.
    async fn prove(&self, digest: &Digest, got: bool) -> Result<(), ReadError> {
        let Place { registry, repository } = self.clients;
        let missing =
            |why: String| ReadError::NotForClients { place: self.clients.name(), digest: *digest, why };
        let reference = (*digest).into();
        let get = async {
            if got && self.clients.name() == self.at.name() {
                return Ok(true);
            }
            registry.manifest_get(repository, &reference).await.map(|found| found.is_some())
        };
        match tokio::try_join!(registry.manifest_head(repository, &reference), get) {
            Ok((Some(_), true)) => Ok(()),
            Ok((None, _) | (_, false)) => Err(missing("not found".to_owned())),
            Err(Error::NotFound { what, .. }) => Err(missing(format!("no {what}"))),
            Err(Error::Unauthorized { why, .. } | Error::Denied { why, .. }) => Err(missing(why)),
            Err(error) => Err(error.into()),
        }
    }
}

impl Place<'_> {
    /// `quay.io/fedora/eog`
    fn name(&self) -> String {
        format!("{}/{}", self.registry.host(), self.repository)
    }
}

#[cfg(test)]
mod tests;
