//! The unit files do what their comments say. Needs systemd's own tools, no running systemd and no server.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;
use tempfile::TempDir;

/// Greatest exposure of a unit, in tenths, as `systemd-analyze security --threshold` wants it.
const EXPOSURE_TENTHS_MAX: &str = "15";

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd")
}

fn units() -> Vec<PathBuf> {
    let entries = fs::read_dir(shipped()).unwrap().map(|entry| entry.unwrap().path());
    let units: Vec<_> = entries.filter(|path| path.extension().is_some_and(|end| end == "service")).collect();
    assert!(!units.is_empty(), "no unit in {}", shipped().display());
    units
}

fn run(tool: &str, arguments: &[&str], path: &Path) -> Output {
    let ran = Command::new(tool).args(arguments).arg(path).env("SYSTEMD_LOG_LEVEL", "info").output();
    ran.unwrap_or_else(|error| panic!("{tool} does not run: {error}. tests/run installs it with systemd"))
}

fn name(unit: &Path) -> String {
    unit.file_stem().unwrap().to_string_lossy().into_owned()
}

/// A copy of the unit that starts the binary just built, with the shared drop-in beside it or without.
fn copied(unit: &Path, with_drop_in: bool) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(unit).unwrap().replace("/usr/bin/flatbus", env!("CARGO_BIN_EXE_flatbus"));
    let copy = folder.path().join(unit.file_name().unwrap());
    fs::write(&copy, text).unwrap();
    if with_drop_in {
        let drop_in = Path::new("flatbus-.service.d/10-sandbox.conf");
        fs::create_dir(folder.path().join(drop_in.parent().unwrap())).unwrap();
        fs::copy(shipped().join(drop_in), folder.path().join(drop_in)).unwrap();
    }
    (folder, copy)
}

/// All values of one setting, in order.
fn settings(text: &str, key: &str) -> Vec<String> {
    let lines = text.lines().filter_map(|line| line.split_once('='));
    lines.filter(|(name, _)| *name == key).map(|(_, value)| value.trim().to_owned()).collect()
}

#[test]
fn every_unit_is_hardly_exposed() {
    for unit in units() {
        let (_folder, copy) = copied(&unit, true);
        let output = run(
            "systemd-analyze",
            &["security", "--offline=true", "--no-pager", "--threshold", EXPOSURE_TENTHS_MAX],
            &copy,
        );
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
fn without_the_shared_drop_in_the_exposure_is_noticed() {
    let (_folder, copy) = copied(&units()[0], false);
    let output = run(
        "systemd-analyze",
        &["security", "--offline=true", "--no-pager", "--threshold", EXPOSURE_TENTHS_MAX],
        &copy,
    );
    assert!(!output.status.success(), "the measure does not see the drop-in");
}

#[test]
fn every_exception_from_the_sandbox_is_explained_where_it_is_made() {
    let sandbox = fs::read_to_string(shipped().join("flatbus-.service.d/10-sandbox.conf")).unwrap();
    for unit in units() {
        let (_folder, copy) = copied(&unit, true);
        let output = run("systemd-analyze", &["security", "--offline=true", "--json=short"], &copy);
        let rows: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        let exceptions = rows.iter().filter(|row| row["set"] == false && !row["exposure"].is_null());
        for exception in exceptions.map(|row| row["name"].as_str().unwrap()) {
            let setting = exception.split(['=', '/']).next().unwrap();
            let explained =
                sandbox.lines().any(|line| line.starts_with("# Exception") && line.contains(setting))
                    || sandbox.lines().any(|line| line.starts_with(&format!("{setting}=")));
            assert!(explained, "{exception} is an exception that {} does not explain", unit.display());
        }
    }
}

#[test]
fn systemd_finds_nothing_wrong_with_a_unit() {
    for unit in units() {
        let (_folder, copy) = copied(&unit, true);
        let output = run("systemd-analyze", &["verify", "--man=no", "--recursive-errors=no"], &copy);
        let said = String::from_utf8_lossy(&output.stderr);
        let about_it: Vec<_> = said.lines().filter(|line| line.contains("flatbus")).collect();
        assert!(output.status.success() && about_it.is_empty(), "{said}");
    }
}

#[test]
fn a_unit_is_named_for_its_consumer_everywhere() {
    for unit in units() {
        let text = fs::read_to_string(&unit).unwrap();
        let name = name(&unit);
        let consumer = name.strip_prefix("flatbus-").expect("a unit is called flatbus-<consumer>.service");
        let start = format!("/usr/bin/flatbus run {consumer} --config /etc/flatbus/{consumer}.toml");
        assert_eq!(settings(&text, "ExecStart"), [start]);
        assert_eq!(settings(&text, "StateDirectory"), [format!("flatbus/{consumer}")]);
        assert_eq!(
            settings(&text, "RestartPreventExitStatus"),
            ["78"],
            "a wrong configuration must not loop"
        );
        assert!(settings(&text, "RuntimeDirectory").is_empty(), "the sockets' folder outlives every unit");
    }
}

#[test]
fn a_unit_has_time_to_drain_before_it_is_killed() {
    for unit in units() {
        let text = fs::read_to_string(&unit).unwrap();
        let patience = settings(&text, "TimeoutStopSec");
        let patience_s: u64 = patience[0].strip_suffix('s').unwrap().parse().unwrap();
        let consumer = name(&unit).replace("flatbus-", "");
        let drain = flatbus_runtime::Settings::of(&consumer).drain_timeout;
        assert!(patience_s > drain.as_secs(), "{patience_s} s, and draining may take {drain:?}");
    }
}

#[test]
fn users_and_folders_that_units_name_are_made() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("etc")).unwrap();
    let within = format!("--root={}", root.path().display());
    let made = run("systemd-sysusers", &[&within], &shipped().join("sysusers.d/flatbus.conf"));
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));

    let made = |file: &str| -> BTreeSet<String> {
        let lines = fs::read_to_string(root.path().join("etc").join(file)).unwrap();
        lines.lines().filter_map(|line| line.split(':').next()).map(str::to_owned).collect()
    };
    let (users, groups) = (made("passwd"), made("group"));
    let folders = fs::read_to_string(shipped().join("tmpfiles.d/flatbus.conf")).unwrap();
    let folders: Vec<Vec<&str>> =
        folders.lines().filter(|line| line.starts_with("d ")).map(|line| line.split(' ').collect()).collect();
    for folder in &folders {
        let known = |name: &str, names: &BTreeSet<String>| name == "root" || names.contains(name);
        assert!(known(folder[3], &users) && known(folder[4], &groups), "{folder:?}");
    }
    for unit in units() {
        let text = fs::read_to_string(&unit).unwrap();
        assert!(settings(&text, "User").iter().all(|user| users.contains(user)));
    }
    let sandbox = fs::read_to_string(shipped().join("flatbus-.service.d/10-sandbox.conf")).unwrap();
    for path in settings(&sandbox, "ReadWritePaths") {
        assert!(folders.iter().any(|folder| folder[1] == path), "{path} is written and nobody makes it");
    }
}
