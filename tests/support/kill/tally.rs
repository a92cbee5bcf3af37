//! What a soak did, counted, and told in plain words: a soak that kills an idle process proves nothing.

use std::{collections::BTreeMap, fmt, time::Duration};

use super::scene::Scene;

/// What the unit was doing a moment before it was killed, by its own word.
#[derive(Debug, Clone, Copy, Default)]
pub struct Doing {
    /// Keys doubtful that are not parked.
    pub doubtful: u64,
    /// Keys being settled.
    pub in_flight: u64,
    /// Announcements not confirmed.
    pub outbox: u64,
    /// A survey is under way.
    pub surveying: bool,
    /// One must be made.
    pub survey_owed: bool,
}

/// What a kill cut, as others saw it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cut {
    /// Uploads left open at the destination.
    pub uploads: usize,
    /// Messages delivered and not acknowledged.
    pub deliveries: usize,
    /// Messages in the ledger, and with the broker still: between the commit and its acknowledgement.
    pub acknowledgements: usize,
}

/// How often a kill found the unit so; the first column counts them all.
const COLUMNS: [&str; 8] = ["kills", "doubtful", "settling", "outbox", "survey", "upload", "delivery", "ack"];
/// In a good soak one kill in so many finds it so.
const ONE_IN: [usize; 8] = [1, 5, 5, 30, 50, 15, 200, usize::MAX];

/// One line of the table.
#[derive(Debug, Clone, Copy, Default)]
struct Hits([usize; COLUMNS.len()]);

impl Hits {
    fn of(doing: Doing, cut: Cut) -> Self {
        let Doing { doubtful, in_flight, outbox, surveying, survey_owed: _ } = doing;
        let Cut { uploads, deliveries, acknowledgements } = cut;
        let by_its_word = [true, doubtful > 0, in_flight > 0, outbox > 0, surveying];
        let hits = by_its_word.into_iter().chain([uploads, deliveries, acknowledgements].map(|cut| cut > 0));
        hits.enumerate().fold(Self::default(), |mut all, (column, hit)| {
            all.0[column] = usize::from(hit);
            all
        })
    }

    fn and(mut self, other: Self) -> Self {
        self.0.iter_mut().zip(other.0).for_each(|(one, other)| *one += other);
        self
    }
}

/// Messages told.
#[derive(Debug, Default)]
pub struct Told {
    pub history: usize,
    pub stories: usize,
    pub witnesses: usize,
    /// Those of them that were told when nobody killed any more.
    pub in_peace: usize,
}

/// Everything counted.
#[derive(Debug, Default)]
pub struct Tally {
    hits: BTreeMap<Scene, Hits>,
    cut: Cut,
    /// From the start of the process until it said that it is ready.
    ready: Vec<Duration>,
    /// Processes that ended in good order before they could be killed.
    pub ended_by_themselves: usize,
    pub told: Told,
    /// Ledgers of the dead that were read.
    pub autopsies: usize,
    /// Walks over all tags, and images seen complete in them.
    pub walks: usize,
    pub images: usize,
    /// Worlds that were brought to their ends.
    pub worlds: usize,
    /// Tags that they ended with, announced as they are.
    pub announced: usize,
    /// Tags that a settle moved before it was killed, and that the rule had left alone by the time it was made up for: a
    /// version that was overtaken.
    pub unannounced: usize,
}

impl Tally {
    /// Counts a kill.
    pub fn kill(&mut self, scene: Scene, doing: Doing, cut: Cut) {
        let hits = self.hits.entry(scene).or_default();
        *hits = hits.and(Hits::of(doing, cut));
        self.cut.uploads += cut.uploads;
        self.cut.deliveries += cut.deliveries;
        self.cut.acknowledgements += cut.acknowledgements;
    }

    /// Counts a start that was let become ready.
    pub fn ready(&mut self, after: Duration) {
        self.ready.push(after);
    }

    /// How often it was killed.
    pub fn kills(&self) -> usize {
        self.total().0[0]
    }

    fn total(&self) -> Hits {
        self.hits.values().fold(Hits::default(), |sum, hits| sum.and(*hits))
    }

    /// What the kills hit too seldom.
    pub fn missed(&self) -> Vec<&'static str> {
        let rare = |(hits, one_in): (usize, usize)| hits < self.kills() / one_in;
        let columns = COLUMNS.into_iter().zip(self.total().0.into_iter().zip(ONE_IN));
        columns.filter(|(_, often)| rare(*often)).map(|(column, _)| column).collect()
    }

    /// So many percent of the starts were ready within this.
    fn ready_within(&self, percent: usize) -> Duration {
        let mut sorted = self.ready.clone();
        sorted.sort();
        let slower = sorted.len() * (100 - percent) / 100;
        sorted.iter().rev().nth(slower).copied().unwrap_or_default()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.table(f)?;
        let Cut { uploads, deliveries, acknowledgements } = self.cut;
        writeln!(
            f,
            "Cut: {uploads} uploads; {deliveries} messages delivered and not acknowledged, {acknowledgements} of them \
             recorded already. {} units ended in good order before they were killed.",
            self.ended_by_themselves
        )?;
        let [half, most, all] = [50, 99, 100].map(|percent| self.ready_within(percent));
        let starts = self.ready.len();
        writeln!(
            f,
            "{starts} starts were ready, half of them within {half:.0?}, 99 in 100 within {most:.0?}, all within {all:.0?}."
        )?;
        let Told { history, stories, witnesses, in_peace } = self.told;
        writeln!(
            f,
            "Told: {history} messages of the history, {stories} of new updates, {witnesses} of witnesses; {in_peace} of \
             them at the end, in peace."
        )?;
        writeln!(f, "{} ledgers of the dead were read: nothing acknowledged is missing.", self.autopsies)?;
        writeln!(f, "{} walks over all tags saw {} images, each complete.", self.walks, self.images)?;
        write!(
            f,
            "{} worlds ended as the rule says, with {} tags announced; {} overtaken versions stand unannounced.",
            self.worlds, self.announced, self.unannounced
        )
    }
}

impl Tally {
    /// A line a scene, and one for all.
    fn table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |f: &mut fmt::Formatter<'_>, name: &str, cells: [String; COLUMNS.len()]| {
            write!(f, "{name:<18}")?;
            cells.iter().try_for_each(|cell| write!(f, "{cell:>9}"))?;
            writeln!(f)
        };
        line(f, "", COLUMNS.map(str::to_owned))?;
        for (scene, hits) in &self.hits {
            line(f, &scene.to_string(), hits.0.map(|hits| hits.to_string()))?;
        }
        line(f, "all", self.total().0.map(|hits| hits.to_string()))
    }
}
