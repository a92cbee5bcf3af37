//! Where a build's bytes are now: maps the prefix of a pull spec to registries and to the canonical repository.
//!
//! Pure. A pull spec that no source covers is never guessed at.

use flatbus_oci::{Digest, ImageRef, Reference, Repository};
use url::Url;

use crate::fact::BuildFact;

/// A registry, and the namespace in it that repositories of ours stand under: `https://quay.io/fedora`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    /// Scheme, host and port.
    pub registry: Url,
    /// `fedora`, `a/b`, or empty.
    pub namespace: String,
}

/// A text that names no place of images.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} names no registry: write https://host[:port]/namespace ({reason})")]
pub struct BadLocation {
    text: String,
    reason: &'static str,
}

impl Location {
    /// Reads `https://host[:port][/namespace]`.
    ///
    /// # Errors
    /// When it is no such URL, or holds more than that: credentials, a query, an odd namespace.
    pub fn parse(text: &str) -> Result<Self, BadLocation> {
        let shown = text.rsplit('@').next().unwrap_or_default(); // Whatever stands before an @ may be a password.
        let bad = |reason| BadLocation { text: shown.chars().take(SHOWN_CHARS_MAX).collect(), reason };
        let mut url = Url::parse(text).map_err(|_| bad("not a URL"))?;
        if !matches!(url.scheme(), "https" | "http") || url.host_str().is_none() {
            return Err(bad("neither https nor http"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(bad("credentials don't belong here: put them into the auth file"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(bad("it has a query or a fragment"));
        }
        let namespace = url.path().trim_matches('/').to_owned();
        if !namespace.is_empty() && namespace.parse::<Repository>().is_err() {
            return Err(bad("its path is no namespace"));
        }
        url.set_path("/");
        Ok(Self { registry: url, namespace })
    }

    /// Host and port as an image reference names them.
    pub fn host(&self) -> String {
        let host = self.registry.host_str().unwrap_or_default();
        self.registry.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    /// The full repository name here of a canonical one: `eog` → `fedora/eog`. `None` where the two together are longer
    /// than a name may be.
    pub fn repository(&self, canonical: &Repository) -> Option<Repository> {
        if self.namespace.is_empty() {
            return Some(canonical.clone());
        }
        format!("{}/{canonical}", self.namespace).parse().ok()
    }
}

impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let host = self.host();
        if self.namespace.is_empty() { f.write_str(&host) } else { write!(f, "{host}/{}", self.namespace) }
    }
}

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

    #[test]
    fn a_location_is_a_registry_and_a_namespace_and_nothing_else() {
        let at = Location::parse("https://quay.io/fedora/").unwrap();
        assert_eq!(at.repository(&"f41/sdk".parse().unwrap()).unwrap().to_string(), "fedora/f41/sdk");
        assert_eq!(at.to_string(), "quay.io/fedora");
        assert_eq!(Location::parse("http://127.0.0.1:5000").unwrap().host(), "127.0.0.1:5000");
        for bad in
            ["quay.io/fedora", "ftp://quay.io", "https://quay.io/fedora?x=1", "https://quay.io/Fedora Images"]
        {
            assert!(Location::parse(bad).is_err(), "{bad}");
        }
        let leak = Location::parse("https://robot:hunter2@quay.io/fedora").unwrap_err().to_string();
        assert!(!leak.contains("hunter2"), "{leak}");
        assert!(Location::parse(&"x".repeat(100_000)).unwrap_err().to_string().len() < 1024);
    }
}
