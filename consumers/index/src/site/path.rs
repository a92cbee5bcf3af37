//! The names of published files.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use flatbus_oci::Digest;
use serde::{Deserialize, Serialize};

use crate::weave::Encoding;

/// Longest path taken, in bytes: with what is put before and behind a file's name, still one that file systems take.
const PATH_BYTES_MAX: usize = 200;

/// A published file's path below the site: `index/flatpak-latest.json`. It can't lead out of the site, and needs no
/// escaping in a URL.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SitePath(String);

/// A text that is no path of a published file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{shown:?} is no path of a published file: plain names with slashes between them, none beginning with a dot"
)]
pub struct BadPath {
    shown: String,
}

impl SitePath {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The file below this folder.
    pub fn below(&self, dir: &Path) -> PathBuf {
        dir.join(&self.0)
    }

    /// The path of this file in an encoding.
    pub(super) fn encoded(&self, encoding: Encoding) -> Self {
        Self(format!("{}{}", self.0, encoding.suffix()))
    }

    /// A path that is known to be one.
    pub(super) fn fixed(path: &'static str) -> Self {
        Self(path.to_owned())
    }

    /// Of a file whose name is its content's digest: `icons/<2 digits>/<62 digits>.png`.
    ///
    /// # Errors
    /// When the folder or the ending is none.
    pub fn of_content(folder: &str, digest: &Digest, ending: &str) -> Result<Self, BadPath> {
        let hex = digest.hex();
        let (first, rest) = hex.split_at(2);
        format!("{folder}/{first}/{rest}{ending}").parse()
    }
}

impl FromStr for SitePath {
    type Err = BadPath;

    fn from_str(text: &str) -> Result<Self, BadPath> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-+".contains(&byte);
        let name = |name: &str| !name.is_empty() && !name.starts_with('.') && name.bytes().all(plain);
        if text.len() <= PATH_BYTES_MAX && text.split('/').all(name) {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadPath { shown: text.chars().take(120).collect() })
        }
    }
}

impl TryFrom<String> for SitePath {
    type Error = BadPath;

    fn try_from(text: String) -> Result<Self, BadPath> {
        text.parse()
    }
}

impl From<SitePath> for String {
    fn from(path: SitePath) -> Self {
        path.0
    }
}

impl AsRef<str> for SitePath {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SitePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
