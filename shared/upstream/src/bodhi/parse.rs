//! From Bodhi's records to ours. Only the fields that we read are ever kept in memory: an update carries all its
//! comments, and its release every update of a running compose.

use jiff::{Timestamp, civil, tz::TimeZone};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::{Compose, Release, ReleaseState, Status, Update, UpdateBuild};
use crate::{
    Error,
    shape::{Record, clip, show, wrong},
};

/// The fields of an update that we read, still as they came. Everything else is skipped while it is read.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RawUpdate {
    alias: Value,
    updateid: Value,
    status: Value,
    request: Value,
    locked: Value,
    content_type: Value,
    #[serde(deserialize_with = "or_default")]
    release: RawRelease,
    builds: Value,
    date_submitted: Value,
    date_modified: Value,
    date_testing: Value,
    date_stable: Value,
    date_pushed: Value,
}

/// The fields of a release that we read.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RawRelease {
    name: Value,
    id_prefix: Value,
    branch: Value,
    version: Value,
    state: Value,
}

/// The fields of a compose that we read.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RawCompose {
    #[serde(deserialize_with = "or_default")]
    release: RawRelease,
    request: Value,
    update_summary: Value,
}

/// Null is as good as absent: what is missing is said where it is needed.
fn or_default<'de, T: Default + Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl Update {
    /// Reads the `update` object of Bodhi's answers and messages.
    ///
    /// # Errors
    /// [`Error::WrongShape`], naming the alias and the field, when a field that we read is missing, of another type, or
    /// has a value that we do not know: a status that we guessed could withdraw an image.
    pub fn from_json(record: &Value) -> Result<Self, Error> {
        RawUpdate::deserialize(record)
            .map_err(|error| wrong("an update", "record", &error.to_string()))?
            .read()
    }
}

impl RawUpdate {
    /// The alias, or `None` where the record has none.
    pub fn alias(&self) -> Option<&str> {
        self.alias.as_str().or_else(|| self.updateid.as_str()).filter(|alias| !alias.is_empty())
    }

    /// Whether this is an update of Flatpaks. Its `content_type` says so; where all its builds were removed that is null,
    /// and the release tells. Asked before the rest is read: a strange update of something else hurts nobody.
    pub fn is_flatpak(&self) -> bool {
        self.content_type.as_str().map_or_else(|| self.release.is_flatpak(), |content| content == "flatpak")
    }

    /// The update, each field checked.
    pub fn read(&self) -> Result<Update, Error> {
        let alias = self.alias().ok_or_else(|| wrong("an update", "alias", "it has none"))?;
        let what = format!("update {alias}");
        let date = |place: &str, value: &Value| date(&what, place, value);
        Ok(Update {
            alias: alias.to_owned(),
            status: known(&what, "status", &self.status, STATUSES)?,
            request: optional_text(&what, "request", &self.request)?,
            locked: self
                .locked
                .as_bool()
                .ok_or_else(|| unfit(&what, "locked", "true or false", &self.locked))?,
            release: self.release.read(&what, "release.")?,
            builds: builds(&what, &self.builds)?,
            date_submitted: date("date_submitted", &self.date_submitted)?,
            date_modified: date("date_modified", &self.date_modified)?,
            date_testing: date("date_testing", &self.date_testing)?,
            date_stable: date("date_stable", &self.date_stable)?,
            date_pushed: date("date_pushed", &self.date_pushed)?,
        })
    }
}

impl RawRelease {
    pub fn name(&self) -> Option<&str> {
        self.name.as_str()
    }

    pub fn is_flatpak(&self) -> bool {
        is_flatpak(self.name.as_str().unwrap_or_default(), self.id_prefix.as_str().unwrap_or_default())
    }

    pub fn read(&self, what: &str, place: &str) -> Result<Release, Error> {
        let version = match &self.version {
            Value::Number(number) => number.to_string(),
            other => text(what, &format!("{place}version"), other)?,
        };
        Ok(Release {
            name: text(what, &format!("{place}name"), &self.name)?,
            id_prefix: text(what, &format!("{place}id_prefix"), &self.id_prefix)?,
            branch: text(what, &format!("{place}branch"), &self.branch)?,
            version,
            state: known(what, &format!("{place}state"), &self.state, RELEASE_STATES)?,
        })
    }
}

impl Release {
    /// Whether its updates are Flatpaks: Fedora has a release of its own for each kind of content.
    pub fn is_flatpak(&self) -> bool {
        is_flatpak(&self.name, &self.id_prefix)
    }
}

/// `FEDORA-FLATPAK`, or a name like `F41F` (`F41` are rpms, `F41C` containers, `F41M` modules).
fn is_flatpak(name: &str, id_prefix: &str) -> bool {
    let version = name.strip_prefix('F').and_then(|rest| rest.strip_suffix('F')).unwrap_or_default();
    id_prefix == "FEDORA-FLATPAK"
        || (!version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit()))
}

impl RawCompose {
    pub fn is_flatpak(&self) -> bool {
        self.release.is_flatpak()
    }

    pub fn read(&self) -> Result<Compose, Error> {
        let release = text("a compose", "release.name", &self.release.name)?;
        let what = format!("the compose of {release}");
        let Value::Array(updates) = &self.update_summary else {
            return Err(unfit(&what, "update_summary", "a list", &self.update_summary));
        };
        let alias =
            |update: &Value| text(&what, "update_summary.alias", update.get("alias").unwrap_or(update));
        Ok(Compose {
            release,
            request: text(&what, "request", &self.request)?,
            updates: updates.iter().map(alias).collect::<Result<_, _>>()?,
        })
    }
}

type Known<T> = &'static [(&'static str, T)];

const STATUSES: Known<Status> = &[
    ("pending", Status::Pending),
    ("testing", Status::Testing),
    ("stable", Status::Stable),
    ("unpushed", Status::Unpushed),
    ("obsolete", Status::Obsolete),
    ("side_tag_active", Status::SideTagActive),
    ("side_tag_expired", Status::SideTagExpired),
];

const RELEASE_STATES: Known<ReleaseState> = &[
    ("disabled", ReleaseState::Disabled),
    ("pending", ReleaseState::Pending),
    ("frozen", ReleaseState::Frozen),
    ("current", ReleaseState::Current),
    ("archived", ReleaseState::Archived),
];

fn known<T: Copy>(what: &str, place: &str, value: &Value, table: Known<T>) -> Result<T, Error> {
    let found = table.iter().find(|(name, _)| value.as_str() == Some(name));
    found.map(|(_, known)| *known).ok_or_else(|| unfit(what, place, "a value that we know", value))
}

fn text(what: &str, place: &str, value: &Value) -> Result<String, Error> {
    match value {
        Value::String(text) if !text.is_empty() => Ok(text.clone()),
        other => Err(unfit(what, place, "a text", other)),
    }
}

fn optional_text(what: &str, place: &str, value: &Value) -> Result<Option<String>, Error> {
    if value.is_null() { Ok(None) } else { text(what, place, value).map(Some) }
}

fn builds(what: &str, value: &Value) -> Result<Vec<UpdateBuild>, Error> {
    let Value::Array(builds) = value else {
        return Err(unfit(what, "builds", "a list", value));
    };
    let build = |record: &Value| {
        let build = Record::new(what, "builds", record)?;
        Ok(UpdateBuild { nvr: build.text("nvr")?.to_owned(), kind: build.text("type")?.to_owned() })
    };
    builds.iter().map(build).collect()
}

/// Bodhi writes UTC without saying so: `2022-05-27 01:21:41`. A text with an offset is taken at its word.
fn date(what: &str, place: &str, value: &Value) -> Result<Option<Timestamp>, Error> {
    let Value::String(text) = value else {
        return if value.is_null() { Ok(None) } else { Err(unfit(what, place, "a date or null", value)) };
    };
    let utc =
        || text.parse::<civil::DateTime>().ok()?.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp());
    let read = text.parse::<Timestamp>().ok().or_else(utc);
    read.map(Some).ok_or_else(|| unfit(what, place, "a date", value))
}

fn unfit(what: &str, place: &str, expected: &str, found: &Value) -> Error {
    wrong(what, place, &clip(&format!("{expected} was expected, not {}", show(found))))
}

#[cfg(test)]
mod tests;
