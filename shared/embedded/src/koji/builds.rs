//! The builds that a hub knows: records exactly as Koji has them, replaceable while it runs.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde_json::Value;

/// A value is no build record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a build record: {0}")]
pub struct NoRecord(&'static str);

/// Builds by their number, and their archives.
#[derive(Debug, Default)]
pub struct Builds(Mutex<Inner>);

#[derive(Debug, Clone, Default)]
struct Inner {
    builds: BTreeMap<i64, Value>,
    numbers: BTreeMap<String, i64>,
    archives: BTreeMap<i64, Value>,
}

impl Builds {
    /// What it knows now, which doesn't change when this does: for a hub whose answers are old.
    pub fn snapshot(&self) -> Arc<Self> {
        Arc::new(Self(Mutex::new(self.lock().clone())))
    }

    /// Learns of a build, or of its present state: what `getBuild` answers of it.
    ///
    /// # Errors
    /// When the record has no number or no NVR.
    pub fn set(&self, record: Value) -> Result<i64, NoRecord> {
        let id = record.get("build_id").or_else(|| record.get("id")).and_then(Value::as_i64);
        let id = id.ok_or(NoRecord("no build_id"))?;
        let nvr = record.get("nvr").and_then(Value::as_str).ok_or(NoRecord("no nvr"))?.to_owned();
        let mut inner = self.lock();
        inner.numbers.insert(nvr, id);
        inner.builds.insert(id, record);
        Ok(id)
    }

    /// Learns of a build's archives: what `listArchives` answers of it.
    pub fn set_archives(&self, build_id: i64, archives: Value) {
        self.lock().archives.insert(build_id, archives);
    }

    /// Forgets a build, its archives with it. False where it was not known.
    pub fn remove(&self, build_id: i64) -> bool {
        let mut inner = self.lock();
        inner.archives.remove(&build_id);
        inner.numbers.retain(|_, id| *id != build_id);
        inner.builds.remove(&build_id).is_some()
    }

    /// A build by its number.
    pub fn by_id(&self, build_id: i64) -> Option<Value> {
        self.lock().builds.get(&build_id).cloned()
    }

    /// A build by its NVR.
    pub fn by_nvr(&self, nvr: &str) -> Option<Value> {
        let inner = self.lock();
        inner.builds.get(inner.numbers.get(nvr)?).cloned()
    }

    /// The archives of a build; none where it has none.
    pub fn archives(&self, build_id: i64) -> Vec<Value> {
        self.lock().archives.get(&build_id).and_then(Value::as_array).cloned().unwrap_or_default()
    }

    /// The builds that pass, by number.
    pub(crate) fn select(&self, mut pass: impl FnMut(&Value) -> bool) -> Vec<Value> {
        self.lock().builds.values().filter(|build| pass(build)).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
