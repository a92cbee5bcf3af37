//! A day at Fedora, short enough to be read: two versions of one application on their way to stable. What goes wrong on
//! it is up to the story.

use std::{collections::BTreeSet, time::Duration};

use flatbus_world::{
    Blow, Chapter, Event, Fault, History, Report, Setting,
    fedora::{Deed, Push},
    tell,
};

/// A day, and what goes wrong on it.
pub struct Day {
    setting: Setting,
    seed: u64,
    deeds: Vec<Event>,
    blows: Vec<(usize, Blow)>,
}

/// How a day ended.
pub struct Told {
    pub report: Report,
    history: History,
}

/// The chapter with which the first version is pushed to testing.
pub const FIRST_TESTING: usize = 2;
/// The chapter with which it goes to stable.
pub const FIRST_STABLE: usize = 3;
/// The chapter with which the second version is pushed to testing.
pub const SECOND_TESTING: usize = 6;

impl Day {
    /// Two versions: built, submitted, pushed to testing; the first goes on to stable.
    pub fn new() -> Self {
        let build = |new_version| Event::Deed(Deed::Build { package: 0, new_version, imported: false });
        let submit = Event::Deed(Deed::Submit { pick: 0, more: 0 });
        let push = |to| Event::Deed(Deed::Push { pick: 0, to });
        let deeds = vec![
            build(true),
            submit.clone(),
            push(Push::Testing),
            push(Push::Stable),
            build(true),
            submit,
            push(Push::Testing),
        ];
        Self { setting: Setting::default(), seed: 1, deeds, blows: Vec::new() }
    }

    /// In another setting.
    pub fn in_a(mut self, change: impl FnOnce(&mut Setting)) -> Self {
        change(&mut self.setting);
        self
    }

    /// Something more happens at the end of the day.
    pub fn then(mut self, event: Event) -> Self {
        self.deeds.push(event);
        self
    }

    /// Something goes wrong right before a chapter.
    pub fn before(mut self, chapter: usize, blow: Blow) -> Self {
        self.blows.push((chapter, blow));
        self
    }

    /// Lives through it. Every promise must be kept, and every fault must have struck.
    pub fn told(self) -> Told {
        let history = self.history();
        let report = tell(&history);
        let told = Told { report, history };
        for (_, blow) in &self.blows {
            told.struck(blow.fault);
        }
        assert_eq!(told.report.violations, [], "{}\n{}", told.history, told.report.trace);
        told
    }

    fn history(&self) -> History {
        let mut chapters = Vec::new();
        for (number, event) in self.deeds.iter().enumerate() {
            let blows = self.blows.iter().filter(|(at, _)| *at == number);
            chapters.extend(blows.map(|(_, blow)| chapter(10, Event::Blow(*blow))));
            chapters.push(chapter(if number == 0 { 1 } else { 20 }, event.clone()));
        }
        chapters.push(chapter(1200, Event::Noise(0))); // The day ends in peace.
        History { seed: self.seed, setting: self.setting, chapters }
    }
}

fn chapter(after_s: u64, event: Event) -> Chapter {
    Chapter { after: Duration::from_secs(after_s), event }
}

impl Told {
    /// A fault did its work.
    pub fn struck(&self, fault: Fault) -> &Self {
        let times = self.report.struck.get(&fault).copied().unwrap_or_default();
        assert!(times > 0, "{fault} never struck:\n{}\n{}", self.history, self.report.trace);
        self
    }

    /// The trace has such a line.
    pub fn says(&self, what: &str) -> &Self {
        assert!(
            self.report.trace.contains(what),
            "never told: {what}\n{}\n{}",
            self.history,
            self.report.trace
        );
        self
    }

    /// How often the trace says something.
    pub fn times(&self, what: &str) -> usize {
        self.report.trace.matches(what).count()
    }

    /// Which tags there are in the end.
    pub fn tags(&self) -> BTreeSet<&str> {
        self.report.tags.keys().map(String::as_str).collect()
    }
}
