//! A history is data: what happens, one thing after another, with every choice already made. So it can be told, played
//! again, shortened, and kept.
//!
//! Nothing here plays one, and nothing draws a number.

use std::{fmt, time::Duration};

use crate::{fault::Fault, fedora::Deed};

/// Everything that happens in one world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// Decides what a history leaves open: how long calls take, and the unit's own choices.
    pub seed: u64,
    /// Who is there.
    pub setting: Setting,
    /// What happens, in order.
    pub chapters: Vec<Chapter>,
}

/// Who is there before anything happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Setting {
    /// Bodhi's composer writes the destination's tags too.
    pub bodhi_writes: bool,
    /// The destination makes new repositories private, and has quay's API.
    pub quay: bool,
    /// The destination can't delete a tag.
    pub keeps_tags: bool,
    /// Builds are staged before their update is pushed.
    pub staging: bool,
    /// Few doubtful keys fit: marks collapse into "survey owed".
    pub crowded: bool,
}

/// One thing that happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chapter {
    /// How long after the one before.
    pub after: Duration,
    /// What.
    pub event: Event,
}

/// What can happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Fedora's truth changes, and a message tells of it.
    Deed(Deed),
    /// Messages of no concern.
    Noise(u8),
    /// Something goes wrong, or is about to.
    Blow(Blow),
    /// The unit is stopped as systemd stops it, and started again.
    Restart,
    /// An operator asks for a full survey.
    Survey,
}

/// A fault as a history orders it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blow {
    /// What goes wrong.
    pub fault: Fault,
    /// How many calls (or messages) it could strike it lets pass first.
    pub skip: u16,
    /// How many it strikes; of a power cut, how many unflushed batches reach the disk.
    pub times: u16,
    /// How long it lasts, where it lasts.
    pub lasts: Duration,
    /// Which of several things it strikes: a package, a registry.
    pub pick: u8,
}

impl Blow {
    /// Strikes once, the next that it can; lasts a minute where it lasts.
    pub fn of(fault: Fault) -> Self {
        Self { fault, skip: 0, times: 1, lasts: Duration::from_secs(60), pick: 0 }
    }

    /// Strikes so many.
    #[must_use]
    pub fn times(self, times: u16) -> Self {
        Self { times, ..self }
    }

    /// Lets so many pass first.
    #[must_use]
    pub fn after(self, skip: u16) -> Self {
        Self { skip, ..self }
    }

    /// Lasts so long.
    #[must_use]
    pub fn lasting(self, lasts: Duration) -> Self {
        Self { lasts, ..self }
    }

    /// Strikes the so manieth of those it can choose from.
    #[must_use]
    pub fn on(self, pick: u8) -> Self {
        Self { pick, ..self }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [
            (self.bodhi_writes, "Bodhi writes the same tags"),
            (self.quay, "new repositories are private until quay's API is asked"),
            (self.keeps_tags, "tags can't be deleted"),
            (self.staging, "builds are staged"),
            (self.crowded, "few doubtful keys fit"),
        ];
        let said: Vec<&str> = all.iter().filter(|(is, _)| *is).map(|(_, said)| *said).collect();
        f.write_str(if said.is_empty() { "plain" } else { "" })?;
        f.write_str(&said.join(", "))
    }
}

impl fmt::Display for Chapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "after {:?}: {}", self.after, self.event)
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deed(deed) => write!(f, "{deed}"),
            Self::Noise(count) => write!(f, "{count} messages of no concern"),
            Self::Blow(blow) => write!(f, "{blow}"),
            Self::Restart => write!(f, "the unit is stopped and started"),
            Self::Survey => write!(f, "an operator asks for a full survey"),
        }
    }
}

impl fmt::Display for Blow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fault, skip, times, lasts, pick } = self;
        write!(f, "{fault}: {} (skip {skip}, times {times}, lasts {lasts:?}, pick {pick})", fault.says())
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}, {}:", self.seed, self.setting)?;
        for (number, chapter) in self.chapters.iter().enumerate() {
            writeln!(f, "{:4}. {chapter}", number + 1)?;
        }
        Ok(())
    }
}
