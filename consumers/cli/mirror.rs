//! mirror at the command line: how it is made, and the verb that only it has.

use std::{path::Path, process::ExitCode, time::Duration};

use flatbus_http::Client;
use flatbus_ledger::{KeyState, Shown};
use flatbus_mirror::{Config, Mirror, RawConfig, Secrets, http_settings};
use flatbus_runtime::{
    Finding,
    admin::{Keys, KeysDone, OneKey},
};
use jiff::Timestamp;

use super::{
    args::{Adopt, Common, Name},
    desk::Desk,
    exit::{self, Misconfigured},
    once,
    output::line,
    wired::Wired,
    wiring,
};

impl Wired for Mirror {
    type Raw = RawConfig;
    type Config = Config;

    fn build(config: &Config, folder: Option<&Path>, mounted: bool) -> Result<(Self, Client), Misconfigured> {
        let secrets = Secrets::read(config, folder, mounted).map_err(Misconfigured::by)?;
        let http = Client::new(http_settings(config), wiring::random()).map_err(Misconfigured::by)?;
        let mirror = Self::from_config(config.clone(), &http, &secrets).map_err(Misconfigured::by)?;
        Ok((mirror, http))
    }

    async fn check(&self, now: Timestamp) -> Vec<Finding> {
        Self::check(self, now).await
    }
}

/// `flatbus mirror adopt`: a key like any other, so that it works beside the unit and is tried again if need be.
pub async fn adopt(common: &Common, what: Adopt) -> anyhow::Result<ExitCode> {
    let keys: Vec<String> =
        what.repositories.iter().map(|repository| format!("adopt/{repository}")).collect();
    let desk = Desk::open(common, Name::Mirror).await?;
    let marked: KeysDone = desk.post("/keys/mark", &Keys { keys: keys.clone(), all_parked: false }).await?;
    marked.wrong.iter().for_each(line);
    let desk = once::settle_keys(common, desk, Name::Mirror, &keys, Duration::from_secs(600)).await?;
    let mut refused = marked.wrong.len();
    for (key, repository) in keys.iter().zip(&what.repositories) {
        let left: Option<Shown> = desk.get("/key", &OneKey { key: key.clone() }).await.ok();
        match left {
            None => line(format!("{repository} is mirror's now.")),
            Some(shown) => {
                refused += 1;
                let why = shown.last_error.unwrap_or_else(|| "not looked at yet".to_owned());
                let state =
                    if shown.state == KeyState::Parked { "is not adopted" } else { "is not adopted yet" };
                line(format!("{repository} {state}: {why}"));
            }
        }
    }
    desk.close().await?;
    Ok(ExitCode::from(if refused == 0 { exit::DONE } else { exit::FAILED }))
}
