//! The tests' README lists every fault with its story and every promise with its test, and all of them are there.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use flatbus_world::{Fault, Invariant};

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The cells of every row of a section of the README, its head left out.
fn rows(section: &str) -> Vec<Vec<String>> {
    let readme = fs::read_to_string(tests().join("README.md")).unwrap();
    let text = readme.split("\n## ").find(|text| text.starts_with(section)).unwrap();
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    text.lines().filter(|line| line.starts_with('|')).skip(2).map(cells).collect()
}

/// The names of all functions of the stories.
fn stories() -> BTreeSet<String> {
    let folder = tests().join("scenarios");
    let files = [folder.clone(), folder.join("wire")].into_iter().flat_map(|dir| fs::read_dir(dir).unwrap());
    let sources =
        files.map(|file| file.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "rs"));
    let mut names = BTreeSet::new();
    for source in sources {
        let text = fs::read_to_string(source).unwrap();
        names.extend(
            text.split("fn ").skip(1).map(|rest| rest.split('(').next().unwrap_or_default().to_owned()),
        );
    }
    names
}

fn named(cell: &str) -> impl Iterator<Item = &str> {
    cell.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'))
        .filter(|word| word.contains('_'))
}

#[test]
fn every_fault_has_a_row_and_its_story() {
    let (rows, stories) = (rows("Faults"), stories());
    let listed: Vec<&str> = rows.iter().map(|row| row[0].as_str()).collect();
    let all: Vec<String> = Fault::ALL.iter().map(ToString::to_string).collect();
    assert_eq!(listed, all, "the table and `Fault::ALL` differ");
    for row in &rows {
        assert!(named(&row[1]).next().is_some(), "{} has no story", row[0]);
        for story in named(&row[1]) {
            assert!(stories.contains(story), "{}: there is no story {story}", row[0]);
        }
    }
}

#[test]
fn every_promise_has_a_row_and_its_test() {
    let (rows, stories) = (rows("Promises"), stories());
    let listed: Vec<(&str, &str)> = rows.iter().map(|row| (row[0].as_str(), row[1].as_str())).collect();
    let all: Vec<(String, &str)> =
        Invariant::ALL.iter().map(|promise| (format!("{promise:?}"), promise.says())).collect();
    let all: Vec<(&str, &str)> = all.iter().map(|(name, says)| (name.as_str(), *says)).collect();
    assert_eq!(listed, all, "the table and `Invariant::ALL` differ");
    for row in &rows {
        assert!(stories.contains(&row[2]), "{}: there is no test {}", row[0], row[2]);
    }
}
