//! The shipped configuration is valid as it is, and states the defaults of the loop.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use flatbus_mirror::config::RawConfig;
use flatbus_runtime::{
    Settings,
    config::{Config, from_text},
};

const EXAMPLE: &str = include_str!("../consumers/mirror/mirror.example.toml");
const LOOP: &str = "[consumer_config.runtime]";

fn read(text: &str) -> Result<Config<RawConfig>, String> {
    from_text("mirror", text, Path::new("mirror.toml")).map_err(|error| error.to_string())
}

/// The example with the loop's commented settings switched on.
fn in_full() -> String {
    let (before, settings) = EXAMPLE.split_once(LOOP).unwrap();
    let on = |line: &str| match line.strip_prefix('#') {
        Some(setting) if setting.starts_with(|c: char| c.is_ascii_lowercase()) => setting.to_owned(),
        _ => line.to_owned(),
    };
    let settings: Vec<String> = settings.lines().map(on).collect();
    format!("{before}{LOOP}{}", settings.join("\n"))
}

#[test]
fn the_shipped_example_states_the_defaults_of_the_loop() {
    assert_eq!(read(EXAMPLE).unwrap().runtime, Settings::of("mirror"));
    assert_eq!(read(&in_full()).unwrap().runtime, Settings::of("mirror"));
}

#[test]
fn every_setting_of_the_loop_is_in_the_shipped_example() {
    let error = read(&format!("{EXAMPLE}\nnonsense = 1")).unwrap_err();
    let allowed = error.split_once("allowed here: ").unwrap().1.split(';').next().unwrap().to_owned();
    let keys: Vec<&str> = allowed.split(", ").collect();
    assert!(keys.len() > 15, "{error}");
    for key in keys {
        assert!(
            in_full().lines().any(|line| line.starts_with(&format!("{key} = "))),
            "{key} is not in the example"
        );
    }
}
