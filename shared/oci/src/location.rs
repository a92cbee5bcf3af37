//! A place of images as an operator writes it: a registry, and a namespace in it.
//!
//! Pure. Holds no credentials, and shows none that were written into it by mistake.

use url::Url;

use crate::Repository;

/// Longest foreign text shown in an error, in characters.
const SHOWN_CHARS_MAX: usize = 200;

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

#[cfg(test)]
mod tests {
    use super::*;

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
