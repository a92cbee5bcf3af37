//! Names of registries, builds and keys. What is taken prints itself back; the two grammars of ours agree.

use std::{fmt::Display, str::FromStr};

use flatbus_mirror::{Key, tagname};
use flatbus_oci::{Digest, Glob, ImageRef, Location, Reference, Repository, Tag};
use flatbus_schemas::{Nvr, TagMoved};
use serde_json::json;

use crate::rules::{halves, told};

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// The first line is a name; both lines together are a pattern and a name.
pub fn check(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let (first, second) = halves(data);
    if let (Ok(pattern), Ok(name)) = (str::from_utf8(first), str::from_utf8(second)) {
        pattern_as_defined(pattern, name);
    }
    let repository = same::<Repository>(text).is_some();
    let tag = same::<Tag>(text).is_some();
    let digest = same::<Digest>(text).is_some();
    same::<Reference>(text);
    same::<Nvr>(text).inspect(nvr_parts);
    same::<Key>(text);
    settled::<ImageRef>(text);
    location(text);
    made_into_a_tag(text);
    announced("repository", text, repository);
    announced("tag", text, tag);
    announced("digest", text, digest || is_sha512(text));
}

/// What is taken prints itself back.
fn same<T: FromStr<Err: Display> + Display>(text: &str) -> Option<T> {
    match text.parse::<T>() {
        Ok(name) => {
            assert_eq!(name.to_string(), text);
            Some(name)
        }
        Err(error) => {
            told(&error);
            None
        }
    }
}

/// What is taken prints a name of the same thing.
fn settled<T: FromStr<Err: Display> + Display + PartialEq>(text: &str) {
    match text.parse::<T>() {
        Ok(name) => {
            let printed = name.to_string();
            let again =
                printed.parse::<T>().unwrap_or_else(|error| panic!("{printed:?} of {text:?}: {error}"));
            assert!(
                again == name && again.to_string() == printed,
                "{text:?} became {printed:?} became {again}"
            );
        }
        Err(error) => drop(told(&error)),
    }
}

fn nvr_parts(nvr: &Nvr) {
    let (name, version, release) = (nvr.name(), nvr.version(), nvr.release());
    assert_eq!(Nvr::new(name, version, release).as_ref(), Ok(nvr));
    assert!(!version.contains('-') && !release.contains('-'), "{nvr}");
}

fn location(text: &str) {
    match Location::parse(text) {
        Ok(at) => {
            let host = at.registry.host_str().unwrap_or_default();
            assert!(!host.is_empty() && at.registry.username().is_empty(), "{text:?}");
            let again = format!("{}{}", at.registry, at.namespace);
            assert_eq!(Location::parse(&again).as_ref(), Ok(&at), "{again:?} of {text:?}");
        }
        Err(error) => drop(told(&error)),
    }
}

fn made_into_a_tag(text: &str) {
    match tagname::tag_for(text) {
        Some(tag) => {
            assert_eq!(tagname::tag_for(tag.as_str()).as_ref(), Some(&tag), "a tag is its own tag");
            if let Some(build) = tagname::held_build(&tag) {
                assert!(tagname::holding_tag(build).is_some(), "{tag}");
            }
        }
        None => assert!(text.is_empty(), "no tag for {text:?}"),
    }
}

/// Messages are read by a grammar of their own: it takes what registries' names may be, and nothing else.
fn announced(field: &str, text: &str, taken: bool) {
    let mut body =
        json!({"registry": "quay.io", "repository": "fedora/eog", "tag": "latest", "digest": DIGEST});
    body[field] = text.into();
    let read = serde_json::from_value::<TagMoved>(body);
    assert_eq!(read.is_ok(), taken, "the grammars differ on the {field} {text:?}: {read:?}");
}

/// Announced by others, and read by nobody here: what can't be verified isn't copied.
fn is_sha512(text: &str) -> bool {
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.strip_prefix("sha512:").is_some_and(|digits| digits.len() == 128 && digits.bytes().all(hex))
}

/// Against the definition, read row by row; long ones would take the definition too long.
fn pattern_as_defined(pattern: &str, name: &str) {
    let fits = Glob::new(pattern).matches(name);
    if pattern.len() * name.len() > 4 << 10 {
        return;
    }
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let mut row: Vec<bool> = vec![false; name.len() + 1];
    row[0] = true;
    for &sign in pattern {
        let before = row.clone();
        row[0] = before[0] && sign == b'*';
        for n in 1..=name.len() {
            row[n] = match sign {
                b'*' => before[n] || row[n - 1],
                b'?' => before[n - 1],
                letter => before[n - 1] && letter == name[n - 1],
            };
        }
    }
    assert_eq!(fits, row[name.len()], "{pattern:?} on {name:?}");
}

/// Names as production has them.
pub fn seeds() -> Vec<Vec<u8>> {
    let fixed = [
        "fedora/eog",
        "f41/flatpak-runtime",
        "a.b_c__d--e/0",
        "latest",
        "3620220905044417.1",
        "42_rc-1.fc36",
        DIGEST,
        "quay.io/fedora/eog:latest",
        "localhost/eog@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "[::1]:5000/a/b:c@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "eog-stable-3620220905044417.1",
        "baobab-42~rc^git1-1.module_f35+13092+ec568166",
        "build/eog-flatpak-44.2-1",
        "repository/f41/flatpak-runtime",
        "withheld/eog-stable-1-1",
        "https://quay.io/fedora/",
        "http://127.0.0.1:5000",
        "https://robot:hunter2@quay.io/fedora",
        "build-1839827",
        "*flatpak-*-runtime\nf41/flatpak-kde5-runtime",
        "a?c*\nabcdef",
    ];
    fixed.iter().map(|text| text.as_bytes().to_vec()).collect()
}
