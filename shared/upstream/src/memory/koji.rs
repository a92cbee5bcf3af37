//! Koji in memory.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;

use super::desk::{Answer, Desk, Versioned};
use crate::{
    Error,
    koji::{BUILDS_PER_CALL_MAX, Build, BuildRef, BuildState, Koji, check_ref},
};

/// What Koji was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KojiCall {
    /// [`Koji::build`]
    Build(BuildRef),
    /// [`Koji::builds`]
    Builds(Vec<BuildRef>),
    /// [`Koji::image_builds_since`]
    ImageBuildsSince(Timestamp),
    /// [`Koji::ping`]
    Ping,
}

/// Koji in memory. Clones are the same Koji.
#[derive(Debug, Clone)]
pub struct MemoryKoji(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    desk: Desk<KojiCall>,
    builds: Mutex<Versioned<Arc<Builds>>>,
}

type Builds = BTreeMap<i64, Build>;

impl Default for MemoryKoji {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryKoji {
    /// A Koji that knows no build.
    pub fn new() -> Self {
        Self(Arc::new(Inner { desk: Desk::new("memory-koji"), builds: Mutex::default() }))
    }

    /// Its calls and faults.
    pub fn desk(&self) -> &Desk<KojiCall> {
        &self.0.desk
    }

    /// Adds a build, or replaces the one with its number.
    pub fn put(&self, build: Build) {
        self.change(|builds| {
            builds.insert(build.id, build);
        });
    }

    /// Adds the build that a `getBuild` record tells of.
    ///
    /// # Errors
    /// As [`Build::from_json`].
    pub fn load(&self, record: &Value) -> Result<Build, Error> {
        let build = Build::from_json(record)?;
        self.put(build.clone());
        Ok(build)
    }

    /// Sets the state of a build, if it is known.
    pub fn set_state(&self, nvr: &str, state: BuildState) {
        self.change(|builds| {
            builds.values_mut().filter(|build| build.nvr == nvr).for_each(|build| build.state = state);
        });
    }

    /// Forgets a build.
    pub fn remove(&self, nvr: &str) {
        self.change(|builds| builds.retain(|_, build| build.nvr != nvr));
    }

    fn change(&self, change: impl FnOnce(&mut Builds)) {
        self.builds().change(|builds| change(Arc::make_mut(builds)));
    }

    fn builds(&self) -> MutexGuard<'_, Versioned<Arc<Builds>>> {
        self.0.builds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, answer: Answer, build: &BuildRef) -> Result<Option<Build>, Error> {
        check_ref(build)?;
        let builds = self.builds().seen(answer);
        Ok(match build {
            BuildRef::Id(id) => builds.get(id).cloned(),
            BuildRef::Nvr(nvr) => builds.values().find(|build| build.nvr == *nvr).cloned(),
        })
    }
}

#[async_trait]
impl Koji for MemoryKoji {
    async fn build(&self, build: &BuildRef) -> Result<Option<Build>, Error> {
        let answer = self.0.desk.take(KojiCall::Build(build.clone())).await?;
        self.find(answer, build)
    }

    async fn builds(&self, builds: &[BuildRef]) -> Result<Vec<Result<Option<Build>, Error>>, Error> {
        if builds.len() > BUILDS_PER_CALL_MAX {
            return Err(Error::TooLarge {
                what: "one call".to_owned(),
                limit: BUILDS_PER_CALL_MAX as u64,
                unit: "builds",
            });
        }
        let answer = self.0.desk.take(KojiCall::Builds(builds.to_vec())).await?;
        Ok(builds.iter().map(|build| self.find(answer, build)).collect())
    }

    async fn image_builds_since(&self, since: Timestamp) -> Result<Vec<Build>, Error> {
        let answer = self.0.desk.take(KojiCall::ImageBuildsSince(since)).await?;
        let listed = |build: &&Build| {
            build.state == BuildState::Complete
                && build.image.is_some()
                && build.completed.is_some_and(|at| at > since)
        };
        let mut builds: Vec<Build> = self.builds().seen(answer).values().filter(listed).cloned().collect();
        builds.sort_by_key(|build| (build.completed, build.id));
        Ok(builds)
    }

    async fn ping(&self) -> Result<(), Error> {
        self.0.desk.take(KojiCall::Ping).await.map(|_| ())
    }
}
