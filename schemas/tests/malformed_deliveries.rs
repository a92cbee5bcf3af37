//! Every malformed delivery of the samples comes to the end that fedora-messaging 3.9.1 gives it, on arrival; what a
//! reader of the body makes of it then is said here case by case.

mod common;

use base64::{Engine, prelude::BASE64_STANDARD};
use common::sample;
use flatbus_schemas::{FedoraEvent, FromMessage, Limits, Message, Oddity, Parts, Received, Refused};
use serde_json::Value;

struct Case {
    library_outcome: String,
    outcome: Result<Received, Refused>,
}

impl Case {
    /// Delivers the case, which must come to the library's end.
    fn deliver(name: &str) -> Self {
        let text = sample("edge/synthetic-malformed-deliveries.jsonl");
        let case = text
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("a line is JSON"))
            .find(|case| case["case"] == name)
            .unwrap_or_else(|| panic!("no case {name}"));
        let properties = &case["properties"];
        let text_of = |value: &Value| value.as_str().map(str::to_owned);
        let parts = Parts {
            routing_key: text_of(&case["routing_key"]).unwrap_or_default(),
            message_id: text_of(&properties["message_id"]),
            content_encoding: text_of(&properties["content_encoding"]),
            priority: properties["priority"].as_u64().and_then(|priority| priority.try_into().ok()),
            headers: properties["headers"].as_object().cloned(),
            body: BASE64_STANDARD.decode(case["body_base64"].as_str().unwrap_or_default()).expect("base64"),
        };
        let outcome = Message::from_parts(parts, &Limits::default());
        Self { library_outcome: text_of(&case["library_outcome"]).unwrap_or_default(), outcome }
    }

    fn refused(self) -> String {
        assert_eq!(self.library_outcome, "nack-drop");
        self.outcome.expect_err("refused").malformed.reason
    }

    fn delivered(self, oddities: &[Oddity]) -> Result<FedoraEvent, String> {
        assert_eq!(self.library_outcome, "deliver");
        let received = self.outcome.expect("delivered");
        assert_eq!(received.oddities, oddities);
        FedoraEvent::from_message(&received.message).map_err(|malformed| malformed.reason)
    }

    /// Delivered, and a completed build to its reader.
    fn completed_build(self, oddities: &[Oddity]) -> flatbus_schemas::BuildStateChange {
        match self.delivered(oddities) {
            Ok(FedoraEvent::BuildState(build)) if build.is_completion() => build,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn every_case_of_the_file_is_tested_here() {
    let here = include_str!("malformed_deliveries.rs");
    for line in sample("edge/synthetic-malformed-deliveries.jsonl").lines() {
        let case: Value = serde_json::from_str(line).expect("a line is JSON");
        let name = case["case"].as_str().expect("a name");
        assert!(here.contains(&format!("Case::deliver(\"{name}\")")), "{name}");
    }
}

#[test]
fn a_body_that_is_not_utf8_is_refused() {
    assert!(Case::deliver("body-not-utf8").refused().starts_with("the body is not UTF-8"));
}

#[test]
fn an_empty_body_is_refused() {
    assert!(Case::deliver("body-empty").refused().starts_with("the body is not a JSON object"));
}

#[test]
fn a_null_body_is_an_empty_object_that_lacks_what_is_read() {
    let read = Case::deliver("body-null").delivered(&[Oddity::EmptyBody]);
    assert_eq!(read.unwrap_err(), "missing field `name`");
}

#[test]
fn a_message_without_schema_is_read_by_its_topic() {
    assert_eq!(
        Case::deliver("no-schema-header").completed_build(&[Oddity::NoSchema]).nvr.as_str(),
        "eog-41.0-1.fc35"
    );
}

#[test]
fn a_severity_in_words_is_refused() {
    assert_eq!(
        Case::deliver("severity-string").refused(),
        "header fedora_messaging_severity is not 10, 20, 30 or 40"
    );
}

#[test]
fn a_missing_encoding_is_taken_as_utf8() {
    Case::deliver("content-encoding-null").completed_build(&[Oddity::NoEncoding]);
}

#[test]
fn the_content_type_is_not_checked() {
    Case::deliver("content-type-text").completed_build(&[]);
}

#[test]
fn a_missing_id_is_made_up_the_same_each_time() {
    let id = |case: Case| case.outcome.expect("delivered").message.id;
    assert_eq!(id(Case::deliver("message-id-missing")), id(Case::deliver("message-id-missing")));
    Case::deliver("message-id-missing").completed_build(&[Oddity::NoId]);
}

#[test]
fn a_build_without_number_is_known_by_its_nvr() {
    assert_eq!(Case::deliver("build-id-missing").completed_build(&[]).build_id, None);
}

#[test]
fn an_owner_is_not_a_state() {
    let Ok(FedoraEvent::BuildState(build)) = Case::deliver("attribute-owner_id").delivered(&[]) else {
        panic!("not a build");
    };
    assert_eq!((build.state(), build.is_completion()), (None, false));
}

#[test]
fn an_update_that_names_nothing_is_malformed() {
    let reason = Case::deliver("update-without-alias").delivered(&[]).unwrap_err();
    assert_eq!(reason, "update: missing field `release`");
}

#[test]
fn an_update_without_builds_is_a_flatpak_by_its_release() {
    let Ok(FedoraEvent::Update(event)) = Case::deliver("update-no-builds").delivered(&[]) else {
        panic!("not an update");
    };
    assert!(
        event.update.is_flatpak() && event.update.content_type.is_none() && event.nvrs().next().is_none()
    );
}

#[test]
fn a_build_that_is_no_nvr_is_named_with_its_place() {
    let reason = Case::deliver("nvr-two-dashes-missing").delivered(&[]).unwrap_err();
    assert_eq!(reason, "update.builds[0].nvr: \"eog\" is not name-version-release");
}

#[test]
fn of_two_equal_keys_the_last_counts() {
    // Were the second key the fault, the reason would name it.
    assert_eq!(Case::deliver("duplicate-keys").delivered(&[]).unwrap_err(), "missing field `name`");
}

#[test]
fn nan_is_no_reason_to_refuse() {
    assert_eq!(Case::deliver("nan").delivered(&[]).unwrap_err(), "missing field `name`");
}

#[test]
fn no_mutilated_message_ends_in_a_panic_or_loop() {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut below = |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % (bound as u64)).unwrap_or_default()
    };
    let odd: [&[u8]; 8] = [b"NaN", b"\"", b"\\", b"{", b"[", b"null", b"\xc3", b"-"];
    for line in sample("messages/synthetic-timeline.jsonl").lines().step_by(7) {
        for _ in 0..8 {
            let (mut bytes, odd) = (line.as_bytes().to_vec(), odd[below(odd.len())]);
            let at = below(bytes.len());
            let end = (at + below(3)).min(bytes.len());
            bytes.splice(at..end, odd.iter().copied());
            if below(4) == 0 {
                bytes.truncate(below(line.len()));
            }
            if let Ok(received) = Message::from_record(&bytes, &Limits::default()) {
                let read = FedoraEvent::from_message(&received.message);
                let written = received.message.to_record().expect("what was read as JSON is JSON");
                let again = Message::from_record(written.as_bytes(), &Limits::default()).expect("readable");
                assert_eq!(FedoraEvent::from_message(&again.message), read);
            }
        }
    }
}
