//! Doors to the parsers of Koji's and Bodhi's answers, for fuzzing alone. Nothing here decides.

use serde_json::Value;

pub use crate::bodhi::fuzzing::{bodhi_composes, bodhi_listing, bodhi_update};
use crate::{Error, xmlrpc};

const WHAT: &str = "a call";

/// A hub's answer to one call.
///
/// # Errors
/// When it is a fault, or no answer.
pub fn koji_answer(body: &[u8]) -> Result<Value, Error> {
    xmlrpc::answer(WHAT, body)?.map_err(|fault| fault.into_error(WHAT))
}

/// The answers within the answer of `multiCall`.
///
/// # Errors
/// When it isn't one for that many calls.
pub fn koji_answers(value: Value, calls: usize) -> Result<Vec<Result<Value, Error>>, Error> {
    let answers = xmlrpc::multi_answer(WHAT, value, calls)?;
    Ok(answers.into_iter().map(|answer| answer.map_err(|fault| fault.into_error(WHAT))).collect())
}
