//! What holds in every world, whatever happens in it, by name.

use std::fmt;

/// A promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "`Invariant::says` says each in a sentence")]
pub enum Invariant {
    AckedIsDurable,
    TagsNameCompleteImages,
    TagsFollowAnswers,
    TagsAreReadable,
    NothingIsDeletedEarly,
    TheEndIsTheRule,
    AnnouncementsFollowFacts,
    FactsAreAnnounced,
    SettlingTwiceIsOnce,
    BoundsHold,
    NothingIsLeft,
    EverythingEnds,
}

impl Invariant {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::AckedIsDurable,
        Self::TagsNameCompleteImages,
        Self::TagsFollowAnswers,
        Self::TagsAreReadable,
        Self::NothingIsDeletedEarly,
        Self::TheEndIsTheRule,
        Self::AnnouncementsFollowFacts,
        Self::FactsAreAnnounced,
        Self::SettlingTwiceIsOnce,
        Self::BoundsHold,
        Self::NothingIsLeft,
        Self::EverythingEnds,
    ];

    /// In a sentence.
    pub fn says(self) -> &'static str {
        match self {
            Self::AckedIsDurable => {
                "what an acknowledged message made doubtful is in the ledger after any crash, or was settled since"
            }
            Self::TagsNameCompleteImages => "a tag is moved only to an image whose every part is there",
            Self::TagsFollowAnswers => {
                "a tag is moved only to a digest that the answers given to that settle desire"
            }
            Self::TagsAreReadable => "a tag that users follow names an image that anybody can read",
            Self::NothingIsDeletedEarly => {
                "no tag but `testing` is ever taken away, and no holding tag within its grace"
            }
            Self::TheEndIsTheRule => "after a last survey every tag names what the rule makes of the truth",
            Self::AnnouncementsFollowFacts => "nothing is announced that did not hold before",
            Self::FactsAreAnnounced => "what holds at the end was announced, and last",
            Self::SettlingTwiceIsOnce => {
                "settling again, the world unchanged in between, changes nothing and finds the same facts"
            }
            Self::BoundsHold => {
                "queues, unacknowledged deliveries and calls under way stay inside their named bounds"
            }
            Self::NothingIsLeft => {
                "nothing is left unacknowledged, doubtful, parked or unsaid that nobody looked at"
            }
            Self::EverythingEnds => "once nothing is broken any more, everything is settled within hours",
        }
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.says())
    }
}
