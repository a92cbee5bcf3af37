//! `flatbus broker-request`: what the broker's administrators must add. Asks nobody, changes nothing.

use std::process::ExitCode;

use super::{
    args::{Broker, Common},
    exit,
    output::line,
    wiring,
};

pub fn request(common: &Common, what: Broker) -> anyhow::Result<ExitCode> {
    let config = wiring::load(common, what.consumer)?;
    line(flatbus_bus::broker_request(&config.bus, what.user.as_deref())?);
    Ok(ExitCode::from(exit::DONE))
}
