//! Many histories, on as many threads as there are cores, until they are done or time is up.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use crate::{
    draw,
    fault::Fault,
    history::History,
    play::{Report, play},
};

/// What many histories came to.
#[derive(Debug, Default)]
pub struct Sum {
    /// Histories played.
    pub histories: u64,
    /// Calls of the outside.
    pub calls: u64,
    /// Times a process began to live.
    pub lives: u64,
    /// Settles compared with their second.
    pub compared: u64,
    /// Settles whose world changed before the second.
    pub overtaken: u64,
    /// How often each fault struck.
    pub struck: BTreeMap<Fault, u64>,
    /// The first history that broke a promise, by seed.
    pub failed: Option<(History, Report)>,
}

/// Which histories.
#[derive(Debug, Clone, Copy)]
pub struct Order {
    /// The first seed.
    pub from: u64,
    /// How many.
    pub histories: u64,
    /// Events in each.
    pub events: usize,
    /// Threads.
    pub threads: usize,
}

/// Plays them all, or until one fails, or until `go_on` says no.
pub fn play_many(order: Order, go_on: impl Fn(&Sum) -> bool + Sync) -> Sum {
    let (next, failed) = (AtomicU64::new(0), AtomicBool::new(false));
    let sum = Mutex::new(Sum::default());
    let work = || {
        while !failed.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= order.histories {
                return;
            }
            let history = draw::history(order.from + number, order.events);
            let report = play(&history);
            let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
            let good = report.is_good();
            sum.add(history, report);
            if !good || !go_on(&sum) {
                failed.store(true, Ordering::Relaxed);
            }
        }
    };
    thread::scope(|scope| (0..order.threads.max(1)).for_each(|_| drop(scope.spawn(work))));
    sum.into_inner().unwrap_or_else(PoisonError::into_inner)
}

impl Sum {
    fn add(&mut self, history: History, report: Report) {
        self.histories += 1;
        self.calls += report.calls.values().sum::<u64>();
        self.lives += report.lives;
        self.compared += report.twice.compared;
        self.overtaken += report.twice.overtaken;
        for (fault, times) in &report.struck {
            *self.struck.entry(*fault).or_default() += times;
        }
        let first = self.failed.as_ref().is_none_or(|(failed, _)| history.seed < failed.seed);
        if !report.is_good() && first {
            self.failed = Some((history, report));
        }
    }
}
