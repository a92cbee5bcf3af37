//! Counts and gauges of one process, shown as OpenMetrics text.
//!
//! Every metric is a variant of [`Counter`], [`Gauge`] or [`Histogram`] and stands at zero from the start, so that
//! "nothing happened" and "not measured" differ. Labels are few and typed. Updating one is an atomic addition.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use prometheus_client::{
    encoding::text,
    metrics::{counter, family::Family, gauge, histogram},
    registry::{Metric, Registry, Unit as ShownUnit},
};

pub use crate::catalogue::{
    Counter, Description, Gauge, HTTP_REQUESTS, Histogram, HttpOutcome, Kind, Unit, all,
};

/// Most hosts told apart; further ones are counted as `other`.
pub const HOSTS_MAX: usize = 32;

/// Upper bounds in seconds: a HEAD takes milliseconds, a runtime image minutes.
const SETTLE_BUCKETS_S: [f64; 12] =
    [0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0];

type Labels = Vec<(String, String)>;

/// The metrics of one process. Clones count together.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    counters: Vec<counter::Counter>,
    gauges: Vec<gauge::Gauge>,
    histograms: Vec<histogram::Histogram>,
    http: Family<Labels, counter::Counter>,
    hosts: Mutex<BTreeMap<String, [counter::Counter; HttpOutcome::ALL.len()]>>,
}

impl Metrics {
    /// All metrics, at zero. Each carries the label `consumer`.
    pub fn new(consumer: &str) -> Self {
        let labels = [("consumer".into(), consumer.to_owned().into())];
        let mut registry = Registry::with_labels(labels.into_iter());
        let counters = families(&mut registry, Counter::ALL.iter().map(|metric| metric.describe()));
        let gauges = families(&mut registry, Gauge::ALL.iter().map(|metric| metric.describe()));
        let histograms =
            Histogram::ALL.iter().map(|metric| histogram(&mut registry, metric.describe())).collect();
        let http = Family::default();
        register(&mut registry, HTTP_REQUESTS, http.clone());
        Self(Arc::new(Inner { registry, counters, gauges, histograms, http, hosts: Mutex::default() }))
    }

    /// Adds `by` to a counter.
    pub fn count(&self, counter: Counter, by: impl TryInto<u64>) {
        self.0.counters[counter as usize].inc_by(by.try_into().unwrap_or(0));
    }

    /// Raises a counter to a total that is kept elsewhere. A smaller total than the one shown changes nothing.
    pub fn raise(&self, counter: Counter, total: impl TryInto<u64>) {
        raise(&self.0.counters[counter as usize], total);
    }

    /// The present count.
    pub fn get(&self, counter: Counter) -> u64 {
        self.0.counters[counter as usize].get()
    }

    /// Sets a gauge; what is too large to show is shown as the largest number.
    pub fn set(&self, gauge: Gauge, value: impl TryInto<i64>) {
        self.0.gauges[gauge as usize].set(value.try_into().unwrap_or(i64::MAX));
    }

    /// The present value.
    pub fn value(&self, gauge: Gauge) -> i64 {
        self.0.gauges[gauge as usize].get()
    }

    /// Adds one measurement to a distribution.
    pub fn observe(&self, histogram: Histogram, took: Duration) {
        self.0.histograms[histogram as usize].observe(took.as_secs_f64());
    }

    /// Adds `by` requests to a host. Never pass a URL: a host has no userinfo and no query.
    pub fn count_http(&self, host: &str, outcome: HttpOutcome, by: impl TryInto<u64>) {
        self.with_host(host, outcome, |counter| {
            counter.inc_by(by.try_into().unwrap_or(0));
        });
    }

    /// Raises a host's count to a total that is kept elsewhere.
    pub fn raise_http(&self, host: &str, outcome: HttpOutcome, total: impl TryInto<u64>) {
        self.with_host(host, outcome, |counter| raise(counter, total));
    }

    fn with_host(&self, host: &str, outcome: HttpOutcome, act: impl FnOnce(&counter::Counter)) {
        let mut hosts = self.0.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let full = hosts.len() >= HOSTS_MAX;
        let host = if full && !hosts.contains_key(host) { "other" } else { host };
        let counters = hosts.entry(host.to_owned()).or_insert_with(|| self.0.host_counters(host));
        act(&counters[outcome as usize]);
    }

    /// OpenMetrics text, `application/openmetrics-text; version=1.0.0; charset=utf-8`.
    pub fn encode(&self) -> String {
        let mut shown = String::new();
        // Writing to a String can't fail, and a metric that can't be written would be cut off, not wrong.
        let _ = text::encode(&mut shown, &self.0.registry);
        shown
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Inner {
    /// All outcomes of a host, at zero from its first request.
    fn host_counters(&self, host: &str) -> [counter::Counter; HttpOutcome::ALL.len()] {
        std::array::from_fn(|outcome| {
            let outcome = HttpOutcome::ALL[outcome].as_str();
            self.http
                .get_or_create_owned(&vec![("host".into(), host.into()), ("outcome".into(), outcome.into())])
        })
    }
}

fn raise(counter: &counter::Counter, total: impl TryInto<u64>) {
    counter.inner().fetch_max(total.try_into().unwrap_or(0), std::sync::atomic::Ordering::Relaxed);
}

/// One family a name, one member a variant, in the order of the variants.
fn families<M>(registry: &mut Registry, described: impl Iterator<Item = Description>) -> Vec<M>
where
    M: Default + Clone,
    Family<Labels, M>: Metric,
{
    let mut families: BTreeMap<&str, Family<Labels, M>> = BTreeMap::new();
    let member = |metric: Description| {
        let family = families.entry(metric.name).or_insert_with(|| {
            let family = Family::default();
            register(registry, metric, family.clone());
            family
        });
        let labels = metric.label.map(|(label, value)| (label.to_owned(), value.to_owned()));
        family.get_or_create_owned(&labels.into_iter().collect())
    };
    described.map(member).collect()
}

fn histogram(registry: &mut Registry, metric: Description) -> histogram::Histogram {
    let made = histogram::Histogram::new(SETTLE_BUCKETS_S);
    register(registry, metric, made.clone());
    made
}

/// The registry puts the unit behind the name and a full stop behind the help; the catalogue holds both as shown.
fn register(registry: &mut Registry, metric: Description, made: impl Metric) {
    let help = metric.help.trim_end_matches('.');
    let (ending, unit) = match metric.unit {
        Unit::None => return registry.register(metric.name, help, made),
        Unit::Seconds => ("_seconds", ShownUnit::Seconds),
        Unit::Bytes => ("_bytes", ShownUnit::Bytes),
    };
    let bare = metric.name.strip_suffix(ending).unwrap_or(metric.name);
    registry.register_with_unit(bare, help, unit, made);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The lines of one sample, with their values.
    fn samples<'a>(shown: &'a str, name: &'a str) -> Vec<&'a str> {
        shown
            .lines()
            .filter(|line| line.starts_with(name) && line[name.len()..].starts_with(['{', ' ']))
            .collect()
    }

    #[test]
    fn every_metric_is_shown_at_zero_from_the_start() {
        let shown = Metrics::new("toy").encode();
        for metric in all().filter(|metric| *metric != HTTP_REQUESTS) {
            let sample = match metric.kind {
                Kind::Counter => format!("{}_total", metric.name),
                Kind::Gauge => metric.name.to_owned(),
                Kind::Histogram => format!("{}_count", metric.name),
            };
            let lines = samples(&shown, &sample);
            let label = metric.label.map(|(label, value)| format!("{label}=\"{value}\"")).unwrap_or_default();
            let mine = lines.iter().find(|line| line.contains(&label));
            assert!(mine.is_some_and(|line| line.ends_with(" 0")), "{sample} {label}: {lines:?}\n{shown}");
        }
        assert!(shown.ends_with("# EOF\n"));
    }

    #[test]
    fn a_name_ends_with_its_unit_and_says_one_thing() {
        for metric in all() {
            let ending = match metric.unit {
                Unit::None => "",
                Unit::Seconds => "_seconds",
                Unit::Bytes => "_bytes",
            };
            assert!(metric.name.ends_with(ending) && !metric.name.ends_with("_total"), "{metric:?}");
            assert!(metric.help.ends_with('.'), "{metric:?}");
            assert!(
                all().filter(|other| other.name == metric.name).all(|other| other.help == metric.help),
                "{metric:?}"
            );
        }
        let told_apart: BTreeSet<_> = all().map(|metric| (metric.name, metric.label)).collect();
        assert_eq!(told_apart.len(), all().count(), "two variants are one metric");
    }

    #[test]
    fn clones_count_together_and_labels_tell_apart() {
        let metrics = Metrics::new("toy");
        let clone = metrics.clone();
        clone.count(Counter::Marked, 2_usize);
        metrics.count(Counter::Marked, 1);
        metrics.set(Gauge::Doubtful, usize::MAX);
        metrics.set(Gauge::Consuming, true);
        metrics.observe(Histogram::Settle, Duration::from_millis(40));
        let shown = metrics.encode();
        assert!(
            shown.contains("flatbus_deliveries_total{consumer=\"toy\",result=\"marked\"} 3\n"),
            "{shown}"
        );
        assert!(shown.contains("flatbus_deliveries_total{consumer=\"toy\",result=\"unmarked\"} 0\n"));
        assert!(shown.contains("flatbus_keys_doubtful{consumer=\"toy\"} 9223372036854775807\n"));
        assert!(shown.contains("flatbus_bus_consuming{consumer=\"toy\"} 1\n"));
        assert!(shown.contains("flatbus_settle_seconds_bucket{consumer=\"toy\",le=\"0.05\"} 1\n"), "{shown}");
    }

    #[test]
    fn a_total_kept_elsewhere_is_never_counted_twice() {
        let metrics = Metrics::new("toy");
        for total in [5, 5, 3, 8] {
            metrics.raise(Counter::LedgerCommits, total);
            metrics.raise_http("quay.io", HttpOutcome::Limited, total);
        }
        assert_eq!(metrics.get(Counter::LedgerCommits), 8);
        let shown = metrics.encode();
        assert!(shown.contains("host=\"quay.io\",outcome=\"limited\"} 8\n"), "{shown}");
        assert!(shown.contains("host=\"quay.io\",outcome=\"sent\"} 0\n"), "{shown}");
    }

    #[test]
    fn hosts_past_the_limit_are_counted_together() {
        let metrics = Metrics::new("toy");
        for host in 0..HOSTS_MAX + 5 {
            metrics.count_http(&format!("host{host}"), HttpOutcome::Sent, 1);
        }
        let shown = metrics.encode();
        assert!(shown.contains("host=\"other\",outcome=\"sent\"} 5\n"), "{shown}");
        assert!(!shown.contains("host=\"host32\""));
    }
}
