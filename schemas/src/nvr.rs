//! Koji's name-version-release. The name may hold dashes, version and release never: it is split from the right only.

use std::{cmp::Ordering, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Longest text taken for an NVR. Koji's own columns hold less.
const NVR_BYTES_MAX: usize = 512;

/// A build's name-version-release: the one stable key of a build. An epoch is no part of it.
///
/// Ordered as text, so that lists come out the same every time: not the order in which rpm thinks of versions.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Nvr {
    text: String,
    name_end: usize,
    version_end: usize,
}

/// Text that is not an NVR.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not name-version-release")]
pub struct InvalidNvr(String);

impl Nvr {
    /// Joins the three parts, as Koji's messages send them.
    ///
    /// # Errors
    /// When the joined text would split elsewhere, or holds what no build's name holds.
    pub fn new(name: &str, version: &str, release: &str) -> Result<Self, InvalidNvr> {
        let nvr = Self::try_from(format!("{name}-{version}-{release}"))?;
        if nvr.name() == name && nvr.version() == version { Ok(nvr) } else { Err(InvalidNvr(nvr.text)) }
    }

    /// The package's name in Koji.
    pub fn name(&self) -> &str {
        &self.text[..self.name_end]
    }

    /// The version; may hold `~`, `^` and `+`.
    pub fn version(&self) -> &str {
        &self.text[self.name_end + 1..self.version_end]
    }

    /// The release.
    pub fn release(&self) -> &str {
        &self.text[self.version_end + 1..]
    }

    /// The whole text.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// What a build's name holds: visible ASCII, and nothing that could lead elsewhere in a path.
fn is_nvr_byte(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b'/' && byte != b'\\'
}

impl TryFrom<String> for Nvr {
    type Error = InvalidNvr;

    fn try_from(text: String) -> Result<Self, InvalidNvr> {
        let cuts =
            text.rfind('-').and_then(|version_end| Some((text[..version_end].rfind('-')?, version_end)));
        match cuts {
            Some((name_end, version_end))
                if name_end > 0
                    && version_end > name_end + 1
                    && version_end + 1 < text.len()
                    && text.len() <= NVR_BYTES_MAX
                    && text.bytes().all(is_nvr_byte) =>
            {
                Ok(Self { text, name_end, version_end })
            }
            _ => Err(InvalidNvr(text.chars().take(NVR_BYTES_MAX).collect())),
        }
    }
}

impl FromStr for Nvr {
    type Err = InvalidNvr;

    fn from_str(text: &str) -> Result<Self, InvalidNvr> {
        Self::try_from(text.to_owned())
    }
}

impl fmt::Display for Nvr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl fmt::Debug for Nvr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Nvr({})", self.text)
    }
}

impl Ord for Nvr {
    fn cmp(&self, other: &Self) -> Ordering {
        self.text.cmp(&other.text)
    }
}

impl PartialOrd for Nvr {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Serialize for Nvr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Nvr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::try_from(String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_nvr_splits_from_the_right_only() {
        let nvr: Nvr = "gnome-font-viewer-stable-3620220517112201.1".parse().unwrap();
        assert_eq!(
            (nvr.name(), nvr.version(), nvr.release()),
            ("gnome-font-viewer", "stable", "3620220517112201.1")
        );
        assert_eq!(nvr.to_string(), "gnome-font-viewer-stable-3620220517112201.1");
    }

    #[test]
    fn versions_keep_their_tildes_carets_and_pluses() {
        let nvr: Nvr = "baobab-42~rc^git1-1.module_f35+13092+ec568166".parse().unwrap();
        assert_eq!((nvr.version(), nvr.release()), ("42~rc^git1", "1.module_f35+13092+ec568166"));
    }

    #[test]
    fn what_lacks_a_part_or_could_be_a_path_is_no_nvr() {
        let long = format!("{}-1-1", "a".repeat(NVR_BYTES_MAX));
        for text in [
            "",
            "eog",
            "eog-1",
            "-1-1",
            "eog--1",
            "eog-1-",
            "--",
            "a/../b-1-1",
            "eog-1-1\n",
            "eög-1-1",
            &long,
        ] {
            assert!(text.parse::<Nvr>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn parts_that_would_split_elsewhere_are_refused() {
        assert_eq!(Nvr::new("eog", "42.3", "1").unwrap().as_str(), "eog-42.3-1");
        assert_eq!(Nvr::new("rust-flatpak", "f41", "1").unwrap().name(), "rust-flatpak");
        assert!(Nvr::new("eog", "42-3", "1").is_err());
        assert!(Nvr::new("eog", "42", "1-1").is_err());
    }

    #[test]
    fn nvrs_are_ordered_as_text_and_survive_json() {
        let mut nvrs: Vec<Nvr> = serde_json::from_str(r#"["b-1-1", "a-2-1", "a-10-1"]"#).unwrap();
        nvrs.sort();
        assert_eq!(serde_json::to_string(&nvrs).unwrap(), r#"["a-10-1","a-2-1","b-1-1"]"#);
    }
}
