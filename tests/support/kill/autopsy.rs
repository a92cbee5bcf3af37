//! The ledger of a dead unit, read from a copy: whoever opens a ledger mends it, and what is judged must stay as it was.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::run::unit::{Mirror, Places};

/// Reads ledgers of the dead.
pub struct Autopsy {
    /// A unit that is never started: its command line reads the copy.
    clerk: Mirror,
    copy: PathBuf,
}

/// What a ledger holds, as far as it is judged.
#[derive(Debug, Default)]
pub struct Ledger {
    /// The doubtful keys, each with the ids of the messages that made it so.
    pub doubts: BTreeMap<String, BTreeSet<String>>,
    /// What it takes for announced: `host/repository:tag` to digest.
    pub facts: BTreeMap<String, String>,
}

impl Autopsy {
    /// Works in `dir`.
    pub fn new(dir: &Path, places: &Places<'_>) -> Self {
        fs::create_dir(dir).unwrap();
        Self { clerk: Mirror::configure(dir, 0, places), copy: dir.join("state") }
    }

    /// What the ledger in this state directory holds.
    pub fn read(&self, state: &Path) -> Ledger {
        if self.copy.exists() {
            fs::remove_dir_all(&self.copy).unwrap();
        }
        copy(state, &self.copy);
        let exported = self.clerk.ask(&["ledger", "export", "mirror"]);
        let mut ledger = Ledger::default();
        for record in exported.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
            ledger.take(&record);
        }
        ledger
    }
}

impl Ledger {
    fn take(&mut self, record: &Value) {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        match record["record"].as_str().unwrap() {
            "doubt" => {
                let causes = record["causes"].as_array().unwrap().iter().map(text).collect();
                self.doubts.insert(text(&record["key"]), causes);
            }
            "fact" => drop(self.facts.insert(text(&record["subject"]), text(&record["value"]))),
            _ => {}
        }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
