//! The shipped configurations are valid as they are, and state the defaults of the loop.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use flatbus_runtime::{
    Settings,
    config::{Config, from_text},
};
use serde::de::DeserializeOwned;

const LOOP: &str = "[consumer_config.runtime]";

const MIRROR: &str = include_str!("../consumers/mirror/mirror.example.toml");
const INDEX: &str = include_str!("../consumers/index/index.example.toml");

fn read<C: DeserializeOwned>(consumer: &str, text: &str) -> Result<Config<C>, String> {
    from_text(consumer, text, &Path::new(consumer).with_extension("toml")).map_err(|error| error.to_string())
}

/// An example with the loop's commented settings switched on.
fn in_full(example: &str) -> String {
    let (before, settings) = example.split_once(LOOP).unwrap();
    let on = |line: &str| match line.strip_prefix('#') {
        Some(setting) if setting.starts_with(|c: char| c.is_ascii_lowercase()) => setting.to_owned(),
        _ => line.to_owned(),
    };
    let settings: Vec<String> = settings.lines().map(on).collect();
    format!("{before}{LOOP}{}", settings.join("\n"))
}

fn states_the_defaults<C: DeserializeOwned>(consumer: &str, example: &str) {
    for text in [example.to_owned(), in_full(example)] {
        assert_eq!(read::<C>(consumer, &text).map(|read| read.runtime), Ok(Settings::of(consumer)));
    }
}

fn holds_every_setting<C: DeserializeOwned>(consumer: &str, example: &str) {
    let error = read::<C>(consumer, &format!("{example}\nnonsense = 1")).err().unwrap();
    let allowed = error.split_once("allowed here: ").unwrap().1.split(';').next().unwrap().to_owned();
    let keys: Vec<&str> = allowed.split(", ").collect();
    assert!(keys.len() > 15, "{error}");
    for key in keys {
        assert!(
            in_full(example).lines().any(|line| line.starts_with(&format!("{key} = "))),
            "{key} is not in the example of {consumer}"
        );
    }
}

#[test]
fn the_shipped_examples_state_the_defaults_of_the_loop() {
    states_the_defaults::<flatbus_mirror::config::RawConfig>("mirror", MIRROR);
    states_the_defaults::<flatbus_index::config::RawConfig>("index", INDEX);
}

#[test]
fn every_setting_of_the_loop_is_in_the_shipped_examples() {
    holds_every_setting::<flatbus_mirror::config::RawConfig>("mirror", MIRROR);
    holds_every_setting::<flatbus_index::config::RawConfig>("index", INDEX);
}
