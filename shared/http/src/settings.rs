//! What a client may do: whom it may ask, how long it waits, how often it tries, how fast it asks.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
    path::PathBuf,
    time::Duration,
};

use url::Url;

use crate::RequestBudget;

/// Settings of the process's one client.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Sent with every request.
    pub user_agent: String,
    /// Longest wait for a connection, TLS included.
    pub connect_timeout: Duration,
    /// Longest silence: before the answer's head, between two pieces of a body, while a body is being sent.
    pub read_timeout: Duration,
    /// Longest time from the first try to the end of the answer's body. None where bodies are large.
    pub total_timeout: Option<Duration>,
    /// Most tries of one request, the first included.
    pub attempts_max: u32,
    /// No try is begun that would start later than this after the first.
    pub elapsed_max: Duration,
    /// Longest `Retry-After` waited for inside one call; a longer one is returned as [`crate::Error::Limited`].
    pub retry_wait_max: Duration,
    /// The only hosts ever contacted, redirects included.
    pub hosts: HostList,
    /// Certificates (PEM) trusted beside the system's.
    pub ca_file: Option<PathBuf>,
    /// How fast a host may be asked, by host as in [`HostList`] entries. A host without an entry has no budget.
    pub budgets: BTreeMap<String, Budget>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            user_agent: concat!("flatbus/", env!("CARGO_PKG_VERSION")).to_owned(),
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(60),
            total_timeout: None,
            attempts_max: 5,
            elapsed_max: Duration::from_secs(60),
            retry_wait_max: Duration::from_secs(30),
            hosts: HostList::default(),
            ca_file: None,
            budgets: BTreeMap::from([RequestBudget::quay().entry()]),
        }
    }
}

/// How fast one host may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Steady rate. Halved by each 429 and raised slowly again.
    pub requests_per_s: NonZeroU32,
    /// Most requests at once after a pause.
    pub burst: NonZeroU32,
}

/// Hosts that may be contacted: `quay.io` (on its scheme's own port), `127.0.0.1:5000`, `localhost:*` (any port),
/// `*.cloudfront.net` (any host below it).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostList(BTreeSet<String>);

impl HostList {
    /// A list of entries; letters' case doesn't matter.
    pub fn new<S: AsRef<str>>(entries: impl IntoIterator<Item = S>) -> Self {
        Self(entries.into_iter().map(|entry| entry.as_ref().to_ascii_lowercase()).collect())
    }

    /// Adds an entry.
    pub fn allow(&mut self, entry: impl AsRef<str>) {
        self.0.insert(entry.as_ref().to_ascii_lowercase());
    }

    /// Whether the URL's host and port are allowed.
    pub fn allows(&self, url: &Url) -> bool {
        let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else { return false };
        let default = url.port().is_none();
        self.0.iter().any(|entry| matches(entry, host, port, default))
    }
}

fn matches(entry: &str, host: &str, port: u16, default_port: bool) -> bool {
    let (name, wanted) = match entry.rsplit_once(':') {
        // An IPv6 address without a port ends in its bracket.
        Some((name, wanted)) if !wanted.ends_with(']') => (name, Some(wanted)),
        _ => (entry, None),
    };
    let port_fits = match wanted {
        None => default_port,
        Some("*") => true,
        Some(wanted) => wanted.parse() == Ok(port),
    };
    let host_fits = match name.strip_prefix('*') {
        Some(suffix) if suffix.starts_with('.') => host.len() > suffix.len() && host.ends_with(suffix),
        _ => name == host,
    };
    port_fits && host_fits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(entries: &[&str], url: &str) -> bool {
        HostList::new(entries).allows(&Url::parse(url).unwrap())
    }

    #[test]
    fn only_listed_hosts_and_ports_are_allowed() {
        assert!(allows(&["quay.io"], "https://QUAY.io/v2/"));
        assert!(allows(&["Quay.IO"], "https://quay.io:443/v2/"));
        assert!(!allows(&["quay.io"], "https://quay.io:8443/v2/"));
        assert!(!allows(&["quay.io"], "https://evil-quay.io/"));
        assert!(allows(&["127.0.0.1:5000"], "http://127.0.0.1:5000/"));
        assert!(!allows(&["127.0.0.1:5000"], "http://127.0.0.1:5001/"));
        assert!(allows(&["localhost:*"], "http://localhost:81/"));
        assert!(allows(&["[::1]:5000", "[::1]"], "http://[::1]/"));
        assert!(!allows(&[], "https://quay.io/"));
    }

    #[test]
    fn a_star_covers_hosts_below_a_domain_and_not_the_domain() {
        assert!(allows(&["*.cloudfront.net"], "https://d1.cloudfront.net/x"));
        assert!(!allows(&["*.cloudfront.net"], "https://cloudfront.net/x"));
        assert!(!allows(&["*.cloudfront.net"], "https://cloudfront.net.evil.example/x"));
        assert!(!allows(&["*"], "https://anything.example/"));
    }
}
