//! `flatbus check`: a plain sentence per finding.

use std::{process::ExitCode, time::Duration};

use flatbus_base::{Clock, SystemClock};
use flatbus_bus::{AmqpSource, Source, SourceEvent};
use flatbus_runtime::{Finding, Status};
use flatbus_schemas::Limits;

use super::{
    args::{Common, Name},
    desk::Desk,
    exit,
    output::{json, line},
    wired::Loaded,
    wiring,
};

/// How long the broker may take to answer.
const BROKER_WAIT: Duration = Duration::from_secs(15);

/// `flatbus check`
pub async fn check(common: &Common, consumer: Name) -> anyhow::Result<ExitCode> {
    let config = wiring::load(common, consumer)?;
    let path = wiring::path(common, consumer);
    let mut findings = vec![Finding::well(format!("The configuration {} is valid.", path.display()))];
    findings.extend(
        config.warnings.iter().map(|warning| Finding::wrong(format!("{}: {warning}.", path.display()))),
    );
    let desk = Desk::open(common, consumer).await?;
    if desk.is_running() {
        findings.extend(of_the_unit(&desk.get("/status", &()).await?));
    } else {
        findings.push(Finding::well(format!(
            "The ledger in {} opens; the unit does not run.",
            config.runtime.state_dir.display()
        )));
        findings.push(of_the_broker(&config, consumer).await);
    }
    let (made, _) = wiring::make(&config, common.container || wiring::in_kubernetes())?;
    findings.extend(made.check(SystemClock.wall()).await);
    desk.close().await?;
    say(common, &findings)
}

/// What a running unit says of itself: asking the broker beside it would take its messages away.
fn of_the_unit(status: &Status) -> Vec<Finding> {
    let mut findings = vec![Finding::well(format!("The unit runs: {}.", status.summary))];
    if status.bus.consuming {
        findings.push(Finding::well("The broker delivers."));
    }
    findings.extend(status.attention.iter().map(|sentence| Finding::wrong(named(sentence))));
    findings
}

fn named(sentence: &str) -> String {
    sentence
        .strip_prefix("Not consuming: ")
        .map_or_else(|| sentence.to_owned(), |why| format!("The broker does not deliver: {why}"))
}

/// Connects, declares and consumes as the unit would, and gives everything back.
async fn of_the_broker(config: &Loaded, consumer: Name) -> Finding {
    let mut source =
        match AmqpSource::new(config.bus.clone(), wiring::random(), consumer.as_str(), Limits::default()) {
            Ok(source) => source,
            Err(error) => return Finding::wrong(error.to_string()),
        };
    let first = tokio::time::timeout(BROKER_WAIT, source.next()).await;
    source.close().await;
    match first {
        Ok(SourceEvent::Connected { .. } | SourceEvent::Delivery(_) | SourceEvent::Ended) => {
            Finding::well("The broker delivers.")
        }
        Ok(SourceEvent::Disconnected { reason }) => {
            Finding::wrong(format!("The broker does not deliver: {reason}"))
        }
        Err(_) => Finding::wrong(format!("The broker said nothing for {BROKER_WAIT:?}")),
    }
}

fn say(common: &Common, findings: &[Finding]) -> anyhow::Result<ExitCode> {
    if common.json {
        findings.iter().try_for_each(json)?;
    } else {
        findings
            .iter()
            .for_each(|found| line(format!("{} {}", if found.well { "ok" } else { " !" }, found.sentence)));
    }
    Ok(ExitCode::from(if findings.iter().all(|found| found.well) { exit::DONE } else { exit::FINDINGS }))
}
