//! The survey's state: what is owed, what was done.

use flatbus_base::Moment;
use jiff::Timestamp;

use super::{
    Ledger, record,
    state::State,
    types::{Commit, Owed, SurveyState},
};
use crate::space::Space;

impl Ledger {
    /// What is owed and what was done.
    #[must_use]
    pub fn survey(&self) -> SurveyState {
        self.state().survey.clone()
    }

    /// A survey must be made: durable, and outlives one that is under way.
    pub fn survey_owe(&self, full: bool, reason: &str, now: Moment) -> Commit {
        self.write(|state| state.owe_survey(full, reason, now.wall)).1
    }

    /// A survey begins.
    pub fn survey_started(&self, now: Moment) -> Commit {
        self.write(|state| {
            state.owed_anew = false;
            state.survey.last_started = Some(now.wall);
            state.put_survey();
        })
        .1
    }

    /// A survey that began at `started` yielded every key. Whatever was owed is paid, unless it was asked for since
    /// [`Self::survey_started`], or in full when this one was not. Times are not compared: the clock may have jumped.
    pub fn survey_done(&self, full: bool, started: Timestamp, _now: Moment) -> Commit {
        self.write(|state| {
            let anew = state.owed_anew;
            let survey = &mut state.survey;
            survey.owed = survey.owed.take().filter(|owed| anew || (owed.full && !full));
            survey.last_complete = Some(started);
            if full {
                survey.last_full = Some(started);
            }
            state.put_survey();
        })
        .1
    }
}

impl State {
    pub(super) fn owe_survey(&mut self, full: bool, reason: &str, now: Timestamp) {
        let begun = self.survey.last_started;
        let before = self.survey.owed.clone();
        let owed = match before.clone() {
            None => Owed { full, reason: reason.to_owned(), since: now },
            Some(owed) => Owed {
                full: owed.full || full,
                since: if begun.is_some_and(|begun| begun >= owed.since) { now } else { owed.since },
                reason: if full && !owed.full { reason.to_owned() } else { owed.reason },
            },
        };
        self.owed_anew = true;
        if before.as_ref() != Some(&owed) {
            self.survey.owed = Some(owed);
            self.put_survey();
        }
    }

    fn put_survey(&mut self) {
        self.journal.put(Space::Survey.only(), record::survey(&self.survey));
    }
}
