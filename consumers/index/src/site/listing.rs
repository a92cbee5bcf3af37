//! `site.json`: what is published. The same types write and read it; members that a reader doesn't know are passed over.
//!
//! Files with a name that stays and content that changes are listed there themselves. Files whose name is their content's
//! digest are listed in sub-lists, 256 of a kind by the digest's first byte, which are named by their own digests: what is
//! added to one kind rewrites one small list, and what is listed here stays short.

use std::{fmt, str::FromStr};

use flatbus_oci::Digest;
use serde::{Deserialize, Serialize};

use super::path::{BadPath, SitePath};

/// `site.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// Grows with each publication, by one or more.
    pub serial: u64,
    /// The time of the newest file, and of this one.
    pub mtime_us: i64,
    /// What has a name that stays, by path. Content of a moment ago is at `by-digest/sha256/<2 digits>/<62 digits>`.
    pub files: Vec<File>,
    /// Lists of what is named by its digest, by kind and shard.
    pub lists: Vec<ListRef>,
}

/// A published file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Below the site.
    pub path: SitePath,
    /// In bytes.
    pub size: u64,
    /// Of its content, 64 digits.
    #[serde(with = "hex")]
    pub sha256: Digest,
    /// Its modification time in microseconds since 1970. Who places it elsewhere gives it the same: servers make its name
    /// for caches (ETag) from this and the size.
    pub mtime_us: i64,
}

/// A list, and what it lists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListRef {
    /// The list itself: `lists/<64 digits>.json`.
    #[serde(flatten)]
    pub file: File,
    /// What it lists.
    pub what: What,
    /// Of which digests: those that begin with this byte, as two digits.
    pub shard: Shard,
}

/// A sub-list's content.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct List {
    /// By path.
    pub files: Vec<File>,
}

/// Kinds of files whose names are their contents' digests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// `icons/<2 digits>/<62 digits>.png`
    Icons,
    /// `deltas/<2 digits>/<62 digits>.json` and `.tardiff`
    Deltas,
}

impl What {
    /// All kinds.
    pub const ALL: [Self; 2] = [Self::Icons, Self::Deltas];

    /// The folder that they stand in.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Icons => "icons",
            Self::Deltas => "deltas",
        }
    }

    /// Where such a file stands.
    ///
    /// # Errors
    /// When the ending is none: it begins with a dot, and letters and digits follow.
    pub fn path(self, digest: &Digest, ending: &str) -> Result<SitePath, BadPath> {
        SitePath::of_content(self.folder(), digest, ending)
    }
}

/// The first byte of digests, written as two digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Shard(pub u8);

impl Shard {
    /// Where a digest belongs.
    pub fn of(digest: &Digest) -> Self {
        digest.hex()[..2].parse().unwrap_or(Self(0)) // Digests are written in hexadecimal.
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}", self.0)
    }
}

impl FromStr for Shard {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let digits = text.len() == 2 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let byte = digits.then(|| u8::from_str_radix(text, 16).ok()).flatten();
        byte.map(Self).ok_or("a shard is two lower-case hexadecimal digits")
    }
}

impl TryFrom<String> for Shard {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        text.parse()
    }
}

impl From<Shard> for String {
    fn from(shard: Shard) -> Self {
        shard.to_string()
    }
}

impl Listing {
    /// Where the list itself stands.
    pub const PATH: &str = "site.json";

    /// Where it itself stands, as a path.
    pub(super) fn path() -> SitePath {
        SitePath::fixed(Self::PATH)
    }

    /// Puts everything in order, wherever it was written.
    pub(super) fn sort(&mut self) {
        self.files.sort_by(|a, b| a.path.cmp(&b.path));
        self.lists.sort_by_key(ListRef::key);
    }

    /// The file at a path.
    pub fn file(&self, path: &SitePath) -> Option<&File> {
        let at = self.files.binary_search_by(|file| file.path.cmp(path)).ok()?;
        self.files.get(at)
    }

    /// Lists a file, instead of another at its path.
    pub(super) fn put(&mut self, file: File) {
        match self.files.binary_search_by(|known| known.path.cmp(&file.path)) {
            Ok(at) => self.files[at] = file,
            Err(at) => self.files.insert(at, file),
        }
    }

    /// The list of a shard.
    pub fn list(&self, what: What, shard: Shard) -> Option<&ListRef> {
        let at = self.lists.binary_search_by_key(&(what, shard), ListRef::key).ok()?;
        self.lists.get(at)
    }

    /// Names a shard's list, or none.
    pub(super) fn put_list(&mut self, what: What, shard: Shard, list: Option<File>) {
        let at = self.lists.binary_search_by_key(&(what, shard), ListRef::key);
        match (at, list) {
            (Ok(at), Some(file)) => self.lists[at].file = file,
            (Err(at), Some(file)) => self.lists.insert(at, ListRef { file, what, shard }),
            (Ok(at), None) => drop(self.lists.remove(at)),
            (Err(_), None) => {}
        }
    }
}

impl ListRef {
    fn key(&self) -> (What, Shard) {
        (self.what, self.shard)
    }
}

/// A digest as its 64 digits alone.
mod hex {
    use flatbus_oci::Digest;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub fn serialize<S: Serializer>(digest: &Digest, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&digest.hex())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
        let hex = String::deserialize(deserializer)?;
        format!("sha256:{hex}").parse().map_err(D::Error::custom)
    }
}
