//! The command line: one verb, one page of help. Every verb works while the unit runs (through its socket) and while it
//! doesn't (on its store).

mod args;
mod broker;
mod check;
mod demo;
mod desk;
mod exit;
mod index;
mod keys;
mod mirror;
mod once;
mod output;
mod progress;
mod replay;
mod run;
mod survey;
mod wired;
mod wiring;

use std::process::ExitCode;

use clap::Parser;
use rustls::crypto::aws_lc_rs;

use args::{Cli, IndexVerb, LedgerVerb, MirrorVerb, Verb};

/// Reads the arguments, runs the verb, and turns what happened into an exit code.
pub fn main() -> ExitCode {
    // First thing, so that nothing else ever chooses: with two providers in a tree rustls refuses to guess. An error
    // would mean that it is installed already.
    let _ = aws_lc_rs::default_provider().install_default();
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return exit::report(&anyhow::Error::new(error).context("starting the runtime")),
    };
    let code = match runtime.block_on(verb(cli)) {
        Ok(code) => code,
        Err(error) => exit::report(&error),
    };
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    code
}

async fn verb(cli: Cli) -> anyhow::Result<ExitCode> {
    let common = cli.common;
    if !matches!(cli.verb, Verb::Run(_)) {
        wiring::logs(&common, "error", false)?;
    }
    match cli.verb {
        Verb::Run(what) => run::run(&common, what.consumer).await,
        Verb::Once(what) => once::once(&common, what).await,
        Verb::Replay(what) => replay::replay(&common, what).await,
        Verb::Survey(what) => survey::survey(&common, what).await,
        Verb::Status(what) => keys::status(&common, what.consumer).await,
        Verb::Ledger(LedgerVerb::List(what)) => keys::list(&common, what).await,
        Verb::Ledger(LedgerVerb::Show(what)) => keys::show(&common, what).await,
        Verb::Ledger(LedgerVerb::Retry(what)) => keys::retry(&common, what).await,
        Verb::Ledger(LedgerVerb::Drop(what)) => keys::drop_keys(&common, what).await,
        Verb::Ledger(LedgerVerb::Export(what)) => keys::export(&common, what).await,
        Verb::Ledger(LedgerVerb::Import(what)) => keys::import(&common, what).await,
        Verb::Check(what) => check::check(&common, what.consumer).await,
        Verb::BrokerRequest(what) => broker::request(&common, what),
        Verb::Index(IndexVerb::Compare(what)) => index::compare_with(&common, what).await,
        Verb::Index(IndexVerb::HttpdConfig) => index::httpd_config(&common),
        Verb::Mirror(MirrorVerb::Adopt(what)) => mirror::adopt(&common, what).await,
        Verb::Demo(what) => demo::demo(&common, what).await,
    }
}
