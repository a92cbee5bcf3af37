//! An image index: the images that it names. Pure.
//!
//! Reads one with a name in it that nobody can use, for the sake of the others: only that one is left out.

use std::collections::BTreeMap;

use flatbus_oci::{Error, Manifest};
use serde::{Deserialize, de::IgnoredAny};

use super::{
    LeftOut,
    config::{UNKNOWN, is_word},
};

/// Says that a tag is withdrawn.
const WITHDRAWN: &str = "flatbus.withdrawn";
/// What is shown of a digest, in characters: all of a sha256.
const DIGEST_CHARS_MAX: usize = 71;
/// Most that is told of what a parser says, in characters: it quotes what it read.
const SAID_CHARS_MAX: usize = 200;

/// An index.
pub(super) struct Index {
    pub children: Vec<Child>,
    annotations: BTreeMap<String, IgnoredAny>,
}

/// Something that an index names.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Child {
    pub digest: String,
    #[serde(default)]
    pub size: u64,
    platform: Option<Platform>,
}

#[derive(Debug, Clone, Deserialize)]
struct Platform {
    architecture: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    schema_version: u64,
    media_type: Option<String>,
    manifests: Vec<Child>,
    config: Option<IgnoredAny>,
    layers: Option<IgnoredAny>,
    annotations: Option<BTreeMap<String, IgnoredAny>>,
}

impl Index {
    /// Reads an index. Refuses what two readers could understand differently.
    pub(super) fn parse(root: &Manifest, host: &str) -> Result<Self, Error> {
        let invalid = |why: &str| {
            let why = why.chars().take(SAID_CHARS_MAX).collect();
            Error::Manifest { host: host.to_owned(), what: root.digest.to_string(), why }
        };
        let raw: Raw = serde_json::from_slice(&root.bytes).map_err(|error| invalid(&error.to_string()))?;
        if raw.schema_version != 2 {
            return Err(invalid(&format!("its schema version is {}", raw.schema_version)));
        }
        if raw.media_type.is_some_and(|own| own != root.media_type) {
            return Err(invalid("it says another media type than its registry"));
        }
        if raw.config.is_some() || raw.layers.is_some() {
            return Err(invalid("it is neither clearly an index nor clearly an image"));
        }
        Ok(Self { children: raw.manifests, annotations: raw.annotations.unwrap_or_default() })
    }

    /// Whether it says that its tag is withdrawn.
    pub(super) fn is_withdrawn(&self) -> bool {
        self.children.is_empty() && self.annotations.contains_key(WITHDRAWN)
    }
}

impl Child {
    /// What a tag names that names no index.
    pub(super) fn alone(root: &Manifest) -> Self {
        Self { digest: root.digest.to_string(), size: root.bytes.len() as u64, platform: None }
    }

    /// Whether it is no image, but what a build says of one.
    pub(super) fn is_attestation(&self) -> bool {
        self.architecture() == Some(UNKNOWN)
    }

    pub(super) fn left_out(&self, why: String) -> LeftOut {
        let architecture = self.architecture().filter(|word| is_word(word)).map(str::to_owned);
        LeftOut { digest: self.digest.chars().take(DIGEST_CHARS_MAX).collect(), architecture, why }
    }

    fn architecture(&self) -> Option<&str> {
        self.platform.as_ref()?.architecture.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use flatbus_oci::manifest::OCI_INDEX;

    use super::*;

    fn parse(json: &str) -> Result<Index, Error> {
        Index::parse(&Manifest::new(json.to_owned().into(), Some(OCI_INDEX), "h").unwrap(), "h")
    }

    #[test]
    fn one_bad_digest_spoils_none_of_the_others() {
        let json = r#"{"schemaVersion":2,"manifests":[{"digest":"sha512:00"},{"digest":"","size":1,"platform":null}]}"#;
        let index = parse(json).unwrap();
        assert_eq!(index.children.len(), 2);
        assert!(!index.is_withdrawn());
    }

    #[test]
    fn a_withdrawn_tag_says_so_and_names_nothing() {
        let withdrawn = flatbus_oci::withdrawn::manifest();
        assert!(Index::parse(&withdrawn, "h").unwrap().is_withdrawn());
        let annotations = r#""annotations":{"flatbus.withdrawn":"2026-01-01","x":1}"#;
        let index = |manifests: &str| {
            parse(&format!(r#"{{"schemaVersion":2,"manifests":{manifests},{annotations}}}"#))
        };
        assert!(index("[]").unwrap().is_withdrawn());
        assert!(!index(r#"[{"digest":"sha512:00"}]"#).unwrap().is_withdrawn());
        let silent = r#"{"schemaVersion":2,"manifests":[],"annotations":null}"#;
        assert!(!parse(silent).unwrap().is_withdrawn());
    }

    #[test]
    fn what_two_readers_could_understand_differently_is_refused() {
        let long = format!(r#"{{"schemaVersion":"{}"}}"#, "x".repeat(1 << 20));
        for (json, why) in [
            ("", "EOF"),
            ("[]", "invalid"),
            (r#"{"schemaVersion":2}"#, "manifests"),
            (r#"{"schemaVersion":1,"manifests":[]}"#, "schema version is 1"),
            (r#"{"schemaVersion":2,"manifests":[],"config":{}}"#, "neither"),
            (r#"{"schemaVersion":2,"manifests":[],"layers":[]}"#, "neither"),
            (r#"{"schemaVersion":2,"mediaType":"x","manifests":[]}"#, "media type"),
            (r#"{"schemaVersion":2,"manifests":[{"digest":1}]}"#, "invalid type"),
            (r#"{"schemaVersion":2,"manifests":[{"digest":"x","size":-1}]}"#, "invalid value"),
            (&long, "invalid type"),
        ] {
            let refused = parse(json).err().unwrap().to_string();
            assert!(refused.contains(why) && refused.len() < 1024, "{refused}");
        }
    }
}
