//! What is true in these stories: builds and updates in the shapes in which Koji and Bodhi have them, made from real
//! records. Pure.

use std::{collections::BTreeMap, sync::Mutex};

use flatbus_embedded::images::{self, Image};
use flatbus_oci::Digest;
use flatbus_schemas::Message;
use flatbus_world::fedora::message;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::hosts::CANDIDATE;

const BUILD: &str = include_str!("../../../schemas/samples/koji/builds/synthetic-eog-flatpak-42.3-1.json");
const ARCHIVES: &str =
    include_str!("../../../schemas/samples/koji/archives/synthetic-eog-flatpak-42.3-1.json");
const UPDATE: &str =
    include_str!("../../../schemas/samples/bodhi/updates/FEDORA-FLATPAK-2022-efcca6b48a.json");

/// A build of eog, 42.1-1, 42.2-1 and so on.
#[derive(Clone)]
pub struct Build {
    pub number: u32,
    pub id: i64,
    pub nvr: String,
    /// What `getBuild` answers.
    pub record: Value,
    pub image: Image,
}

impl Build {
    /// A build whose image was pushed to the candidate registry. Made once a process, as it takes its time.
    pub fn number(number: u32, layer_bytes: u64) -> Self {
        static MADE: Mutex<BTreeMap<(u32, u64), Build>> = Mutex::new(BTreeMap::new());
        let make = || Self::make(number, layer_bytes);
        MADE.lock().unwrap().entry((number, layer_bytes)).or_insert_with(make).clone()
    }

    fn make(number: u32, layer_bytes: u64) -> Self {
        let id = 2_400_000 + i64::from(number);
        let own = |text: &str| {
            let text = text.replace("42.3", &format!("42.{number}")).replace("2400001", &id.to_string());
            serde_json::from_str::<Value>(&text).unwrap()
        };
        let (record, archives) = (own(BUILD), own(ARCHIVES));
        let settings =
            images::Settings { ballast_bytes: layer_bytes..=layer_bytes, ..images::Settings::default() };
        let source = images::Source { build: &record, archives: archives.as_array().unwrap(), likeness: &[] };
        let image = images::make(&source, &settings).unwrap();
        let record = image.build_record(&record, CANDIDATE);
        Self { number, id, nvr: format!("eog-flatpak-42.{number}-1"), record, image }
    }

    /// Where a request for its first layer leads.
    pub fn layer(&self) -> String {
        format!("/blobs/{}", Digest::of(&self.image.children[0].layer))
    }

    /// The tags that are this build's own.
    pub fn own_tags(&self) -> [String; 3] {
        let number = self.number;
        [format!("42.{number}"), format!("42.{number}-1"), format!("build-{}", self.id)]
    }
}

/// Where an update is pushed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Push {
    Testing,
    Stable,
}

/// The update of a build, pushed now. One that is stable was in testing the day before.
pub fn update(build: &Build, push: Push, now: Timestamp) -> Value {
    let at = |days_ago: i64| {
        let at = now.checked_sub(SignedDuration::from_hours(24 * days_ago)).unwrap();
        Value::from(at.strftime("%Y-%m-%d %H:%M:%S").to_string())
    };
    let mut update: Value = serde_json::from_str(UPDATE).unwrap();
    let alias = format!("FEDORA-FLATPAK-2022-{:010x}", build.number);
    let (status, testing, stable) = match push {
        Push::Testing => ("testing", at(0), Value::Null),
        Push::Stable => ("stable", at(1), at(0)),
    };
    for (key, value) in [
        ("updateid", alias.as_str().into()),
        ("alias", alias.into()),
        ("title", build.nvr.as_str().into()),
        ("status", status.into()),
        ("date_submitted", at(2)),
        ("date_testing", testing),
        ("date_stable", stable),
        ("date_pushed", at(0)),
    ] {
        update[key] = value;
    }
    update["builds"][0]["nvr"] = build.nvr.as_str().into();
    update
}

/// An update of a build that was made obsolete long ago: one row more in every listing.
pub fn old_update(build: &Build, number: u32, now: Timestamp) -> Value {
    let mut update = update(build, Push::Testing, now);
    update["alias"] = format!("FEDORA-FLATPAK-2021-{number:010x}").into();
    update["updateid"] = update["alias"].clone();
    update["status"] = "obsolete".into();
    update["date_submitted"] = format!("2021-06-01 00:{:02}:{:02}", number / 60, number % 60).into();
    update
}

/// What Bodhi says when it has pushed an update.
pub fn pushed(number: u64, update: &Value, push: Push, now: Timestamp) -> Message {
    let topic = match push {
        Push::Testing => "bodhi.update.complete.testing",
        Push::Stable => "bodhi.update.complete.stable",
    };
    message::new(number, topic, now, &json!({"agent": "bodhi", "update": update}))
}

/// What Koji says when a build is complete.
pub fn completed(number: u64, build: &Build, now: Timestamp) -> Message {
    let record = &build.record;
    let body = json!({
        "attribute": "state", "old": 0, "new": 1, "instance": "primary",
        "base_url": "https://koji.fedoraproject.org", "build_id": build.id, "name": record["name"],
        "version": record["version"], "release": record["release"], "task_id": record["task_id"],
        "task": {"id": record["task_id"], "method": "flatpakBuild", "state": 2},
    });
    message::new(number, "buildsys.build.state.change", now, &body)
}
