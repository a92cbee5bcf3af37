//! A registry as skopeo sees it: nothing of ours looks at what we judge.

use std::{
    collections::BTreeMap,
    path::Path,
    process::{Command, Output},
};

use flatbus_embedded::registry::Digest;
use serde_json::Value;

use super::get;

/// What every tag of a registry names: (repository, tag) to digest.
pub type Tags = BTreeMap<(String, String), String>;

/// Every tag of every repository of the registry on this host.
pub fn every_tag(host: &str) -> Tags {
    let mut tags = Tags::new();
    for repository in repositories(host) {
        for tag in tags_of(host, &repository) {
            let digest = digest(host, &repository, &tag);
            tags.insert((repository.clone(), tag), digest);
        }
    }
    tags
}

/// What a tag names.
pub fn digest(host: &str, repository: &str, tag: &str) -> String {
    Digest::of(&raw_manifest(host, repository, tag)).to_string()
}

/// The bytes that a tag names.
pub fn raw_manifest(host: &str, repository: &str, tag: &str) -> Vec<u8> {
    succeed(&["inspect", "--raw", "--tls-verify=false", &image(host, repository, tag)]).stdout
}

/// Fetches all that a tag names, for every architecture, each byte checked against its digest.
pub fn fetch(host: &str, repository: &str, tag: &str, into: &Path) {
    let place = format!("dir:{}", into.display());
    succeed(&[
        "copy",
        "--all",
        "--preserve-digests",
        "--src-tls-verify=false",
        &image(host, repository, tag),
        &place,
    ]);
}

/// skopeo has no word for this one.
fn repositories(host: &str) -> Vec<String> {
    let catalogue = get(host, "/v2/_catalog?n=1000").expect("the registry lists its repositories");
    texts(&catalogue["repositories"])
}

fn tags_of(host: &str, repository: &str) -> Vec<String> {
    let place = format!("docker://{host}/{repository}");
    let output = succeed(&["list-tags", "--tls-verify=false", &place]);
    let listed: Value = serde_json::from_slice(&output.stdout).unwrap();
    texts(&listed["Tags"])
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

fn image(host: &str, repository: &str, tag: &str) -> String {
    format!("docker://{host}/{repository}:{tag}")
}

fn succeed(arguments: &[&str]) -> Output {
    let mut command = Command::new("timeout");
    command.args(["30", "skopeo", "--insecure-policy"]).args(arguments);
    let output = command.output().expect("timeout is part of every system");
    let missing = output.status.code() == Some(127);
    assert!(!missing, "skopeo is missing: install the package skopeo");
    assert!(output.status.success(), "skopeo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}
