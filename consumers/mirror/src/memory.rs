//! What the mirror remembers, and under which names. Losing any of it costs work, never a deletion.
//!
//! Names hold `|`, which neither a repository nor a tag can.

use std::{collections::BTreeMap, fmt};

use flatbus_oci::{Digest, Repository, Tag};
use flatbus_runtime::{Ctx, Failure};
use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{belief::Acted, plan::Held};

/// Entries read at once.
const PAGE: usize = 256;

/// How a repository came to be ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ownership {
    /// It was not there: we made it.
    Created,
    /// A person said so, and every tag was proved.
    Adopted,
    /// Memory was lost; our own holding tags and every other tag proved it anew.
    Reproved,
}

/// Why a build that has tags by rule has none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Withheld {
    /// The canonical repository.
    pub repository: Repository,
    /// What is wrong.
    pub why: Shortcoming,
    /// When the sources were last asked.
    pub asked: Timestamp,
    /// When the update was pushed.
    pub pushed: Timestamp,
}

/// What keeps an image from being published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shortcoming {
    /// Every source answered that it has none.
    Unavailable {
        /// Who was asked.
        asked: Vec<String>,
    },
    /// Koji doesn't know the build, which an update names.
    Unknown,
    /// It is no Flatpak: a config lacks `org.flatpak.ref`.
    Refused {
        /// What was found.
        found: String,
    },
}

impl fmt::Display for Shortcoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable { asked } => {
                write!(f, "its image is unavailable, none of {} has it", asked.join(", "))
            }
            Self::Unknown => f.write_str("Koji does not know it"),
            Self::Refused { found } => write!(f, "it is no Flatpak, there is {found}"),
        }
    }
}

/// A build in the staging namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Staged {
    /// The canonical repository.
    pub repository: Repository,
    /// Its tag there.
    pub tag: Tag,
    /// The digest.
    pub digest: Digest,
    /// Size of the image in bytes.
    pub bytes: u64,
    /// Since when it is there.
    pub since: Timestamp,
}

/// The memo of a repository's ownership, by its full name.
pub fn ownership(full: &Repository) -> String {
    format!("owned|{full}")
}

/// The prefix of all ownership memos.
pub const OWNERSHIPS: &str = "owned|";

/// The memo that a package feeds a repository.
pub fn feed(repository: &Repository, package: &str) -> String {
    format!("{}{package}", feeds(repository))
}

/// The prefix of the packages that feed a repository.
pub fn feeds(repository: &Repository) -> String {
    format!("feeds|{repository}|")
}

/// The memo that all feeds are known, with the mapping they were found by.
pub const CATALOGUE: &str = "catalogue";

/// The memo of the updates that a repository's tags were moved for.
pub fn acted(repository: &Repository) -> String {
    format!("acted|{repository}")
}

/// The memo of a holding tag.
pub fn held(repository: &Repository, tag: &Tag) -> String {
    format!("{}{tag}", all_held(repository))
}

/// The prefix of a repository's holding tags.
pub fn all_held(repository: &Repository) -> String {
    format!("held|{repository}|")
}

/// The memo of a build that is withheld.
pub fn withheld(nvr: &str) -> String {
    format!("{WITHHELD}{nvr}")
}

/// The prefix of all withheld builds.
pub const WITHHELD: &str = "withheld|";

/// The memo of a staged build.
pub fn staged(nvr: &str) -> String {
    format!("{STAGED}{nvr}")
}

/// The prefix of all staged builds.
pub const STAGED: &str = "staged|";

/// Everything remembered under a prefix, by the rest of its name.
///
/// # Errors
/// When the ledger can't be read.
pub fn all<T: DeserializeOwned>(ctx: &Ctx, prefix: &str) -> Result<BTreeMap<String, T>, Failure> {
    let mut found = BTreeMap::new();
    let mut after: Option<String> = None;
    loop {
        let page = ctx.memos::<T>(prefix, after.as_deref(), PAGE)?;
        let Some((last, _)) = page.last() else { return Ok(found) };
        after = Some(last.clone());
        found.extend(page.into_iter().map(|(name, value)| (name[prefix.len()..].to_owned(), value)));
    }
}

/// A repository's holding tags as remembered.
///
/// # Errors
/// When the ledger can't be read.
pub fn held_tags(ctx: &Ctx, repository: &Repository) -> Result<BTreeMap<Tag, Held>, Failure> {
    let held = all::<Held>(ctx, &all_held(repository))?;
    Ok(held.into_iter().filter_map(|(tag, held)| Some((tag.parse().ok()?, held))).collect())
}

/// Remembers a repository's holding tags as they are now, writing only what changed.
///
/// # Errors
/// When the ledger can't be read.
pub fn keep_held(
    ctx: &Ctx,
    repository: &Repository,
    before: &BTreeMap<Tag, Held>,
    now: &BTreeMap<Tag, Held>,
) -> Result<(), Failure> {
    for tag in before.keys().filter(|tag| !now.contains_key(tag)) {
        ctx.forget(&held(repository, tag));
    }
    for (tag, value) in now.iter().filter(|(tag, value)| before.get(tag) != Some(value)) {
        ctx.remember(&held(repository, tag), value)?;
    }
    Ok(())
}

/// The updates a repository's tags were moved for.
pub type ActedOn = BTreeMap<String, Acted>;
