//! Exit codes, and the last words before a non-zero one.

use std::{error::Error, io::Write, process::ExitCode};

use flatbus_base::chain;
use flatbus_runtime::config::LoadError;

/// All is well.
pub const DONE: u8 = 0;
/// Something failed; the message says what.
pub const FAILED: u8 = 1;
/// `check` found something that a person should look at. (2 is clap's own: the command line is wrong.)
pub const FINDINGS: u8 = 3;
/// The configuration is wrong: restarting does not help (`EX_CONFIG`; the unit has it in `RestartPreventExitStatus`).
pub const CONFIG: u8 = 78;

/// An error that a person mends in the configuration.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Misconfigured(pub String);

impl Misconfigured {
    /// What could not be made of the configuration.
    pub fn by(error: impl Error) -> Self {
        Self(chain(&error))
    }
}

/// Says what went wrong on standard error, and which code to exit with.
pub fn report(error: &anyhow::Error) -> ExitCode {
    let mut said = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !said.contains(&cause) {
            said.push_str(": ");
            said.push_str(&cause);
        }
    }
    let _ = writeln!(std::io::stderr(), "flatbus: {said}");
    let config = error.chain().any(|cause| cause.is::<LoadError>() || cause.is::<Misconfigured>());
    ExitCode::from(if config { CONFIG } else { FAILED })
}
