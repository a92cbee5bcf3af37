//! Answers of Koji and Bodhi. What is read and written again reads the same; what is refused is told in a few words.

use flatbus_upstream::{
    Error,
    bodhi::Update,
    fuzzing::{bodhi_composes, bodhi_listing, bodhi_update, koji_answer, koji_answers},
    koji::Build,
};
use serde_json::{Value, json};

use crate::{rules::told, samples};

/// An answer of Koji's hub as XML.
pub fn check_xmlrpc(data: &[u8]) {
    let value = match koji_answer(data) {
        Ok(value) => value,
        Err(error) => return drop(told(&error)),
    };
    let written = response(&value);
    assert_eq!(koji_answer(written.as_bytes()).as_ref(), Ok(&value), "{written}");
    fine(Build::from_json(&value));
    let count = value.as_array().map_or(0, Vec::len);
    for answer in fine(koji_answers(value, count)).into_iter().flatten() {
        fine(answer);
    }
}

/// A build as JSON: what the XML of an answer becomes.
pub fn check_build(data: &[u8]) {
    let Ok(value) = serde_json::from_slice::<Value>(data) else { return };
    let read = fine(Build::from_json(&value));
    if value.to_string().len() < data.len() * 2 {
        let written = response(&value);
        if let Ok(again) = koji_answer(written.as_bytes()) {
            assert_eq!(fine(Build::from_json(&again)), read, "{written}");
        }
    }
}

/// An answer of Bodhi's; each line is a page of a listing.
pub fn check_bodhi(data: &[u8]) {
    let one = fine(bodhi_update(data));
    if let Ok(tree) = serde_json::from_slice::<Value>(data) {
        let update = tree.get("update").map(Update::from_json);
        if let (Some(one), Some(update)) = (&one, update) {
            assert_eq!(fine(update).as_ref(), Some(one), "read in two ways, read differently");
        }
        fine(Update::from_json(&tree));
    }
    fine(bodhi_composes(data));
    let pages: Vec<&[u8]> = data.split(|&byte| byte == b'\n').collect();
    if let Some(listed) = fine(bodhi_listing(&pages)) {
        let updates = listed.unwrap_or_else(|| panic!("a listing that never ends"));
        let aliases: Vec<_> = updates.iter().map(|update| &update.alias).collect();
        assert!(aliases.is_sorted() && aliases.windows(2).all(|pair| pair[0] != pair[1]), "{aliases:?}");
    }
}

fn fine<T>(outcome: Result<T, Error>) -> Option<T> {
    outcome.map_err(|error| told(&error)).ok()
}

/// A value as the hub writes it.
fn response(value: &Value) -> String {
    let mut text = "<?xml version='1.0'?><methodResponse><params><param>".to_owned();
    write(value, &mut text);
    text.push_str("</param></params></methodResponse>");
    text
}

fn write(value: &Value, text: &mut String) {
    let mut tagged =
        |tag: &str, content: &str| text.push_str(&format!("<value><{tag}>{content}</{tag}></value>"));
    match value {
        Value::Null => text.push_str("<value><nil/></value>"),
        Value::Bool(flag) => tagged("boolean", if *flag { "1" } else { "0" }),
        Value::Number(number) => match number.as_i64() {
            Some(small) if i32::try_from(small).is_ok() => tagged("int", &small.to_string()),
            Some(large) => tagged("i8", &large.to_string()),
            None => tagged("double", &format!("{:?}", number.as_f64().unwrap_or_default())),
        },
        Value::String(content) => tagged("string", &escaped(content)),
        Value::Array(items) => {
            text.push_str("<value><array><data>");
            items.iter().for_each(|item| write(item, text));
            text.push_str("</data></array></value>");
        }
        Value::Object(members) => {
            text.push_str("<value><struct>");
            for (name, member) in members {
                text.push_str(&format!("<member><name>{}</name>", escaped(name)));
                write(member, text);
                text.push_str("</member>");
            }
            text.push_str("</struct></value>");
        }
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn builds_of_samples() -> Vec<Vec<u8>> {
    let builds = samples::records("koji/builds").into_iter().chain(samples::lines("koji/rpm-builds.jsonl"));
    samples::each_kind(builds, |build| Some(format!("{:?}", build.as_object()?.keys().collect::<Vec<_>>())))
}

/// Builds of both eras.
pub fn builds() -> Vec<Vec<u8>> {
    builds_of_samples()
}

/// Builds of both eras, faults, and many answers in one.
pub fn xmlrpc() -> Vec<Vec<u8>> {
    let small = json!({"build_id": 1, "nvr": "eog-stable-1.1", "name": "eog", "version": "stable", "release": "1.1",
        "state": 1, "completion_ts": 1.5, "extra": {"image": {"flatpak": true, "index": {"pull": ["a/b@sha256:0"]}}}});
    let fault = json!({"faultCode": 1000, "faultString": "invalid format: <x>"});
    let values = [small.clone(), Value::Null, json!(1), json!([[small], fault, [null]])];
    let mut seeds: Vec<Vec<u8>> = values.iter().map(|value| response(value).into_bytes()).collect();
    let mut told = "<?xml version='1.0'?>\n<methodResponse>\n<fault>".to_owned();
    write(&fault, &mut told);
    seeds.push((told + "</fault>\n</methodResponse>\n").into_bytes());
    let real =
        builds_of_samples().into_iter().filter_map(|build| serde_json::from_slice::<Value>(&build).ok());
    seeds.extend(real.take(4).map(|build| response(&build).into_bytes()));
    seeds
}

/// Updates, pages of them, and composes.
pub fn bodhi() -> Vec<Vec<u8>> {
    let slim = |mut update: Value| {
        if let Some(fields) = update.as_object_mut() {
            for long in ["comments", "bugs", "notes", "test_cases", "user"] {
                fields.remove(long);
            }
        }
        update
    };
    let updates: Vec<Value> = samples::records("bodhi/updates").into_iter().map(slim).collect();
    let pages =
        updates.chunks(2).take(2).map(|rows| json!({"updates": rows, "total": 4, "page": 1}).to_string());
    let listing = pages.collect::<Vec<_>>().join("\n");
    let compose = json!({"composes": [{"release": {"name": "F36F", "id_prefix": "FEDORA-FLATPAK"}, "request": "testing",
        "update_summary": [{"alias": "FEDORA-FLATPAK-2022-274a792493", "title": "eog-stable-1-1"}]}]});
    let mut seeds: Vec<Vec<u8>> = vec![listing.into_bytes(), compose.to_string().into_bytes()];
    seeds.extend(updates.iter().take(3).map(|update| json!({"update": update}).to_string().into_bytes()));
    seeds.extend(updates.iter().take(1).map(|update| update.to_string().into_bytes()));
    seeds
}
