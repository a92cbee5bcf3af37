//! One image of one architecture, as its config tells it: all that the index says of it.

use std::{collections::BTreeMap, fmt, str::FromStr};

use flatbus_oci::Digest;
use serde::{Deserialize, Serialize};

/// The label that makes an image a Flatpak.
pub const REF: &str = "org.flatpak.ref";
/// The label that a client reads an application's needs from; without it the image is invisible.
pub const METADATA: &str = "org.flatpak.metadata";

/// An image, by its manifest. Immutable: two of one digest are equal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Of the manifest of this one architecture, never of an index: a client can't install an index.
    pub digest: Digest,
    /// Of that manifest.
    pub media_type: String,
    /// As the config has it: `linux`.
    pub os: String,
    /// In OCI's spelling: `amd64`, `arm64`, `ppc64le`.
    pub architecture: String,
    /// The config's labels, all of them.
    pub labels: BTreeMap<String, String>,
    /// Digest of the last layer as it is unpacked, which is what deltas go by; `None` where the config names no layer.
    pub diff_id: Option<Digest>,
}

impl Image {
    /// What it installs as.
    ///
    /// # Errors
    /// When a label that clients need is missing, or not what it should be.
    pub fn flatpak(&self) -> Result<Flatpak, NotInstallable> {
        let label = |name: &'static str| self.labels.get(name).ok_or(NotInstallable::Missing { label: name });
        let name: Ref = label(REF)?.parse().map_err(|why| NotInstallable::BadRef { why })?;
        let runtime = runtime(label(METADATA)?, &name)?;
        Ok(Flatpak { name, runtime })
    }
}

/// What an image installs as, and what it needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flatpak {
    /// `app/org.gnome.eog/x86_64/stable`
    pub name: Ref,
    /// The runtime that an application names; `None` for runtimes.
    pub runtime: Option<Ref>,
}

/// Why a client could not install an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotInstallable {
    /// Clients pass over it.
    #[error("its config has no label {label}")]
    Missing {
        /// The label.
        label: &'static str,
    },
    /// Clients pass over it.
    #[error("its label org.flatpak.ref is {why}")]
    BadRef {
        /// What is wrong.
        why: BadRef,
    },
    /// Clients refuse it.
    #[error("its label org.flatpak.metadata {why}")]
    BadMetadata {
        /// What is wrong.
        why: &'static str,
    },
}

/// A Flatpak's name: kind, id, architecture (in Flatpak's spelling), branch.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Ref(String);

/// Longest ref taken, in bytes: a D-Bus name of 255, and as much again for the rest.
const REF_BYTES_MAX: usize = 512;

/// Longest id of a Flatpak, in bytes.
const ID_BYTES_MAX: usize = 255;

/// A text that is no ref.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{shown:?}, which is not kind/id/architecture/branch")]
pub struct BadRef {
    shown: String,
}

impl Ref {
    /// As labels have it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is a runtime.
    pub fn is_runtime(&self) -> bool {
        self.0.starts_with("runtime/")
    }
}

impl FromStr for Ref {
    type Err = BadRef;

    fn from_str(text: &str) -> Result<Self, BadRef> {
        let valid = match text.split('/').collect::<Vec<_>>()[..] {
            ["app" | "runtime", id, architecture, branch] => {
                is_id(id) && is_architecture(architecture) && is_branch(branch)
            }
            _ => false,
        };
        if valid && text.len() <= REF_BYTES_MAX {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadRef { shown: text.chars().take(120).collect() })
        }
    }
}

impl TryFrom<String> for Ref {
    type Error = BadRef;

    fn try_from(text: String) -> Result<Self, BadRef> {
        text.parse()
    }
}

impl From<Ref> for String {
    fn from(name: Ref) -> Self {
        name.0
    }
}

impl fmt::Display for Ref {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// The rules of Flatpak's `flatpak_is_valid_name`, `_arch` and `_branch`.

pub(crate) fn is_id(text: &str) -> bool {
    let segments: Vec<&str> = text.split('.').collect();
    let plain = |(n, segment): (usize, &&str)| {
        let last = n + 1 == segments.len();
        let initial = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_' || (last && byte == b'-');
        let first = segment.bytes().next();
        first.is_some_and(initial) && segment.bytes().all(|byte| initial(byte) || byte.is_ascii_digit())
    };
    segments.len() >= 3 && text.len() <= ID_BYTES_MAX && segments.iter().enumerate().all(plain)
}

pub(crate) fn is_architecture(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

pub(crate) fn is_branch(text: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    !text.is_empty() && !text.starts_with('.') && text.bytes().all(known)
}

/// The runtime that an application's metadata (a key file) names under `[Application]`.
fn runtime(metadata: &str, name: &Ref) -> Result<Option<Ref>, NotInstallable> {
    if name.is_runtime() {
        return Ok(None);
    }
    let bad = |why| NotInstallable::BadMetadata { why };
    let mut inside = false;
    for line in metadata.lines().map(str::trim) {
        if line.starts_with('[') {
            inside = line == "[Application]";
        } else if inside
            && let Some((key, value)) = line.split_once('=')
            && key.trim() == "runtime"
        {
            let named = format!("runtime/{}", value.trim());
            return named.parse().map(Some).map_err(|_| bad("names a runtime that is no ref"));
        }
    }
    Err(bad("names no runtime under [Application]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(labels: &[(&str, &str)]) -> Image {
        Image {
            digest: Digest::of(b"manifest"),
            media_type: flatbus_oci::manifest::OCI_MANIFEST.to_owned(),
            os: "linux".to_owned(),
            architecture: "amd64".to_owned(),
            labels: labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            diff_id: None,
        }
    }

    #[test]
    fn an_application_names_its_runtime() {
        let metadata = "[Application]\nname=org.gnome.eog\nruntime=org.fedoraproject.Platform/x86_64/f36\n[Context]\nruntime=x\n";
        let flatpak =
            image(&[(REF, "app/org.gnome.eog/x86_64/stable"), (METADATA, metadata)]).flatpak().unwrap();
        assert_eq!(flatpak.name.as_str(), "app/org.gnome.eog/x86_64/stable");
        assert_eq!(flatpak.runtime.unwrap().as_str(), "runtime/org.fedoraproject.Platform/x86_64/f36");
    }

    #[test]
    fn a_runtime_needs_none() {
        let flatpak =
            image(&[(REF, "runtime/org.fedoraproject.Platform/x86_64/f36"), (METADATA, "[Runtime]\n")]);
        assert_eq!(flatpak.flatpak().unwrap().runtime, None);
    }

    #[test]
    fn what_a_client_would_pass_over_is_refused_with_its_reason() {
        let app = (REF, "app/org.gnome.eog/x86_64/stable");
        for (labels, reason) in [
            (vec![], "no label org.flatpak.ref"),
            (vec![app], "no label org.flatpak.metadata"),
            (vec![app, (METADATA, "")], "names no runtime"),
            (vec![app, (METADATA, "[Application]\nruntime=../../x\n")], "is no ref"),
            (vec![(REF, "app/../x86_64/stable"), (METADATA, "")], "not kind/id/architecture/branch"),
            (vec![(REF, "app/org.gnome.eog/x86_64"), (METADATA, "")], "not kind/id/architecture/branch"),
            (vec![(REF, "app/a\"b/x86_64/stable"), (METADATA, "")], "not kind/id/architecture/branch"),
        ] {
            let error = image(&labels).flatpak().unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
