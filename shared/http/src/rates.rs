//! How fast hosts may be asked, as an operator says it, and what several units ask of one host together.
//!
//! Pure. The rates are kept by the client, in [`crate::Settings::budgets`].

use std::{collections::BTreeMap, fmt, num::NonZeroU32};

use serde::Deserialize;

use crate::Budget;

/// Requests a second that quay.io takes from one address, at its heavy endpoints.
pub const QUAY_PER_S_MAX: NonZeroU32 = NonZeroU32::MIN.saturating_add(4);
/// Short bursts that quay.io lets pass.
const QUAY_BURST: NonZeroU32 = NonZeroU32::MIN.saturating_add(19);
const QUAY: &str = "quay.io";

/// How fast a host may be asked.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestBudget {
    /// `quay.io`, `127.0.0.1:5000`
    pub host: String,
    /// Steady rate.
    pub requests_per_s: NonZeroU32,
    /// Most requests at once after a pause.
    pub burst: NonZeroU32,
}

impl RequestBudget {
    /// As much as quay.io takes.
    pub fn quay() -> Self {
        Self { host: QUAY.to_owned(), requests_per_s: QUAY_PER_S_MAX, burst: QUAY_BURST }
    }

    /// As the client's settings have it.
    pub fn entry(&self) -> (String, Budget) {
        (self.host.clone(), Budget { requests_per_s: self.requests_per_s, burst: self.burst })
    }
}

/// What is asked of a host altogether. As text a sentence for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRate {
    /// The host.
    pub host: String,
    /// The sum of the units' rates.
    pub requests_per_s: u32,
    /// How many units ask it.
    pub units: u32,
}

/// The rates at which the units of one address ask each host, added up: a host counts by address, not by unit.
pub fn summed_budgets<'a>(budgets: impl IntoIterator<Item = &'a RequestBudget>) -> Vec<HostRate> {
    let mut sums: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
    for budget in budgets {
        let sum = sums.entry(&budget.host).or_default();
        *sum = (sum.0.saturating_add(budget.requests_per_s.get()), sum.1 + 1);
    }
    let rate = |(host, (requests_per_s, units)): (&str, _)| HostRate {
        host: host.to_owned(),
        requests_per_s,
        units,
    };
    sums.into_iter().map(rate).collect()
}

impl HostRate {
    /// Whether the host is known to take less.
    pub fn is_too_fast(&self) -> bool {
        self.host == QUAY && self.requests_per_s > QUAY_PER_S_MAX.get()
    }
}

impl fmt::Display for HostRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, requests_per_s, units } = self;
        write!(f, "{host} is asked at most {requests_per_s} times a second by {units} unit(s).")?;
        if self.is_too_fast() {
            write!(f, " {host} takes about {QUAY_PER_S_MAX} from one address: lower requests_per_s.")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_of_all_units_of_one_address_are_added_up() {
        let quay = RequestBudget::quay();
        assert!(summed_budgets([&quay]).iter().all(|rate| !rate.is_too_fast()));
        let elsewhere = RequestBudget { host: "registry.example".to_owned(), ..RequestBudget::quay() };
        let rates = summed_budgets([&quay, &elsewhere, &quay, &elsewhere]);
        let (quay, elsewhere) = (&rates[0], &rates[1]);
        assert!(quay.is_too_fast() && !elsewhere.is_too_fast());
        assert_eq!(
            quay.to_string(),
            "quay.io is asked at most 10 times a second by 2 unit(s). quay.io takes about 5 from one address: lower requests_per_s."
        );
        assert_eq!(
            elsewhere.to_string(),
            "registry.example is asked at most 10 times a second by 2 unit(s)."
        );
    }
}
