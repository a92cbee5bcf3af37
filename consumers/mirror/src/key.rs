//! What can be doubtful to the mirror. A key names where to look, never what is there.

use std::{fmt, str::FromStr};

use flatbus_oci::Repository;
use flatbus_schemas::Nvr;

/// A doubtful thing. Its text form is what the ledger keeps and what a person types.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// `build/<nvr>`: a build that an update or a Flatpak task names.
    Build(Nvr),
    /// `import/<nvr>`: a build that came without a task; only Koji knows whether it is a Flatpak.
    Import(Nvr),
    /// `repository/<name>`: a repository of the destination, by its canonical name.
    Repository(Repository),
    /// `again/<name>`: a repository to look at again when another writer has had its time.
    Again(Repository),
    /// `withheld/<nvr>`: a build that has tags by rule but can't be published as it is. Apart from its repository, so
    /// that it never blocks another tag.
    Withheld(Nvr),
    /// `stage/<nvr>`: a build's place in the staging namespace. Apart from the build, so that it never blocks publishing.
    Stage(Nvr),
    /// `adopt/<name>`: a repository that a person wants taken over.
    Adopt(Repository),
}

impl Key {
    fn parts(&self) -> (&'static str, &dyn fmt::Display) {
        match self {
            Self::Build(nvr) => ("build", nvr),
            Self::Import(nvr) => ("import", nvr),
            Self::Repository(name) => ("repository", name),
            Self::Again(name) => ("again", name),
            Self::Withheld(nvr) => ("withheld", nvr),
            Self::Stage(nvr) => ("stage", nvr),
            Self::Adopt(name) => ("adopt", name),
        }
    }

    /// Keys of one lane never run together: a repository has one writer, and imports, which come by the thousand, have
    /// one worker.
    pub fn lane(&self) -> String {
        match self {
            Self::Repository(name) | Self::Again(name) | Self::Adopt(name) => format!("repository/{name}"),
            Self::Import(_) => "import".to_owned(),
            Self::Build(_) | Self::Withheld(_) | Self::Stage(_) => self.to_string(),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, name) = self.parts();
        write!(f, "{kind}/{name}")
    }
}

/// A text that is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a key of mirror ({reason}): write build/<nvr> or repository/<name>")]
pub struct BadKey {
    text: String,
    reason: String,
}

impl FromStr for Key {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Self, BadKey> {
        let bad = |reason: String| BadKey { text: text.chars().take(128).collect(), reason };
        let (kind, name) = text.split_once('/').ok_or_else(|| bad("it has no kind".to_owned()))?;
        let nvr = || name.parse::<Nvr>().map_err(|error| bad(error.to_string()));
        let repository = || name.parse::<Repository>().map_err(|error| bad(error.to_string()));
        match kind {
            "build" => nvr().map(Self::Build),
            "import" => nvr().map(Self::Import),
            "repository" => repository().map(Self::Repository),
            "again" => repository().map(Self::Again),
            "withheld" => nvr().map(Self::Withheld),
            "stage" => nvr().map(Self::Stage),
            "adopt" => repository().map(Self::Adopt),
            other => Err(bad(format!("there is no kind {other:?}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_read_back_as_written() {
        for text in [
            "build/eog-flatpak-44.2-1",
            "import/eog-stable-3.1",
            "repository/f41/flatpak-runtime",
            "again/eog",
        ] {
            assert_eq!(text.parse::<Key>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_key_is_refused_with_its_reason() {
        for text in [
            "",
            "eog",
            "build/eog",
            "build/a-b-c/../d",
            "tag/eog",
            "repository/../etc",
            "repository/",
            "build/ a-1-1",
        ] {
            let error = text.parse::<Key>().unwrap_err().to_string();
            assert!(error.contains("is not a key of mirror"), "{error}");
        }
    }
}
