//! `flatbus survey`: everything that ought to be true is looked at, or only shown.

use std::process::ExitCode;

use anyhow::bail;
use axum::body::Body;
use flatbus_runtime::admin::{DryEnd, DryKey, SurveyRequest};
use http::Request;
use serde_json::Value;

use super::{
    args::{Common, Survey},
    desk::Desk,
    exit,
    output::{json, line},
    progress,
};

pub async fn survey(common: &Common, what: Survey) -> anyhow::Result<ExitCode> {
    let desk = Desk::open(common, what.consumer).await?;
    let code =
        if what.dry_run { dry(common, &desk).await? } else { owe(common, &desk, !what.changes).await? };
    desk.close().await?;
    Ok(code)
}

/// A running unit makes the survey at its pace; without one its keys are marked here, for the unit to settle.
async fn owe(common: &Common, desk: &Desk, full: bool) -> anyhow::Result<ExitCode> {
    let Some(unit) = desk.unit() else {
        let _: Value = desk.post("/survey", &SurveyRequest { full }).await?;
        if !common.json {
            line("The unit makes the survey now; `flatbus status` tells how far it is.");
        }
        return Ok(ExitCode::from(exit::DONE));
    };
    let keys = unit.survey_now(full).await?;
    if common.json {
        json(&serde_json::json!({"keys": keys}))?;
    } else {
        line(format!(
            "{keys} keys are doubtful now; the unit settles them when it runs, `flatbus once` does so at once."
        ));
    }
    Ok(ExitCode::from(exit::DONE))
}

async fn dry(common: &Common, desk: &Desk) -> anyhow::Result<ExitCode> {
    let bar = progress::counter("keys looked at");
    let mut end = None;
    let mut differing = 0_u64;
    let request = Request::post("/survey/dry").body(Body::empty())?;
    desk.lines(request, |text| {
        let Ok(key) = serde_json::from_slice::<DryKey>(text) else {
            end = serde_json::from_slice::<DryEnd>(text).ok();
            return Ok(());
        };
        bar.inc(1);
        differing += u64::from(!key.would.is_empty());
        if common.json {
            return json(&key);
        }
        bar.suspend(|| say(&key));
        Ok(())
    })
    .await?;
    bar.finish_and_clear();
    let Some(end) = end else { bail!("the survey ended without saying so") };
    if let Some(failure) = end.failure {
        bail!("the survey is not complete: {failure}");
    }
    if !common.json {
        line(format!("{} keys looked at, {differing} would be changed; nothing was done.", end.keys));
    }
    Ok(ExitCode::from(exit::DONE))
}

fn say(key: &DryKey) {
    for deed in &key.would {
        line(format!("{}: would {deed}", key.key));
    }
    if let Some(failure) = &key.failure {
        line(format!("{}: can't tell: {failure}", key.key));
    }
}
