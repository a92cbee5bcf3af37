//! The embedded Koji over HTTP.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use dxr::{FaultResponse, MethodCall, MethodResponse, Value};
use flatbus_embedded::koji::{self, Koji, Settings};
use http::StatusCode;
use serde_json::json;

async fn call(koji: &Koji, method: &str, params: Vec<Value>) -> String {
    let body = MethodCall { name: method.into(), params }.to_xml().unwrap();
    let answer = reqwest::Client::new().post(koji.url()).body(body).send().await.unwrap();
    assert_eq!(
        (answer.status(), &answer.headers()["content-type"]),
        (StatusCode::OK, &"text/xml".parse().unwrap())
    );
    answer.text().await.unwrap()
}

#[tokio::test]
async fn builds_become_known_while_it_runs() {
    let koji = koji::start(Settings::default()).await.unwrap();
    let ask = || call(&koji, "getBuild", vec![Value::String("eog-stable-1.1".into())]);
    assert_eq!(MethodResponse::from_xml(&ask().await).unwrap().value, Value::Nil);
    koji.builds.set(json!({"id": 5_000_000_000_i64, "nvr": "eog-stable-1.1", "state": 1, "task_id": null, "completion_ts": 1.5})).unwrap();
    let Value::Struct(build) = MethodResponse::from_xml(&ask().await).unwrap().value else {
        panic!("no struct")
    };
    assert_eq!(
        (&build["id"], &build["task_id"], &build["completion_ts"]),
        (&Value::Long(5_000_000_000), &Value::Nil, &Value::Double(1.5))
    );
}

#[tokio::test]
async fn what_the_hub_does_not_know_is_a_fault_with_status_200() {
    let koji = koji::start(Settings::default()).await.unwrap();
    let fault = FaultResponse::from_xml(&call(&koji, "dropTables", vec![]).await).unwrap().fault;
    assert_eq!((fault.code(), fault.string()), (1000, "Invalid method: dropTables"));
    let answer =
        reqwest::Client::new().post(koji.url()).body("<xml").send().await.unwrap().text().await.unwrap();
    assert!(FaultResponse::from_xml(&answer).is_ok());
    assert_eq!(reqwest::get(koji.url()).await.unwrap().status(), StatusCode::NOT_FOUND);
}
