//! `flatbus demo`: the whole chain in one process. An embedded bus, two registries, a Koji and a Bodhi that answer from real
//! records, and a real history of three applications played through the real consumer.

mod servers;
mod show;
mod story;

use std::process::ExitCode;

use super::{
    args::{Common, Demo},
    exit,
};

pub async fn demo(common: &Common, what: Demo) -> anyhow::Result<ExitCode> {
    let folder = tempfile::Builder::new().prefix("flatbus-demo-").tempdir()?;
    show::welcome(common);
    let mut servers = servers::Servers::start(folder.path()).await?;
    let mut unit = servers.run_mirror().await?;
    let told = story::play(common, &mut servers, &unit).await?;
    show::table(common, &told)?;
    if !what.exit {
        show::what_next(&servers);
        tokio::signal::ctrl_c().await?;
    }
    unit.stop().await?;
    Ok(ExitCode::from(exit::DONE))
}
