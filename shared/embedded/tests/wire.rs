//! The real clients against the servers here, on a wire: one thread, paused time, no socket.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use flatbus_base::{Random, SimClock};
use flatbus_embedded::{Wire, registry};
use flatbus_http::{HostList, Settings};
use flatbus_oci::{
    Copied, Copier, CopySettings, Destination, HttpRegistry, NoProgress, RemoteSettings, Repository, Source,
    Tag,
    conformance::{self, Expect},
    testing::Recipe,
};
use jiff::Timestamp;

const CANDIDATE: &str = "candidate.test";
const PUBLIC: &str = "public.test";

/// Runs on paused time, with no driver of sockets there.
fn paused<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(work)
}

/// Two registries on a wire, and the clients of them.
struct World {
    wire: Wire,
    clock: Arc<SimClock>,
    candidate: registry::Registry,
    public: registry::Registry,
}

impl World {
    fn new(seed: u64) -> Self {
        let (wire, clock) = (Wire::new(), Arc::new(SimClock::starting_at(Timestamp::UNIX_EPOCH)));
        let settings = |seed| registry::Settings {
            clock: clock.clone(),
            random: Random::from_seed(seed),
            ..registry::Settings::default()
        };
        let candidate = registry::start_on(&wire, CANDIDATE, settings(seed));
        let public = registry::start_on(&wire, PUBLIC, settings(seed + 1));
        Self { wire, clock, candidate, public }
    }

    fn client(&self, host: &str, plain_http: bool) -> HttpRegistry {
        let settings = Settings { hosts: HostList::new([CANDIDATE, PUBLIC]), ..Settings::default() };
        let client = self.wire.client(settings, Random::from_seed(7), self.clock.clone()).unwrap();
        let settings = RemoteSettings { host: host.to_owned(), plain_http, ..RemoteSettings::default() };
        HttpRegistry::with_clock(client, settings, self.clock.clone()).unwrap()
    }

    async fn copy(&self) -> Result<Copied, flatbus_oci::Error> {
        let repository = repository();
        let image = Recipe::plain(1).make();
        image.push(&self.client(CANDIDATE, true), &repository, &[]).await.unwrap();
        let from = Source {
            registry: Arc::new(self.client(CANDIDATE, true)),
            repository: repository.clone(),
            digest: image.digest(),
        };
        let to = Destination {
            registry: Arc::new(self.client(PUBLIC, true)),
            repository: repository.clone(),
            mount_from: Vec::new(),
        };
        Copier::new(CopySettings::default()).copy(from, to, &[latest()], &NoProgress).await
    }
}

fn repository() -> Repository {
    "eog".parse().unwrap()
}

fn latest() -> Tag {
    "latest".parse().unwrap()
}

#[test]
fn an_image_is_copied_from_one_registry_to_another() {
    paused(async {
        let world = World::new(1);
        let copied = world.copy().await.unwrap();
        assert!(copied.blobs_copied > 0);
        assert!(world.candidate.content.tags("eog").unwrap().is_empty());
        assert!(world.public.content.tag("eog", "latest").is_some());
    });
}

#[test]
fn the_registry_on_a_wire_passes_the_suite() {
    paused(async {
        let world = World::new(1);
        for plain_http in [true, false] {
            let below = repository().join(if plain_http { "http" } else { "https" }).unwrap();
            let expect = Expect { tag_delete: true, resume: true };
            conformance::all(Arc::new(world.client(CANDIDATE, plain_http)), &below, expect).await;
            let (from, to) = (world.client(CANDIDATE, plain_http), world.client(PUBLIC, plain_http));
            conformance::copies(Arc::new(from), Arc::new(to), &below).await;
        }
    });
}
