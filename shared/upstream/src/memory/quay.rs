//! quay's API in memory.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;

use super::desk::{Desk, Versioned};
use crate::{
    Error,
    quay::{Quay, Visibility, split},
    shape::wrong,
};

/// What quay was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QuayCall {
    /// [`Quay::create_public`]
    CreatePublic(String),
    /// [`Quay::visibility`]
    Visibility(String),
    /// [`Quay::make_public`]
    MakePublic(String),
}

/// quay's API in memory. Clones are the same quay.
#[derive(Debug, Clone)]
pub struct MemoryQuay(Arc<Inner>);

type Repositories = BTreeMap<String, Visibility>;
type Listener = Box<dyn Fn(&str, Visibility) + Send>;

struct Inner {
    desk: Desk<QuayCall>,
    repositories: Mutex<Versioned<Repositories>>,
    listener: Mutex<Option<Listener>>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").field("repositories", &self.repositories).finish_non_exhaustive()
    }
}

impl Default for MemoryQuay {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryQuay {
    /// A quay without repositories.
    pub fn new() -> Self {
        let desk = Desk::new("memory-quay");
        Self(Arc::new(Inner { desk, repositories: Mutex::default(), listener: Mutex::new(None) }))
    }

    /// Its calls and faults.
    pub fn desk(&self) -> &Desk<QuayCall> {
        &self.0.desk
    }

    /// Sets the visibility of a repository, as a first push (private) or a person does.
    pub fn set(&self, repository: &str, visibility: Visibility) {
        self.repositories().change(|known| {
            known.insert(repository.to_owned(), visibility);
        });
        if let Some(listener) = &*self.0.listener.lock().unwrap_or_else(PoisonError::into_inner) {
            listener(repository, visibility);
        }
    }

    /// Is told of every visibility that is set: how a simulated registry learns who may pull.
    pub fn on_change(&self, listener: impl Fn(&str, Visibility) + Send + 'static) {
        *self.0.listener.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(listener));
    }

    /// The visibility of a repository now, uncounted.
    pub fn get(&self, repository: &str) -> Option<Visibility> {
        self.repositories().seen(super::desk::Answer::Present).get(repository).copied()
    }

    fn repositories(&self) -> MutexGuard<'_, Versioned<Repositories>> {
        self.0.repositories.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Quay for MemoryQuay {
    async fn create_public(&self, repository: &str) -> Result<(), Error> {
        split(repository)?;
        self.0.desk.take(QuayCall::CreatePublic(repository.to_owned())).await?;
        if self.get(repository).is_none() {
            self.set(repository, Visibility::Public);
        }
        Ok(())
    }

    async fn visibility(&self, repository: &str) -> Result<Option<Visibility>, Error> {
        split(repository)?;
        let answer = self.0.desk.take(QuayCall::Visibility(repository.to_owned())).await?;
        Ok(self.repositories().seen(answer).get(repository).copied())
    }

    async fn make_public(&self, repository: &str) -> Result<(), Error> {
        split(repository)?;
        self.0.desk.take(QuayCall::MakePublic(repository.to_owned())).await?;
        if self.get(repository).is_none() {
            return Err(wrong(
                &format!("making {repository} public"),
                "success",
                "quay changed nothing: is the repository there?",
            ));
        }
        self.set(repository, Visibility::Public);
        Ok(())
    }
}
