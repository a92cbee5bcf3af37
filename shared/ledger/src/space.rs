//! The one place that names what the store holds: a space is one byte, a key is a type. Never a string literal.

/// A kind of record. The discriminant is the first byte of its keys: never reuse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Space {
    /// One record: the format of the whole store. Its absence means an empty or half-imported store.
    Format = 1,
    /// One record: whether the last process stopped cleanly.
    Session = 2,
    /// One record: the survey's state.
    Survey = 3,
    /// By source: how far a replay got.
    Position = 4,
    /// By key: what is doubtful.
    Doubt = 5,
    /// By subject: what was last announced.
    Fact = 6,
    /// By name: what the consumer remembers.
    Memo = 7,
    /// By number: what is to be announced.
    Outbox = 8,
    /// By number: messages that could not be decoded.
    Parked = 9,
    /// By number: what shadow mode would have done.
    Deed = 10,
}

impl Space {
    /// What a person calls a record of this space.
    pub(crate) fn noun(self) -> &'static str {
        match self {
            Self::Format => "format",
            Self::Session => "session",
            Self::Survey => "survey",
            Self::Position => "position",
            Self::Doubt => "doubt",
            Self::Fact => "fact",
            Self::Memo => "memo",
            Self::Outbox => "outbox",
            Self::Parked => "parked message",
            Self::Deed => "deed",
        }
    }

    /// The key of a space with one record.
    pub(crate) fn only(self) -> Vec<u8> {
        vec![self as u8]
    }

    /// The key of a record found by its name; also the prefix of all names that start so.
    pub(crate) fn named(self, name: &str) -> Vec<u8> {
        let mut key = Vec::with_capacity(1 + name.len());
        key.push(self as u8);
        key.extend_from_slice(name.as_bytes());
        key
    }

    /// The key of a record found by its number; numbers sort.
    pub(crate) fn numbered(self, number: u64) -> Vec<u8> {
        let mut key = Vec::with_capacity(9);
        key.push(self as u8);
        key.extend_from_slice(&number.to_be_bytes());
        key
    }

    /// The name within a key made by [`Self::named`]; `None` where it is not one.
    pub(crate) fn name_of(self, key: &[u8]) -> Option<&str> {
        key.strip_prefix(&[self as u8]).and_then(|name| std::str::from_utf8(name).ok())
    }

    /// The number within a key made by [`Self::numbered`]; `None` where it is not one.
    pub(crate) fn number_of(self, key: &[u8]) -> Option<u64> {
        let number = key.strip_prefix(&[self as u8])?;
        Some(u64::from_be_bytes(number.try_into().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Space; 10] = [
        Space::Format,
        Space::Session,
        Space::Survey,
        Space::Position,
        Space::Doubt,
        Space::Fact,
        Space::Memo,
        Space::Outbox,
        Space::Parked,
        Space::Deed,
    ];

    #[test]
    fn keys_give_back_what_they_were_made_of_and_numbers_sort() {
        assert_eq!(Space::Fact.name_of(&Space::Fact.named("a/b:c")), Some("a/b:c"));
        assert_eq!(Space::Fact.name_of(&Space::Memo.named("a")), None);
        assert_eq!(Space::Outbox.number_of(&Space::Outbox.numbered(7)), Some(7));
        assert!(Space::Outbox.numbered(255) < Space::Outbox.numbered(256));
    }

    #[test]
    fn no_two_spaces_share_a_prefix() {
        let prefixes: std::collections::BTreeSet<u8> = ALL.iter().map(|space| *space as u8).collect();
        assert_eq!(prefixes.len(), ALL.len());
    }
}
