//! What can be doubtful to index. A key names where to look, never what is there.

use std::{fmt, str::FromStr};

use flatbus_oci::Repository;

/// A doubtful thing. Its text form is what the ledger keeps and what a person types.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// `repository/<name>`: a repository, by its name below the namespace that is read.
    Repository(Repository),
    /// `withheld/<name>`: what of a repository can't be published as it is, or waits. Apart from the repository, so that
    /// what else it holds is published meanwhile.
    Withheld(Repository),
}

impl Key {
    /// The repository it is about.
    pub fn repository(&self) -> &Repository {
        match self {
            Self::Repository(name) | Self::Withheld(name) => name,
        }
    }

    /// Keys of one lane never run together: a repository is settled by one.
    pub fn lane(&self) -> String {
        self.repository().to_string()
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Repository(name) => write!(f, "repository/{name}"),
            Self::Withheld(name) => write!(f, "withheld/{name}"),
        }
    }
}

/// A text that is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a key of index ({reason}): write repository/<name>")]
pub struct BadKey {
    text: String,
    reason: String,
}

impl FromStr for Key {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Self, BadKey> {
        let bad = |reason: String| BadKey { text: text.chars().take(128).collect(), reason };
        let (kind, name) = text.split_once('/').ok_or_else(|| bad("it has no kind".to_owned()))?;
        let kind = match kind {
            "repository" => Self::Repository,
            "withheld" => Self::Withheld,
            other => return Err(bad(format!("there is no kind {other:?}"))),
        };
        name.parse().map(kind).map_err(|error: flatbus_oci::NameError| bad(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_read_back_as_written() {
        for text in ["repository/eog", "repository/f41/flatpak-runtime", "withheld/eog"] {
            assert_eq!(text.parse::<Key>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_key_is_refused_with_its_reason() {
        for text in ["", "eog", "build/eog-1-1", "repository/", "repository/../etc", "repository/UPPER"] {
            let error = text.parse::<Key>().unwrap_err().to_string();
            assert!(error.contains("is not a key of index"), "{error}");
        }
    }
}
