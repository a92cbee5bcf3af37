//! The people of the broken broker: a witness (the real loop with the smallest consumer), a crowd that publishes to it,
//! an ear for what it announces, and a relay for what a broker itself can't be told to do.
//!
//! Everybody keeps books, so that in the end nothing can be missing without a name.
#![allow(dead_code, reason = "each test binary that includes this file uses its part of it")]

pub mod crowd;
pub mod raw;
pub mod relay;
pub mod stage;
pub mod witness;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use flatbus_base::{Clock as _, SystemClock};

const POLL: Duration = Duration::from_millis(20);
/// The queue that the witness consumes.
pub const QUEUE: &str = "things";
/// What is published to it.
pub const NAMED: &str = "org.fedoraproject.prod.counting.named";
/// What it announces.
pub const COUNTED: &str = "org.fedoraproject.prod.counting.counted";

/// What was said, confirmed and settled so far. Clones are the same books.
#[derive(Clone, Default)]
pub struct Books(Arc<Mutex<Pages>>);

#[derive(Default)]
pub struct Pages {
    /// Everything that was, or may have been, published: the truth that a survey reads.
    pub said: BTreeSet<String>,
    /// What the broker confirmed.
    pub confirmed: BTreeSet<String>,
    /// How often each was settled.
    pub settled: BTreeMap<String, u32>,
    /// How many surveys were made.
    pub surveys: u32,
}

impl Books {
    pub fn open(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap()
    }

    /// Confirmed, and never settled.
    pub fn unsettled(&self) -> Vec<String> {
        let pages = self.open();
        pages.confirmed.iter().filter(|thing| !pages.settled.contains_key(*thing)).cloned().collect()
    }
}

/// Waits until something is there. `told` says what is there instead when it takes too long.
pub async fn until<T>(
    what: &str,
    patience: Duration,
    told: impl AsyncFn() -> String,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> T {
    let end = SystemClock.monotonic() + patience;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(SystemClock.monotonic() < end, "{what}: not within {patience:?}\n{}", told().await);
        tokio::time::sleep(POLL).await;
    }
}
