//! The stage that each story is played on, and the words to tell it with. Its hosts are on a wire, its time is paused, and
//! it owns the ending of every story.

use std::{collections::BTreeMap, env, sync::Arc, thread, time::Duration};

use flatbus_base::{Clock, Random, SimClock};
use flatbus_embedded::{
    Fault, Seen,
    registry::{Content, Digest},
};
use flatbus_ledger::KeyState;
use flatbus_oci::CopySettings;
use flatbus_runtime::Settings;
use flatbus_schemas::Message;
use tokio::runtime::Builder;

use super::{
    hosts::{EOG, Hosts},
    strike::{ALWAYS, Asked, Strikes},
    truth::{self, Build, Push},
    unit::Running,
};

pub const MINUTE: Duration = Duration::from_secs(60);
pub const HOUR: Duration = Duration::from_secs(3600);

/// When every story begins.
const START: &str = "2022-09-14T02:47:00Z";
/// Everything must be settled so long after the last fault: a key may be told to wait for a day.
const QUIET_WITHIN: Duration = Duration::from_secs(26 * 3600);
/// No request takes longer to arrive.
const LATENCY_MAX: Duration = Duration::from_millis(20);
/// Larger blobs go as a stream: a layer does, a config does not.
const SMALL_BLOB_BYTES_MAX: usize = 50_000;

/// What a stage is like.
pub struct Setting {
    /// More lines of the configuration.
    pub config: &'static str,
    /// What the destination holds.
    pub public: Arc<Content>,
    /// About so many bytes has a layer.
    pub layer_bytes: u64,
    /// How blobs are sent.
    pub copies: CopySettings,
    /// How long a key may fail before a person must look.
    pub park_after: Duration,
}

impl Default for Setting {
    fn default() -> Self {
        let copies = CopySettings { small_blob_bytes_max: SMALL_BLOB_BYTES_MAX, ..CopySettings::default() };
        let park_after = Settings::default().park_after;
        Self { config: "", public: Content::in_memory(), layer_bytes: 60_000, copies, park_after }
    }
}

/// The stage while a story is played. It tells what was asked if the story fails, or if `FLATBUS_TELL` is set.
pub struct Stage {
    pub hosts: Hosts,
    pub(super) clock: SimClock,
    pub(super) strikes: Strikes,
    pub(super) unit: Option<Running>,
    pub(super) builds: BTreeMap<u32, Build>,
    pub(super) pushes: Vec<(u32, Push)>,
    pub(super) parkings: usize,
    layer_bytes: u64,
    messages: u64,
}

/// Plays a story on the usual stage. Answers everything that was asked in it, to the byte.
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
        let clock = SimClock::starting_at(START.parse().unwrap());
        let hosts = Hosts::new(&clock, setting.public.clone());
        hosts.wire.set_latency(Random::from_seed(1), LATENCY_MAX);
        let strikes = Strikes::new(&clock);
        hosts.watched_by(&strikes);
        let layer_bytes = setting.layer_bytes;
        let unit = Some(Running::start(&hosts.wire, &clock, setting).await);
        let (builds, pushes) = (BTreeMap::new(), Vec::new());
        let stage =
            Self { hosts, clock, strikes, unit, builds, pushes, parkings: 0, layer_bytes, messages: 0 };
        stage.quiet().await; // The first survey finds nothing.
        stage
    }

    fn unit(&self) -> &Running {
        self.unit.as_ref().unwrap()
    }
}

/// Faults.
impl Stage {
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
}

/// What Fedora does.
impl Stage {
    /// A build that Koji knows, its image in the candidate registry.
    pub fn build(&mut self, number: u32) -> Build {
        if let Some(build) = self.builds.get(&number) {
            return build.clone();
        }
        let build = Build::number(number, self.layer_bytes);
        build.image.put(&self.hosts.candidate.content).unwrap();
        self.hosts.koji.builds.set(build.record.clone()).unwrap();
        self.builds.insert(number, build.clone());
        build
    }

    /// Koji says that a build is complete.
    pub fn complete(&mut self, number: u32) {
        let build = self.build(number);
        self.messages += 1;
        self.deliver(truth::completed(self.messages, &build, self.clock.wall()));
    }

    /// Bodhi pushes a build's update, and says so.
    pub fn push(&mut self, number: u32, push: Push) {
        let message = self.push_in_silence(number, push);
        self.deliver(message);
    }

    /// Bodhi pushes a build's update; the message is on its way.
    pub fn push_in_silence(&mut self, number: u32, push: Push) -> Message {
        let (build, now) = (self.build(number), self.clock.wall());
        let update = truth::update(&build, push, now);
        self.hosts.bodhi.updates.set_update(update.clone()).unwrap();
        self.pushes.push((number, push));
        self.messages += 1;
        truth::pushed(self.messages, &update, push, now)
    }

    pub fn deliver(&self, message: Message) {
        self.unit().deliver(message);
    }
}

/// Time, and what is seen when it has passed.
impl Stage {
    pub async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    /// Time passes until nothing is under way. What is parked stays so.
    pub async fn quiet(&self) {
        let until = self.clock.monotonic() + QUIET_WITHIN;
        let mut wait = Duration::from_secs(1);
        self.pass(wait).await;
        while !self.unit().is_quiet() {
            assert!(self.clock.monotonic() < until, "never quiet: {:?}", self.unit().keys(None));
            self.pass(wait).await;
            wait = (wait * 2).min(MINUTE);
        }
    }

    /// In the end nothing goes on without a person, who reads this of this key alone.
    pub async fn expect_parked(&mut self, key: &str, sentence: &str) {
        self.quiet().await;
        let parked = self.unit().keys(Some(KeyState::Parked));
        assert_eq!(parked.keys().collect::<Vec<_>>(), [key], "{parked:?}");
        assert!(parked[key].contains(sentence), "{}", parked[key]);
        self.parkings += 1;
    }

    /// In the end a person has tried again whatever is parked.
    pub async fn a_person_looks(&mut self) {
        self.quiet().await;
        self.parkings += self.unit().keys(Some(KeyState::Parked)).len();
        self.retry_all_parked().await;
    }

    /// A person has everything that is parked tried again.
    pub async fn retry_all_parked(&self) {
        self.unit().ask("/keys/retry", r#"{"all_parked": true}"#).await;
    }

    /// A person has everything looked at.
    pub async fn survey(&self) {
        self.unit().ask("/survey", r#"{"full": true}"#).await;
        self.quiet().await;
    }

    /// How often a settle failed and was put off.
    pub fn put_off(&self) -> u64 {
        self.unit().put_off()
    }

    /// What the tags of eog name now: the number of a build.
    pub fn tags(&self) -> BTreeMap<String, u32> {
        let number = |digest: &Digest| {
            let named = self.builds.values().find(|build| build.image.index.digest == *digest);
            named.map_or(0, |build| build.number)
        };
        let tags = self.hosts.public.content.tags(EOG).unwrap_or_default();
        tags.iter().map(|(tag, digest)| (tag.clone(), number(digest))).collect()
    }

    /// How many requests came, to whomever.
    pub fn requests(&self) -> usize {
        self.strikes.asked(|_| Some(())).len()
    }

    /// When requests of a kind came to a host, since the story began.
    pub fn asked(&self, host: &str, kind: impl Fn(&Seen) -> bool) -> Vec<Duration> {
        let of = |asked: &Asked| (asked.host == host && kind(&asked.request)).then_some(asked.at);
        self.strikes.asked(of)
    }
}

impl Drop for Stage {
    #[expect(clippy::print_stderr, reason = "a story that fails is told to a person")]
    fn drop(&mut self) {
        if thread::panicking() || env::var_os("FLATBUS_TELL").is_some() {
            eprintln!("{}", self.strikes.told());
        }
    }
}
