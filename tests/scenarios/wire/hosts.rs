//! Who is there beside the mirror: the registries, Koji and Bodhi, on one network.

use std::sync::Arc;

use flatbus_base::{Random, Secret, SimClock};
use flatbus_embedded::{
    Seen, Wire,
    bodhi::{self, Bodhi},
    koji::{self, Koji},
    registry::{self, Access, Content, Registry},
};
use http::Method;

use super::{stage::MINUTE, strike::Strikes};

/// The hosts of the configuration.
pub const CANDIDATE: &str = "candidate.test";
pub const PUBLIC: &str = "public.test";
pub const KOJI: &str = "koji.test";
pub const BODHI: &str = "bodhi.test";
/// Where the candidate registry's bytes are, too: among the hosts that redirects may lead to.
pub const CDN: &str = "cdn01.quay.io";
/// Where eog is in the destination.
pub const EOG: &str = "fedora/eog";

/// Who may push to the destination.
pub const USER: &str = "mirror";
pub const PASSWORD: &str = "secret";

/// The hosts.
pub struct Hosts {
    pub wire: Wire,
    pub candidate: Registry,
    /// The destination: anybody reads what is public, by tokens, and one user pushes.
    pub public: Registry,
    pub koji: Koji,
    pub bodhi: Bodhi,
    _cdn: Registry,
}

impl Hosts {
    /// Hosts of which only the destination holds anything.
    pub fn new(clock: &SimClock, content: Arc<Content>) -> Self {
        let wire = Wire::new();
        let guard =
            Access::Token { user: USER.to_owned(), password: Secret::new(PASSWORD), lifetime: 5 * MINUTE };
        let candidate = registry_on(&wire, CANDIDATE, clock, Access::Open, Content::in_memory());
        Self {
            public: registry_on(&wire, PUBLIC, clock, guard, content),
            koji: koji::start_on(&wire, KOJI, koji::Settings::default()),
            bodhi: bodhi::start_on(&wire, BODHI, bodhi::Settings::default()),
            _cdn: registry_on(&wire, CDN, clock, Access::Open, candidate.content.clone()),
            candidate,
            wire,
        }
    }

    /// From now on everything that is asked is seen, and meets the faults that wait for it.
    pub fn watched_by(&self, strikes: &Strikes) {
        let hosts =
            [(CANDIDATE, &self.candidate.faults), (KOJI, &self.koji.faults), (BODHI, &self.bodhi.faults)];
        for (host, faults) in hosts {
            let strikes = strikes.clone();
            faults.set(move |seen| strikes.arrives(host, seen));
        }
        let (strikes, content) = (strikes.clone(), self.public.content.clone());
        self.public.faults.set(move |seen| {
            if names_for_users(seen) && content.is_private(EOG) {
                strikes.breaks(format!("{seen}: nobody can read what it names"));
            }
            strikes.arrives(PUBLIC, seen)
        });
    }
}

/// Whether a tag is moved that users follow.
fn names_for_users(seen: &Seen) -> bool {
    let named = seen.path.strip_prefix("/v2/fedora/eog/manifests/").filter(|_| seen.method == Method::PUT);
    named.is_some_and(|named| !named.starts_with("sha256:") && !named.starts_with("build-"))
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
