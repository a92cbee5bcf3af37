//! The real registry client and the copy engine against registries on a wire: one thread, paused time, no socket.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use flatbus_base::{Clock as _, Random, Remediable as _, Remedy, Secret, SimClock};
use flatbus_embedded::{
    Fault, Reach, Seen, Wire,
    registry::{self, Access},
};
use flatbus_http::{Client, Error as HttpError, HostList, Method, Request, Settings, StatusCode, header};
use flatbus_oci::{
    AuthFile, Copied, Copier, CopySettings, Credentials, Destination, Digest, Error, HttpRegistry,
    NoProgress, Registry as _, RemoteSettings, Repository, Source, Tag, UploadMode,
    conformance::{self, Expect},
    testing::{Recipe, Sample, noise},
};
use jiff::Timestamp;

const CANDIDATE: &str = "candidate.test";
const PUBLIC: &str = "public.test";

/// Runs on paused time, with no driver of sockets there.
fn paused<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(work)
}

/// Two registries on a wire, one of which holds an image, and clients of both.
struct World {
    wire: Wire,
    clock: Arc<SimClock>,
    candidate: registry::Registry,
    public: registry::Registry,
    image: Sample,
}

impl World {
    fn new(seed: u64) -> Self {
        Self::guarded(seed, Access::Open)
    }

    fn guarded(seed: u64, access: Access) -> Self {
        let (wire, clock) = (Wire::new(), Arc::new(SimClock::starting_at(Timestamp::UNIX_EPOCH)));
        let settings = |seed, access| registry::Settings {
            access,
            clock: clock.clone(),
            random: Random::from_seed(seed),
            ..registry::Settings::default()
        };
        let candidate = registry::start_on(&wire, CANDIDATE, settings(seed, Access::Open));
        let public = registry::start_on(&wire, PUBLIC, settings(seed + 1, access));
        let image = Recipe { layer_bytes: 300_000, ..Recipe::plain(1) }.make();
        for blob in &image.blobs {
            candidate.content.put_blob("eog", blob).unwrap();
        }
        for manifest in image.manifests.iter().chain([&image.index]) {
            let bytes = manifest.bytes.clone();
            candidate.content.put_manifest("eog", None, &manifest.media_type, bytes).unwrap();
        }
        Self { wire, clock, candidate, public, image }
    }

    fn http(&self) -> Client {
        let settings = Settings { hosts: HostList::new([CANDIDATE, PUBLIC]), ..Settings::default() };
        self.wire.client(settings, Random::from_seed(7), self.clock.clone()).unwrap()
    }

    fn client(&self, host: &str, plain_http: bool) -> HttpRegistry {
        let who = Credentials::Password { user: "mirror".to_owned(), password: Secret::new("secret") };
        let credentials = Some(Arc::new(AuthFile::single(PUBLIC, who)));
        let settings =
            RemoteSettings { host: host.to_owned(), plain_http, credentials, ..Default::default() };
        HttpRegistry::with_clock(self.http(), settings, self.clock.clone()).unwrap()
    }

    async fn copy(&self) -> Result<Copied, Error> {
        let from = Source {
            registry: Arc::new(self.client(CANDIDATE, true)),
            repository: repository(),
            digest: self.image.digest(),
        };
        let to = Destination {
            registry: Arc::new(self.client(PUBLIC, true)),
            repository: repository(),
            mount_from: Vec::new(),
        };
        let upload = UploadMode::Stream;
        let settings = CopySettings { upload, small_blob_bytes_max: 100_000, ..CopySettings::default() };
        Copier::new(settings).copy(from, to, &[latest()], &NoProgress).await
    }

    fn expect_whole(&self) {
        let public = &self.public.content;
        assert_eq!(public.tag("eog", "latest").unwrap().as_str(), self.image.digest().to_string());
        for blob in &self.image.blobs {
            assert!(public.has_blob("eog", &Digest::of(blob).to_string().parse().unwrap()));
        }
    }

    fn blob_url(&self) -> flatbus_http::Url {
        let digest = Digest::of(&self.image.blobs[0]);
        format!("http://{CANDIDATE}/v2/eog/blobs/{digest}").parse().unwrap()
    }

    /// What was done, and the time it took.
    async fn timed<T>(&self, work: impl Future<Output = T>) -> (T, Duration) {
        let began = self.clock.monotonic();
        let done = work.await;
        (done, self.clock.monotonic() - began)
    }
}

fn repository() -> Repository {
    "eog".parse().unwrap()
}

fn latest() -> Tag {
    "latest".parse().unwrap()
}

/// What happens to a world, made from it.
type Event = fn(&World) -> Box<dyn FnMut() + Send>;

/// A fault for the first so many requests of a kind.
fn first(
    times: u32,
    kind: impl Fn(&Seen) -> bool + Send + 'static,
    fault: Fault,
) -> impl FnMut(&Seen) -> Fault + Send {
    let mut left = times;
    move |seen| {
        if left == 0 || !kind(seen) {
            return Fault::None;
        }
        left -= 1;
        fault.clone()
    }
}

fn is(method: Method, part: &'static str) -> impl Fn(&Seen) -> bool + Send {
    move |seen| seen.method == method && seen.path.contains(part)
}

#[test]
fn an_image_is_copied_from_one_registry_to_another() {
    paused(async {
        let world = World::new(1);
        let copied = world.copy().await.unwrap();
        assert_eq!(copied.blobs_copied, world.image.blobs.len() as u64);
        world.expect_whole();
        assert_eq!(world.wire.asked().into_keys().collect::<Vec<_>>(), [CANDIDATE, PUBLIC]);
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

/// Each of these passes, so that the copy ends whole; each is seen by the client as it would be over sockets.
#[test]
fn passing_faults_of_either_side_cost_only_time() {
    let limited = StatusCode::TOO_MANY_REQUESTS;
    let broken = [
        Fault::status(StatusCode::INTERNAL_SERVER_ERROR),
        Fault::status(StatusCode::BAD_GATEWAY),
        Fault::retry_after(StatusCode::SERVICE_UNAVAILABLE, Duration::from_secs(20)),
        Fault::status(limited),
        Fault::HangUp,
        Fault::HangUpAfter,
        Fault::Stall,
        Fault::Late(Duration::from_secs(100)),
        Fault::StallAnswer { after: 1000 },
        Fault::CutAnswer { after: 1000 },
        Fault::CutRequest { after: 1000 },
    ];
    for fault in broken {
        for kind in
            [(Method::GET, "/blobs/"), (Method::POST, "/uploads/"), (Method::PATCH, ""), (Method::PUT, "")]
        {
            paused(async {
                let world = World::new(1);
                for registry in [&world.candidate, &world.public] {
                    registry.faults.set(first(1, is(kind.0.clone(), kind.1), fault.clone()));
                }
                let mut copied = world.copy().await;
                for _ in 0..3 {
                    // What a client can't know to be harmless is tried again by the ledger.
                    if copied.is_err() {
                        copied = world.copy().await;
                    }
                }
                assert!(copied.is_ok(), "{fault:?} at {kind:?}: {copied:?}");
                world.expect_whole();
            });
        }
    }
}

#[test]
fn wrong_bytes_and_wrong_lengths_are_found_out_and_nothing_is_tagged() {
    let wrong = [
        Fault::Corrupt,
        Fault::Length(10),
        Fault::edit(|bytes| bytes.slice(..bytes.len() / 2)),
        Fault::edit(|bytes| [bytes, Bytes::from_static(b"more")].concat().into()),
    ];
    for fault in wrong {
        paused(async {
            let world = World::new(1);
            world.candidate.faults.set(first(u32::MAX, is(Method::GET, "/blobs/"), fault.clone()));
            let copied = world.copy().await;
            assert!(copied.is_err(), "{fault:?}");
            assert_eq!(world.public.content.tag("eog", "latest"), None);
        });
    }
}

#[test]
fn a_stalled_body_ends_by_the_read_time_out_and_costs_no_real_time() {
    paused(async {
        let world = World::new(1);
        world.candidate.faults.set(|_| Fault::StallAnswer { after: 10 });
        let answer = world.http().send(Request::get(world.blob_url())).await.unwrap();
        let (read, took) = world.timed(answer.bytes(1 << 20)).await;
        assert!(matches!(read, Err(HttpError::Timeout { .. })), "{read:?}");
        assert_eq!(took, Settings::default().read_timeout);
    });
}

#[test]
fn a_told_wait_is_waited_for() {
    paused(async {
        let world = World::new(1);
        let told = Fault::retry_after(StatusCode::TOO_MANY_REQUESTS, Duration::from_secs(25));
        world.candidate.faults.set(first(2, |_| true, told));
        let (answer, took) = world.timed(world.http().send(Request::get(world.blob_url()))).await;
        assert_eq!(answer.unwrap().status, StatusCode::OK);
        assert!(took >= Duration::from_secs(50) && took < Duration::from_secs(60), "{took:?}");
    });
}

#[test]
fn a_redirect_to_a_host_that_is_not_allowed_is_not_followed() {
    paused(async {
        let world = World::new(1);
        world.candidate.faults.set(|_| Fault::Redirect { base: "http://elsewhere.test".to_owned() });
        let sent = world.http().send(Request::get(world.blob_url())).await;
        assert!(matches!(sent, Err(HttpError::ForbiddenHost { host }) if host == "elsewhere.test"));
        world.candidate.faults.set(|_| Fault::Redirect { base: format!("http://{CANDIDATE}") });
        let sent = world.http().send(Request::get(world.blob_url())).await;
        assert!(matches!(sent, Err(HttpError::RedirectLoop { .. })));
        assert_eq!(world.wire.asked().into_keys().collect::<Vec<_>>(), [CANDIDATE]);
    });
}

#[test]
fn a_host_that_is_down_is_told_apart_from_one_that_breaks_off() {
    paused(async {
        let world = World::new(1);
        let get =
            || async { world.http().send(Request::get(world.blob_url())).await.map(|answer| answer.status) };
        for reach in [Reach::Refused, Reach::Silent] {
            world.wire.set(CANDIDATE, reach);
            assert!(matches!(get().await, Err(HttpError::Connect { .. })), "{reach:?}");
        }
        world.wire.set(CANDIDATE, Reach::Up);
        assert_eq!(get().await, Ok(StatusCode::OK));

        let answer = world.http().send(Request::get(world.blob_url())).await.unwrap();
        world.wire.cut(CANDIDATE);
        assert!(matches!(answer.bytes(1 << 20).await, Err(HttpError::Cut { .. })), "a body under way");
        world.candidate.faults.set(first(1, |_| true, Fault::Stall));
        let cut = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            world.wire.cut_all();
        };
        let (answer, ()) = futures::join!(get(), cut);
        assert_eq!(answer, Ok(StatusCode::OK), "asked again after the cut");
        drop(world.candidate);
        let gone = world.wire.client(
            Settings { hosts: HostList::new([CANDIDATE]), ..Settings::default() },
            Random::from_seed(1),
            world.clock.clone(),
        );
        let url = format!("http://{CANDIDATE}/v2/").parse().unwrap();
        assert!(matches!(gone.unwrap().send(Request::get(url)).await, Err(HttpError::Connect { .. })));
    });
}

#[test]
fn an_outage_in_mid_copy_ends_in_time_and_the_copy_is_taken_up() {
    paused(async {
        let world = World::new(1);
        let outage = async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            world.wire.set(PUBLIC, Reach::Refused);
            world.wire.cut(PUBLIC);
        };
        world.wire.set_latency(Random::from_seed(3), Duration::from_millis(2));
        let (copied, ()) = futures::join!(world.copy(), outage);
        assert!(copied.is_err());
        tokio::time::sleep(Duration::from_secs(3600)).await;
        world.wire.set(PUBLIC, Reach::Up);
        world.copy().await.unwrap();
        world.expect_whole();
    });
}

#[test]
fn what_an_upload_got_before_its_writer_went_is_kept() {
    paused(async {
        let world = World::new(1);
        let (registry, eog) = (world.client(PUBLIC, true), repository());
        let bytes = noise(500_000, 1, "half");
        let mut upload = registry.upload_begin(&eog).await.unwrap();
        let (half, stuck) = (bytes.slice(..250_000), futures::stream::pending());
        let chunks = futures::StreamExt::chain(futures::stream::iter([Ok(half)]), stuck);
        let sent = {
            let chunks = futures::StreamExt::boxed(chunks);
            let sending = registry.upload_stream(&eog, &mut upload, 0, Some(500_000), chunks);
            tokio::time::timeout(Duration::from_secs(5), sending).await
        };
        assert!(sent.is_err(), "given up in the middle");
        assert_eq!(registry.upload_status(&eog, &mut upload).await, Ok(Some(250_000)));
    });
}

#[test]
fn what_happens_within_a_copy_is_lived_through() {
    let token = || Access::Token {
        user: "mirror".to_owned(),
        password: Secret::new("secret"),
        lifetime: Duration::from_secs(60),
    };
    let events: [(&str, Event); 2] = [
        ("tokens expire", |world| {
            let control = world.public.control();
            Box::new(move || control.expire_tokens())
        }),
        ("uploads are forgotten", |world| {
            let control = world.public.control();
            Box::new(move || control.forget_uploads())
        }),
    ];
    for (name, event) in events {
        for number in 1..30 {
            paused(async {
                let world = World::guarded(1, token());
                let mut event = event(&world);
                world.public.faults.set(move |seen| {
                    if seen.number == number {
                        event();
                    }
                    Fault::None
                });
                let copied = world.copy().await;
                if let Err(error) = copied {
                    assert_eq!(error.remedy(), Remedy::Retry, "{name} before request {number}: {error}");
                    assert_eq!(world.public.content.tag("eog", "latest"), None);
                    world.copy().await.unwrap();
                }
                world.expect_whole();
            });
        }
    }
}

#[test]
fn what_vanishes_within_a_copy_leaves_nothing_tagged() {
    let vanish: [Event; 3] = [
        |world| {
            let content = world.candidate.content.clone();
            let digest = world.image.manifests[1].digest.to_string().parse().unwrap();
            Box::new(move || _ = content.remove_manifest("eog", &digest))
        },
        |world| {
            let content = world.candidate.content.clone();
            let digest = Digest::of(&world.image.blobs[1]).to_string().parse().unwrap();
            Box::new(move || _ = content.remove_blob("eog", &digest))
        },
        |world| {
            let wire = world.wire.clone();
            Box::new(move || wire.set(CANDIDATE, Reach::Refused))
        },
    ];
    for vanish in vanish {
        paused(async {
            let world = World::new(1);
            let mut vanish = vanish(&world);
            world.candidate.faults.set(move |_| {
                vanish();
                Fault::None
            });
            assert!(world.copy().await.is_err());
            assert_eq!(world.public.content.tag("eog", "latest"), None);
        });
    }
}

#[test]
fn a_server_that_is_gone_leaves_nothing_behind() {
    paused(async {
        let world = World::new(1);
        let (held, wire) = (Arc::new(()), world.wire.clone());
        let hold = (held.clone(), wire.clone(), world.http());
        world.candidate.faults.set(move |_| {
            let _held = &hold;
            Fault::Stall
        });
        let http = world.http();
        let asked = http.send(Request::get(world.blob_url()));
        assert!(tokio::time::timeout(Duration::from_secs(1), asked).await.is_err());
        drop(http);
        drop(world);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(Arc::strong_count(&held), 1, "not even a request that its asker gave up");
    });
}

#[test]
fn a_mount_that_is_none_and_a_place_that_is_not_told() {
    paused(async {
        let world = World::new(1);
        let (registry, digest) = (world.client(CANDIDATE, true), Digest::of(&world.image.blobs[0]));
        let (to, from) = ("other".parse().unwrap(), repository());
        world.candidate.faults.set(|seen| match seen.query.is_empty() {
            true => Fault::None,
            false => Fault::Instead { target: seen.path.clone() },
        });
        let mounted = registry.mount(&to, &digest, &from).await.unwrap();
        assert!(matches!(mounted, flatbus_oci::Mounted::Upload(_)), "202 on mount");
        world.candidate.faults.set(|_| Fault::DropHeader(header::LOCATION));
        assert!(registry.upload_begin(&to).await.is_err());
    });
}

/// Everything that was asked, with its headers, and when.
async fn history(seed: u64) -> Vec<String> {
    let world = World::guarded(
        1,
        Access::Token {
            user: "mirror".to_owned(),
            password: Secret::new("secret"),
            lifetime: Duration::from_secs(60),
        },
    );
    let random = Random::from_seed(seed);
    world.wire.set_latency(random.clone(), Duration::from_millis(50));
    let log = Arc::new(Mutex::new(Vec::new()));
    for registry in [&world.candidate, &world.public] {
        let (log, random, clock, name) = (log.clone(), random.clone(), world.clock.clone(), registry.host());
        registry.faults.set(move |seen| {
            log.lock().unwrap().push(format!("{} {name} {seen:?}", clock.wall()));
            match random.below(12) {
                0 => Fault::status(StatusCode::BAD_GATEWAY),
                1 => Fault::CutAnswer { after: random.below(1000) },
                2 => Fault::CutRequest { after: random.below(1000) },
                3 => Fault::HangUpAfter,
                4 => Fault::Stall,
                _ => Fault::None,
            }
        });
    }
    for _ in 0..3 {
        let ended = world.copy().await;
        log.lock().unwrap().push(format!("{ended:?}"));
    }
    log.lock().unwrap().clone()
}

#[test]
fn one_seed_repeats_a_history_to_the_byte() {
    let histories: BTreeSet<_> = (1..=50)
        .map(|seed| {
            let told = paused(history(seed));
            assert_eq!(told, paused(history(seed)), "seed {seed}");
            told
        })
        .collect();
    assert_eq!(histories.len(), 50, "another seed, another history");
}
