//! The stage of the real run, with every line of the unit through a proxy. Whoever publishes, listens and judges goes
//! straight to the servers.

use std::{fs, net::SocketAddr, time::Duration};

use flatbus_base::{Clock as _, Random, SystemClock};
use tempfile::TempDir;
use toml::{Table, Value};

use super::{
    lines::{BROKER_CONNECTIONS_MAX, BROKER_PARAMETERS, Lines, POOLED_MAX, SETTLE_TIMEOUT, Servers},
    process::{self, Held},
};
use crate::{
    rabbitmq::{Rabbit, free_ports},
    registry::DockerRegistry,
    run::{
        python::{Listener, Publisher, Python},
        unit::{Mirror, Places, QUEUE},
        until,
        world::World,
    },
};

const VHOST: &str = "test0";
const FLATPAK_UPDATE: &str = "FEDORA-FLATPAK-";
const PROBE: &str = "org.fedoraproject.prod.flatbus.probe.mirror";
/// Longest from calm to nothing left to do: a connection that stalled unseen is found by the one that needs it next and
/// is given up with its settle, some of them in a row; a broker that was away is asked again after half a minute.
pub const CALM_MAX: Duration = Duration::from_secs(120);
/// Longest until threads and descriptors that are not needed any more are gone: an idle thread of the pool lives for 10 s.
const GONE_MAX: Duration = Duration::from_secs(30);

/// Everybody on the stage. Ended from the top: who asks goes before who answers.
pub struct Stage {
    pub mirror: Mirror,
    pub publisher: Publisher,
    pub listener: Listener,
    pub lines: Lines,
    pub world: World,
    _candidate: DockerRegistry,
    pub public: DockerRegistry,
    rabbit: Rabbit,
    dir: TempDir,
    /// What was published of Flatpaks' updates, to be published again.
    said: Vec<String>,
}

impl Stage {
    pub fn set() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let python = Python::find(dir.path());
        let (candidate, public) = (DockerRegistry::start(), DockerRegistry::start());
        let rabbit = Rabbit::start();
        let world = World::new();
        world.push_images(&candidate.host());
        let lines = Lines::start(&Servers {
            broker: SocketAddr::from(([127, 0, 0, 1], rabbit.amqp_port)),
            candidate: candidate.host().parse().unwrap(),
            public: public.host().parse().unwrap(),
            koji: address(&world.koji_url()),
            bodhi: address(&world.bodhi_url()),
        });
        let [monitoring, hearing] = free_ports();
        let mirror = configured(&dir, monitoring, &lines);
        let listener = python.listener(&rabbit.url(VHOST), hearing);
        let publisher = python.publisher(&rabbit.url(VHOST));
        let said = Vec::new();
        Self { mirror, publisher, listener, lines, world, _candidate: candidate, public, rabbit, dir, said }
    }

    /// Plays the real history so far, in percent of its messages.
    pub fn play_to(&mut self, percent: u64) {
        let Self { world, publisher, said, .. } = self;
        world.play_to(usize::try_from(percent).unwrap(), |line| {
            publisher.publish(line);
            said.extend(line.contains(FLATPAK_UPDATE).then(|| line.to_owned()));
        });
    }

    /// Plays what is told after it.
    pub fn play_encore(&mut self) {
        let publisher = &mut self.publisher;
        self.world.play_encore(|line| publisher.publish(line));
    }

    /// Some of what was published of Flatpaks, once more: harmless, and work for every line but that to the candidates.
    pub fn repeat(&mut self, random: &Random, times: usize) {
        for _ in 0..times {
            let at = usize::try_from(random.below(self.said.len() as u64)).unwrap();
            self.publisher.publish(&self.said[at]);
        }
    }

    /// Waits until there is nothing to do, and tells how long that took.
    pub fn until_calm(&self) -> Duration {
        let began = SystemClock.monotonic();
        self.mirror.until_calm(CALM_MAX);
        SystemClock.monotonic() - began
    }

    /// Nothing waits in the queue, acknowledged or not.
    pub fn until_queue_is_empty(&self) {
        let empty = || {
            let queues = self.rabbit.ctl(&["list_queues", "--quiet", "-p", VHOST, "name", "messages"]);
            queues.lines().any(|line| line.split_whitespace().eq([QUEUE, "0"])).then_some(())
        };
        until("the queue is empty", CALM_MAX, || self.mirror.log(), empty);
    }

    /// Waits until it consumes and publishes.
    pub fn until_connected(&self) {
        let both = || (self.lines.broker.open() == BROKER_CONNECTIONS_MAX).then_some(());
        until("the broker has both connections", CALM_MAX, || self.mirror.log(), both);
    }

    /// What the unit holds now.
    pub fn held(&self) -> Held {
        let config = self.dir.path().join("mirror.toml").display().to_string();
        Held::by(process::find(&[&config, "run", "mirror"]))
    }

    /// Waits until the unit holds no more than it did, but for the connections that the proxies know of, and of these
    /// no more than are kept on purpose.
    pub fn until_as_before(&self, before: &Before) {
        let told = || {
            format!("{:?}, {} of them the lines'; before: {before:?}", self.held(), self.lines.descriptors())
        };
        let as_before = || {
            let pooled = self.lines.http().iter().all(|proxy| proxy.open() <= POOLED_MAX);
            let broker = self.lines.broker.open() <= BROKER_CONNECTIONS_MAX;
            (pooled && broker && Before::of(self).is_no_more_than(before)).then_some(())
        };
        until("threads and descriptors are as before", GONE_MAX, told, as_before);
    }
}

/// What the unit holds that doesn't come and go with the lines.
#[derive(Debug, Clone)]
pub struct Before {
    threads: usize,
    broker_threads: usize,
    sockets: i64,
    other_descriptors: usize,
}

impl Before {
    pub fn of(stage: &Stage) -> Self {
        let held = stage.held();
        let count = |number: usize| i64::try_from(number).unwrap();
        Self {
            threads: held.threads(),
            broker_threads: held.threads_named("lapin-io-loop"),
            sockets: count(held.sockets()) - count(stage.lines.descriptors()),
            other_descriptors: held.other_descriptors(),
        }
    }

    fn is_no_more_than(&self, before: &Self) -> bool {
        self.threads <= before.threads
            && self.broker_threads <= before.broker_threads
            && self.sockets <= before.sockets
            && self.other_descriptors <= before.other_descriptors
    }
}

/// The unit of the real run, told of the proxies and of time-outs that a test has the time for.
fn configured(dir: &TempDir, monitoring: u16, lines: &Lines) -> Mirror {
    let places = Places {
        broker: &format!("amqp://guest:guest@{}/{VHOST}?{BROKER_PARAMETERS}", lines.broker.host()),
        candidate: &lines.candidate.host(),
        public: &lines.public.host(),
        koji: &format!("http://{}/kojihub", lines.koji.host()),
        bodhi: &format!("http://{}", lines.bodhi.host()),
    };
    let mirror = Mirror::configure(dir.path(), monitoring, &places);
    let file = dir.path().join("mirror.toml");
    let mut config: Table = fs::read_to_string(&file).unwrap().parse().unwrap();
    let runtime = config["consumer_config"]["runtime"].as_table_mut().unwrap();
    let timeout_s = i64::try_from(SETTLE_TIMEOUT.as_secs()).unwrap();
    runtime.insert("settle_timeout_s".to_owned(), Value::Integer(timeout_s));
    // Only where a round asks for one: a survey's time-outs are others.
    runtime.insert("survey_every_s".to_owned(), Value::Integer(86_400));
    // So that something is published, and consumed, all the time.
    runtime.insert("probe_every_s".to_owned(), Value::Integer(1));
    let routing_keys = config["bindings"][0]["routing_keys"].as_array_mut().unwrap();
    routing_keys.push(Value::String(PROBE.to_owned()));
    fs::write(&file, config.to_string()).unwrap();
    mirror
}

fn address(url: &str) -> SocketAddr {
    let (host, _) = url.strip_prefix("http://").unwrap().split_once('/').unwrap_or((&url[7..], ""));
    host.parse().unwrap()
}
