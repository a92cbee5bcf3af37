//! The only source of randomness: one seed repeats a run.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use uuid::{Builder, Uuid};

/// A shared stream of random choices. Clones draw from the same stream.
#[derive(Debug, Clone)]
pub struct Random(Arc<Mutex<fastrand::Rng>>);

impl Random {
    /// Seeded by the system: what a unit runs with.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that may")]
    pub fn from_system() -> Self {
        Self(Arc::new(Mutex::new(fastrand::Rng::new())))
    }

    /// The same seed gives the same choices.
    pub fn from_seed(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(fastrand::Rng::with_seed(seed))))
    }

    fn draw<T>(&self, choose: impl FnOnce(&mut fastrand::Rng) -> T) -> T {
        choose(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A number in `0..bound`; 0 where the bound is 0.
    pub fn below(&self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.draw(|rng| rng.u64(0..bound)) }
    }

    /// A wait between half of `wait` and all of it, so that many who failed together don't return together.
    pub fn jitter(&self, wait: Duration) -> Duration {
        wait.mul_f64(0.5 + self.draw(fastrand::Rng::f64) / 2.0)
    }

    /// A version 4 UUID: what Fedora Messaging takes as a message id.
    pub fn uuid(&self) -> Uuid {
        Builder::from_random_bytes(self.draw(|rng| rng.u128(..)).to_be_bytes()).into_uuid()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_repeats_every_choice() {
        let (a, b) = (Random::from_seed(7), Random::from_seed(7));
        assert_eq!((a.uuid(), a.below(10)), (b.uuid(), b.below(10)));
        assert_eq!(a.uuid().get_version_num(), 4);
    }

    #[test]
    fn jitter_stays_between_half_and_whole() {
        let random = Random::from_seed(1);
        for _ in 0..100 {
            let wait = random.jitter(Duration::from_secs(10));
            assert!(wait >= Duration::from_secs(5) && wait <= Duration::from_secs(10));
        }
    }
}
