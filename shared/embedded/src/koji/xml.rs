//! Koji's dialect of XML-RPC, with JSON on our side: nil, integers of any size, doubles, and times as text.

use dxr::{Fault, FaultResponse, MethodCall, MethodResponse, Value as Xml};
use serde_json::{Map, Number, Value};

use super::calls::{GENERIC, Outcome};

/// Nesting followed in a call; more is a fault.
const DEPTH_MAX: usize = 16;

/// Reads a call: its method, and its arguments as JSON.
pub(crate) fn read_call(bytes: &[u8]) -> Result<(String, Vec<Value>), Fault> {
    let unreadable = || Fault::new(GENERIC, "the call is not XML-RPC".to_owned());
    let text = std::str::from_utf8(bytes).map_err(|_| unreadable())?;
    let call = MethodCall::from_xml(text).map_err(|_| unreadable())?;
    let params = call.params.into_iter().map(|param| json(param, 0).ok_or_else(unreadable));
    Ok((call.name.into_owned(), params.collect::<Result<_, _>>()?))
}

/// Writes an answer or a fault.
pub(crate) fn write_answer(outcome: &Outcome) -> Result<String, dxr::Error> {
    match outcome {
        Ok(value) => MethodResponse { value: xml(value) }.to_xml(),
        Err(fault) => FaultResponse { fault: fault.clone() }.to_xml(),
    }
}

/// Reads an answer that is no fault.
pub(crate) fn read_answer(bytes: &[u8]) -> Option<Value> {
    json(MethodResponse::from_xml(std::str::from_utf8(bytes).ok()?).ok()?.value, 0)
}

fn json(value: Xml, depth: usize) -> Option<Value> {
    if depth > DEPTH_MAX {
        return None;
    }
    Some(match value {
        Xml::Integer(number) => number.into(),
        Xml::Long(number) => number.into(),
        Xml::Boolean(yes) => yes.into(),
        Xml::String(text) => text.into(),
        Xml::Double(number) => Number::from_f64(number)?.into(),
        Xml::Struct(members) => {
            let members = members.into_iter().map(|(name, value)| Some((name, json(value, depth + 1)?)));
            Value::Object(members.collect::<Option<Map<_, _>>>()?)
        }
        Xml::Array(items) => {
            items.into_iter().map(|item| json(item, depth + 1)).collect::<Option<Vec<_>>>()?.into()
        }
        Xml::Nil => Value::Null,
        _ => return None, // Times and bytes: no call of ours takes them.
    })
}

/// A record as the hub writes it: i8 where i4 is too small, double for every fraction.
pub(crate) fn xml(value: &Value) -> Xml {
    match value {
        Value::Null => Xml::Nil,
        Value::Bool(yes) => Xml::Boolean(*yes),
        Value::Number(number) => match number.as_i64() {
            Some(long) => i32::try_from(long).map_or(Xml::Long(long), Xml::Integer),
            None => Xml::Double(number.as_f64().unwrap_or_default()),
        },
        Value::String(text) => Xml::String(text.clone()),
        Value::Array(items) => Xml::Array(items.iter().map(xml).collect()),
        Value::Object(members) => {
            Xml::Struct(members.iter().map(|(name, value)| (name.clone(), xml(value))).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_record_keeps_its_types() {
        let record = json!({"id": 2058026, "size": 4_068_476_000_i64, "ts": 1662355194.0, "task_id": null, "ok": true, "tags": ["a"]});
        let Xml::Struct(members) = xml(&record) else { panic!("not a struct") };
        assert_eq!(members["id"], Xml::Integer(2_058_026));
        assert_eq!(members["size"], Xml::Long(4_068_476_000));
        assert_eq!(members["ts"], Xml::Double(1_662_355_194.0));
        assert_eq!(members["task_id"], Xml::Nil);
        assert_eq!(json(Xml::Struct(members), 0), Some(record));
    }

    #[test]
    fn what_is_no_call_is_a_fault() {
        assert!(read_call(b"\xff").is_err());
        assert!(read_call(b"<methodResponse/>").is_err());
    }
}
