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
use flatbus_mirror::{
    Mirror,
    config::RawConfig,
    wiring::{self, Secrets},
};
use flatbus_runtime::{Consumer, Gather, Parts, Progress, Unit, Unwatched, config, config::Config};
use flatbus_telemetry::{
    logs::{self, Format},
    metrics::{HttpOutcome, Metrics},
};
use tokio_util::sync::CancellationToken;

use super::{
    args::{Common, Name},
    exit::Misconfigured,
};

/// mirror's configuration, read and checked.
pub type MirrorConfig = Config<flatbus_mirror::config::Config>;

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
pub fn load(common: &Common, consumer: Name) -> anyhow::Result<MirrorConfig> {
    let path = path(common, consumer);
    let raw: Config<RawConfig> = config::load(consumer.as_str(), &path)?;
    let checked = flatbus_mirror::config::Config::try_from(raw.consumer)
        .map_err(|error| Misconfigured(format!("{}: {error}", path.display())))?;
    let Config { bus, warnings, monitoring, runtime, .. } = raw;
    Ok(Config { bus, warnings, monitoring, runtime, consumer: checked })
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
pub fn publisher(config: &MirrorConfig, consumer: Name) -> Arc<dyn Publisher> {
    Arc::new(AmqpPublisher::new(config.bus.clone(), consumer.as_str()))
}

/// Where reads are served over TCP, if anywhere.
pub fn monitoring(config: &MirrorConfig) -> anyhow::Result<Option<SocketAddr>> {
    let Some(wanted) = &config.monitoring else { return Ok(None) };
    let address = if wanted.address.is_empty() { "0.0.0.0" } else { &wanted.address };
    let ip = address
        .parse()
        .map_err(|_| Misconfigured(format!("monitoring.address: {address:?} is not an IP address")))?;
    Ok(Some(SocketAddr::new(ip, wanted.port)))
}

/// The consumer, with clients for every service it is configured for, and the client that they share. Asks nobody yet.
/// `mounted`: secrets are on a read-only mount, whose modes say nothing.
pub fn mirror(config: &flatbus_mirror::config::Config, mounted: bool) -> anyhow::Result<(Mirror, Client)> {
    let folder = env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    let wrong = |error: &dyn std::error::Error| Misconfigured(flatbus_base::chain(error));
    let secrets = Secrets::read(config, folder.as_deref(), mounted).map_err(|error| wrong(&error))?;
    let http = Client::new(wiring::http_settings(config), random()).map_err(|error| wrong(&error))?;
    let mirror = Mirror::from_config(config.clone(), &http, &secrets).map_err(|error| wrong(&error))?;
    Ok((mirror, http))
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
pub async fn open_unit(config: MirrorConfig, opening: Opening) -> anyhow::Result<Unit<Mirror>> {
    let options = StoreOptions {
        lock_wait: opening.lock_wait,
        allow_network_fs: config.runtime.allow_network_fs,
        ..StoreOptions::new(SystemClock.wall())
    };
    let metrics = Metrics::new(Mirror::NAME);
    let (mirror, http) = mirror(&config.consumer, opening.mounted)?;
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
    Ok(Unit::open(mirror, config.runtime, parts).await?)
}

async fn open_store(folder: PathBuf, options: StoreOptions) -> anyhow::Result<flatbus_ledger::OpenedStore> {
    let opened = tokio::task::spawn_blocking(move || SledStore::open(&folder, &options)).await?;
    opened.map_err(|error| match error {
        StoreError::NetworkFs { .. } => Misconfigured(error.to_string()).into(),
        other => other.into(),
    })
}

/// Reads an export into the empty store of a consumer that doesn't run.
pub async fn import(config: &MirrorConfig, file: impl Read + Send) -> anyhow::Result<u64> {
    let options = StoreOptions {
        allow_network_fs: config.runtime.allow_network_fs,
        ..StoreOptions::new(SystemClock.wall())
    };
    let opened = open_store(config.runtime.state_dir.join("ledger"), options).await?;
    let report =
        Ledger::import(opened.store, opened.files, BufReader::new(file).lines(), SystemClock.now()).await?;
    Ok(report.records.values().sum())
}
