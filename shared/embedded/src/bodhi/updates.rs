//! What Bodhi knows: updates, releases, composes. Replaceable while it runs, so that it can show the state of any moment.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::times;

/// A value is no update or release record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a record of Bodhi: {0}")]
pub struct NoUpdate(&'static str);

/// Updates by alias, releases by name, and the composes under way.
#[derive(Debug, Default)]
pub struct Updates(Mutex<Inner>);

#[derive(Debug, Clone, Default)]
struct Inner {
    updates: BTreeMap<String, Value>,
    releases: BTreeMap<String, Value>,
    composes: BTreeMap<(String, String), Compose>,
}

#[derive(Debug, Clone)]
struct Compose {
    aliases: Vec<String>,
    since: String,
}

impl Updates {
    /// What it knows now, which doesn't change when this does: for a Bodhi whose answers are old.
    pub fn snapshot(&self) -> Arc<Self> {
        Arc::new(Self(Mutex::new(self.lock().clone())))
    }

    /// Learns of an update, or of its present state. Its release is learned with it.
    ///
    /// # Errors
    /// When the record has no alias, or no release with a name.
    pub fn set_update(&self, mut record: Value) -> Result<String, NoUpdate> {
        let alias = record.get("alias").and_then(Value::as_str).ok_or(NoUpdate("no alias"))?.to_owned();
        let release = record.get_mut("release").map(Value::take).ok_or(NoUpdate("no release"))?;
        let name =
            release.get("name").and_then(Value::as_str).ok_or(NoUpdate("no name of a release"))?.to_owned();
        record["release"] = name.as_str().into(); // One row for all its updates, as in a database.
        let mut inner = self.lock();
        inner.releases.insert(name, release);
        inner.updates.insert(alias.clone(), record);
        Ok(alias)
    }

    /// Learns of a release, or of its present state; every update of it shows that from now on.
    ///
    /// # Errors
    /// When the record has no name.
    pub fn set_release(&self, record: Value) -> Result<(), NoUpdate> {
        let name =
            record.get("name").and_then(Value::as_str).ok_or(NoUpdate("no name of a release"))?.to_owned();
        self.lock().releases.insert(name, record);
        Ok(())
    }

    /// Forgets an update. False where it was not known.
    pub fn remove_update(&self, alias: &str) -> bool {
        self.lock().updates.remove(alias).is_some()
    }

    /// An update as a GET shows it.
    pub fn update(&self, alias: &str) -> Option<Value> {
        let inner = self.lock();
        inner.updates.get(alias).map(|update| inner.shown(update))
    }

    /// Changes an update in place. False where it is not known.
    pub fn edit(&self, alias: &str, change: impl FnOnce(&mut Value)) -> bool {
        self.lock().updates.get_mut(alias).map(change).is_some()
    }

    /// Begins a compose of a release (`F41F`) for a request (`testing`, `stable`): its updates are locked.
    pub fn begin_compose(&self, release: &str, request: &str, aliases: &[String], now: Timestamp) {
        let mut inner = self.lock();
        inner.lock_updates(aliases, true);
        let compose = Compose { aliases: aliases.to_vec(), since: times::bodhi(now) };
        inner.composes.insert((release.to_owned(), request.to_owned()), compose);
    }

    /// Ends a compose: its updates are unlocked, their request done.
    pub fn end_compose(&self, release: &str, request: &str) {
        let mut inner = self.lock();
        if let Some(compose) = inner.composes.remove(&(release.to_owned(), request.to_owned())) {
            inner.lock_updates(&compose.aliases, false);
            for alias in &compose.aliases {
                if let Some(update) = inner.updates.get_mut(alias) {
                    update["request"] = Value::Null;
                }
            }
        }
    }

    /// The updates that pass, newest submitted first.
    pub(crate) fn select(&self, mut pass: impl FnMut(&Value) -> bool) -> Vec<Value> {
        let inner = self.lock();
        let mut found: Vec<Value> =
            inner.updates.values().map(|update| inner.shown(update)).filter(|update| pass(update)).collect();
        found.sort_by(|a, b| b["date_submitted"].as_str().cmp(&a["date_submitted"].as_str()));
        found
    }

    /// All releases by name.
    pub(crate) fn releases(&self) -> Vec<Value> {
        self.lock().releases.values().cloned().collect()
    }

    pub(crate) fn has_release(&self, name: &str) -> bool {
        self.lock().releases.contains_key(name)
    }

    /// Whether any update has a build of this package.
    pub(crate) fn has_package(&self, name: &str) -> bool {
        self.lock().updates.values().any(|update| packages(update).contains(name))
    }

    /// The composes under way, as `/composes/` lists them.
    pub(crate) fn composes(&self) -> Vec<Value> {
        let inner = self.lock();
        inner
            .composes
            .iter()
            .map(|((release, request), compose)| inner.shown_compose(release, request, compose))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn shown(&self, update: &Value) -> Value {
        let mut shown = update.clone();
        let release = update["release"].as_str().and_then(|name| self.releases.get(name));
        shown["release"] = release.cloned().unwrap_or_default();
        shown
    }

    fn shown_compose(&self, release: &str, request: &str, compose: &Compose) -> Value {
        let title = |alias: &String| self.updates.get(alias).map(|update| update["title"].clone());
        let summary: Vec<Value> =
            compose.aliases.iter().map(|alias| json!({"alias": alias, "title": title(alias)})).collect();
        let content = compose
            .aliases
            .first()
            .and_then(|alias| self.updates.get(alias))
            .map(|update| update["content_type"].clone());
        json!({
            "checkpoints": "{}", "content_type": content, "date_created": compose.since, "error_message": null,
            "release": self.releases.get(release), "request": request, "security": false, "state": "punging",
            "state_date": compose.since, "update_summary": summary,
        })
    }

    fn lock_updates(&mut self, aliases: &[String], locked: bool) {
        for alias in aliases {
            if let Some(update) = self.updates.get_mut(alias) {
                update["locked"] = locked.into();
            }
        }
    }
}

/// Names of the packages that an update has builds of.
pub(crate) fn packages(update: &Value) -> BTreeSet<&str> {
    builds(update).filter_map(|build| build["nvr"].as_str()?.rsplitn(3, '-').nth(2)).collect()
}

pub(crate) fn builds(update: &Value) -> impl Iterator<Item = &Value> {
    update["builds"].as_array().into_iter().flatten()
}
