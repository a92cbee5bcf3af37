//! Explains how a file of ours differs from another index's: flatpak-indexer's, say, that is in production today.
//!
//! Pure. Compared is what a client sees: by ref and architecture, the image and its labels. How repositories are called, where
//! icons lie and which deltas there are is each index' own business.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::Serialize;

use crate::{
    entry::DELTA_URL,
    icon,
    image::{Image, REF},
    recover::Shown,
};

/// One thing that a client would see otherwise.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Difference {
    /// `app/org.gnome.eog/x86_64/stable`, or what stands where a ref should.
    #[serde(rename = "ref")]
    pub name: String,
    /// In OCI's spelling.
    pub architecture: String,
    /// What differs.
    #[serde(flatten)]
    pub how: How,
}

/// In what an entry differs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "difference", rename_all = "snake_case")]
pub enum How {
    /// The other has it, and nothing of its repository was seen here yet: no tag of it moved, and no survey found it.
    NotSeen {
        /// As the other calls it.
        repository: String,
    },
    /// The other has it; we show other things of its repository.
    Missing {
        /// As the other calls it.
        repository: String,
    },
    /// We have it, the other has not.
    Extra {
        /// As we call it.
        repository: String,
    },
    /// Another build.
    OtherDigest {
        /// Ours.
        ours: String,
        /// The other's.
        theirs: String,
    },
    /// The same build, shown otherwise.
    OtherLabels {
        /// Labels that differ, or that one of the two has not.
        labels: Vec<String>,
    },
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSeen { repository } => {
                write!(f, "not yet seen: nothing of {repository} was told of here")
            }
            Self::Missing { repository } => write!(f, "missing: the other shows it in {repository}"),
            Self::Extra { repository } => write!(f, "extra: shown in {repository}, the other has it not"),
            Self::OtherDigest { ours, theirs } => write!(f, "other digest: {ours} here, {theirs} there"),
            Self::OtherLabels { labels } => write!(f, "other labels: {}", labels.join(", ")),
        }
    }
}

/// All differences, in order of the refs. Names of repositories are compared by their last parts: one index may call `eog`
/// what the other calls `fedora/eog`.
pub fn compare(ours: &Shown, theirs: &Shown) -> Vec<Difference> {
    let seen: BTreeSet<&str> = ours.keys().map(|name| last(name)).collect();
    let (ours, theirs) = (by_name(ours), by_name(theirs));
    let mut differences = Vec::new();
    for (key, (repository, image)) in &theirs {
        let how = match ours.get(key) {
            Some((_, own)) => differs(own, image),
            None if seen.contains(last(repository)) => {
                Some(How::Missing { repository: (*repository).to_owned() })
            }
            None => Some(How::NotSeen { repository: (*repository).to_owned() }),
        };
        differences.extend(how.map(|how| difference(key, how)));
    }
    for (key, (repository, _)) in ours.iter().filter(|(key, _)| !theirs.contains_key(*key)) {
        differences.push(difference(key, How::Extra { repository: (*repository).to_owned() }));
    }
    differences.sort();
    differences
}

/// Ref and architecture.
type Key<'a> = (&'a str, &'a str);

fn by_name(shown: &Shown) -> BTreeMap<Key<'_>, (&str, &Image)> {
    let mut all = BTreeMap::new();
    for (repository, images) in shown {
        for image in images {
            let name = image.labels.get(REF).map_or("(no ref)", String::as_str);
            all.insert((name, image.architecture.as_str()), (repository.as_str(), image));
        }
    }
    all
}

fn last(repository: &str) -> &str {
    repository.rsplit('/').next().unwrap_or(repository)
}

fn difference(key: &Key<'_>, how: How) -> Difference {
    Difference { name: key.0.to_owned(), architecture: key.1.to_owned(), how }
}

fn differs(ours: &Image, theirs: &Image) -> Option<How> {
    if ours.digest != theirs.digest {
        return Some(How::OtherDigest { ours: ours.digest.to_string(), theirs: theirs.digest.to_string() });
    }
    let own_business = |label: &str| label == DELTA_URL || icon::LABELS.contains(&label);
    let names: BTreeSet<&String> = ours.labels.keys().chain(theirs.labels.keys()).collect();
    let other =
        |label: &&&String| ours.labels.get(**label) != theirs.labels.get(**label) && !own_business(label);
    let labels: Vec<String> = names.iter().filter(other).map(|label| (*label).clone()).collect();
    (!labels.is_empty()).then_some(How::OtherLabels { labels })
}

#[cfg(test)]
mod tests {
    use flatbus_oci::Digest;

    use super::*;

    const EOG: &str = "app/org.gnome.eog/x86_64/stable";

    fn image(name: &str, build: &str, more: &[(&str, &str)]) -> Image {
        let labels = more.iter().copied().chain([(REF, name)]);
        Image {
            digest: Digest::of(build.as_bytes()),
            media_type: String::new(),
            os: "linux".to_owned(),
            architecture: "amd64".to_owned(),
            labels: labels.map(|(label, value)| (label.to_owned(), value.to_owned())).collect(),
            diff_id: None,
        }
    }

    fn shown(repositories: &[(&str, Image)]) -> Shown {
        repositories.iter().map(|(name, image)| ((*name).to_owned(), vec![image.clone()])).collect()
    }

    fn told(ours: &[(&str, Image)], theirs: &[(&str, Image)]) -> Vec<String> {
        compare(&shown(ours), &shown(theirs))
            .iter()
            .map(|found| format!("{} {}", found.name, found.how))
            .collect()
    }

    #[test]
    fn the_same_image_under_other_names_with_other_icons_and_deltas_is_the_same() {
        let ours = image(EOG, "1", &[("org.freedesktop.appstream.icon-64", "/icons/a.png")]);
        let more =
            [("org.freedesktop.appstream.icon-64", "https://cdn/b.png"), (DELTA_URL, "https://cdn/d.json")];
        let theirs = image(EOG, "1", &more);
        assert!(told(&[("fedora/eog", ours)], &[("eog", theirs)]).is_empty());
    }

    #[test]
    fn every_kind_of_difference_is_told_by_its_ref() {
        let other = "app/org.gnome.Other/x86_64/stable";
        let one = |name, build| image(name, build, &[]);
        assert!(told(&[("a", one(EOG, "1"))], &[("a", one(EOG, "2"))])[0].contains("other digest: sha256:"));
        let missing = told(&[("fedora/a", one(EOG, "1"))], &[("a", one(other, "1"))]);
        assert!(missing.iter().any(|told| told.ends_with("missing: the other shows it in a")), "{missing:?}");
        assert!(
            told(&[], &[("a", one(EOG, "1"))])[0].ends_with("not yet seen: nothing of a was told of here")
        );
        assert!(
            told(&[("fedora/a", one(EOG, "1"))], &[])[0]
                .ends_with("extra: shown in fedora/a, the other has it not")
        );
        let labelled = image(EOG, "1", &[("org.flatpak.metadata", "x")]);
        assert_eq!(
            told(&[("a", labelled)], &[("a", one(EOG, "1"))]),
            [format!("{EOG} other labels: org.flatpak.metadata")]
        );
    }
}
