//! Somebody from outside, without credentials: what the tags name must be there for them, each byte of it.

use std::{collections::BTreeSet, sync::Arc};

use flatbus_base::{Random, SimClock};
use flatbus_embedded::{Wire, registry::Content};
use flatbus_http::{HostList, Settings};
use flatbus_oci::{
    Digest, HttpRegistry, Reference, Registry as _, RemoteSettings, Repository, Tag, manifest::Named,
};
use futures::TryStreamExt as _;

use super::hosts::{EOG, PUBLIC};

pub struct Visitor {
    registry: HttpRegistry,
    repository: Repository,
    seen: BTreeSet<Digest>,
}

impl Visitor {
    pub fn new(wire: &Wire, clock: &SimClock) -> Self {
        let clock = Arc::new(clock.clone());
        let settings = Settings { hosts: HostList::new([PUBLIC]), ..Settings::default() };
        let client = wire.client(settings, Random::from_seed(4), clock.clone()).unwrap();
        let settings = RemoteSettings { host: PUBLIC.to_owned(), ..RemoteSettings::default() };
        let registry = HttpRegistry::with_clock(client, settings, clock).unwrap();
        Self { registry, repository: EOG.parse().unwrap(), seen: BTreeSet::new() }
    }

    /// Fetches everything that a tag names.
    pub async fn sees_all_of(mut self, content: &Content) {
        for tag in content.tags(EOG).unwrap_or_default().keys() {
            self.sees(tag.parse::<Tag>().unwrap().into()).await;
        }
    }

    async fn sees(&mut self, reference: Reference) {
        let shown = reference.to_string();
        let manifest = self.registry.manifest_get(&self.repository, &reference).await.unwrap();
        let manifest = manifest.unwrap_or_else(|| panic!("{shown} is not there"));
        if !self.seen.insert(manifest.digest) {
            return;
        }
        match manifest.named(PUBLIC).unwrap() {
            Named::Index(children) => {
                for child in children {
                    Box::pin(self.sees(child.digest.into())).await;
                }
            }
            Named::Image(blobs) => {
                for blob in blobs {
                    self.fetches(blob.digest).await;
                }
            }
        }
    }

    async fn fetches(&mut self, digest: Digest) {
        if self.seen.insert(digest) {
            let blob = self.registry.blob_get(&self.repository, &digest, 0).await.unwrap();
            let chunks: Vec<_> = blob.chunks.try_collect().await.unwrap();
            assert_eq!(Digest::of(&chunks.concat()), digest, "the bytes of a blob");
        }
    }
}
