//! What a consumer tells the command line, once: how its settings are read, how it is made, what is checked of it. Whose
//! they are is forgotten as soon as the file is read: no verb but a consumer's own knows one by name.

use std::{fmt::Display, path::Path};

use async_trait::async_trait;
use axum::Router;
use flatbus_bus::Publisher;
use flatbus_http::Client;
use flatbus_index::Index;
use flatbus_ledger::{Ledger, LedgerError};
use flatbus_mirror::Mirror;
use flatbus_runtime::{
    Consumer, Ends, Failure, Finding, Left, Parts, Settings, Unit,
    config::{self, Config},
};
use jiff::Timestamp;
use serde::de::DeserializeOwned;

use super::{args::Name, exit::Misconfigured};

/// A consumer that the command line can make. To add one, implement this, and give it a name and an arm in
/// [`Name::entry`].
pub trait Wired: Consumer + Sized {
    /// `[consumer_config]` as written.
    type Raw: DeserializeOwned;
    /// The same, as types that can't be wrong.
    type Config: TryFrom<Self::Raw, Error: Display> + 'static;

    /// The consumer, with clients for every service that it is configured for, and the client that they share. Asks
    /// nobody yet. `folder`: the service manager's, with credentials in it. `mounted`: other secrets are on a read-only
    /// mount, whose modes say nothing.
    fn build(
        config: &Self::Config,
        folder: Option<&Path>,
        mounted: bool,
    ) -> Result<(Self, Client), Misconfigured>;

    /// Looks at everything that it depends on. Changes nothing that stays.
    fn check(&self, now: Timestamp) -> impl Future<Output = Vec<Finding>> + Send;
}

impl Name {
    /// What the name means: the one place that knows every consumer.
    pub fn entry(self) -> Entry {
        match self {
            Self::Index => Entry::of::<Index>(),
            Self::Mirror => Entry::of::<Mirror>(),
        }
    }

    pub fn as_str(self) -> &'static str {
        self.entry().name
    }
}

/// A consumer of which nothing was read yet.
pub struct Entry {
    name: &'static str,
    /// Reads and checks its configuration.
    pub read: fn(&Path) -> anyhow::Result<Loaded>,
}

impl Entry {
    fn of<C: Wired>() -> Self {
        Self { name: C::NAME, read: read::<C> }
    }
}

/// A consumer's configuration, read and checked; of its own settings only the consumer that they make can be had.
pub type Loaded = Config<Maker>;

/// [`Wired::build`] of a consumer with its settings.
pub type Maker = Box<dyn Fn(Option<&Path>, bool) -> Result<(Box<dyn AnyConsumer>, Client), Misconfigured>>;

fn read<C: Wired>(path: &Path) -> anyhow::Result<Loaded> {
    let raw: Config<C::Raw> = config::load(C::NAME, path)?;
    let Config { bus, warnings, monitoring, runtime, consumer } = raw;
    let own = C::Config::try_from(consumer)
        .map_err(|error| Misconfigured(format!("{}: {error}", path.display())))?;
    let make: Maker = Box::new(move |folder, mounted| {
        let (consumer, http) = C::build(&own, folder, mounted)?;
        Ok((Box::new(consumer), http))
    });
    Ok(Config { bus, warnings, monitoring, runtime, consumer: make })
}

/// A consumer, whichever it is.
#[async_trait]
pub trait AnyConsumer {
    fn name(&self) -> &'static str;
    async fn open(self: Box<Self>, settings: Settings, parts: Parts)
    -> Result<Box<dyn AnyUnit>, LedgerError>;
    async fn check(&self, now: Timestamp) -> Vec<Finding>;
}

#[async_trait]
impl<C: Wired> AnyConsumer for C {
    fn name(&self) -> &'static str {
        C::NAME
    }

    async fn open(
        self: Box<Self>,
        settings: Settings,
        parts: Parts,
    ) -> Result<Box<dyn AnyUnit>, LedgerError> {
        Ok(Box::new(Unit::open(*self, settings, parts).await?))
    }

    async fn check(&self, now: Timestamp) -> Vec<Finding> {
        Wired::check(self, now).await
    }
}

/// A unit, whichever its consumer is: each method is the unit's own of its name.
#[async_trait]
pub trait AnyUnit {
    fn router(&self) -> Router;
    fn ledger(&self) -> &Ledger;
    async fn settle_due(&self, publisher: &dyn Publisher) -> Left;
    async fn survey_now(&self, full: bool) -> Result<u64, Failure>;
    async fn run(self: Box<Self>, ends: Ends) -> Result<(), Failure>;
    async fn close(self: Box<Self>) -> Result<(), Failure>;
}

#[async_trait]
impl<C: Consumer> AnyUnit for Unit<C> {
    fn router(&self) -> Router {
        Unit::router(self)
    }

    fn ledger(&self) -> &Ledger {
        Unit::ledger(self)
    }

    async fn settle_due(&self, publisher: &dyn Publisher) -> Left {
        Unit::settle_due(self, publisher).await
    }

    async fn survey_now(&self, full: bool) -> Result<u64, Failure> {
        Unit::survey_now(self, full).await
    }

    async fn run(self: Box<Self>, ends: Ends) -> Result<(), Failure> {
        Unit::run(*self, ends).await
    }

    async fn close(self: Box<Self>) -> Result<(), Failure> {
        Unit::close(*self).await
    }
}
