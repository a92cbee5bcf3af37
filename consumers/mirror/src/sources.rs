//! Where a build's bytes are now: maps the prefix of a pull spec to registries and to the canonical repository.
//!
//! Pure. A pull spec that no source covers is never guessed at.

use flatbus_oci::{Digest, ImageRef, Location, Reference, Repository};

use crate::fact::BuildFact;

/// One mapping: pull specs that start so, and where their bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Ends in a slash: `candidate-registry.fedoraproject.org/`. What follows is the canonical repository.
    pub pull_spec: String,
    /// Asked in order.
    pub bytes_at: Vec<Location>,
}

/// All mappings; the longest prefix that fits wins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sources(Vec<Source>);

/// A build with its place in the world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// What Koji said.
    pub fact: BuildFact,
    /// The canonical repository.
    pub repository: Repository,
    /// Digest of the index (or manifest).
    pub digest: Digest,
}

/// Why a build has no place. A person must look.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unplaced {
    /// No pull spec by digest.
    #[error("{nvr} is a Flatpak, but Koji names no pull spec with a digest: look at `koji buildinfo {nvr}`")]
    NoPullSpec {
        /// The build.
        nvr: String,
    },
    /// Not `host/repository@sha256:…`.
    #[error("{nvr} has the pull spec {spec:?}, which is not host/repository@sha256:…")]
    BadPullSpec {
        /// The build.
        nvr: String,
        /// As Koji has it, shortened.
        spec: String,
    },
    /// Well-formed, but nobody said where its bytes are.
    #[error(
        "{nvr} was pushed to {spec}, which no [[consumer_config.sources]] covers: add one whose pull_spec it starts with"
    )]
    NoSource {
        /// The build.
        nvr: String,
        /// As Koji has it.
        spec: String,
    },
}

/// Longest foreign text shown in an error, in characters.
const SHOWN_CHARS_MAX: usize = 200;

impl Sources {
    /// Takes the mappings, longest prefix first.
    pub fn new(mut sources: Vec<Source>) -> Self {
        sources.sort_by(|a, b| {
            b.pull_spec.len().cmp(&a.pull_spec.len()).then_with(|| a.pull_spec.cmp(&b.pull_spec))
        });
        Self(sources)
    }

    /// Every place that bytes are read from, each once.
    pub fn locations(&self) -> Vec<Location> {
        let mut all: Vec<Location> = self.0.iter().flat_map(|source| source.bytes_at.clone()).collect();
        all.sort();
        all.dedup();
        all
    }

    /// The mapping from pull specs to repositories as text: what was found out by another one has to be found out anew.
    pub fn mapping(&self) -> String {
        self.0.iter().map(|source| source.pull_spec.as_str()).collect::<Vec<_>>().join(" ")
    }

    /// The repository and digest of a build.
    ///
    /// # Errors
    /// When its pull spec is missing, malformed, or covered by no source.
    pub fn place(&self, fact: &BuildFact) -> Result<Placed, Unplaced> {
        let nvr = || fact.nvr.clone();
        let spec = fact.pull_spec.as_deref().ok_or_else(|| Unplaced::NoPullSpec { nvr: nvr() })?;
        let shown = || spec.chars().take(SHOWN_CHARS_MAX).collect::<String>();
        let bad = || Unplaced::BadPullSpec { nvr: nvr(), spec: shown() };
        let image: ImageRef = spec.parse().map_err(|_| bad())?;
        let Reference::Digest(digest) = image.reference else { return Err(bad()) };
        let name = format!("{}/{}", image.host, image.repository);
        let source = self.covering(&name).ok_or_else(|| Unplaced::NoSource { nvr: nvr(), spec: shown() })?;
        let repository = name[source.pull_spec.len()..].parse().map_err(|_| bad())?;
        Ok(Placed { fact: fact.clone(), repository, digest })
    }

    /// Where a placed build's bytes may be, in the order to ask.
    pub fn places(&self, fact: &BuildFact) -> &[Location] {
        let name = fact.pull_spec.as_deref().unwrap_or_default();
        self.covering(name).map_or(&[], |source| &source.bytes_at)
    }

    fn covering(&self, name: &str) -> Option<&Source> {
        self.0.iter().find(|source| name.starts_with(&source.pull_spec))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:f0613ef4e9a7c431a40beb431477786092e5ddf56b5e1d5871108f06454daaed";

    fn fact(pull_spec: &str) -> BuildFact {
        BuildFact {
            id: 1,
            nvr: "eog-flatpak-44.2-1".to_owned(),
            package: "eog-flatpak".to_owned(),
            version: "44.2".to_owned(),
            release: "1".to_owned(),
            flatpak: true,
            complete: true,
            completed_s: None,
            pull_spec: Some(pull_spec.to_owned()),
        }
    }

    fn sources() -> Sources {
        let source = |pull_spec: &str, at: &[&str]| Source {
            pull_spec: pull_spec.to_owned(),
            bytes_at: at.iter().map(|at| Location::parse(at).unwrap()).collect(),
        };
        Sources::new(vec![
            source(
                "candidate-registry.example/",
                &["https://candidate-registry.example", "https://registry.example"],
            ),
            source("quay.io/", &["https://quay.io/"]),
            source("quay.io/fedora-candidates/", &["https://quay.io/fedora-candidates"]),
        ])
    }

    fn place(spec: &str) -> Result<String, Unplaced> {
        sources().place(&fact(spec)).map(|placed| placed.repository.to_string())
    }

    #[test]
    fn the_longest_prefix_names_the_canonical_repository() {
        assert_eq!(place(&format!("quay.io/fedora-candidates/eog@{DIGEST}")).unwrap(), "eog");
        assert_eq!(
            place(&format!("candidate-registry.example/f41/flatpak-runtime@{DIGEST}")).unwrap(),
            "f41/flatpak-runtime"
        );
    }

    #[test]
    fn a_pull_spec_without_a_mapping_is_refused_with_what_to_do() {
        let error = place(&format!("elsewhere.example/eog@{DIGEST}")).unwrap_err();
        assert!(matches!(error, Unplaced::NoSource { .. }));
        assert!(error.to_string().contains("[[consumer_config.sources]]"));
    }

    #[test]
    fn a_malformed_pull_spec_is_refused() {
        for spec in [
            "",
            "eog",
            "candidate-registry.example/eog:latest",
            "candidate-registry.example/../x@sha256:00",
            &format!("candidate-registry.example/UPPER@{DIGEST}"),
            &format!("candidate-registry.example/@{DIGEST}"),
            &format!("candidate-registry.example/a/../b@{DIGEST}"),
            "candidate-registry.example/eog@sha256:abc",
        ] {
            assert!(matches!(place(spec), Err(Unplaced::BadPullSpec { .. })), "{spec}");
        }
        let none = BuildFact { pull_spec: None, ..fact("") };
        assert!(matches!(sources().place(&none), Err(Unplaced::NoPullSpec { .. })));
    }

    #[test]
    fn bytes_are_asked_for_in_the_order_written() {
        let places = sources().places(&fact(&format!("candidate-registry.example/eog@{DIGEST}"))).to_vec();
        let hosts: Vec<_> = places.iter().map(Location::host).collect();
        assert_eq!(hosts, ["candidate-registry.example", "registry.example"]);
    }
}
