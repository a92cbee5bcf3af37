//! Replays the kept corpus, and the seeds, through what the fuzz engine drives: what was once found stays mended, with
//! or without the engine.
#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use flatbus_fuzz::{INPUT_BYTES_MAX, TARGETS, Target};

/// What the whole corpus may weigh: it is cloned with the project.
const CORPUS_BYTES_MAX: usize = 2 << 20;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// The kept inputs of a target, by name.
fn kept(target: &str) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(corpus().join(target)).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| (path.display().to_string(), fs::read(path).unwrap())).collect()
}

fn replay(name: &str) {
    let Target { check, seeds, .. } = flatbus_fuzz::target(name).unwrap();
    let seeds =
        seeds().into_iter().enumerate().map(|(number, seed)| (format!("seed {number} of {name}"), seed));
    for (input, bytes) in seeds.chain(kept(name)) {
        if let Err(panic) = std::panic::catch_unwind(|| check(&bytes)) {
            let why = panic.downcast_ref::<String>().map_or("a panic", String::as_str);
            panic!("{input}: {why}");
        }
    }
}

#[test]
fn credential_files_are_read_without_telling_a_secret() {
    replay("auth_json");
}

#[test]
fn answers_of_bodhi_are_read_the_same_each_time() {
    replay("bodhi");
}

#[test]
fn builds_of_koji_are_read_the_same_each_time() {
    replay("builds");
}

#[test]
fn challenges_print_themselves_back() {
    replay("challenge");
}

#[test]
fn a_configuration_is_wrong_at_a_place_and_tells_no_value() {
    replay("config");
}

#[test]
fn deliveries_are_recorded_and_published_unchanged() {
    replay("delivery");
}

#[test]
fn a_brokers_stream_is_screened_the_same_however_it_comes() {
    replay("frames");
}

#[test]
fn images_are_looked_at_without_harm() {
    replay("image");
}

#[test]
fn manifests_mean_the_same_to_a_second_reader() {
    replay("manifest");
}

#[test]
fn names_print_themselves_back() {
    replay("names");
}

#[test]
fn ranges_and_links_print_themselves_back() {
    replay("ranges");
}

#[test]
fn recorded_lines_are_recorded_and_published_unchanged() {
    replay("record");
}

#[test]
fn answers_of_koji_are_read_the_same_each_time() {
    replay("xmlrpc");
}

#[test]
fn every_folder_of_the_corpus_has_its_target_and_is_small() {
    let folders =
        fs::read_dir(corpus()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let targets: BTreeSet<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    assert_eq!(folders.collect::<BTreeSet<_>>(), targets);
    let inputs: Vec<_> = targets.iter().flat_map(|target| kept(target)).collect();
    let long = inputs.iter().find(|(_, bytes)| bytes.len() > INPUT_BYTES_MAX);
    assert!(long.is_none(), "longer than an input: {}", long.unwrap().0);
    let bytes: usize = inputs.iter().map(|(_, bytes)| bytes.len()).sum();
    assert!(bytes <= CORPUS_BYTES_MAX, "the corpus has {bytes} bytes: minimise it, as README.md says");
}
