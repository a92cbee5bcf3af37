//! Koji, Bodhi and quay's API behind the gate. What Bodhi says and what Koji denies is remembered by who was told.

use std::time::Duration;

use async_trait::async_trait;
use flatbus_upstream::{
    Error,
    bodhi::{Bodhi, Compose, Update, UpdateQuery},
    koji::{Build, BuildRef, Koji},
    memory::{Fault as Meets, MemoryBodhi, MemoryKoji, MemoryQuay},
    quay::{Quay, Visibility},
};
use jiff::Timestamp;

use crate::{
    fault::Fault,
    gate::{Line, Service, Verb},
    witness::Witness,
};

/// How long a client waits for a silent service.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a fault of the world means to a twin.
fn meets(fault: Fault) -> Meets {
    match fault {
        Fault::FaultAnswer => Meets::Refused(1000),
        Fault::EmptyAnswer => Meets::Empty,
        Fault::ListingShifts => Meets::Unsettled,
        Fault::StaleAnswer => Meets::Stale,
        Fault::TimeOut | Fault::Outage => Meets::TimeOut(PATIENCE),
        _ => Meets::WrongShape,
    }
}

/// Koji as one process sees it.
pub struct GatedKoji {
    inner: MemoryKoji,
    line: Line,
    witness: Witness,
}

/// Bodhi as one process sees it.
pub struct GatedBodhi {
    inner: MemoryBodhi,
    line: Line,
    witness: Witness,
}

/// quay's API as one process sees it.
pub struct GatedQuay {
    inner: MemoryQuay,
    line: Line,
}

impl GatedKoji {
    /// The twin behind the gate.
    pub fn new(inner: MemoryKoji, line: Line, witness: Witness) -> Self {
        Self { inner, line, witness }
    }

    async fn ask(&self, what: impl Fn() -> String) {
        if let Some(fault) = self.line.pass(Service::Koji, Verb::Koji, what).await {
            self.inner.desk().fail_next(1, meets(fault));
        }
    }
}

#[async_trait]
impl Koji for GatedKoji {
    async fn build(&self, build: &BuildRef) -> Result<Option<Build>, Error> {
        self.ask(|| build.to_string()).await;
        self.inner.build(build).await
    }

    async fn builds(&self, builds: &[BuildRef]) -> Result<Vec<Result<Option<Build>, Error>>, Error> {
        self.ask(|| format!("{} builds", builds.len())).await;
        let answers = self.inner.builds(builds).await?;
        let denied = builds.iter().zip(&answers).filter_map(|pair| match pair {
            (BuildRef::Nvr(nvr), Ok(None)) => Some(nvr.clone()),
            _ => None,
        });
        self.witness.denied(denied);
        Ok(answers)
    }

    async fn image_builds_since(&self, since: Timestamp) -> Result<Vec<Build>, Error> {
        self.ask(|| format!("image builds since {since}")).await;
        self.inner.image_builds_since(since).await
    }

    async fn ping(&self) -> Result<(), Error> {
        self.ask(|| "ping".to_owned()).await;
        self.inner.ping().await
    }
}

impl GatedBodhi {
    /// The twin behind the gate.
    pub fn new(inner: MemoryBodhi, line: Line, witness: Witness) -> Self {
        Self { inner, line, witness }
    }

    async fn ask(&self, verb: Verb, what: impl Fn() -> String) {
        if let Some(fault) = self.line.pass(Service::Bodhi, verb, what).await {
            self.inner.desk().fail_next(1, meets(fault));
        }
    }
}

#[async_trait]
impl Bodhi for GatedBodhi {
    async fn update(&self, alias: &str) -> Result<Option<Update>, Error> {
        self.ask(Verb::Bodhi, || format!("update {alias}")).await;
        let answer = self.inner.update(alias).await?;
        self.witness.told(answer.as_slice(), false);
        Ok(answer)
    }

    async fn updates(&self, query: &UpdateQuery) -> Result<Vec<Update>, Error> {
        self.ask(Verb::BodhiListing, || {
            format!("updates of {:?} since {:?}", query.packages, query.modified_since)
        })
        .await;
        let answer = self.inner.updates(query).await?;
        self.witness.told(&answer, true);
        Ok(answer)
    }

    async fn composes(&self) -> Result<Vec<Compose>, Error> {
        self.ask(Verb::Bodhi, || "composes".to_owned()).await;
        self.inner.composes().await
    }

    async fn ping(&self) -> Result<(), Error> {
        self.ask(Verb::Bodhi, || "ping".to_owned()).await;
        self.inner.ping().await
    }
}

impl GatedQuay {
    /// The twin behind the gate.
    pub fn new(inner: MemoryQuay, line: Line) -> Self {
        Self { inner, line }
    }

    async fn ask(&self, what: impl Fn() -> String) {
        self.line.pass(Service::Quay, Verb::Quay, what).await;
    }
}

#[async_trait]
impl Quay for GatedQuay {
    async fn create_public(&self, repository: &str) -> Result<(), Error> {
        self.ask(|| format!("create {repository}")).await;
        self.inner.create_public(repository).await
    }

    async fn visibility(&self, repository: &str) -> Result<Option<Visibility>, Error> {
        self.ask(|| format!("visibility of {repository}")).await;
        self.inner.visibility(repository).await
    }

    async fn make_public(&self, repository: &str) -> Result<(), Error> {
        self.ask(|| format!("make {repository} public")).await;
        self.inner.make_public(repository).await
    }
}
