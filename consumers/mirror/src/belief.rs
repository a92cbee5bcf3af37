//! Whether what Bodhi answered can be true, given what we acted on before. Pure.
//!
//! A read that lost an update, or shows one as it was earlier, is a failed read: nothing is withdrawn on its strength.

use std::collections::BTreeMap;

use flatbus_upstream::bodhi::{Status, Update};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// An update as it was when we last acted on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acted {
    /// How far it had come.
    pub stage: Stage,
    /// Its `date_modified` then.
    pub modified: Option<Timestamp>,
}

/// How far an update has come, as far as it can only go forward without an edit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Not yet pushed anywhere.
    Submitted,
    /// In testing.
    Testing,
    /// Withdrawn or replaced, from testing or before.
    Ended,
    /// In stable: nothing follows.
    Stable,
}

impl Stage {
    fn of(status: Status) -> Self {
        match status {
            Status::Pending | Status::SideTagActive => Self::Submitted,
            Status::Testing => Self::Testing,
            Status::Unpushed | Status::Obsolete | Status::SideTagExpired => Self::Ended,
            Status::Stable => Self::Stable,
        }
    }
}

impl Acted {
    /// What to remember of an update that is acted on now.
    pub fn on(update: &Update) -> Self {
        Self { stage: Stage::of(update.status), modified: update.date_modified }
    }

    fn allows(&self, update: &Update) -> bool {
        if update.date_modified < self.modified {
            return false; // Read from somewhere that is behind.
        }
        Stage::of(update.status) >= self.stage || update.date_modified > self.modified
    }
}

/// Why an answer is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unbelievable {
    /// An update we acted on is not known any more.
    #[error(
        "{alias}, which tags were moved for, is unknown to Bodhi now: taken for a failed read, nothing was changed"
    )]
    Gone {
        /// The update.
        alias: String,
    },
    /// An update we acted on is shown as it was earlier.
    #[error(
        "{alias} was {was:?} and is shown as {shown:?} without having been modified since: taken for a failed read, nothing was changed"
    )]
    Backwards {
        /// The update.
        alias: String,
        /// As we acted on it.
        was: Stage,
        /// As it is shown now.
        shown: Stage,
    },
}

/// The updates we acted on that an answer lacks. They must be asked for by name: all builds of this repository may have
/// been edited out of one.
pub fn missing<'a>(acted: &'a BTreeMap<String, Acted>, answer: &[Update]) -> Vec<&'a str> {
    let has = |alias: &str| answer.iter().any(|update| update.alias == alias);
    acted.keys().map(String::as_str).filter(|alias| !has(alias)).collect()
}

/// Compares an answer, completed by those asked for by name, with what we acted on.
///
/// # Errors
/// When an update is gone, or earlier than it was without having been modified.
pub fn believe(acted: &BTreeMap<String, Acted>, answer: &[Update]) -> Result<(), Unbelievable> {
    for (alias, was) in acted {
        let Some(update) = answer.iter().find(|update| update.alias == *alias) else {
            return Err(Unbelievable::Gone { alias: alias.clone() });
        };
        if !was.allows(update) {
            let shown = Stage::of(update.status);
            return Err(Unbelievable::Backwards { alias: alias.clone(), was: was.stage, shown });
        }
    }
    Ok(())
}

/// Updates that were pushed after those we acted on, as they are now not acted on: a settle that was cut short may have
/// moved tags for them, and told nobody.
pub fn passed_over<'a>(acted: &BTreeMap<String, Acted>, updates: &'a [Update]) -> Vec<&'a Update> {
    if acted.is_empty() {
        return Vec::new(); // Every update there ever was would be later.
    }
    let was = |update: &Update| acted.get(&update.alias).map(|was| was.stage);
    let of = |update: &&Update, stage: Stage| was(update).is_some_and(|was| was >= stage);
    let stable =
        updates.iter().filter(|update| of(update, Stage::Stable)).filter_map(|u| u.date_stable).max();
    let testing =
        updates.iter().filter(|update| of(update, Stage::Testing)).filter_map(|u| u.date_testing).max();
    let unknown = |update: &&Update| was(update) != Some(Stage::of(update.status));
    let later = |update: &&Update| update.date_stable > stable || update.date_testing > testing;
    updates.iter().filter(unknown).filter(later).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{at, update};

    fn acted(alias: &str, stage: Stage, modified: Option<&str>) -> BTreeMap<String, Acted> {
        BTreeMap::from([(alias.to_owned(), Acted { stage, modified: modified.map(at) })])
    }

    fn shown(status: Status, modified: Option<&str>) -> Update {
        Update { status, date_modified: modified.map(at), ..update("U-1", &["eog-1-1"]) }
    }

    #[test]
    fn an_update_that_goes_on_is_believed() {
        let acted = acted("U-1", Stage::Testing, None);
        for status in [Status::Testing, Status::Stable, Status::Unpushed, Status::Obsolete] {
            assert_eq!(believe(&acted, &[shown(status, None)]), Ok(()));
        }
    }

    #[test]
    fn an_update_that_vanished_is_a_failed_read() {
        let acted = acted("U-1", Stage::Testing, None);
        assert_eq!(missing(&acted, &[]), ["U-1"]);
        assert_eq!(believe(&acted, &[]), Err(Unbelievable::Gone { alias: "U-1".to_owned() }));
    }

    #[test]
    fn an_update_that_went_back_is_believed_only_when_it_was_edited() {
        let testing = acted("U-1", Stage::Testing, Some("2022-01-01 00:00:00"));
        let unedited = shown(Status::Pending, Some("2022-01-01 00:00:00"));
        assert!(matches!(believe(&testing, &[unedited]), Err(Unbelievable::Backwards { .. })));
        assert_eq!(believe(&testing, &[shown(Status::Pending, Some("2022-01-02 00:00:00"))]), Ok(()));
    }

    #[test]
    fn nothing_follows_stable() {
        let stable = acted("U-1", Stage::Stable, None);
        for status in [Status::Testing, Status::Unpushed, Status::Obsolete] {
            assert!(believe(&stable, &[shown(status, None)]).is_err(), "{status:?}");
        }
    }

    #[test]
    fn what_was_pushed_since_and_not_acted_on_is_passed_over() {
        let pushed = |alias: &str, stable: Option<&str>, testing: &str| {
            let status = if stable.is_some() { Status::Stable } else { Status::Testing };
            let (date_stable, date_testing) = (stable.map(at), Some(at(testing)));
            Update { status, date_stable, date_testing, ..update(alias, &["eog-1-1"]) }
        };
        let updates = [
            pushed("U-0", Some("2022-01-02 00:00:00"), "2022-01-01 00:00:00"), // Long ago.
            pushed("U-1", Some("2022-02-02 00:00:00"), "2022-02-01 00:00:00"),
            pushed("U-2", Some("2022-03-02 00:00:00"), "2022-03-01 00:00:00"), // In testing when we acted on it.
            pushed("U-3", None, "2022-02-20 00:00:00"),                        // Never the newest in testing.
            pushed("U-4", None, "2022-03-20 00:00:00"),
        ];
        let mut known = acted("U-1", Stage::Stable, None);
        known.extend(acted("U-2", Stage::Testing, None));
        let aliases: Vec<&str> = passed_over(&known, &updates).iter().map(|u| u.alias.as_str()).collect();
        assert_eq!(aliases, ["U-2", "U-4"]);
        assert!(passed_over(&BTreeMap::new(), &updates).is_empty());
    }

    #[test]
    fn an_answer_older_than_what_was_acted_on_is_a_failed_read() {
        let testing = acted("U-1", Stage::Testing, Some("2022-01-02 00:00:00"));
        assert!(believe(&testing, &[shown(Status::Testing, Some("2022-01-01 00:00:00"))]).is_err());
        assert!(believe(&testing, &[shown(Status::Stable, None)]).is_err());
    }
}
