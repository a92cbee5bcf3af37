use serde_json::json;

use super::*;

fn parts() -> Parts {
    Parts {
        routing_key: "org.fedoraproject.prod.buildsys.tag".to_owned(),
        message_id: Some("2022-7912a0f6-5909-44fc-aac4-d944535e6a53".to_owned()),
        content_encoding: Some("utf-8".to_owned()),
        priority: Some(2),
        headers: headers(json!({
            "fedora_messaging_schema": "koji_fedoramessaging.tag.TagV1",
            "fedora_messaging_severity": 10,
            "sent-at": "2025-11-17T14:42:02+00:00",
        })),
        body: b"{}".to_vec(),
    }
}

fn headers(value: Value) -> Option<Map<String, Value>> {
    value.as_object().cloned()
}

fn receive(parts: Parts) -> Result<Received, Refused> {
    Message::from_parts(parts, &Limits::default())
}

fn reason(parts: Parts) -> String {
    receive(parts).unwrap_err().malformed.reason
}

#[test]
fn a_complete_delivery_is_taken_as_it_is() {
    let Received { message, oddities } = receive(parts()).unwrap();
    assert_eq!(oddities, []);
    assert_eq!(message.id, "2022-7912a0f6-5909-44fc-aac4-d944535e6a53");
    assert_eq!((message.severity, message.priority), (Severity::Debug, Some(2)));
    assert_eq!(message.schema(), Some("koji_fedoramessaging.tag.TagV1"));
    assert_eq!(message.sent_at.unwrap().to_string(), "2025-11-17T14:42:02Z");
}

#[test]
fn what_the_library_forgives_is_delivered_with_a_word_about_it() {
    use Oddity::*;
    let odd =
        json!({"fedora_messaging_schema": "x", "fedora_messaging_severity": 20.0, "sent-at": "yesterday"});
    let cases = [
        (Parts { headers: None, ..parts() }, vec![NoHeaders, NoSchema, NoSeverity]),
        (Parts { headers: headers(json!({})), ..parts() }, vec![NoSchema, NoSeverity]),
        (Parts { headers: headers(odd), ..parts() }, vec![UnreadableTime]),
        (Parts { content_encoding: None, ..parts() }, vec![NoEncoding]),
        (Parts { message_id: None, ..parts() }, vec![NoId]),
        (Parts { body: b" null\n".to_vec(), ..parts() }, vec![EmptyBody]),
    ];
    for (parts, expected) in cases {
        assert_eq!(receive(parts).unwrap().oddities, expected);
    }
}

#[test]
fn every_empty_body_becomes_an_empty_object() {
    for body in ["null", "[]", "0", "-0.0", "\"\"", "false", " [ ] "] {
        let received = receive(Parts { body: body.as_bytes().to_vec(), ..parts() }).unwrap();
        assert_eq!(received.message.body, b"{}", "{body}");
    }
}

#[test]
fn what_is_no_object_is_refused_with_its_bytes() {
    for body in [
        &b"[1]"[..],
        b"1",
        b"true",
        b"\"x\"",
        b"",
        b"  ",
        b"nul",
        b"\xef\xbb\xbf{}",
        b"{\"a\": \"\xff\xfe\"}",
    ] {
        let refused = receive(Parts { body: body.to_vec(), ..parts() }).unwrap_err();
        assert_eq!(refused.body, body);
        assert!(refused.malformed.reason.starts_with("the body is not"), "{refused}");
        assert_eq!(refused.malformed.id, "2022-7912a0f6-5909-44fc-aac4-d944535e6a53");
    }
}

#[test]
fn headers_of_the_wrong_type_are_refused() {
    for (name, value) in [
        ("fedora_messaging_severity", json!("info")),
        ("fedora_messaging_severity", json!(25)),
        ("fedora_messaging_severity", json!(-10)),
        ("fedora_messaging_severity", json!(true)),
        ("fedora_messaging_severity", Value::Null),
        ("fedora_messaging_schema", json!(["base.message"])),
        ("fedora_messaging_schema_package", json!(1)),
        ("sent-at", json!(1668696122)),
    ] {
        let mut parts = parts();
        parts.headers.as_mut().unwrap().insert(name.to_owned(), value);
        assert!(reason(parts).starts_with(&format!("header {name} is not")));
    }
}

#[test]
fn times_are_read_with_z_with_offset_and_without() {
    for (text, expected) in [
        ("2025-11-17T14:42:02Z", Some("2025-11-17T14:42:02Z")),
        ("2025-11-17T15:42:02+01:00", Some("2025-11-17T14:42:02Z")),
        ("2025-11-17T15:42:02+0100", Some("2025-11-17T14:42:02Z")),
        ("2025-11-17T14:42:02", Some("2025-11-17T14:42:02Z")),
        ("2025-11-17 14:42:02.5", Some("2025-11-17T14:42:02.5Z")),
        ("Mon, 17 Nov", None),
        ("", None),
        ("9999999-01-01T00:00:00Z", None),
    ] {
        assert_eq!(read_time(text).map(|time| time.to_string()).as_deref(), expected, "{text}");
    }
}

#[test]
fn a_lost_id_is_the_same_for_the_same_message_and_differs_for_another() {
    let id = |topic: &str, body: &str| {
        let parts = Parts { routing_key: topic.to_owned(), message_id: None, body: body.into(), ..parts() };
        receive(parts).unwrap().message.id
    };
    assert_eq!(id("a.b", "{}"), id("a.b", "{}"));
    assert_ne!(id("a.b", "{}"), id("a.c", "{}"));
    assert_ne!(id("a.b", "{}"), id("a.b", "{ }"));
    assert_eq!(id("a.b", "{}").parse::<uuid::Uuid>().unwrap().get_version_num(), 4);
}

#[test]
fn an_id_that_could_not_have_come_over_the_wire_is_replaced() {
    for id in [String::new(), "x".repeat(256), "a\nb".to_owned()] {
        let received = receive(Parts { message_id: Some(id), ..parts() }).unwrap();
        assert_eq!(received.oddities, [Oddity::NoId]);
        assert_eq!(received.message.id.len(), 36);
    }
}

#[test]
fn an_encoding_that_is_not_utf8_is_refused_and_kills_nothing() {
    for encoding in ["gzip", "latin-1", "utf-16", ""] {
        let parts = Parts { content_encoding: Some(encoding.to_owned()), ..parts() };
        assert!(reason(parts).ends_with("is not utf-8"));
    }
    assert!(receive(Parts { content_encoding: Some("UTF-8".to_owned()), ..parts() }).is_ok());
}

#[test]
fn federation_headers_with_tables_in_arrays_are_kept() {
    let from = json!([{"uri": "amqps://rabbitmq01/%2Fpubsub", "redelivered": false}]);
    let mut parts = parts();
    parts.headers.as_mut().unwrap().insert("x-received-from".to_owned(), from.clone());
    assert_eq!(receive(parts).unwrap().message.headers["x-received-from"], from);
}

#[test]
fn every_limit_is_named_in_the_refusal_it_causes() {
    let limits = Limits { body_bytes_max: 8, header_bytes_max: 200 };
    let refused = |parts| Message::from_parts(parts, &limits).unwrap_err().malformed.reason;
    assert!(Message::from_parts(Parts { body: b"{      }".to_vec(), ..parts() }, &limits).is_ok());
    assert!(refused(Parts { body: b"{       }".to_vec(), ..parts() }).contains("body_bytes_max = 8"));
    let heavy = headers(json!({"x": ["y".repeat(300)]}));
    assert!(refused(Parts { headers: heavy, ..parts() }).contains("header_bytes_max = 200"));
    assert!(refused(Parts { routing_key: "a".repeat(256), ..parts() }).contains("255 bytes"));
    assert!(refused(Parts { routing_key: String::new(), ..parts() }).contains("empty"));
    let deep = (0..200).fold(json!(1), |inner, _| json!([inner]));
    assert!(refused(Parts { headers: headers(json!({"x": deep})), ..parts() }).contains("deeper than 128"));
}

#[test]
fn what_is_told_of_a_refused_message_is_short_and_on_one_line() {
    let long = "x\u{1b}[31m\n".repeat(100_000);
    let told = |line: String| {
        let refused = Message::from_record(line.as_bytes(), &Limits::default()).unwrap_err();
        assert_eq!(refused.body, line.as_bytes());
        refused.to_string()
    };
    let quoted = serde_json::to_string(&long).unwrap();
    for text in [
        told(format!(r#"{{"topic": {quoted}, "id": {quoted}, "body": []}}"#)),
        told(format!(r#"{{"topic": {quoted}, "id": {quoted}, "body": {{}}}}"#)),
        told(format!(r#"{{"topic": "a.b", "priority": {quoted}, "body": {{}}}}"#)),
        told(r#"{"topic": "a\u007fb", "body": {}}"#.to_owned()),
    ] {
        assert!(text.len() < 2048 && !text.contains(char::is_control), "{} bytes: {text:.300}", text.len());
    }
    let line = format!(
        r#"{{"topic": "buildsys.tag", "id": "x", "body": {{"name": "a", "version": "1", "release": "1", "build_id": {quoted}}}}}"#
    );
    let message = Message::from_record(line.as_bytes(), &Limits::default()).unwrap().message;
    let text = <crate::FedoraEvent as crate::FromMessage>::from_message(&message).unwrap_err().to_string();
    assert!(text.contains("build_id: invalid type: string"), "{text:.300}");
    assert!(text.len() < 2048 && !text.contains(char::is_control), "{} bytes: {text:.300}", text.len());
}
