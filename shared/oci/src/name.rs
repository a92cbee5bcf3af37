//! Names of the OCI distribution specification, as types that can't hold anything else: a name is checked before it
//! touches a URL or a path.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Longest repository name, in bytes: registries limit host and name together to 255.
const REPOSITORY_BYTES_MAX: usize = 255;
/// Longest tag, in bytes (the specification's grammar).
const TAG_BYTES_MAX: usize = 128;
/// Longest host with port, in bytes.
const HOST_BYTES_MAX: usize = 255;

/// A text that is not the name it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {what}: {why}")]
pub struct NameError {
    /// The text, shortened.
    pub text: String,
    /// What it should be.
    pub what: &'static str,
    /// What is wrong with it.
    pub why: &'static str,
}

impl NameError {
    fn new(text: &str, what: &'static str, why: &'static str) -> Self {
        const SHOWN_CHARS_MAX: usize = 80;
        Self { text: text.chars().take(SHOWN_CHARS_MAX).collect(), what, why }
    }
}

/// A repository's name within its registry: `fedora/eog`, `f41/flatpak-runtime`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Repository(String);

/// A tag: `latest`, `45.2-1`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Tag(String);

/// The SHA-256 of some content: `sha256:…`. Other algorithms are read nowhere: what can't be verified isn't copied.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

/// What names a manifest within a repository.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reference {
    /// By a name that moves.
    Tag(Tag),
    /// By content.
    Digest(Digest),
}

/// A pull spec: `host/repository@sha256:…`, `host/repository:tag`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageRef {
    /// Host, with its port if it has one.
    pub host: String,
    /// The repository.
    pub repository: Repository,
    /// Which image of it.
    pub reference: Reference,
}

impl Repository {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The repository `name` below this one: `fedora` and `eog` make `fedora/eog`.
    ///
    /// # Errors
    /// When the whole is no repository's name.
    pub fn join(&self, name: &str) -> Result<Self, NameError> {
        format!("{}/{name}", self.0).parse()
    }
}

impl Tag {
    /// The tag as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Digest {
    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// From the 32 bytes of a SHA-256.
    pub fn from_sha256(sum: [u8; 32]) -> Self {
        Self(sum)
    }

    /// The 64 hexadecimal digits alone.
    pub fn hex(&self) -> String {
        use fmt::Write as _;
        self.0.iter().fold(String::with_capacity(64), |mut text, byte| {
            let _ = write!(text, "{byte:02x}"); // Writing to a String can't fail.
            text
        })
    }
}

impl FromStr for Repository {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let wrong = |why| Err(NameError::new(text, "a repository name", why));
        if text.is_empty() || text.len() > REPOSITORY_BYTES_MAX {
            return wrong("it must have 1 to 255 characters");
        }
        if !text.split('/').all(is_path_component) {
            return wrong("each part is lower-case letters and digits, joined by '.', '_', '__' or dashes");
        }
        Ok(Self(text.to_owned()))
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_path_component(part: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let mut rest = part;
    loop {
        let after_word = rest.trim_start_matches(alphanumeric);
        if after_word.len() == rest.len() {
            return false;
        }
        if after_word.is_empty() {
            return true;
        }
        let after_separator = after_word
            .strip_prefix('.')
            .or_else(|| after_word.strip_prefix("__"))
            .or_else(|| after_word.strip_prefix('_'))
            .unwrap_or_else(|| after_word.trim_start_matches('-'));
        if after_separator.len() == after_word.len() {
            return false;
        }
        rest = after_separator;
    }
}

impl FromStr for Tag {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let wrong = |why| Err(NameError::new(text, "a tag", why));
        if text.is_empty() || text.len() > TAG_BYTES_MAX {
            return wrong("it must have 1 to 128 characters");
        }
        if !text.starts_with(word) || !text.chars().all(|c| word(c) || c == '.' || c == '-') {
            return wrong("it is letters, digits, '_', '.' and '-', and starts with none of the last two");
        }
        Ok(Self(text.to_owned()))
    }
}

impl FromStr for Digest {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let wrong = |why| NameError::new(text, "a digest", why);
        let hex = text.strip_prefix("sha256:").ok_or_else(|| wrong("only sha256: digests are taken"))?;
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let wrong_hex = || wrong("after sha256: come 64 lower-case hexadecimal digits");
        let mut sum = [0; 32];
        let (pairs, []) = hex.as_bytes().as_chunks::<2>() else { return Err(wrong_hex()) };
        if pairs.len() != sum.len() {
            return Err(wrong_hex());
        }
        for (byte, [high, low]) in sum.iter_mut().zip(pairs) {
            *byte = digit(*high).zip(digit(*low)).map(|(high, low)| high << 4 | low).ok_or_else(wrong_hex)?;
        }
        Ok(Self(sum))
    }
}

impl FromStr for Reference {
    type Err = NameError;

    /// A digest where it holds a colon, else a tag.
    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.contains(':') { text.parse().map(Self::Digest) } else { text.parse().map(Self::Tag) }
    }
}

impl FromStr for ImageRef {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let wrong = |why| NameError::new(text, "a pull spec", why);
        let (host, rest) = text
            .split_once('/')
            .ok_or_else(|| wrong("it must be host/repository@digest or host/repository:tag"))?;
        if !is_host(host) {
            return Err(wrong("it must begin with a host name"));
        }
        let (name, reference) = match rest.split_once('@') {
            // `repository:tag@digest`: the digest decides; the tag is only for people.
            Some((name, digest)) => {
                (name.split(':').next().unwrap_or(name), Reference::Digest(digest.parse()?))
            }
            None => {
                let (name, tag) =
                    rest.split_once(':').ok_or_else(|| wrong("it names neither a tag nor a digest"))?;
                (name, Reference::Tag(tag.parse()?))
            }
        };
        Ok(Self { host: host.to_ascii_lowercase(), repository: name.parse()?, reference })
    }
}

/// A host as pull specs have it: with a dot or a port, or `localhost`; brackets around an IPv6 address.
fn is_host(text: &str) -> bool {
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (text, None),
    };
    let port_fits = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    let labels_fit = |name: &str| {
        name.split('.').all(|label| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        })
    };
    let name_fits = match name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => labels_fit(name) && (name.contains('.') || port.is_some() || name == "localhost"),
    };
    text.len() <= HOST_BYTES_MAX && port_fits && name_fits
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => fmt::Display::fmt(digest, f),
        }
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let between = match self.reference {
            Reference::Tag(_) => ':',
            Reference::Digest(_) => '@',
        };
        write!(f, "{}/{}{between}{}", self.host, self.repository, self.reference)
    }
}

impl From<Tag> for Reference {
    fn from(tag: Tag) -> Self {
        Self::Tag(tag)
    }
}

impl From<Digest> for Reference {
    fn from(digest: Digest) -> Self {
        Self::Digest(digest)
    }
}

impl From<Repository> for String {
    fn from(repository: Repository) -> Self {
        repository.0
    }
}

impl From<Tag> for String {
    fn from(tag: Tag) -> Self {
        tag.0
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl TryFrom<String> for Repository {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl TryFrom<String> for Tag {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl TryFrom<String> for Digest {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl AsRef<str> for Repository {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Tag {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ok<T: FromStr>(text: &str) -> bool {
        text.parse::<T>().is_ok()
    }

    #[test]
    fn repositories_follow_the_grammar() {
        for good in ["eog", "fedora/eog", "f41/flatpak-runtime", "a.b_c__d---e/0"] {
            assert!(ok::<Repository>(good), "{good}");
        }
        let long = "a".repeat(256);
        for bad in [
            "", "/", "a/", "/a", "A", "a//b", "../etc", "a..b", "a___b", "-a", "a-", "a b", "a:b", "é",
            "a\n", &long,
        ] {
            assert!(!ok::<Repository>(bad), "{bad:?}");
        }
    }

    #[test]
    fn tags_follow_the_grammar() {
        for good in ["latest", "45.2-1", "_x", &"a".repeat(128)] {
            assert!(ok::<Tag>(good), "{good}");
        }
        for bad in ["", ".", "..", "-a", ".a", "a/b", "a:b", "1.0~a5", "1.0^a", "a b", "a?", &"a".repeat(129)]
        {
            assert!(!ok::<Tag>(bad), "{bad:?}");
        }
    }

    #[test]
    fn digests_are_sha256_in_lower_case() {
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b"").to_string(), empty);
        assert_eq!(empty.parse::<Digest>().unwrap(), Digest::of(b""));
        for bad in [
            "",
            "sha256:",
            "sha512:00",
            &empty[..70],
            &empty.to_uppercase(),
            &format!("{empty}0"),
            "sha256:é",
        ] {
            assert!(!ok::<Digest>(bad), "{bad}");
        }
    }

    #[test]
    fn pull_specs_are_taken_apart_and_put_together() {
        let digest = Digest::of(b"x");
        for text in
            ["quay.io/fedora/eog:latest".to_owned(), format!("127.0.0.1:5000/f41/flatpak-runtime@{digest}")]
        {
            assert_eq!(text.parse::<ImageRef>().unwrap().to_string(), text);
        }
        let both: ImageRef = format!("localhost/eog:stable@{digest}").parse().unwrap();
        assert_eq!(both.to_string(), format!("localhost/eog@{digest}"));
        assert!(ok::<ImageRef>("[::1]:5000/eog:latest"));
        for bad in [
            "eog:latest",
            "eog/eog:latest",
            "quay.io/eog",
            "quay.io/:x",
            "quay.io/eog@latest",
            "a b.io/eog:x",
            "quay.io:0/eog:x",
            "u:p@quay.io/eog:x",
            "https://quay.io/eog:x",
        ] {
            assert!(!ok::<ImageRef>(bad), "{bad}");
        }
    }

    #[test]
    fn names_are_texts_in_json_and_checked_there() {
        assert_eq!(serde_json::to_string(&Digest::of(b"")).unwrap().len(), 73);
        assert!(serde_json::from_str::<Repository>("\"../x\"").is_err());
    }
}
