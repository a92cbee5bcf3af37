//! The stage that each story is played on: four hosts on a wire, a broker, and the mirror as the program makes it. It owns
//! the ending of every story: what must hold then is looked at here, by somebody from outside, and nothing may be left.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    sync::Arc,
    thread,
    time::Duration,
};

use axum::body::Body;
use flatbus_base::{Clock, Random, Secret, SimClock};
use flatbus_bus::MemoryBus;
use flatbus_embedded::{
    Fault, Seen, Wire,
    bodhi::{self, Bodhi},
    koji::{self, Koji},
    registry::{self, Access, Content, Registry},
};
use flatbus_http::Client;
use flatbus_ledger::{Filter, KeyState, Ledger, MemoryFiles, MemoryStore};
use flatbus_mirror::{Config, Mirror, RawConfig, Secrets, http_settings};
use flatbus_oci::{AuthFile, Credentials, copy::CopySettings};
use flatbus_runtime::{Consumer, Ends, Failure, Manager, Parts, Settings, Unit, Unwatched};
use flatbus_schemas::{KeyParked, Message};
use flatbus_telemetry::metrics::{Counter, Metrics};
use http::Request;
use tokio::{runtime::Builder, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::{
    strike::{ALWAYS, Asked, Strikes},
    truth::{self, Build, Push},
    visitor::Visitor,
};

/// The hosts of the configuration.
pub const CANDIDATE: &str = "candidate.test";
pub const PUBLIC: &str = "public.test";
pub const KOJI: &str = "koji.test";
pub const BODHI: &str = "bodhi.test";
/// Where eog is in the destination.
pub const EOG: &str = "fedora/eog";

pub const MINUTE: Duration = Duration::from_secs(60);
pub const HOUR: Duration = Duration::from_secs(3600);

const QUEUE: &str = "mirror";
const USER: &str = "mirror";
const PASSWORD: &str = "secret";
/// Everything must be settled so long after the last fault: a key may be told to wait for a day.
const QUIET_WITHIN: Duration = Duration::from_secs(26 * 3600);
/// No request takes longer to arrive.
const LATENCY_MAX: Duration = Duration::from_millis(20);
/// Larger blobs go as a stream: a layer does, a config doesn't.
const SMALL_BLOB_BYTES_MAX: usize = 50_000;

/// What the stage is like.
pub struct Setting {
    /// More lines of the configuration.
    pub config: &'static str,
    /// The destination; shared with the stage.
    pub public: Arc<Content>,
    pub copies: CopySettings,
    /// How long a key may fail before a person must look.
    pub park_after: Duration,
}

impl Default for Setting {
    fn default() -> Self {
        let copies = CopySettings { small_blob_bytes_max: SMALL_BLOB_BYTES_MAX, ..CopySettings::default() };
        let park_after = Settings::default().park_after;
        Self { config: "", public: Content::in_memory(), copies, park_after }
    }
}

/// The stage while a story is played. It tells what was asked if the story fails, or if `FLATBUS_TELL` is set.
pub struct Stage {
    pub wire: Wire,
    pub candidate: Registry,
    pub public: Registry,
    pub koji: Koji,
    pub bodhi: Bodhi,
    pub clock: SimClock,
    strikes: Strikes,
    bus: MemoryBus,
    ledger: Ledger,
    door: axum::Router,
    metrics: Metrics,
    stop: CancellationToken,
    unit: JoinSet<Result<(), Failure>>,
    builds: BTreeMap<u32, Build>,
    pushes: Vec<(u32, Push)>,
    messages: u64,
    parkings: usize,
}

/// Plays a story on the usual stage. Answers everything that was asked meanwhile, to the byte.
pub fn story(tell: impl AsyncFnOnce(&mut Stage)) -> String {
    story_on(Setting::default(), tell)
}

/// Plays a story on a stage of its own.
pub fn story_on(setting: Setting, tell: impl AsyncFnOnce(&mut Stage)) -> String {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut stage = Stage::open(setting).await;
        tell(&mut stage).await;
        stage.end().await
    })
}

impl Stage {
    async fn open(setting: Setting) -> Self {
        let (wire, clock) = (Wire::new(), SimClock::starting_at("2022-09-14T02:47:00Z".parse().unwrap()));
        wire.set_latency(Random::from_seed(1), LATENCY_MAX);
        let guard =
            Access::Token { user: USER.into(), password: Secret::new(PASSWORD), lifetime: 5 * MINUTE };
        let candidate = registry_on(&wire, CANDIDATE, &clock, Access::Open, Content::in_memory());
        let public = registry_on(&wire, PUBLIC, &clock, guard, setting.public.clone());
        let koji = koji::start_on(&wire, KOJI, koji::Settings::default());
        let bodhi = bodhi::start_on(&wire, BODHI, bodhi::Settings::default());
        let strikes = Strikes::new(&clock);
        for (host, faults) in [
            (CANDIDATE, &candidate.faults),
            (PUBLIC, &public.faults),
            (KOJI, &koji.faults),
            (BODHI, &bodhi.faults),
        ] {
            strikes.watch(host, faults);
        }
        let (bus, stop) = (MemoryBus::new(), CancellationToken::new());
        let metrics = Metrics::new(Mirror::NAME);
        let settings = Settings { park_after: setting.park_after, ..Settings::of(QUEUE) };
        let parts = parts(&clock, &metrics, &stop);
        let unit = Unit::open(mirror(&wire, &clock, setting), settings, parts).await.unwrap();
        let (ledger, door) = (unit.ledger().clone(), unit.router());
        let ends = Ends {
            source: Box::new(bus.source(QUEUE)),
            publisher: Arc::new(bus.publisher("org.fedoraproject.prod")),
            socket: None,
            monitoring: None,
            local_door: None,
            manager: Manager::default(),
        };
        let mut running = JoinSet::new();
        running.spawn(unit.run(ends));
        let (builds, pushes) = (BTreeMap::new(), Vec::new());
        let stage = Self {
            wire,
            candidate,
            public,
            koji,
            bodhi,
            clock,
            strikes,
            bus,
            ledger,
            door,
            metrics,
            stop,
            unit: running,
            builds,
            pushes,
            messages: 0,
            parkings: 0,
        };
        stage.quiet().await; // The first survey finds nothing.
        stage
    }

    /// The fault strikes so many requests of a kind, to one host.
    pub fn strike(
        &self,
        host: &'static str,
        times: u64,
        kind: impl FnMut(&Seen) -> bool + Send + 'static,
        fault: Fault,
    ) {
        self.strike_by(host, times, kind, move |_| fault.clone());
    }

    /// Likewise, and something happens with it.
    pub fn strike_by(
        &self,
        host: &'static str,
        times: u64,
        kind: impl FnMut(&Seen) -> bool + Send + 'static,
        fault: impl FnMut(&Seen) -> Fault + Send + 'static,
    ) {
        self.strikes.arm(host, times, kind, fault);
    }

    /// The fault strikes every request of a kind, from now on for so long.
    pub fn strike_for(
        &self,
        time: Duration,
        host: &'static str,
        mut kind: impl FnMut(&Seen) -> bool + Send + 'static,
        fault: Fault,
    ) {
        let (clock, until) = (self.clock.clone(), self.clock.monotonic() + time);
        self.strike(host, ALWAYS, move |seen| clock.monotonic() < until && kind(seen), fault);
    }

    /// Whatever was broken is well again.
    pub fn mend(&self) {
        self.strikes.finish();
    }

    /// A build that Koji knows, its image in the candidate registry.
    pub fn build(&mut self, number: u32) -> Build {
        if let Some(build) = self.builds.get(&number) {
            return build.clone();
        }
        let build = Build::new(number, CANDIDATE);
        build.image.put(&self.candidate.content).unwrap();
        self.koji.builds.set(build.record.clone()).unwrap();
        self.builds.insert(number, build.clone());
        build
    }

    /// Bodhi pushes a build's update, and says so.
    pub fn push(&mut self, number: u32, push: Push) {
        let message = self.push_in_silence(number, push);
        self.deliver(message);
    }

    /// Bodhi pushes a build's update; the message is somewhere.
    pub fn push_in_silence(&mut self, number: u32, push: Push) -> Message {
        let (build, now) = (self.build(number), self.clock.wall());
        let update = truth::update(&build, push, now);
        self.bodhi.updates.set_update(update.clone()).unwrap();
        self.pushes.push((number, push));
        self.messages += 1;
        truth::pushed(self.messages, &update, push, now)
    }

    /// Koji says that a build is complete.
    pub fn complete(&mut self, number: u32) {
        let build = self.build(number);
        self.messages += 1;
        self.deliver(truth::completed(self.messages, &build, self.clock.wall()));
    }

    pub fn deliver(&self, message: Message) {
        self.bus.publish(message);
    }

    pub async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    /// Time passes until nothing is under way. What is parked stays so.
    pub async fn quiet(&self) {
        let until = self.clock.monotonic() + QUIET_WITHIN;
        let mut wait = Duration::from_secs(1);
        self.pass(wait).await;
        while !self.is_quiet() {
            assert!(self.clock.monotonic() < until, "never quiet: {:?}", self.keys(None));
            self.pass(wait).await;
            wait = (wait * 2).min(MINUTE);
        }
    }

    fn is_quiet(&self) -> bool {
        let counts = self.ledger.counts();
        counts.doubtful == counts.parked
            && counts.in_flight + counts.outbox == 0
            && self.bus.waiting(QUEUE) + self.bus.unacked(QUEUE) == 0
            && self.ledger.survey().owed.is_none()
    }

    /// How often a settle failed and was put off.
    pub fn put_off(&self) -> u64 {
        self.metrics.get(Counter::SettledRetried)
    }

    /// In the end nothing goes on without a person, who reads this of this key alone.
    pub async fn expect_parked(&mut self, key: &str, sentence: &str) {
        self.quiet().await;
        let parked = self.keys(Some(KeyState::Parked));
        assert_eq!(parked.keys().collect::<Vec<_>>(), [key], "{parked:?}");
        assert!(parked[key].contains(sentence), "{}", parked[key]);
        self.parkings += 1;
    }

    /// A person has everything that is parked tried again.
    pub async fn retry_all_parked(&self) {
        let request = Request::post("/keys/retry").header("content-type", "application/json");
        let request = request.body(Body::from(r#"{"all_parked": true}"#)).unwrap();
        assert!(self.door.clone().oneshot(request).await.unwrap().status().is_success());
    }

    /// What the tags of eog name now: the number of a build.
    pub fn tags(&self) -> BTreeMap<String, u32> {
        let number = |digest: &registry::Digest| {
            let named = self.builds.values().find(|build| build.image.index.digest == *digest);
            named.map_or(0, |build| build.number)
        };
        let tags = self.public.content.tags(EOG).unwrap_or_default();
        tags.iter().map(|(tag, digest)| (tag.clone(), number(digest))).collect()
    }

    /// When requests of a kind came to a host, since the story began.
    pub fn asked(&self, host: &str, kind: impl Fn(&Seen) -> bool) -> Vec<Duration> {
        let of = |asked: &Asked| (asked.host == host && kind(&asked.request)).then_some(asked.at);
        self.strikes.asked(of)
    }

    fn keys(&self, state: Option<KeyState>) -> BTreeMap<String, String> {
        let keys = self.ledger.list(&Filter { state, ..Filter::default() }, None, 100);
        keys.into_iter().map(|shown| (shown.key, shown.last_error.unwrap_or_default())).collect()
    }

    /// The end of every story.
    async fn end(mut self) -> String {
        self.quiet().await;
        self.strikes.finish();
        let exactly = self.strikes.exactly();
        assert_eq!(self.keys(None), BTreeMap::new(), "keys are left");
        assert_eq!(self.bus.unacked(QUEUE) + self.bus.waiting(QUEUE), 0, "messages are left");
        self.check_tags();
        self.check_told();
        Visitor::new(&self.wire, &self.clock).sees_all_of(&self.public.content).await;
        self.check_hosts();
        self.stop.cancel();
        while let Some(ended) = self.unit.join_next().await {
            ended.unwrap().unwrap();
        }
        exactly
    }

    /// What the newest pushes say, and nothing else but what is kept of those before.
    fn check_tags(&self) {
        let (desired, tags) = (self.desired(), self.tags());
        for (tag, number) in &desired {
            assert_eq!(tags.get(tag), Some(number), "{tag} of {tags:?}, desired {desired:?}");
        }
        let own: BTreeSet<String> = self.builds.values().flat_map(Build::own_tags).collect();
        let strange: Vec<_> =
            tags.keys().filter(|tag| !desired.contains_key(*tag) && !own.contains(*tag)).collect();
        assert!(strange.is_empty(), "{strange:?} of {tags:?}, desired {desired:?}");
    }

    /// The rule, as far as these stories go: pushes come in order, one build a version.
    fn desired(&self) -> BTreeMap<String, u32> {
        let stable = self.pushes.iter().rev().find(|(_, push)| *push == Push::Stable);
        let testing = self.pushes.iter().rev().find(|(_, push)| *push == Push::Testing).or(stable);
        let floating = [("latest", stable), ("testing", testing)];
        let mut tags = BTreeMap::new();
        for (tag, (number, _)) in floating.into_iter().filter_map(|(tag, push)| Some((tag, push?))) {
            tags.insert(tag.to_owned(), *number);
            tags.extend(self.builds[number].own_tags().map(|tag| (tag, *number)));
        }
        tags
    }

    /// What was last told of each tag is what it names, and a person was called only where a story says so.
    fn check_told(&self) {
        let mut told = BTreeMap::new();
        let mut parked = Vec::new();
        for said in self.bus.announced().into_iter().map(|outgoing| outgoing.announcement) {
            if said.topic == KeyParked::TOPIC {
                parked.push(said.body.to_string());
            } else {
                let text = |key: &str| said.body[key].as_str().map(str::to_owned);
                told.insert(text("tag").unwrap(), text("digest"));
            }
        }
        assert_eq!(parked.len(), self.parkings, "a person was called: {parked:?}");
        for (tag, number) in self.desired().iter().filter(|(tag, _)| !tag.starts_with("build-")) {
            let digest = self.builds[number].image.index.digest.as_str();
            assert_eq!(told.get(tag), Some(&Some(digest.to_owned())), "told of {tag}");
        }
    }

    fn check_hosts(&self) {
        let asked = self.wire.asked();
        let stranger = asked.keys().find(|host| ![CANDIDATE, PUBLIC, KOJI, BODHI].contains(&host.as_str()));
        assert_eq!(stranger, None, "a host outside of the list was contacted");
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if thread::panicking() || env::var_os("FLATBUS_TELL").is_some() {
            eprintln!("{}", self.strikes.told());
        }
    }
}

fn registry_on(wire: &Wire, host: &str, clock: &SimClock, access: Access, content: Arc<Content>) -> Registry {
    let random = Random::from_seed(u64::from(host.as_bytes()[0]));
    let clock = Arc::new(clock.clone());
    registry::start_on(
        wire,
        host,
        registry::Settings { access, clock, random, content, ..Default::default() },
    )
}

/// The mirror as the program makes it, but that layers of a few kilobytes go as streams.
fn mirror(wire: &Wire, clock: &SimClock, setting: Setting) -> Mirror {
    let config = format!(
        "destination = \"https://{PUBLIC}/fedora\"\n\
         koji = \"https://{KOJI}/kojihub\"\n\
         bodhi = \"https://{BODHI}/\"\n\
         sources = [{{ pull_spec = \"{CANDIDATE}/\", bytes_at = [\"https://{CANDIDATE}\"] }}]\n\
         budgets = [{{ host = \"{PUBLIC}\", requests_per_s = 50, burst = 50 }}]\n{}",
        setting.config
    );
    let config = Config::try_from(toml::from_str::<RawConfig>(&config).unwrap()).unwrap();
    let http = client(wire, clock, &config);
    let who = Credentials::Password { user: USER.to_owned(), password: Secret::new(PASSWORD) };
    let secrets = Secrets { registries: Some(Arc::new(AuthFile::single(PUBLIC, who))), quay: None };
    Mirror::from_config(config, &http, &secrets).unwrap().with_copies(setting.copies)
}

fn client(wire: &Wire, clock: &SimClock, config: &Config) -> Client {
    wire.client(http_settings(config), Random::from_seed(2), Arc::new(clock.clone())).unwrap()
}

fn parts(clock: &SimClock, metrics: &Metrics, stop: &CancellationToken) -> Parts {
    Parts {
        store: Arc::new(MemoryStore::default()),
        files: Arc::new(MemoryFiles::default()),
        set_aside: None,
        clock: Arc::new(clock.clone()),
        random: Random::from_seed(3),
        metrics: metrics.clone(),
        gather: Box::new(|_| {}),
        progress: Arc::new(Unwatched),
        stop: stop.clone(),
    }
}
