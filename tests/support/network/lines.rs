//! Every line that the unit has to the world, each through a proxy, with how long it may put up with silence on it.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use tokio::{
    runtime::{Builder, Runtime},
    time::Instant,
};

use crate::{
    proxy::{Course, Fate, Fault, Plan, Proxy, Silence, When},
    run::until,
};

/// The broker is dead after two heartbeats without a byte, or when a handshake takes longer.
pub const BROKER_PARAMETERS: &str = "heartbeat=2&socket_timeout=2&stack_timeout=4&retry_delay=0.2";
const BROKER_UNHEARD_MAX: Duration = Duration::from_secs(4);
/// Where the broker alone hears nothing, it is the broker who notices, after three heartbeats at the latest.
const BROKER_NOTICES_MAX: Duration = Duration::from_secs(6);
/// `settle_timeout_s`: what a settle waits for is given up with it.
pub const SETTLE_TIMEOUT: Duration = Duration::from_secs(5);
/// The HTTP client's own, which is no setting: who isn't within a settle waits so long.
pub const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// For a busy machine to get round to it, and for the proxy to see it.
pub const SLACK: Duration = Duration::from_millis(2_500);
/// Connections that the HTTP client keeps for later, for each host.
pub const POOLED_MAX: usize = 16;
/// One to consume, one to publish.
pub const BROKER_CONNECTIONS_MAX: usize = 2;

/// The proxies.
pub struct Lines {
    pub broker: Proxy,
    pub candidate: Proxy,
    pub public: Proxy,
    pub koji: Proxy,
    pub bodhi: Proxy,
    /// After those who run on it.
    _runtime: Runtime,
}

/// Where the servers are.
pub struct Servers {
    pub broker: SocketAddr,
    pub candidate: SocketAddr,
    pub public: SocketAddr,
    pub koji: SocketAddr,
    pub bodhi: SocketAddr,
}

impl Lines {
    pub fn start(servers: &Servers) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let start = |name, target| runtime.block_on(Proxy::start(name, target)).unwrap();
        let broker = start("broker", servers.broker);
        let candidate = start("candidates", servers.candidate);
        let public = start("public registry", servers.public);
        let koji = start("Koji", servers.koji);
        let bodhi = start("Bodhi", servers.bodhi);
        Self { broker, candidate, public, koji, bodhi, _runtime: runtime }
    }

    pub fn all(&self) -> [&Proxy; 5] {
        [&self.broker, &self.candidate, &self.public, &self.koji, &self.bodhi]
    }

    pub fn http(&self) -> [&Proxy; 4] {
        [&self.candidate, &self.public, &self.koji, &self.bodhi]
    }

    /// What the seed has in store for this round begins.
    pub fn follow(&self, seed: u64, round: u64) {
        for proxy in self.all() {
            proxy.follow(Plan::of(seed, proxy.name(), round));
        }
    }

    /// What this round has in store, for people.
    pub fn told(&self, seed: u64, round: u64) -> String {
        let told = |proxy: &&Proxy| format!("{}: {}", proxy.name(), Plan::of(seed, proxy.name(), round));
        self.all().iter().map(told).collect::<Vec<_>>().join("; ")
    }

    /// Every connection is reset, until that struck both to the broker.
    pub fn reset(&self) {
        self.strike(Fault::Reset);
        let struck = || self.broker.struck().get(&Fault::Reset) >= Some(&BROKER_CONNECTIONS_MAX);
        until("the lines are reset", SLACK, String::new, || struck().then_some(()));
    }

    /// Nothing comes through any more, and everything stays connected.
    pub fn stall(&self) {
        self.strike(Fault::Stall);
    }

    fn strike(&self, fault: Fault) {
        let now = Course { fault: Some((When::AfterBytes(0), fault)), ..Course::default() };
        for proxy in self.all() {
            proxy.all(Fate { to_server: now, to_client: now });
        }
    }

    pub fn calm(&self) {
        self.all().iter().for_each(|proxy| proxy.calm());
    }

    /// Descriptors that the unit has for its connections; one to the broker has two, the second to shut it by.
    pub fn descriptors(&self) -> usize {
        self.http().iter().map(|proxy| proxy.open()).sum::<usize>() + 2 * self.broker.open()
    }

    /// Silences that the unit put up with longer than it may. `surveyed`: from then on Koji and Bodhi may have been asked
    /// for a survey, which no settle's time-out ends.
    pub fn too_long(&self, surveyed: Option<Instant>) -> Vec<String> {
        let mut found = Vec::new();
        for (proxy, within_settles) in
            [(&self.candidate, true), (&self.public, true), (&self.koji, false), (&self.bodhi, false)]
        {
            found.extend(long(proxy, |silence| match surveyed {
                Some(since) if !within_settles && silence.began >= since => READ_TIMEOUT,
                Some(_) | None => SETTLE_TIMEOUT,
            }));
        }
        found.extend(long(&self.broker, |silence| {
            BROKER_UNHEARD_MAX + BROKER_NOTICES_MAX.min(silence.lasted - silence.unheard)
        }));
        found
    }

    /// Whether every kind of fault struck some line.
    pub fn struck_by_every_fault(&self) -> bool {
        let struck: BTreeSet<Fault> =
            self.all().iter().flat_map(|proxy| proxy.struck().into_keys()).collect();
        let refused = self.all().iter().any(|proxy| proxy.refused() > 0);
        refused && Fault::ALL.iter().all(|fault| struck.contains(fault))
    }

    /// A line for each: what it carried, what struck, how long silence was put up with.
    pub fn figures(&self) -> String {
        self.all().iter().map(|proxy| figures(proxy) + "\n").collect()
    }
}

fn long(proxy: &Proxy, most: impl Fn(&Silence) -> Duration) -> Vec<String> {
    let silences = proxy.silences().into_iter().filter(|silence| silence.lasted > most(silence) + SLACK);
    silences.map(|silence| format!("{}: {silence:?}", proxy.name())).collect()
}

fn figures(proxy: &Proxy) -> String {
    let silences = proxy.silences();
    let lasted = || silences.iter().map(|silence| silence.lasted).max().unwrap_or_default();
    let unheard = || silences.iter().map(|silence| silence.unheard).max().unwrap_or_default();
    format!(
        "{}: {} connections, {} times refused, struck {:?}; {} silences, put up with for at most {:.1?}, {:.1?} without \
         a byte",
        proxy.name(),
        proxy.connections(),
        proxy.refused(),
        proxy.struck(),
        silences.len(),
        lasted(),
        unheard(),
    )
}
