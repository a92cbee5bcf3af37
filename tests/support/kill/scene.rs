//! The instants at which the unit is killed: what it is brought to, and how long after that.

use std::{fmt, time::Duration};

use flatbus_base::Random;

/// What the unit is brought to before it is killed. What it was really doing then is seen, and told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scene {
    /// It was just started: the store opens.
    Opening,
    /// Messages are coming in.
    Reading,
    /// It has acknowledged something.
    Acknowledging,
    /// An upload is open at the destination.
    Copying,
    /// An announcement was confirmed.
    Announcing,
    /// A survey is under way.
    Surveying,
    /// It was told to stop, with work on its hands.
    Draining,
}

/// How many messages are told in one scene.
const MESSAGES_MAX: u64 = 20;

impl Scene {
    /// All of them; those that hold more instants come more often.
    const DRAWN_FROM: [Self; 12] = [
        Self::Opening,
        Self::Opening,
        Self::Reading,
        Self::Reading,
        Self::Acknowledging,
        Self::Acknowledging,
        Self::Copying,
        Self::Copying,
        Self::Copying,
        Self::Announcing,
        Self::Surveying,
        Self::Draining,
    ];

    /// As the seed has it.
    pub fn draw(random: &Random) -> Self {
        let drawn = random.below(Self::DRAWN_FROM.len() as u64);
        Self::DRAWN_FROM[usize::try_from(drawn).unwrap()]
    }

    /// How long after the scene has come the unit is killed.
    pub fn pause(self, random: &Random) -> Duration {
        let longest_us = match self {
            Self::Opening => 250_000,
            Self::Reading | Self::Acknowledging | Self::Announcing => 5_000,
            Self::Copying => 400_000,
            Self::Surveying => 80_000,
            Self::Draining => 150_000,
        };
        Duration::from_micros(random.below(longest_us))
    }

    /// How many messages are told.
    pub fn messages(random: &Random) -> u64 {
        1 + random.below(MESSAGES_MAX)
    }
}

impl fmt::Display for Scene {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Opening => "just started",
            Self::Reading => "reading messages",
            Self::Acknowledging => "has acknowledged",
            Self::Copying => "copying an image",
            Self::Announcing => "has announced",
            Self::Surveying => "in a survey",
            Self::Draining => "told to stop",
        })
    }
}
