//! `status` and `ledger`: what is doubtful, tried and parked.

use std::{io::Write, process::ExitCode};

use anyhow::Context;
use axum::body::Body;
use flatbus_ledger::{Deed, KeyState, ParkedShown, Shown};
use flatbus_runtime::{
    Status,
    admin::{KeyPage, KeyQuery, Keys, KeysDone, MessageNumber, OneKey as KeyQuestion},
};
use http::Request;
use serde_json::Value;

use super::{
    args::{Common, Import, KeyList, List, Name, OneKey, Which},
    desk::Desk,
    exit,
    output::{json, line, maybe_time, table, time},
    wiring,
};

/// `flatbus status`
pub async fn status(common: &Common, consumer: Name) -> anyhow::Result<ExitCode> {
    let desk = Desk::open(common, consumer).await?;
    let status: Status = desk.get("/status", &()).await?;
    if common.json {
        json(&status)?;
    } else {
        say_status(&status, desk.is_running());
    }
    desk.close().await?;
    Ok(ExitCode::from(exit::DONE))
}

fn say_status(status: &Status, running: bool) {
    let state =
        if running { status.summary.clone() } else { "not running; this is what its store says".to_owned() };
    line(format!("{} {} ({} mode): {state}", status.consumer, status.version, status.mode));
    let counts = &status.ledger;
    line(format!(
        "keys: {} doubtful ({} due, {} waiting, {} in work), {} parked; {} announcements to send",
        counts.doubtful, counts.due, counts.waiting, counts.in_flight, counts.parked, counts.outbox
    ));
    let survey = &status.survey.state;
    line(format!(
        "last complete survey: {} (full: {})",
        maybe_time(survey.last_complete),
        maybe_time(survey.last_full)
    ));
    if let Some(owed) = &survey.owed {
        line(format!("a survey is owed: {}", owed.reason));
    }
    if running {
        line(format!("last message: {}", maybe_time(status.bus.last_delivery)));
    }
    for sentence in
        status.attention.iter().filter(|sentence| running || !sentence.starts_with("Not consuming"))
    {
        line(format!("! {sentence}"));
    }
}

/// `flatbus ledger list`
pub async fn list(common: &Common, what: List) -> anyhow::Result<ExitCode> {
    let desk = Desk::open(common, what.consumer).await?;
    if what.messages {
        list_messages(common, &desk).await?;
    } else if what.deeds {
        list_deeds(common, &desk).await?;
    } else {
        list_keys(common, &desk, &what).await?;
    }
    desk.close().await?;
    Ok(ExitCode::from(exit::DONE))
}

async fn list_keys(common: &Common, desk: &Desk, what: &List) -> anyhow::Result<()> {
    let state = if what.parked {
        "parked"
    } else if what.waiting {
        "waiting"
    } else {
        "all"
    };
    let mut query = KeyQuery { state: Some(state.to_owned()), ..KeyQuery::default() };
    let mut rows = Vec::new();
    loop {
        let page: KeyPage = desk.get("/keys", &query).await?;
        for shown in &page.keys {
            if common.json {
                json(shown)?;
            } else {
                rows.push(row(shown));
            }
        }
        let Some(next) = page.next else { break };
        query.after = Some(next);
    }
    if !common.json {
        table(&["key", "state", "tries", "since", "next", "last error"], rows, "Nothing is doubtful.");
    }
    Ok(())
}

fn state(state: KeyState) -> &'static str {
    match state {
        KeyState::Due => "due",
        KeyState::Waiting => "waits",
        KeyState::InFlight => "in work",
        KeyState::Parked => "parked",
    }
}

fn row(shown: &Shown) -> Vec<String> {
    vec![
        shown.key.clone(),
        state(shown.state).to_owned(),
        shown.attempts.to_string(),
        time(shown.first_marked),
        if shown.state == KeyState::Waiting { time(shown.due) } else { String::new() },
        shown.last_error.clone().unwrap_or_default(),
    ]
}

async fn list_messages(common: &Common, desk: &Desk) -> anyhow::Result<()> {
    let messages: Vec<ParkedShown> = desk.get("/messages", &KeyQuery::default()).await?;
    if common.json {
        return messages.iter().try_for_each(json);
    }
    let rows =
        messages.into_iter().map(|m| vec![m.number.to_string(), time(m.at), m.topic, m.reason]).collect();
    table(&["number", "parked", "topic", "what is wrong"], rows, "Every message was understood.");
    Ok(())
}

async fn list_deeds(common: &Common, desk: &Desk) -> anyhow::Result<()> {
    let deeds: Vec<Deed> = desk.get("/deeds", &()).await?;
    if common.json {
        return deeds.iter().try_for_each(json);
    }
    let rows = deeds.into_iter().map(|deed| vec![time(deed.at), deed.text]).collect();
    table(
        &["when", "would have"],
        rows,
        "Nothing would have been done (deeds are recorded in shadow mode alone).",
    );
    Ok(())
}

/// `flatbus ledger show`
pub async fn show(common: &Common, what: OneKey) -> anyhow::Result<ExitCode> {
    let desk = Desk::open(common, what.consumer).await?;
    let found: Value = match what.key.parse::<u64>() {
        Ok(number) => desk.get("/message", &MessageNumber { number }).await?,
        Err(_) => desk.get("/key", &KeyQuestion { key: what.key }).await?,
    };
    desk.close().await?;
    line(if common.json { found.to_string() } else { serde_json::to_string_pretty(&found)? });
    Ok(ExitCode::from(exit::DONE))
}

/// `flatbus ledger retry`
pub async fn retry(common: &Common, what: KeyList) -> anyhow::Result<ExitCode> {
    each(common, what, "retry", "is tried again").await
}

/// `flatbus ledger drop`
pub async fn drop_keys(common: &Common, what: KeyList) -> anyhow::Result<ExitCode> {
    each(common, what, "drop", "is forgotten").await
}

async fn each(common: &Common, what: KeyList, verb: &str, said: &str) -> anyhow::Result<ExitCode> {
    let desk = Desk::open(common, what.consumer).await?;
    let (numbers, keys): (Vec<_>, Vec<_>) = what.keys.into_iter().partition(|key| key.parse::<u64>().is_ok());
    let mut done = KeysDone::default();
    for text in numbers {
        let number = text.parse()?;
        let answer: Value = desk.post(&format!("/messages/{verb}"), &MessageNumber { number }).await?;
        if answer["found"] == Value::Bool(true) { done.done.push(text) } else { done.unknown.push(text) }
    }
    if !keys.is_empty() || what.all_parked {
        let answer: KeysDone =
            desk.post(&format!("/keys/{verb}"), &Keys { keys, all_parked: what.all_parked }).await?;
        done.done.extend(answer.done);
        done.unknown.extend(answer.unknown);
    }
    let running = desk.is_running();
    desk.close().await?;
    if common.json {
        json(&done)?;
    } else {
        let when = if verb == "retry" && !running { " as soon as the unit runs" } else { "" };
        done.done.iter().for_each(|key| line(format!("{key} {said}{when}")));
        done.unknown.iter().for_each(|key| line(format!("{key} is not in the ledger")));
    }
    Ok(ExitCode::from(if done.unknown.is_empty() { exit::DONE } else { exit::FAILED }))
}

/// `flatbus ledger export`
pub async fn export(common: &Common, what: Which) -> anyhow::Result<ExitCode> {
    let desk = Desk::open(common, what.consumer).await?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    desk.lines(Request::get("/export").body(Body::empty())?, |record| {
        out.write_all(record)?;
        Ok(out.write_all(b"\n")?)
    })
    .await?;
    out.flush()?;
    desk.close().await?;
    Ok(ExitCode::from(exit::DONE))
}

/// `flatbus ledger import`
pub async fn import(common: &Common, what: Import) -> anyhow::Result<ExitCode> {
    let config = wiring::load(common, what.consumer)?;
    let file = std::fs::File::open(&what.file).with_context(|| format!("reading {}", what.file.display()))?;
    let report = wiring::import(&config, file).await?;
    line(format!("{} records imported into {}", report, config.runtime.state_dir.display()));
    Ok(ExitCode::from(exit::DONE))
}
