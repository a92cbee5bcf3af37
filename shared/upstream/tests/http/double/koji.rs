//! Koji's hub over XML-RPC.

use std::sync::{Arc, Mutex};

use axum::{Router, body::Bytes, extract::State, routing::post};
use dxr::{Fault, FaultResponse, MethodCall, MethodResponse, Value as Xml};
use serde_json::Value;

use super::{Served, serve, text};

/// The hub's builds; shared, so that a test can change them.
pub type Records = Arc<Mutex<Vec<Value>>>;

pub async fn hub(records: Records) -> Served {
    let mut served = serve(Router::new().route("/kojihub", post(answer)).with_state(records)).await;
    served.url.set_path("/kojihub");
    served
}

async fn answer(State(records): State<Records>, body: Bytes) -> String {
    let call = MethodCall::from_xml(text(&body)).unwrap();
    match run(&records, &call.name, &call.params) {
        Ok(value) => MethodResponse { value }.to_xml().unwrap(),
        Err(fault) => FaultResponse { fault }.to_xml().unwrap(),
    }
}

fn run(records: &Records, method: &str, params: &[Xml]) -> Result<Xml, Fault> {
    match method {
        "getAPIVersion" => Ok(Xml::Integer(1)),
        "getBuild" => get_build(records, &params[0]),
        "listBuilds" => Ok(list_builds(records, &params[0])),
        "multiCall" => Ok(multi_call(records, &params[0])),
        other => Err(Fault::new(1000, format!("Invalid method: {other}"))),
    }
}

fn get_build(records: &Records, wanted: &Xml) -> Result<Xml, Fault> {
    let records = records.lock().unwrap();
    let found = match wanted {
        Xml::String(nvr) if nvr.starts_with("refused-") => {
            return Err(Fault::new(1000, format!("No such entry in table build: {nvr}")));
        }
        Xml::String(nvr) => records.iter().find(|record| record["nvr"] == *nvr),
        Xml::Integer(id) => records.iter().find(|record| record["build_id"] == *id),
        Xml::Long(id) => records.iter().find(|record| record["build_id"] == *id),
        other => panic!("getBuild of {other:?}"),
    };
    Ok(found.map_or(Xml::Nil, xml))
}

fn multi_call(records: &Records, calls: &Xml) -> Xml {
    let Xml::Array(calls) = calls else { panic!("multiCall of {calls:?}") };
    let one = |call: &Xml| {
        let Xml::Struct(call) = call else { panic!("call {call:?}") };
        let (Xml::String(method), Xml::Array(params)) = (&call["methodName"], &call["params"]) else {
            panic!()
        };
        match run(records, method, params) {
            Ok(value) => Xml::Array(vec![value]),
            Err(fault) => Xml::Struct(
                [
                    ("faultCode".to_owned(), Xml::Integer(fault.code())),
                    ("faultString".to_owned(), Xml::String(fault.string().to_owned())),
                    ("traceback".to_owned(), Xml::Array(vec![Xml::String("Traceback".to_owned())])),
                ]
                .into(),
            ),
        }
    };
    Xml::Array(calls.iter().map(one).collect())
}

fn list_builds(records: &Records, arguments: &Xml) -> Xml {
    let Xml::Struct(arguments) = arguments else { panic!("listBuilds of {arguments:?}") };
    assert_eq!(arguments["__starstar"], Xml::Boolean(true));
    assert_eq!(arguments["type"], Xml::String("image".to_owned()));
    let Xml::Double(since) = arguments["completeAfter"] else { panic!() };
    let Xml::Struct(opts) = &arguments["queryOpts"] else { panic!() };
    assert_eq!(opts["order"], Xml::String("build_id".to_owned()));
    let (Xml::Integer(offset), Xml::Integer(limit)) = (&opts["offset"], &opts["limit"]) else { panic!() };
    let records = records.lock().unwrap();
    let image = |record: &Value| record.pointer("/extra/image").is_some_and(Value::is_object);
    let after = |record: &Value| record["completion_ts"].as_f64().is_some_and(|at| at > since);
    let mut listed: Vec<&Value> =
        records.iter().filter(|record| record["state"] == 1 && image(record) && after(record)).collect();
    listed.sort_by_key(|record| record["build_id"].as_i64());
    let page =
        listed.into_iter().skip(usize::try_from(*offset).unwrap()).take(usize::try_from(*limit).unwrap());
    // listBuilds has no `id`, only `build_id`.
    let row = |record: &Value| {
        let mut record = record.clone();
        record.as_object_mut().unwrap().remove("id");
        xml(&record)
    };
    Xml::Array(page.map(row).collect())
}

/// JSON as Koji would write it.
pub fn xml(value: &Value) -> Xml {
    match value {
        Value::Null => Xml::Nil,
        Value::Bool(flag) => Xml::Boolean(*flag),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => i32::try_from(whole).map_or(Xml::Long(whole), Xml::Integer),
            None => Xml::Double(number.as_f64().unwrap()),
        },
        Value::String(text) => Xml::String(text.clone()),
        Value::Array(items) => Xml::Array(items.iter().map(xml).collect()),
        Value::Object(fields) => {
            Xml::Struct(fields.iter().map(|(name, value)| (name.clone(), xml(value))).collect())
        }
    }
}
