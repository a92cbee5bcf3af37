//! The hub's calls, JSON in and JSON out, with the hub's faults.

use std::cmp::Ordering;

use dxr::Fault;
use serde_json::{Map, Value, json};

use super::builds::Builds;
use crate::times;

/// An answer or a fault.
pub(crate) type Outcome = Result<Value, Fault>;

/// Koji's code for an error without one of its own.
pub(crate) const GENERIC: i32 = 1000;
/// Koji's code for arguments that a call doesn't take.
const PARAMETER: i32 = 1019;

/// Calls taken in one `multiCall`.
const MULTICALL_MAX: usize = 1000;

/// Answers a call.
pub(crate) fn call(builds: &Builds, method: &str, params: Vec<Value>) -> Outcome {
    if method == "multiCall" {
        return multi_call(builds, params);
    }
    let mut arguments = Arguments::new(params);
    let answer = match method {
        "getAPIVersion" => Ok(json!(1)),
        "getBuild" => get_build(builds, &mut arguments),
        "listBuilds" => list_builds(builds, &mut arguments),
        "listArchives" => list_archives(builds, &mut arguments),
        _ => return Err(Fault::new(GENERIC, format!("Invalid method: {method}"))),
    }?;
    arguments.end(method)?;
    Ok(answer)
}

/// Each call's answer in a list of its own, or its fault: one that fails does not fail the others.
fn multi_call(builds: &Builds, params: Vec<Value>) -> Outcome {
    let calls = params.into_iter().next().and_then(|calls| calls.as_array().cloned());
    let calls = calls.ok_or_else(|| Fault::new(PARAMETER, "multiCall takes a list of calls".to_owned()))?;
    if calls.len() > MULTICALL_MAX {
        return Err(Fault::new(GENERIC, format!("more than {MULTICALL_MAX} calls at once")));
    }
    let one = |entry: &Value| {
        let method = entry.get("methodName").and_then(Value::as_str).unwrap_or_default();
        let params = entry.get("params").and_then(Value::as_array).cloned().unwrap_or_default();
        let outcome = match method {
            "multiCall" => Err(Fault::new(GENERIC, "multiCall within multiCall".to_owned())),
            _ => call(builds, method, params),
        };
        match outcome {
            Ok(answer) => json!([answer]),
            Err(fault) => json!({"faultCode": fault.code(), "faultString": fault.string(), "traceback": ""}),
        }
    };
    Ok(calls.iter().map(one).collect())
}

fn get_build(builds: &Builds, arguments: &mut Arguments) -> Outcome {
    let asked =
        arguments.next("buildInfo").ok_or_else(|| Fault::new(PARAMETER, "no buildInfo".to_owned()))?;
    let strict = arguments.next("strict").is_some_and(|strict| strict == true);
    let found = match &asked {
        Value::Number(id) => id.as_i64().and_then(|id| builds.by_id(id)),
        Value::String(nvr) if nvr.matches('-').count() >= 2 => builds.by_nvr(nvr),
        Value::String(nvr) => return Err(Fault::new(GENERIC, format!("invalid format: {nvr}"))),
        Value::Object(parts) => by_parts(builds, parts),
        _ => return Err(Fault::new(GENERIC, "Invalid type for buildInfo".to_owned())),
    };
    match found {
        Some(build) => Ok(build),
        None if strict => Err(Fault::new(GENERIC, format!("No such build: {asked}"))),
        None => Ok(Value::Null),
    }
}

fn by_parts(builds: &Builds, parts: &Map<String, Value>) -> Option<Value> {
    if let Some(id) = parts.get("id").and_then(Value::as_i64) {
        return builds.by_id(id);
    }
    let part = |name: &str| parts.get(name).and_then(Value::as_str);
    builds.by_nvr(&format!("{}-{}-{}", part("name")?, part("version")?, part("release")?))
}

fn list_archives(builds: &Builds, arguments: &mut Arguments) -> Outcome {
    let build_id = arguments.next("buildID").and_then(|id| id.as_i64());
    let build_id =
        build_id.ok_or_else(|| Fault::new(PARAMETER, "only a build's archives are listed".to_owned()))?;
    let kind = arguments.next("type");
    let mut archives = builds.archives(build_id);
    if let Some(kind) = kind.filter(|kind| !kind.is_null()) {
        archives.retain(|archive| archive.get("btype") == Some(&kind));
    }
    page(archives, arguments.next("queryOpts"))
}

/// `listBuilds` answers the keys of `getBuild` but for `id`.
fn list_builds(builds: &Builds, arguments: &mut Arguments) -> Outcome {
    let filter = Filter::take(arguments)?;
    let mut found = builds.select(|build| filter.passes(build));
    for build in &mut found {
        if let Some(build) = build.as_object_mut() {
            build.remove("id");
        }
    }
    page(found, arguments.next("queryOpts"))
}

/// Which builds are listed.
struct Filter {
    equal: Vec<(&'static str, Value)>,
    kind: Option<String>,
    bounds: Vec<(&'static str, Ordering, f64)>,
}

impl Filter {
    fn take(arguments: &mut Arguments) -> Result<Self, Fault> {
        let keys =
            [("packageID", "package_id"), ("userID", "owner_id"), ("taskID", "task_id"), ("state", "state")];
        let equal = keys.into_iter().filter_map(|(argument, key)| Some((key, arguments.given(argument)?)));
        let equal = equal.collect();
        let kind = arguments.given("type").and_then(|kind| kind.as_str().map(str::to_owned));
        let mut bounds = Vec::new();
        for (argument, key, side) in [
            ("completeAfter", "completion_ts", Ordering::Greater),
            ("completeBefore", "completion_ts", Ordering::Less),
            ("createdAfter", "creation_ts", Ordering::Greater),
            ("createdBefore", "creation_ts", Ordering::Less),
        ] {
            if let Some(time) = arguments.given(argument) {
                let invalid = || Fault::new(PARAMETER, format!("{argument} is no time"));
                bounds.push((key, side, seconds(&time).ok_or_else(invalid)?));
            }
        }
        Ok(Self { equal, kind, bounds })
    }

    fn passes(&self, build: &Value) -> bool {
        let within = |(key, side, time): &(&str, Ordering, f64)| {
            let at = build.get(key).and_then(Value::as_f64);
            at.and_then(|at| at.partial_cmp(time)) == Some(*side)
        };
        self.equal.iter().all(|(key, wanted)| build.get(key) == Some(wanted))
            && self.kind.as_deref().is_none_or(|kind| is_kind(build, kind))
            && self.bounds.iter().all(within)
    }
}

/// Koji keeps a build's types apart from its record; in the record they show in `extra`.
fn is_kind(build: &Value, kind: &str) -> bool {
    let extra = build.get("extra");
    let place = |pointer: String| extra.and_then(|extra| extra.pointer(&pointer)).is_some();
    place(format!("/typeinfo/{kind}")) || place(format!("/{kind}"))
}

fn seconds(time: &Value) -> Option<f64> {
    let from_text = || {
        let microseconds = times::parse(time.as_str()?)?.as_microsecond();
        #[expect(clippy::cast_precision_loss, reason = "microseconds of this century fit a double")]
        Some(microseconds as f64 / 1e6)
    };
    time.as_f64().or_else(from_text)
}

/// Applies `queryOpts`. Without an order rows come by number, where the real hub promises none.
fn page(mut rows: Vec<Value>, options: Option<Value>) -> Outcome {
    let options = options.unwrap_or(Value::Null);
    if options.get("countOnly") == Some(&Value::Bool(true)) {
        return Ok(rows.len().into());
    }
    let order = options.get("order").and_then(Value::as_str).unwrap_or_default();
    for key in order.split(',').rev().filter(|key| !key.is_empty()) {
        let (key, backwards) = key.strip_prefix('-').map_or((key, false), |key| (key, true));
        rows.sort_by(|a, b| if backwards { compare(&b[key], &a[key]) } else { compare(&a[key], &b[key]) });
    }
    let number = |key: &str| options.get(key).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
    let rows =
        rows.into_iter().skip(number("offset").unwrap_or(0)).take(number("limit").unwrap_or(usize::MAX));
    Ok(rows.collect())
}

fn compare(a: &Value, b: &Value) -> Ordering {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        (None, None) => a.as_str().cmp(&b.as_str()),
        (a, b) => a.is_some().cmp(&b.is_some()),
    }
}

/// Arguments by position, then by name: the last one of a call may be a struct marked `__starstar`.
struct Arguments {
    positional: std::vec::IntoIter<Value>,
    named: Map<String, Value>,
}

impl Arguments {
    fn new(mut params: Vec<Value>) -> Self {
        let mut named = Map::new();
        if params.last().is_some_and(|last| last.get("__starstar").is_some())
            && let Some(Value::Object(members)) = params.pop()
        {
            named = members;
            named.remove("__starstar");
        }
        Self { positional: params.into_iter(), named }
    }

    /// The next argument by position, else by this name.
    fn next(&mut self, name: &str) -> Option<Value> {
        self.positional.next().or_else(|| self.named.remove(name))
    }

    /// An argument by name that is not nil.
    fn given(&mut self, name: &str) -> Option<Value> {
        self.named.remove(name).filter(|value| !value.is_null())
    }

    /// Nothing may be left: the hub refuses what it does not take.
    fn end(mut self, method: &str) -> Result<(), Fault> {
        let left = self.positional.next().map(|_| "an argument too many".to_owned());
        match left.or_else(|| self.named.into_iter().next().map(|(name, _)| name)) {
            None => Ok(()),
            Some(left) => Err(Fault::new(PARAMETER, format!("{method} does not take {left}"))),
        }
    }
}

#[cfg(test)]
mod tests;
