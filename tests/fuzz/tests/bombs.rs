//! Inputs made to hurt: nested without end, repeated without end. They are refused with an error, soon.
#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

use std::{
    path::Path,
    time::{Duration, Instant},
};

use flatbus_fuzz::{TARGETS, rules};
use flatbus_mirror::RawConfig;
use flatbus_oci::{Manifest, fuzzing::auth_file};
use flatbus_runtime::config::from_text;
use flatbus_schemas::{FedoraEvent, FromMessage, Limits, Message};
use flatbus_upstream::fuzzing::{bodhi_composes, bodhi_update, koji_answer};

/// How deep a bomb is nested: 64 KiB of brackets, and more than any stack holds where each costs a frame.
const DEPTH: usize = 64 << 10;
/// How long an input is made by repetition, in bytes.
const LONG: usize = 256 << 10;
/// Longest time for one input, of an unoptimised build on a busy machine. What takes quadratic time takes minutes.
const LONGEST: Duration = Duration::from_secs(20);

fn deep(open: &str, core: &str, close: &str) -> String {
    [&open.repeat(DEPTH), core, &close.repeat(DEPTH)].concat()
}

#[track_caller]
fn refused<T, E: std::fmt::Display>(outcome: Result<T, E>) {
    rules::told(&outcome.err().expect("a bomb was taken"));
}

#[test]
fn json_nested_without_end_is_refused() {
    for bomb in [deep("[", "1", "]"), deep(r#"{"a":"#, "1", "}"), "[".repeat(DEPTH), r#"{"a":"#.repeat(DEPTH)]
    {
        refused(Message::from_record(bomb.as_bytes(), &Limits::default()));
        let read = format!(
            r#"{{"topic": "buildsys.tag", "body": {{"name": {bomb}, "version": "1", "release": "1"}}}}"#
        );
        if let Ok(received) = Message::from_record(read.as_bytes(), &Limits::default()) {
            refused(FedoraEvent::from_message(&received.message));
        }
        refused(Manifest::new(format!(r#"{{"schemaVersion": 2, "config": {bomb}}}"#).into(), None, "h"));
        refused(auth_file(&format!(r#"{{"auths": {{"h": {{"auth": {bomb}}}}}}}"#)));
        refused(bodhi_update(format!(r#"{{"update": {{"builds": {bomb}}}}}"#).as_bytes()));
        refused(bodhi_composes(bomb.as_bytes()));
    }
}

#[test]
fn headers_nested_without_end_are_refused() {
    let bomb = deep("[", "1", "]");
    let line = format!(r#"{{"topic": "a.b", "headers": {{"x": {bomb}}}, "body": {{}}}}"#);
    refused(Message::from_record(line.as_bytes(), &Limits::default()));
}

#[test]
fn xml_nested_without_end_is_refused() {
    let start = "<?xml version='1.0'?><methodResponse><params><param>";
    for (open, close) in [
        ("<value><array><data>", "</data></array></value>"),
        ("<value><struct><member><name>a</name>", "</member></struct></value>"),
        ("<value>", ""),
        ("<fault>", "</fault>"),
    ] {
        let end = "</param></params></methodResponse>";
        let bomb = format!("{start}{}{end}", deep(open, "<value><int>1</int></value>", close));
        refused(koji_answer(bomb.as_bytes()));
    }
    let entities = "<!DOCTYPE b [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;&a;\">]>";
    refused(koji_answer(
        format!("{entities}{start}<value>&b;</value></param></params></methodResponse>").as_bytes(),
    ));
}

#[test]
fn toml_nested_without_end_is_refused() {
    for bomb in [
        format!("a = {}", deep("[", "", "]")),
        format!("a = {}", deep("{a = ", "1", "}")),
        format!("{}a = 1", "a.".repeat(DEPTH)),
        format!("[{}a]", "a.".repeat(DEPTH)),
        format!("[[{}a]]\n", "a.".repeat(DEPTH)),
        format!("[consumer_config]\ndestination = {}", "[".repeat(DEPTH)),
    ] {
        refused(from_text::<RawConfig>("mirror", &bomb, Path::new("mirror.toml")));
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "how long it really takes is what is tested")]
fn what_is_repeated_without_end_takes_no_longer_than_it_is_long() {
    for target in TARGETS {
        for seed in (target.seeds)().into_iter().chain([
            b"a".to_vec(),
            b"\"\\".to_vec(),
            b"<".to_vec(),
            b",".to_vec(),
        ]) {
            let long = seed.repeat(LONG / seed.len().max(1) + 1);
            let started = Instant::now();
            (target.check)(&long[..LONG]);
            let took = started.elapsed();
            assert!(
                took < LONGEST,
                "{} took {took:?} of {:.100?}",
                target.name,
                String::from_utf8_lossy(&seed)
            );
        }
    }
}
