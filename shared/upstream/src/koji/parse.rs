//! From Koji's records to ours. Exact about what we read; whatever else a build carries is ignored.

use jiff::Timestamp;
use serde_json::Value;

use super::{Build, BuildState, Image};
use crate::{Error, shape::Record};

impl Build {
    /// Reads what `getBuild` and `listBuilds` answer, of both eras. The text times are not read: before 2019 they have
    /// no offset; `completion_ts` has always been there.
    ///
    /// # Errors
    /// [`Error::WrongShape`] when a field that we read is missing or of another type.
    pub fn from_json(record: &Value) -> Result<Self, Error> {
        Self::answered("a build", record)
    }

    /// Reads the answer to `question`, which names the build in errors where the answer doesn't.
    pub(crate) fn answered(question: &str, record: &Value) -> Result<Self, Error> {
        let nvr = record.get("nvr").and_then(Value::as_str);
        let name = nvr.map_or_else(|| question.to_owned(), |nvr| format!("build {nvr}"));
        let build = Record::new(&name, "", record)?;
        let id_key = if build.get("build_id").is_some() { "build_id" } else { "id" };
        let name_key = if build.get("name").is_some() { "name" } else { "package_name" };
        Ok(Self {
            id: build.integer(id_key)?,
            nvr: build.text("nvr")?.to_owned(),
            name: build.text(name_key)?.to_owned(),
            version: build.text("version")?.to_owned(),
            release: build.text("release")?.to_owned(),
            state: state(&build)?,
            completed: completed(&build)?,
            image: image(&build)?,
        })
    }
}

fn state(build: &Record<'_>) -> Result<BuildState, Error> {
    Ok(match build.integer("state")? {
        0 => BuildState::Building,
        1 => BuildState::Complete,
        2 => BuildState::Deleted,
        3 => BuildState::Failed,
        4 => BuildState::Canceled,
        _ => return Err(build.wrong("state", "a build state (0 to 4)", build.get("state"))),
    })
}

fn completed(build: &Record<'_>) -> Result<Option<Timestamp>, Error> {
    let Some(value) = build.get("completion_ts") else {
        return Ok(None);
    };
    let wrong = || build.wrong("completion_ts", "seconds since 1970", Some(value));
    let micros = (value.as_f64().ok_or_else(wrong)? * 1e6).round();
    // A cast saturates; what lies outside of the calendar is refused by `from_microsecond`.
    #[expect(clippy::cast_possible_truncation, reason = "times fit, others saturate and are refused")]
    Timestamp::from_microsecond(micros as i64).map(Some).map_err(|_| wrong())
}

/// Builds to March 2020 have only `extra.image`; later ones also `extra.typeinfo.image`, with equal content. Other kinds
/// of image builds put other things there, which are none of our business.
fn image(build: &Record<'_>) -> Result<Option<Image>, Error> {
    let places = ["/typeinfo/image", "/image"];
    let extra = build.get("extra");
    let found: Vec<&Value> =
        places.iter().filter_map(|place| extra?.pointer(place)).filter(|value| value.is_object()).collect();
    if found.is_empty() {
        return Ok(None);
    }
    let flatpak = found.iter().any(|image| image.get("flatpak").is_some_and(is_true));
    for image in found {
        let pull = image.pointer("/index/pull").filter(|value| !value.is_null());
        match pull.map(texts) {
            Some(Some(pull)) if !pull.is_empty() => return Ok(Some(Image { flatpak, pull })),
            Some(None) if flatpak => {
                return Err(build.wrong("extra.image.index.pull", "a list of texts", pull));
            }
            Some(_) | None => {}
        }
    }
    Ok(Some(Image { flatpak, pull: Vec::new() }))
}

fn texts(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect()
}

fn is_true(value: &Value) -> bool {
    value.as_bool().unwrap_or_else(|| value.as_i64() == Some(1))
}

#[cfg(test)]
mod tests;
