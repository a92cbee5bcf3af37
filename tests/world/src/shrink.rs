//! Makes a history that fails shorter, as long as it fails in the same way: what is left is what it takes.

use crate::{
    history::{Event, History},
    invariant::Invariant,
    play::play,
};

/// Histories tried at most.
const TRIES_MAX: usize = 2000;

/// The shortest history found that still breaks this promise.
pub fn shortest(history: &History, broken: Invariant) -> History {
    let mut best = history.clone();
    let mut tries = 0;
    let mut fails = |history: &History| {
        tries += 1;
        tries <= TRIES_MAX && play(history).violations.iter().any(|(which, _)| *which == broken)
    };
    loop {
        let before = best.clone();
        drop_chapters(&mut best, &mut fails);
        simplify(&mut best, &mut fails);
        if best == before {
            return best;
        }
    }
}

/// Leaves out stretches of chapters: halves first, single ones last.
fn drop_chapters(best: &mut History, fails: &mut impl FnMut(&History) -> bool) {
    let mut size = best.chapters.len().div_ceil(2);
    while size > 0 {
        let mut from = 0;
        while from < best.chapters.len() {
            let mut shorter = best.clone();
            shorter.chapters.drain(from..(from + size).min(shorter.chapters.len()));
            if fails(&shorter) {
                *best = shorter;
            } else {
                from += size;
            }
        }
        size /= 2;
    }
}

/// Tries each chapter in a plainer form, and a plainer setting.
fn simplify(best: &mut History, fails: &mut impl FnMut(&History) -> bool) {
    let mut plainer = best.clone();
    plainer.setting = crate::Setting::default();
    if fails(&plainer) {
        *best = plainer;
    }
    for at in 0..best.chapters.len() {
        if let Event::Blow(blow) = best.chapters[at].event {
            for simple in [blow.times(1), blow.after(0), blow.after(blow.skip / 2)] {
                let mut plainer = best.clone();
                plainer.chapters[at].event = Event::Blow(simple);
                if plainer != *best && fails(&plainer) {
                    *best = plainer;
                }
            }
        }
    }
}
