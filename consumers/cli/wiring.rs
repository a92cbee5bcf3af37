//! From a file to a consumer that can be run or asked: the only place, with the runtime, that wires bus and ledger.

use std::{
    env,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use flatbus_base::{Clock, Random, SystemClock};
use flatbus_bus::{AmqpPublisher, Publisher};
use flatbus_http::Client;
use flatbus_ledger::{Ledger, SledStore, StoreError, StoreOptions};
use flatbus_runtime::{Gather, Parts, Progress, Unwatched};
use flatbus_telemetry::{
    logs::{self, Format},
    metrics::{HttpOutcome, Metrics},
};
use tokio_util::sync::CancellationToken;

use super::{
    args::{Common, Name},
    exit::Misconfigured,
    wired::{AnyConsumer, AnyUnit, Loaded},
};

/// How long a unit waits for the process before it to let go of the ledger: systemd ended that one, it is nearly gone.
const LOCK_WAIT: Duration = Duration::from_secs(5);
/// How long a container waits for the one before it, which may run on another node still: not ready meanwhile, but alive.
const LOCK_WAIT_IN_CONTAINER: Duration = Duration::from_secs(7 * 24 * 3600);

/// Where a consumer's configuration is.
pub fn path(common: &Common, consumer: Name) -> PathBuf {
    let named = common.config.clone().or_else(|| env::var_os("FEDORA_MESSAGING_CONF").map(PathBuf::from));
    named.unwrap_or_else(|| PathBuf::from("/etc/flatbus").join(format!("{}.toml", consumer.as_str())))
}

/// Reads and checks a consumer's configuration.
pub fn load(common: &Common, consumer: Name) -> anyhow::Result<Loaded> {
    (consumer.entry().read)(&path(common, consumer))
}

/// Sets the logs up. Verbs by hand say only what went wrong; a unit says what it does.
pub fn logs(common: &Common, otherwise: &str, container: bool) -> anyhow::Result<()> {
    let format = if container { Format::Json } else { Format::Auto };
    let filter = match (&common.log, otherwise) {
        (Some(filter), _) => Some(filter.as_str()),
        (None, "info") => None, // The catalogue's own default.
        (None, otherwise) => Some(otherwise),
    };
    logs::init(format, filter).context("--log")
}

/// Whether this runs under Kubernetes or OpenShift.
pub fn in_kubernetes() -> bool {
    env::var_os("KUBERNETES_SERVICE_HOST").is_some()
}

/// The process's randomness.
pub fn random() -> Random {
    Random::from_system()
}

/// Where announcements go.
pub fn publisher(config: &Loaded, consumer: Name) -> Arc<dyn Publisher> {
    Arc::new(AmqpPublisher::new(config.bus.clone(), consumer.as_str()))
}

/// Where reads are served over TCP, if anywhere.
pub fn monitoring(config: &Loaded) -> anyhow::Result<Option<SocketAddr>> {
    let Some(wanted) = &config.monitoring else { return Ok(None) };
    let address = if wanted.address.is_empty() { "0.0.0.0" } else { &wanted.address };
    let ip = address
        .parse()
        .map_err(|_| Misconfigured(format!("monitoring.address: {address:?} is not an IP address")))?;
    Ok(Some(SocketAddr::new(ip, wanted.port)))
}

/// The consumer that the settings make, and the client that its services share. Asks nobody yet. `mounted`: secrets are on
/// a read-only mount, whose modes say nothing.
pub fn make(config: &Loaded, mounted: bool) -> Result<(Box<dyn AnyConsumer>, Client), Misconfigured> {
    let folder = env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    (config.consumer)(folder.as_deref(), mounted)
}

/// What each host was asked, for the metrics.
fn count_requests(http: Client) -> Gather {
    Box::new(move |metrics| {
        for host in http.usage() {
            metrics.raise_http(&host.host, HttpOutcome::Sent, host.requests);
            metrics.raise_http(&host.host, HttpOutcome::Limited, host.limited);
        }
    })
}

/// How a consumer is opened.
pub struct Opening {
    /// Who watches.
    pub progress: Arc<dyn Progress>,
    /// Cancelled to make it stop.
    pub stop: CancellationToken,
    /// How long another process's hold on the store is waited for.
    pub lock_wait: Duration,
    /// Secrets are on a read-only mount.
    pub mounted: bool,
}

impl Opening {
    /// By hand: nothing is waited for.
    pub fn by_hand(progress: Arc<dyn Progress>) -> Self {
        Self { progress, stop: CancellationToken::new(), lock_wait: Duration::ZERO, mounted: in_kubernetes() }
    }

    /// As a unit, or in a container.
    pub fn as_unit(stop: CancellationToken, container: bool) -> Self {
        let lock_wait = if container { LOCK_WAIT_IN_CONTAINER } else { LOCK_WAIT };
        Self { progress: Arc::new(Unwatched), stop, lock_wait, mounted: container }
    }
}

/// Opens a consumer on its store.
pub async fn open_unit(config: Loaded, opening: Opening) -> anyhow::Result<Box<dyn AnyUnit>> {
    let options = StoreOptions {
        lock_wait: opening.lock_wait,
        allow_network_fs: config.runtime.allow_network_fs,
        ..StoreOptions::new(SystemClock.wall())
    };
    let (consumer, http) = make(&config, opening.mounted)?;
    let metrics = Metrics::new(consumer.name());
    let folder = config.runtime.state_dir.join("ledger");
    let opened = open_store(folder, options).await?;
    let parts = Parts {
        store: opened.store,
        files: opened.files,
        set_aside: opened.moved_aside,
        clock: Arc::new(SystemClock),
        random: random(),
        metrics,
        gather: count_requests(http),
        progress: opening.progress,
        stop: opening.stop,
    };
    Ok(consumer.open(config.runtime, parts).await?)
}

async fn open_store(folder: PathBuf, options: StoreOptions) -> anyhow::Result<flatbus_ledger::OpenedStore> {
    let opened = tokio::task::spawn_blocking(move || SledStore::open(&folder, &options)).await?;
    opened.map_err(|error| match error {
        StoreError::NetworkFs { .. } => Misconfigured(error.to_string()).into(),
        other => other.into(),
    })
}

/// Reads an export into the empty store of a consumer that doesn't run.
pub async fn import(config: &Loaded, file: impl Read + Send) -> anyhow::Result<u64> {
    let options = StoreOptions {
        allow_network_fs: config.runtime.allow_network_fs,
        ..StoreOptions::new(SystemClock.wall())
    };
    let opened = open_store(config.runtime.state_dir.join("ledger"), options).await?;
    let report =
        Ledger::import(opened.store, opened.files, BufReader::new(file).lines(), SystemClock.now()).await?;
    Ok(report.records.values().sum())
}
