//! Draws a history from a seed: mostly what Fedora does every day, and every fault there is.

use std::time::Duration;

use flatbus_base::Random;

use crate::{
    fault::{Fault, Realm},
    fedora::{Deed, PACKAGES, Push},
    history::{Blow, Chapter, Event, History, Setting},
};

/// Draws a history of so many events. The same seed draws the same one.
pub fn history(seed: u64, events: usize) -> History {
    let random = Random::from_seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1));
    let setting = setting(&random);
    let mut chapters: Vec<Chapter> = (0..events).map(|_| chapter(&random)).collect();
    // One kill between any two steps is in every history.
    if let Some(chapter) = pick(&random, chapters.len()).and_then(|at| chapters.get_mut(at)) {
        chapter.event =
            Event::Blow(Blow::of(Fault::Killed).after(below(&random, 120)).times(below(&random, 3)));
    }
    History { seed, setting, chapters }
}

fn setting(random: &Random) -> Setting {
    Setting {
        bodhi_writes: one_in(random, 4),
        quay: one_in(random, 4),
        keeps_tags: one_in(random, 4),
        staging: one_in(random, 4),
        crowded: one_in(random, 8),
    }
}

fn chapter(random: &Random) -> Chapter {
    let after = match random.below(10) {
        0..=4 => Duration::from_millis(random.below(200)),
        5..=7 => Duration::from_millis(random.below(5000)),
        8 => Duration::from_secs(random.below(60)),
        _ => Duration::from_secs(random.below(900)),
    };
    let event = match random.below(100) {
        0..=69 => Event::Deed(deed(random)),
        70..=74 => Event::Noise(u8::try_from(1 + random.below(20)).unwrap_or(1)),
        75..=97 => Event::Blow(blow(random)),
        98 => Event::Restart,
        _ => Event::Survey,
    };
    Chapter { after, event }
}

fn deed(random: &Random) -> Deed {
    let number = |below| u8::try_from(random.below(below)).unwrap_or_default();
    match random.below(20) {
        0..=5 => Deed::Build {
            package: number(PACKAGES.len() as u64),
            new_version: one_in(random, 2),
            imported: one_in(random, 5),
        },
        6..=9 => Deed::Submit { pick: number(200), more: number(3) },
        10..=13 => Deed::Push { pick: number(200), to: Push::Testing },
        14..=16 => Deed::Push { pick: number(200), to: Push::Stable },
        17 => Deed::Unpush { pick: number(200) },
        18 => Deed::Edit { pick: number(200) },
        _ => Deed::Obsolete { pick: number(200) },
    }
}

fn blow(random: &Random) -> Blow {
    let fault = Fault::ALL[pick(random, Fault::ALL.len()).unwrap_or_default()];
    let lasts = match fault {
        Fault::MessageLate => Duration::from_secs(86_400 + random.below(3 * 86_400)),
        Fault::Outage => Duration::from_secs(3600),
        Fault::ClockForward | Fault::ClockBack => Duration::from_secs(random.below(100_000)),
        _ => Duration::from_secs(random.below(600)),
    };
    let skip = match fault.realm() {
        Realm::Process => below(random, 200),
        Realm::Registry | Realm::Upstream => below(random, 12),
        _ => below(random, 3),
    };
    let times = if one_in(random, 3) { 1 + below(random, 6) } else { 1 };
    Blow { fault, skip, times, lasts, pick: u8::try_from(random.below(200)).unwrap_or_default() }
}

fn one_in(random: &Random, n: u64) -> bool {
    random.below(n) == 0
}

fn below(random: &Random, bound: u64) -> u16 {
    u16::try_from(random.below(bound)).unwrap_or_default()
}

fn pick(random: &Random, len: usize) -> Option<usize> {
    (len > 0).then(|| usize::try_from(random.below(len as u64)).unwrap_or_default())
}
