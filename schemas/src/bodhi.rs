//! Bodhi's messages: an update was asked for, pushed, ejected, edited or commented on; a push went through its stages.
//!
//! What a body says about an update was true when it was written. It is read to know which builds to look at, and for
//! the log; the truth is asked from Bodhi. Comments, bugs and notes, most of a body, are skipped.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::{InvalidNvr, Nvr};

/// Longest alias taken.
const ALIAS_BYTES_MAX: usize = 128;

/// `bodhi.update.{complete,request}.*`, `.eject`, `.edit`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateEvent {
    /// What happened.
    pub change: UpdateChange,
    /// Who did it: a person, `bodhi`, `composer`, `releng`.
    pub agent: Option<String>,
    /// The update, as it was then.
    pub update: Update,
}

impl UpdateEvent {
    /// Every build the message names, each once, in order: those in the update, and those an edit brought or took out.
    pub fn nvrs(&self) -> impl Iterator<Item = &Nvr> {
        let (added, removed): (&[Nvr], &[Nvr]) = match &self.change {
            UpdateChange::Edited { new_builds, removed_builds } => (new_builds, removed_builds),
            UpdateChange::Completed(_) | UpdateChange::Requested(_) | UpdateChange::Ejected { .. } => {
                (&[], &[])
            }
        };
        let held = self.update.builds.iter().map(|build| &build.nvr);
        held.chain(added).chain(removed).collect::<BTreeSet<_>>().into_iter()
    }
}

/// What happened to an update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpdateChange {
    /// Pushed to testing or stable. The update then still shows its request and its lock: [`Update::status`] counts.
    Completed(UpdateRequest),
    /// Somebody asked for it. Unpush and obsolete are done with the asking.
    Requested(UpdateRequest),
    /// Thrown out of a push.
    Ejected {
        /// Bodhi's words.
        reason: Option<String>,
        /// The tag that was being pushed.
        repo: Option<String>,
    },
    /// Its builds or bugs were changed.
    Edited {
        /// Builds that came in.
        new_builds: Vec<Nvr>,
        /// Builds that were taken out: no longer in the update, and what they held may have to go.
        removed_builds: Vec<Nvr>,
    },
}

/// What can be asked for an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpdateRequest {
    /// Push it to testing.
    Testing,
    /// Push it to stable.
    Stable,
    /// Take it back.
    Unpush,
    /// Take the request back.
    Revoke,
    /// A newer one replaced it.
    Obsolete,
    /// Something Bodhi did not know when this was written.
    #[serde(other)]
    Unknown,
}

impl UpdateRequest {
    /// The last words of a topic.
    pub(crate) fn from_words(words: &str) -> Self {
        match words {
            "testing" => Self::Testing,
            "stable" => Self::Stable,
            "unpush" => Self::Unpush,
            "revoke" => Self::Revoke,
            "obsolete" => Self::Obsolete,
            _ => Self::Unknown,
        }
    }
}

/// Where an update stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpdateStatus {
    /// Not pushed yet.
    Pending,
    /// In testing.
    Testing,
    /// In stable.
    Stable,
    /// Taken back.
    Unpushed,
    /// Replaced by a newer one.
    Obsolete,
    /// Its side tag is open.
    SideTagActive,
    /// Its side tag is gone.
    SideTagExpired,
    /// Something Bodhi did not know when this was written.
    #[serde(other)]
    Unknown,
}

/// What kind of thing a build or an update holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContentType {
    /// Packages.
    Rpm,
    /// Modules.
    Module,
    /// Containers that are no Flatpaks.
    Container,
    /// Flatpaks.
    Flatpak,
    /// Something else.
    #[serde(other)]
    Unknown,
}

/// An update as a message tells it. It names at least an alias or a build.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawUpdate")]
pub struct Update {
    /// `FEDORA-FLATPAK-2022-274a792493`. Null in old messages; builds are the stable key.
    pub alias: Option<String>,
    /// Where it stands.
    pub status: UpdateStatus,
    /// What is asked for it.
    pub request: Option<UpdateRequest>,
    /// Whether a push is working on it.
    pub locked: bool,
    /// Null once every build was removed: ask [`Self::is_flatpak`].
    pub content_type: Option<ContentType>,
    /// Which release it is for.
    pub release: Release,
    /// Its builds, at times none, at times dozens.
    pub builds: Vec<UpdateBuild>,
    /// Its page.
    pub url: Option<String>,
}

impl Update {
    /// Whether it is about Flatpaks: as it says, or else as its builds or its release say.
    pub fn is_flatpak(&self) -> bool {
        match self.content_type {
            Some(content) => content == ContentType::Flatpak,
            None if self.builds.iter().any(|build| build.content_type.is_some()) => {
                self.builds.iter().any(|build| build.content_type == Some(ContentType::Flatpak))
            }
            None => self.release.is_flatpak(),
        }
    }
}

/// A build in an update.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct UpdateBuild {
    /// The build.
    pub nvr: Nvr,
    /// Its kind; missing in old messages.
    #[serde(rename = "type")]
    pub content_type: Option<ContentType>,
}

/// The release an update is for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Release {
    /// `F36F`: Flatpaks' end in F, containers' in C, modules' in M.
    pub name: String,
    /// `FEDORA-FLATPAK`
    pub id_prefix: Option<String>,
    /// `current`, `frozen`, …
    pub state: Option<String>,
}

impl Release {
    /// Whether Flatpaks are released in it.
    pub fn is_flatpak(&self) -> bool {
        match &self.id_prefix {
            Some(prefix) => prefix == "FEDORA-FLATPAK",
            None => self
                .name
                .strip_suffix('F')
                .is_some_and(|rest| rest.ends_with(|last: char| last.is_ascii_digit())),
        }
    }
}

#[derive(Deserialize)]
struct RawUpdate {
    alias: Option<String>,
    status: UpdateStatus,
    request: Option<UpdateRequest>,
    locked: Option<bool>,
    content_type: Option<ContentType>,
    release: Release,
    builds: Vec<UpdateBuild>,
    url: Option<String>,
}

impl TryFrom<RawUpdate> for Update {
    type Error = String;

    fn try_from(raw: RawUpdate) -> Result<Self, String> {
        if raw.alias.is_none() && raw.builds.is_empty() {
            return Err("neither an alias nor a build: nothing to look up".to_owned());
        }
        if let Some(alias) = raw.alias.as_deref().filter(|alias| !is_alias(alias)) {
            return Err(format!(
                "alias: {:?} is not an update's",
                alias.chars().take(ALIAS_BYTES_MAX).collect::<String>()
            ));
        }
        let RawUpdate { alias, status, request, locked, content_type, release, builds, url } = raw;
        Ok(Self { alias, status, request, locked: locked == Some(true), content_type, release, builds, url })
    }
}

/// An alias ends up in a URL: letters, digits and what joins them.
fn is_alias(alias: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    !alias.is_empty() && alias.len() <= ALIAS_BYTES_MAX && alias.bytes().all(plain)
}

/// The body of every `bodhi.update.*` that is read.
#[derive(Deserialize)]
pub(crate) struct UpdateBody {
    pub(crate) agent: Option<String>,
    pub(crate) update: Update,
    pub(crate) reason: Option<String>,
    pub(crate) repo: Option<String>,
    pub(crate) new_builds: Option<Vec<Nvr>>,
    pub(crate) removed_builds: Option<Vec<Nvr>>,
}

/// `bodhi.update.comment`: by people only, not Bodhi's own.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "CommentBody")]
pub struct UpdateComment {
    /// Who wrote it.
    pub agent: Option<String>,
    /// The update it is about.
    pub alias: String,
    /// -1, 0 or 1.
    pub karma: i64,
}

#[derive(Deserialize)]
struct CommentBody {
    agent: Option<String>,
    comment: RawComment,
}

#[derive(Deserialize)]
struct RawComment {
    update_alias: Option<String>,
    update: Option<CommentedUpdate>,
    author: Option<String>,
    karma: Option<i64>,
}

#[derive(Deserialize)]
struct CommentedUpdate {
    alias: Option<String>,
}

impl TryFrom<CommentBody> for UpdateComment {
    type Error = &'static str;

    fn try_from(CommentBody { agent, comment }: CommentBody) -> Result<Self, &'static str> {
        let alias = comment.update_alias.or_else(|| comment.update?.alias).filter(|alias| is_alias(alias));
        let alias = alias.ok_or("comment: no alias of an update")?;
        Ok(Self { agent: agent.or(comment.author), alias, karma: comment.karma.unwrap_or_default() })
    }
}

/// `bodhi.compose.*`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComposeEvent {
    /// How far the push is.
    pub stage: ComposeStage,
    /// What the message says of it.
    pub compose: Compose,
}

/// The stages of a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ComposeStage {
    /// `start`
    Start,
    /// `composing`
    Composing,
    /// `complete`, also after a failure: [`Compose::success`] tells.
    Complete,
    /// Others, `sync.wait`: never for Flatpaks.
    Other(String),
}

impl ComposeStage {
    /// The last words of a topic.
    pub(crate) fn from_words(words: &str) -> Self {
        match words {
            "start" => Self::Start,
            "composing" => Self::Composing,
            "complete" => Self::Complete,
            other => Self::Other(other.to_owned()),
        }
    }
}

/// The body of [`ComposeEvent`].
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Compose {
    /// Who pushes.
    pub agent: Option<String>,
    /// The tag that is pushed: `f36-flatpak-updates`.
    pub repo: Option<String>,
    /// What is pushed.
    #[serde(rename = "ctype")]
    pub content_type: Option<ContentType>,
    /// Whether it went well; at the end only.
    pub success: Option<bool>,
    /// One text an update: its builds, with spaces between. Ask [`Self::nvrs`].
    #[serde(default)]
    pub updates: Vec<String>,
}

impl Compose {
    /// Every build that is pushed.
    pub fn nvrs(&self) -> impl Iterator<Item = Result<Nvr, InvalidNvr>> {
        self.updates.iter().flat_map(|update| update.split_whitespace()).map(str::parse)
    }
}
