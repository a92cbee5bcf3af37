//! XML-RPC as Koji speaks it: calls out, answers in as JSON values. Bounded before it is parsed; knows no method.

use std::collections::BTreeMap;

use dxr::{MethodCall, MethodResponse, Value as Xml};
use serde_json::{Map, Number, Value};

use crate::{
    Error,
    shape::{clip, wrong},
};

/// Deepest nesting of tags taken. One level of a struct is three tags, so this is 40 levels; Koji's builds have ten.
const TAG_DEPTH_MAX: usize = 120;

/// What the hub says when it refuses a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub code: i32,
    pub text: String,
}

impl Fault {
    /// The error for a call that got this fault.
    pub fn into_error(self, call: &str) -> Error {
        Error::Fault { call: call.to_owned(), code: self.code, text: clip(&self.text) }
    }
}

/// A call as XML. Koji takes named arguments as a last struct with `__starstar`.
pub(crate) fn call(method: &str, params: Vec<Xml>) -> Result<String, Error> {
    MethodCall { name: method.into(), params }
        .to_xml()
        .map_err(|error| Error::BadQuestion { what: method.to_owned(), problem: clip(&error.to_string()) })
}

/// Named arguments, Koji's way.
pub(crate) fn named<const N: usize>(arguments: [(&str, Xml); N]) -> Xml {
    let mut members: BTreeMap<String, Xml> =
        arguments.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    members.insert("__starstar".to_owned(), Xml::Boolean(true));
    Xml::Struct(members)
}

/// Reads an answer: a value, or the fault that came in its place.
pub(crate) fn answer(what: &str, body: &[u8]) -> Result<Result<Value, Fault>, Error> {
    let text = std::str::from_utf8(body).map_err(|error| wrong(what, "body", &error.to_string()))?;
    check_tags(text).map_err(|problem| wrong(what, "body", problem))?;
    if let Some(fault) = fault_of(text) {
        let value = Xml::from_xml(fault).map_err(|_| wrong(what, "fault", "not a fault that we can read"))?;
        return fault_from(&json(value))
            .map(Err)
            .ok_or_else(|| wrong(what, "fault", "faultCode or faultString is missing"));
    }
    // The parser's error quotes the whole body: it is left out.
    let response =
        MethodResponse::from_xml(text).map_err(|_| wrong(what, "body", "not an answer of XML-RPC"))?;
    Ok(Ok(json(response.value)))
}

/// Reads the answer of `multiCall`: for each call a list of one value, or a struct that is a fault.
pub(crate) fn multi_answer(
    what: &str,
    value: Value,
    calls: usize,
) -> Result<Vec<Result<Value, Fault>>, Error> {
    let Value::Array(items) = value else {
        return Err(wrong(what, "answer", "a list was expected"));
    };
    if items.len() != calls {
        return Err(wrong(
            what,
            "answer",
            &format!("{calls} calls were made, {} were answered", items.len()),
        ));
    }
    items.into_iter().enumerate().map(|(index, item)| one_of_many(what, index, item)).collect()
}

fn one_of_many(what: &str, index: usize, item: Value) -> Result<Result<Value, Fault>, Error> {
    match item {
        Value::Array(mut values) if values.len() == 1 => Ok(Ok(values.swap_remove(0))),
        other => match fault_from(&other) {
            Some(fault) => Ok(Err(fault)),
            None => Err(wrong(what, &format!("answer {index}"), "neither one value nor a fault")),
        },
    }
}

fn fault_from(value: &Value) -> Option<Fault> {
    let code = value.get("faultCode")?.as_i64()?;
    let text = value.get("faultString")?.as_str()?;
    Some(Fault { code: i32::try_from(code).unwrap_or(i32::MAX), text: text.to_owned() })
}

/// The value of a `<fault>` that stands directly in the answer; a text that holds `<fault>` has it escaped.
fn fault_of(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("<fault>")?;
    rest.split_once("</fault>").map(|(value, _)| value.trim())
}

/// Walks the tags without recursion. Refuses what no XML-RPC answer needs and a parser could be hurt with: depth,
/// attributes, DOCTYPE and the like.
fn check_tags(text: &str) -> Result<(), &'static str> {
    let mut depth = 0_usize;
    let mut rest = text;
    while let Some((_, from_tag)) = rest.split_once('<') {
        let (tag, after) = from_tag.split_once('>').ok_or("a tag without an end")?;
        rest = after;
        if tag.starts_with('?') {
            continue;
        }
        if tag.starts_with('!') || tag.contains(['"', '\'', '=', '<']) {
            return Err("a declaration or an attribute, which XML-RPC has not");
        }
        if tag.starts_with('/') {
            depth = depth.checked_sub(1).ok_or("an end tag too many")?;
        } else if !tag.ends_with('/') {
            depth += 1;
        }
        if depth > TAG_DEPTH_MAX {
            return Err("nested too deeply");
        }
    }
    if depth == 0 { Ok(()) } else { Err("cut off") }
}

/// The same value as JSON. Bytes and not-a-number become null: no field that we read has them.
fn json(value: Xml) -> Value {
    match value {
        Xml::Integer(number) => Value::from(number),
        Xml::Long(number) => Value::from(number),
        Xml::Boolean(flag) => Value::Bool(flag),
        Xml::String(text) => Value::String(text),
        Xml::Double(number) => Number::from_f64(number).map_or(Value::Null, Value::Number),
        Xml::DateTime(time) => Value::String(time.to_string()),
        Xml::Struct(members) => {
            Value::Object(members.into_iter().map(|(name, value)| (name, json(value))).collect::<Map<_, _>>())
        }
        Xml::Array(items) => Value::Array(items.into_iter().map(json).collect()),
        Xml::Nil | Xml::Base64(_) => Value::Null,
        _ => Value::Null, // The type is open; a newer kind is one we don't read.
    }
}

#[cfg(test)]
mod tests;
