//! Bodhi in memory.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use serde_json::Value;

use super::desk::{Desk, Versioned};
use crate::{
    Error,
    bodhi::{Bodhi, Compose, Update, UpdateQuery, check_alias, check_names, newest_first},
};

/// What Bodhi was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodhiCall {
    /// [`Bodhi::update`]
    Update(String),
    /// [`Bodhi::updates`]
    Updates(UpdateQuery),
    /// [`Bodhi::composes`]
    Composes,
    /// [`Bodhi::ping`]
    Ping,
}

/// Bodhi in memory. Clones are the same Bodhi.
#[derive(Debug, Clone)]
pub struct MemoryBodhi(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    desk: Desk<BodhiCall>,
    records: Mutex<Versioned<Arc<Records>>>,
}

#[derive(Debug, Clone, Default)]
struct Records {
    updates: BTreeMap<String, Update>,
    composes: Vec<Compose>,
}

impl Default for MemoryBodhi {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryBodhi {
    /// A Bodhi without updates.
    pub fn new() -> Self {
        Self(Arc::new(Inner { desk: Desk::new("memory-bodhi"), records: Mutex::default() }))
    }

    /// Its calls and faults.
    pub fn desk(&self) -> &Desk<BodhiCall> {
        &self.0.desk
    }

    /// Adds an update, or replaces the one with its alias.
    pub fn put(&self, update: Update) {
        self.change(|records| {
            records.updates.insert(update.alias.clone(), update);
        });
    }

    /// Adds the update that Bodhi's record tells of.
    ///
    /// # Errors
    /// As [`Update::from_json`].
    pub fn load(&self, record: &Value) -> Result<Update, Error> {
        let update = Update::from_json(record)?;
        self.put(update.clone());
        Ok(update)
    }

    /// Changes an update in one step. Says whether it is known.
    pub fn edit(&self, alias: &str, edit: impl FnOnce(&mut Update)) -> bool {
        let mut found = false;
        self.change(|records| {
            if let Some(update) = records.updates.get_mut(alias) {
                edit(update);
                found = true;
            }
        });
        found
    }

    /// Forgets an update.
    pub fn remove(&self, alias: &str) {
        self.change(|records| {
            records.updates.remove(alias);
        });
    }

    /// Sets the composes under way.
    pub fn set_composes(&self, composes: Vec<Compose>) {
        self.change(|records| records.composes = composes);
    }

    fn change(&self, change: impl FnOnce(&mut Records)) {
        self.records().change(|records| change(Arc::make_mut(records)));
    }

    fn records(&self) -> MutexGuard<'_, Versioned<Arc<Records>>> {
        self.0.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Bodhi for MemoryBodhi {
    async fn update(&self, alias: &str) -> Result<Option<Update>, Error> {
        check_alias(alias)?;
        let answer = self.0.desk.take(BodhiCall::Update(alias.to_owned())).await?;
        Ok(self.records().seen(answer).updates.get(alias).cloned())
    }

    async fn updates(&self, query: &UpdateQuery) -> Result<Vec<Update>, Error> {
        check_names(query)?;
        let answer = self.0.desk.take(BodhiCall::Updates(query.clone())).await?;
        let records = self.records().seen(answer);
        let listed = |update: &&Update| update.is_flatpak() && query.admits(update);
        let mut updates: Vec<Update> = records.updates.values().filter(listed).cloned().collect();
        newest_first(&mut updates);
        Ok(updates)
    }

    async fn composes(&self) -> Result<Vec<Compose>, Error> {
        let answer = self.0.desk.take(BodhiCall::Composes).await?;
        Ok(self.records().seen(answer).composes.clone())
    }

    async fn ping(&self) -> Result<(), Error> {
        self.0.desk.take(BodhiCall::Ping).await.map(|_| ())
    }
}
