//! Koji's messages: a build changed its state, or gained or lost a tag.
//!
//! None of them says whether a build is a Flatpak: that is asked from Koji. `instance` is not read: it is `primary` on
//! every hub, and only `base_url` tells hubs apart.

use std::fmt;

use serde::{Deserialize, Deserializer, de};

use crate::{InvalidNvr, Nvr};

/// `buildsys.build.state.change`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawBuild")]
pub struct BuildStateChange {
    /// The build. An epoch is no part of it, whatever its type.
    pub nvr: Nvr,
    /// Koji's number of it; may be missing.
    pub build_id: Option<u64>,
    /// What changed: `state`, but also `owner_id` or `completion_ts`.
    pub attribute: String,
    /// The value before.
    pub old: Changed,
    /// The value now. A state only where [`Self::attribute`] says so: an owner's number looks like one.
    pub new: Changed,
    /// The task that made the build; none for imports, as all Flatpaks before 2023 were.
    pub task_id: Option<u64>,
    /// The task's method, where the hub sent the task along.
    pub task_method: Option<String>,
    /// Which hub speaks: `https://koji.fedoraproject.org`. Missing before 2023.
    pub base_url: Option<String>,
}

impl BuildStateChange {
    /// The build.
    pub fn nvr(&self) -> &Nvr {
        &self.nvr
    }

    /// The state the build has now, if it is the state that changed.
    pub fn state(&self) -> Option<BuildState> {
        match self.new {
            Changed::Integer(number) if self.attribute == "state" => Some(BuildState::from_number(number)),
            Changed::Integer(_) | Changed::Nothing | Changed::Other => None,
        }
    }

    /// Whether the build became complete. What it was before says nothing: imports come from nowhere.
    pub fn is_completion(&self) -> bool {
        self.state() == Some(BuildState::Complete)
    }

    /// `flatpakBuild`, `build`, …; `None` where no task was sent along: then only Koji can tell what it is.
    pub fn task_method(&self) -> Option<&str> {
        self.task_method.as_deref()
    }
}

/// Koji's states of a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuildState {
    /// 0
    Building,
    /// 1
    Complete,
    /// 2
    Deleted,
    /// 3
    Failed,
    /// 4
    Canceled,
    /// A number Koji did not use when this was written.
    Unknown(i64),
}

impl BuildState {
    fn from_number(number: i64) -> Self {
        match number {
            0 => Self::Building,
            1 => Self::Complete,
            2 => Self::Deleted,
            3 => Self::Failed,
            4 => Self::Canceled,
            other => Self::Unknown(other),
        }
    }
}

/// A value before or after a change. Only integers mean something here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Changed {
    /// null, or missing: there was none.
    #[default]
    Nothing,
    /// A state, or an owner's number.
    Integer(i64),
    /// Seconds as a float, text, anything.
    Other,
}

impl<'de> Deserialize<'de> for Changed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ChangedVisitor)
    }
}

struct ChangedVisitor;

impl<'de> de::Visitor<'de> for ChangedVisitor {
    type Value = Changed;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Changed, E> {
        Ok(Changed::Nothing)
    }

    fn visit_i64<E>(self, number: i64) -> Result<Changed, E> {
        Ok(Changed::Integer(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Changed, E> {
        Ok(i64::try_from(number).map_or(Changed::Other, Changed::Integer))
    }

    fn visit_f64<E>(self, _seconds: f64) -> Result<Changed, E> {
        Ok(Changed::Other)
    }

    fn visit_bool<E>(self, _flag: bool) -> Result<Changed, E> {
        Ok(Changed::Other)
    }

    fn visit_str<E>(self, _text: &str) -> Result<Changed, E> {
        Ok(Changed::Other)
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<Changed, A::Error> {
        while items.next_element::<de::IgnoredAny>()?.is_some() {}
        Ok(Changed::Other)
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut entries: A) -> Result<Changed, A::Error> {
        while entries.next_entry::<de::IgnoredAny, de::IgnoredAny>()?.is_some() {}
        Ok(Changed::Other)
    }
}

#[derive(Deserialize)]
struct RawBuild {
    name: String,
    version: String,
    release: String,
    attribute: String,
    #[serde(default)]
    old: Changed,
    new: Changed,
    build_id: Option<u64>,
    task_id: Option<u64>,
    task: Option<Task>,
    base_url: Option<String>,
}

/// Tens of kilobytes for a large build; all but the method is skipped.
#[derive(Deserialize)]
struct Task {
    method: Option<String>,
}

impl TryFrom<RawBuild> for BuildStateChange {
    type Error = String;

    fn try_from(raw: RawBuild) -> Result<Self, String> {
        if raw.attribute == "state" && !matches!(raw.new, Changed::Integer(_)) {
            return Err("new: a state must be an integer".to_owned());
        }
        Ok(Self {
            nvr: Nvr::new(&raw.name, &raw.version, &raw.release).map_err(|error| error.to_string())?,
            build_id: raw.build_id,
            attribute: raw.attribute,
            old: raw.old,
            new: raw.new,
            task_id: raw.task_id,
            task_method: raw.task.and_then(|task| task.method),
            base_url: raw.base_url,
        })
    }
}

/// `buildsys.tag` and `buildsys.untag`. A move is one of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildTag {
    /// Whether the build gained the tag, or lost it.
    pub tagged: bool,
    /// What the message says.
    pub change: TagChange,
}

/// The body of [`BuildTag`].
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawTag")]
pub struct TagChange {
    /// The build.
    pub nvr: Nvr,
    /// Koji's number of it.
    pub build_id: Option<u64>,
    /// The whole name of the tag, `f36-flatpak-updates`: to be compared whole, `f36` begins tags of other kinds too.
    pub tag: Option<String>,
    /// Who tagged.
    pub user: Option<String>,
    /// Which hub speaks.
    pub base_url: Option<String>,
}

#[derive(Deserialize)]
struct RawTag {
    name: String,
    version: String,
    release: String,
    build_id: Option<u64>,
    tag: Option<String>,
    user: Option<String>,
    base_url: Option<String>,
}

impl TryFrom<RawTag> for TagChange {
    type Error = InvalidNvr;

    fn try_from(raw: RawTag) -> Result<Self, InvalidNvr> {
        let RawTag { name, version, release, build_id, tag, user, base_url } = raw;
        Ok(Self { nvr: Nvr::new(&name, &version, &release)?, build_id, tag, user, base_url })
    }
}
