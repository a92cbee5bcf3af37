//! What a message says of the world, told to Koji and Bodhi.

use std::{collections::BTreeMap, sync::Arc};

use flatbus_schemas::Message;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{Samples, bodhi::Updates, koji::Builds, times};

/// Koji's number of a complete build.
const COMPLETE: i64 = 1;

/// The records that become known bit by bit, and who is told.
#[derive(Debug)]
pub(crate) struct State {
    /// Whether composes lock their updates.
    pub(crate) composes: bool,
    builds: BTreeMap<i64, Value>,
    archives: BTreeMap<i64, Vec<Value>>,
    last: BTreeMap<String, Value>,
    koji: Arc<Builds>,
    bodhi: Arc<Updates>,
}

impl State {
    pub(crate) fn new(samples: Samples, koji: Arc<Builds>, bodhi: Arc<Updates>) -> Self {
        let Samples { builds, archives, updates, timeline: _ } = samples;
        Self { composes: false, builds, archives, last: updates, koji, bodhi }
    }

    /// Tells what a message tells; nothing, where it tells nothing.
    pub(crate) fn apply(&self, message: &Message) {
        let Ok(body) = serde_json::from_slice::<Value>(&message.body) else { return };
        match message.name() {
            "buildsys.build.state.change" => self.build(&body),
            "bodhi.compose.composing" if self.composes => self.begin_compose(&body, message.sent_at),
            "bodhi.compose.complete" if self.composes => self.end_compose(&body),
            name if name.starts_with("bodhi.update.") => {
                self.update(&body, name.starts_with("bodhi.update.complete."));
            }
            _ => {}
        }
    }

    /// An update as its last record says.
    pub(crate) fn conclude(&self, alias: &str) {
        if let Some(update) = self.last.get(alias) {
            let _ = self.bodhi.set_update(update.clone()); // Records of the samples are whole.
        }
    }

    pub(crate) fn conclude_all(&self) {
        self.last.keys().for_each(|alias| self.conclude(alias));
    }

    /// A build is known from its first message on, and whole once it is complete.
    fn build(&self, body: &Value) {
        let (Some(id), Some(new)) = (body["build_id"].as_i64(), body["new"].as_i64()) else { return };
        if body["attribute"] != "state" {
            return;
        }
        let mut record = self.builds.get(&id).cloned().unwrap_or_else(|| told_by_message(body));
        if !record.is_object() {
            return;
        }
        record["state"] = new.into();
        if new == COMPLETE {
            self.koji.set_archives(id, self.archives.get(&id).cloned().unwrap_or_default().into());
        } else {
            for key in ["extra", "completion_time", "completion_ts"] {
                record[key] = Value::Null;
            }
        }
        let _ = self.koji.set(record); // A message without a name names no build.
    }

    fn update(&self, body: &Value, pushed: bool) {
        let mut update = body["update"].clone();
        if pushed && !self.composes && update.is_object() {
            update["locked"] = false.into();
            update["request"] = Value::Null;
        }
        let _ = self.bodhi.set_update(update); // Comments tell of no update's state.
    }

    fn begin_compose(&self, body: &Value, at: Option<Timestamp>) {
        let Some((release, request)) = self.composed(body) else { return };
        let named: Vec<&str> =
            body["updates"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let named: Vec<&str> = named.iter().flat_map(|nvrs| nvrs.split_whitespace()).collect();
        let in_it = |update: &Value| {
            let nvrs =
                update["builds"].as_array().into_iter().flatten().filter_map(|build| build["nvr"].as_str());
            update["request"] == request.as_str() && nvrs.into_iter().any(|nvr| named.contains(&nvr))
        };
        let aliases = self
            .bodhi
            .select(in_it)
            .into_iter()
            .filter_map(|update| update["alias"].as_str().map(str::to_owned));
        let aliases: Vec<String> = aliases.collect();
        self.bodhi.begin_compose(&release, &request, &aliases, at.unwrap_or_default());
    }

    fn end_compose(&self, body: &Value) {
        if let Some((release, request)) = self.composed(body) {
            self.bodhi.end_compose(&release, &request);
        }
    }

    /// Release and request of a compose message, which names the Koji tag that is pushed to.
    fn composed(&self, body: &Value) -> Option<(String, String)> {
        let tag = &body["repo"];
        self.bodhi.releases().iter().find_map(|release| {
            let request = ["testing", "stable"]
                .into_iter()
                .find(|request| release[format!("{request}_tag")] == *tag)?;
            Some((release["name"].as_str()?.to_owned(), request.to_owned()))
        })
    }
}

/// What is known of a build that only its message tells of; null where that does not even name it.
fn told_by_message(body: &Value) -> Value {
    let [Some(name), Some(version), Some(release)] =
        ["name", "version", "release"].map(|key| body[key].as_str())
    else {
        return Value::Null;
    };
    let times = ["creation_time", "completion_time"].map(|key| body[key].as_str().and_then(times::parse));
    let [created, completed] = times.map(|time| time.map(Timestamp::as_second));
    json!({
        "id": body["build_id"], "build_id": body["build_id"], "nvr": format!("{name}-{version}-{release}"),
        "name": name, "package_name": name, "version": version, "release": release,
        "epoch": body["epoch"], "task_id": body["task_id"], "owner_name": body["owner"],
        "creation_time": body["creation_time"], "creation_ts": created,
        "completion_time": body["completion_time"], "completion_ts": completed, "extra": null,
    })
}
