//! `flatbus run`: a consumer until it is told to stop.

use std::{future::Future, process::ExitCode};

use flatbus_bus::AmqpSource;
use flatbus_runtime::{Ends, Manager, admin::Lobby};
use flatbus_schemas::Limits;
use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    args::{Common, Name},
    exit,
    wiring::{self, Opening},
};

pub async fn run(common: &Common, consumer: Name) -> anyhow::Result<ExitCode> {
    let container = common.container || wiring::in_kubernetes();
    wiring::logs(common, "info", container)?;
    let config = wiring::load(common, consumer)?;
    for warning in &config.warnings {
        warn!("{warning}");
    }
    let source = AmqpSource::new(config.bus.clone(), wiring::random(), consumer.as_str(), Limits::default())?;
    let publisher = wiring::publisher(&config, consumer);
    let socket = Some(config.runtime.socket.clone());
    let monitoring = wiring::monitoring(&config)?;
    let stop = CancellationToken::new();
    let mut signals = JoinSet::new();
    signals.spawn(stop_on_signal(stop.clone())?);
    // Who asks while the ledger is still held by the process before us is told "alive, not ready".
    let lobby = Lobby::open(monitoring).await?;
    let door = container.then_some(config.runtime.container_door);
    let unit = tokio::select! {
        biased;
        () = stop.cancelled() => return Ok(ExitCode::from(exit::DONE)),
        unit = wiring::open_unit(config, Opening::as_unit(stop.clone(), container)) => unit?,
    };
    lobby.close().await;
    let ends = Ends {
        source: Box::new(source),
        publisher,
        socket,
        monitoring,
        local_door: door,
        manager: Manager::from_env(),
    };
    unit.run(ends).await?;
    info!("Stopped");
    Ok(ExitCode::from(exit::DONE))
}

/// SIGTERM or SIGINT: drain and end. A second one ends at once, which is safe too.
fn stop_on_signal(stop: CancellationToken) -> anyhow::Result<impl Future<Output = ()>> {
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! { biased; _ = term.recv() => {}, _ = int.recv() => {} }
        info!("Told to stop: finishing what is being settled");
        stop.cancel();
        tokio::select! { biased; _ = term.recv() => {}, _ = int.recv() => {} }
        std::process::exit(i32::from(exit::FAILED));
    })
}
