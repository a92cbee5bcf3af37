//! The JSON Schemas on disk are those of the types, and what is announced is valid against them.
//! `FLATBUS_UPDATE=1 cargo test -p flatbus-schemas` writes them anew.

mod common;

use std::{env, fs, path::PathBuf};

use common::message;
use flatbus_schemas::{
    FedoraEvent, FromMessage, IndexPublished, KeyParked, Message, PublishedFile, Severity, TagMoved,
    json_schemas,
};
use serde_json::{Value, json};

/// Where the schemas are kept: for readers of this repository, and in the Python package.
const KEPT_IN: [&str; 2] = ["json", "python/flatbus_messages/schemas"];

fn tag_moved() -> TagMoved {
    TagMoved {
        registry: "quay.io".to_owned(),
        repository: "fedora/f41/flatpak-runtime".to_owned(),
        tag: "latest".to_owned(),
        digest: Some(format!("sha256:{}", "0a".repeat(32))),
        previous_digest: None,
        media_type: Some("application/vnd.oci.image.index.v1+json".to_owned()),
        nvr: Some("flatpak-runtime-f41-1".to_owned()),
        update: Some("FEDORA-FLATPAK-2024-0123456789".to_owned()),
        url: Some("https://bodhi.fedoraproject.org/updates/FEDORA-FLATPAK-2024-0123456789".to_owned()),
    }
}

fn index_published() -> IndexPublished {
    let digest = format!("sha256:{}", "0a".repeat(32));
    IndexPublished {
        serial: 7,
        site: Some("https://flatpaks.example/site.json".to_owned()),
        repositories: vec!["eog".to_owned()],
        files: vec![PublishedFile { path: "index/flatpak-latest.json".to_owned(), digest, size: 1234 }],
    }
}

fn key_parked() -> KeyParked {
    KeyParked {
        consumer: "mirror".to_owned(),
        key: "build eog-44.2-1".to_owned(),
        reason: "candidate-registry.example: 404".to_owned(),
        attempts: 12,
        failing_since: Some("2025-11-17T14:42:02Z".parse().expect("a time")),
    }
}

fn validator(name: &str) -> jsonschema::Validator {
    let schemas = json_schemas();
    let (_, schema) = schemas.iter().find(|(known, _)| *known == name).expect("a schema");
    jsonschema::draft7::options().should_validate_formats(true).build(schema).expect("a valid schema")
}

#[test]
fn the_schemas_on_disk_are_those_of_the_types() {
    for (name, schema) in json_schemas() {
        let fresh = format!("{schema:#}\n");
        for folder in KEPT_IN {
            let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(folder).join(format!("{name}.json"));
            if env::var_os("FLATBUS_UPDATE").is_some_and(|value| value == "1") {
                fs::create_dir_all(path.parent().expect("a folder")).expect("the folder");
                fs::write(&path, &fresh).expect("written");
            }
            let kept = fs::read_to_string(&path).unwrap_or_default();
            assert!(kept == fresh, "{} is stale: FLATBUS_UPDATE=1 writes it anew", path.display());
        }
    }
}

#[test]
fn what_is_announced_is_valid_and_reads_back() {
    let gone = TagMoved { digest: None, media_type: None, nvr: None, update: None, url: None, ..tag_moved() };
    for moved in [tag_moved(), gone] {
        let said = moved.announcement();
        assert_eq!((said.topic.as_str(), said.schema.as_str()), (TagMoved::TOPIC, "flatbus.tag.moved.v1"));
        validator(&said.schema).validate(&said.body).expect("valid");
        for topic in ["flatbus.tag.moved", "org.fedoraproject.stg.flatbus.tag.moved"] {
            let read = FedoraEvent::from_message(&message(topic, said.body.clone()));
            assert_eq!(read, Ok(FedoraEvent::TagMoved(moved.clone())));
        }
    }
    let published = index_published();
    let said = published.announcement();
    validator(&said.schema).validate(&said.body).expect("valid");
    let read = FedoraEvent::from_message(&message(&said.topic, said.body.clone()));
    assert_eq!(read, Ok(FedoraEvent::IndexPublished(published)));
    for parked in [key_parked(), KeyParked { failing_since: None, ..key_parked() }] {
        let said = parked.announcement();
        assert_eq!(said.severity, Severity::Warning);
        validator(&said.schema).validate(&said.body).expect("valid");
        let read = FedoraEvent::from_message(&message(&said.topic, said.body.clone()));
        assert_eq!(read, Ok(FedoraEvent::KeyParked(parked)));
    }
}

#[test]
fn schema_and_type_refuse_the_same() {
    let valid = validator(TagMoved::SCHEMA);
    let read = |body: &Value| FedoraEvent::from_message(&message(TagMoved::TOPIC, body.clone()));
    for (field, value) in [
        ("tag", json!("42~rc")),
        ("tag", json!(null)),
        ("digest", json!("sha256:0")),
        ("digest", json!(1)),
        ("previous_digest", json!("latest")),
        ("registry", json!("")),
        ("repository", json!("")),
        ("nvr", json!(1)),
    ] {
        let mut body = tag_moved().announcement().body;
        body[field] = value;
        assert!(!valid.is_valid(&body), "{body}");
        assert!(read(&body).is_err_and(|malformed| malformed.reason.starts_with(field)), "{body}");
    }
}

#[test]
fn a_digest_that_is_missing_is_no_withdrawal() {
    let mut body = tag_moved().announcement().body;
    body.as_object_mut().expect("an object").remove("digest");
    assert!(!validator(TagMoved::SCHEMA).is_valid(&body));
    let malformed = FedoraEvent::from_message(&message(TagMoved::TOPIC, body)).expect_err("refused");
    assert_eq!(malformed.reason, "missing field `digest`");
}

#[test]
fn what_later_versions_add_is_no_reason_to_refuse() {
    let mut body = tag_moved().announcement().body;
    body["signed_by"] = json!(["somebody"]);
    assert!(validator(TagMoved::SCHEMA).is_valid(&body));
    assert!(FedoraEvent::from_message(&message(TagMoved::TOPIC, body)).is_ok());
}

#[test]
fn announcements_carry_the_headers_that_the_python_class_would_write() {
    assert_eq!(
        Value::Object(tag_moved().announcement().headers()),
        json!({
            "fedora_messaging_schema": "flatbus.tag.moved.v1",
            "fedora_messaging_schema_package": "flatbus_messages",
            "fedora_messaging_severity": 20,
            "fedora_messaging_container_quay.io/fedora/f41/flatpak-runtime:latest": true,
            "fedora_messaging_flatpak_fedora/f41/flatpak-runtime": true,
        })
    );
    let parked = key_parked().announcement().headers();
    assert_eq!((parked.len(), &parked["fedora_messaging_severity"]), (3, &json!(30)));
}

#[test]
fn an_announcement_published_and_recorded_is_a_message_again() {
    let said = tag_moved().announcement();
    let line =
        json!({"topic": said.topic, "headers": said.headers(), "body": said.body, "id": "x"}).to_string();
    let message = common::message_of_line(&line);
    let again: Message = common::message_of_line(&message.to_record().expect("JSON"));
    assert_eq!(again.schema(), Some(TagMoved::SCHEMA));
}
