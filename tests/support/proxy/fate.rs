//! What a connection has to expect: drawn from a seed, or told by a test. Pure: no clock, no network.

use std::{fmt, num::NonZeroU32, time::Duration};

use flatbus_base::Random;

/// A fault by bytes strikes within this many: a small image and its requests are about as long.
const BYTES_MAX_LOG2: u64 = 17;
/// A fault by time strikes within this.
const STRIKE_MAX_MS: u64 = 800;
const DELAY_MAX_MS: u64 = 120;
const REFUSE_MAX_MS: u64 = 600;

/// What becomes of a connection, or of one way of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Both ways are closed in good order.
    Cut,
    /// Both sides are told that the connection never was.
    Reset,
    /// This way is closed in good order, the other stays open.
    HalfClose,
    /// Nothing is read or passed on any more this way; both sides stay connected.
    Stall,
    /// All that comes this way is taken, and nothing passed on.
    Swallow,
}

impl Fault {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Cut, Self::Reset, Self::HalfClose, Self::Stall, Self::Swallow];
}

/// When it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Once so many bytes more were passed on this way; 0 is at once.
    AfterBytes(u64),
    /// After this time.
    In(Duration),
}

/// One way of a connection, and what happens on it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Course {
    /// Each piece comes this much later.
    pub delay: Duration,
    /// No faster than this.
    pub bytes_per_s: Option<NonZeroU32>,
    /// In the end.
    pub fault: Option<(When, Fault)>,
}

/// Both ways of a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fate {
    pub to_server: Course,
    pub to_client: Course,
}

/// What a round has in store for one proxy: the fate of each of its connections, by their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    seed: u64,
    /// How many connections in a hundred fail.
    pub faults_percent: u64,
    /// New connections are refused so long.
    pub refuses_for: Option<Duration>,
}

impl Plan {
    /// The same seed, name and round give the same plan.
    pub fn of(seed: u64, name: &str, round: u64) -> Self {
        let name = name.bytes().fold(0, |hash: u64, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
        let seed = mixed(seed, mixed(name, round));
        let random = Random::from_seed(seed);
        let faults_percent = [0, 20, 40, 60, 80][index(&random, 5)];
        let refuses = random.below(8) == 0;
        let refuses_for = refuses.then(|| Duration::from_millis(50 + random.below(REFUSE_MAX_MS)));
        Self { seed, faults_percent, refuses_for }
    }

    /// What the connection of this number has to expect.
    pub fn fate(&self, number: u64) -> Fate {
        let random = Random::from_seed(mixed(self.seed, number));
        let mut fate = Fate { to_server: pace(&random), to_client: pace(&random) };
        if random.below(100) >= self.faults_percent {
            return fate;
        }
        let (when, fault) = (when(&random), fault(&random));
        match random.below(3) {
            0 => fate.to_server.fault = Some((when, fault)),
            1 => fate.to_client.fault = Some((when, fault)),
            _ => {
                fate.to_server.fault = Some((when, fault));
                fate.to_client.fault = Some((when, fault));
            }
        }
        fate
    }
}

/// Two numbers as one that looks like neither.
fn mixed(a: u64, b: u64) -> u64 {
    let mut mixed = a.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(b).wrapping_add(0x632b_e59b_d9b4_e019);
    for shift in [30, 27, 31] {
        mixed = (mixed ^ (mixed >> shift)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    }
    mixed
}

fn index(random: &Random, length: usize) -> usize {
    usize::try_from(random.below(length as u64)).unwrap_or_default()
}

fn pace(random: &Random) -> Course {
    let delay = if random.below(3) == 0 { random.below(DELAY_MAX_MS) } else { 0 };
    let slow = (random.below(8) == 0).then(|| 4_000 + random.below(60_000));
    let bytes_per_s = slow.and_then(|rate| u32::try_from(rate).ok()).and_then(NonZeroU32::new);
    Course { delay: Duration::from_millis(delay), bytes_per_s, fault: None }
}

fn fault(random: &Random) -> Fault {
    use Fault::{Cut, HalfClose, Reset, Stall, Swallow};
    [Cut, Cut, Reset, Reset, Stall, Stall, Swallow, HalfClose][index(random, 8)]
}

/// As often in the first bytes as in the last ones.
fn when(random: &Random) -> When {
    if random.below(2) == 0 {
        When::AfterBytes(random.below(1 << random.below(BYTES_MAX_LOG2)))
    } else {
        When::In(Duration::from_millis(random.below(STRIKE_MAX_MS)))
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in 100 connections fail", self.faults_percent)?;
        self.refuses_for.map_or(Ok(()), |time| write!(f, ", none is taken for {time:?}"))
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "to the server {}; to the client {}", self.to_server, self.to_client)
    }
}

impl fmt::Display for Course {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} late", self.delay)?;
        if let Some(rate) = self.bytes_per_s {
            write!(f, ", {rate} bytes/s")?;
        }
        match self.fault {
            None => Ok(()),
            Some((When::AfterBytes(bytes), fault)) => write!(f, ", {fault:?} after {bytes} bytes"),
            Some((When::In(time), fault)) => write!(f, ", {fault:?} in {time:?}"),
        }
    }
}
