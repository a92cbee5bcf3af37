//! Witnesses: messages whose keys nothing can settle and no survey finds, so that a mark that was lost stays lost.
//!
//! Each is the message of a Flatpak that Koji has built, in a place that the configuration does not cover: its key is
//! parked, with the ids of its messages, and stays in the ledger for ever. No update names it: where an acknowledged
//! witness is not in the ledger, nothing heals that. Some are told of again while they are doubtful, in flight or parked.

use std::collections::{BTreeMap, BTreeSet};

use flatbus_base::Random;
use flatbus_embedded::koji::Builds;
use serde_json::{Value, json};

use super::autopsy::Ledger;

/// A Flatpak's completion, as Koji tells it.
const MESSAGES: &str = include_str!("../../../schemas/samples/messages/synthetic-koji-flatpak-era.jsonl");
const NAME: &str = "witness-flatpak";
/// Nobody's source.
const PLACE: &str = "elsewhere.example.org/witness";
const FIRST_BUILD: i64 = 9_000_000;
/// How often one is told of at most. The ledger remembers more causes of a key than that.
const TELLINGS_MAX: u64 = 3;
/// Those who may be told of again are among the last so many.
const RECENT: u64 = 20;

/// All witnesses told of so far.
pub struct Witnesses {
    completion: Value,
    record: Value,
    count: u64,
    tellings: BTreeMap<u64, u64>,
    /// The key that a message marks, by the message's id.
    keys: BTreeMap<String, String>,
}

impl Witnesses {
    /// Their records in Koji are made like this one.
    pub fn like(record: &Value) -> Self {
        let mut messages = MESSAGES.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let completion = messages.find(|message| message["body"]["new"] == 1).unwrap();
        let (tellings, keys) = (BTreeMap::new(), BTreeMap::new());
        Self { completion, record: record.clone(), count: 0, tellings, keys }
    }

    /// The next message, of a new one or of one told of before. Koji knows the build already.
    pub fn tell(&mut self, koji: &Builds, random: &Random) -> String {
        let again = self.count.saturating_sub(1 + random.below(RECENT));
        let may_again = self.tellings.get(&again).is_some_and(|told| *told < TELLINGS_MAX);
        let number = if may_again && random.below(2) == 0 { again } else { self.new_one(koji) };
        *self.tellings.entry(number).or_default() += 1;
        let id = random.uuid().to_string();
        self.keys.insert(id.clone(), format!("build/{NAME}-1-{number}"));
        let mut message = self.completion.clone();
        message["id"] = id.into();
        for (member, value) in named(number).as_object().unwrap() {
            message["body"][member] = value.clone();
        }
        message.to_string()
    }

    fn new_one(&mut self, koji: &Builds) -> u64 {
        let number = self.count;
        self.count += 1;
        let mut record = self.record.clone();
        for (member, value) in named(number).as_object().unwrap() {
            record[member] = value.clone();
        }
        record["id"] = record["build_id"].clone();
        record["nvr"] = format!("{NAME}-1-{number}").into();
        record["package_name"] = NAME.into();
        for pointer in ["/extra/image/index/pull", "/extra/typeinfo/image/index/pull"] {
            let specs = record.pointer_mut(pointer).unwrap().as_array_mut().unwrap();
            for spec in specs {
                let reference =
                    spec.as_str().unwrap().find('@').map(|at| spec.as_str().unwrap()[at..].to_owned());
                *spec = format!("{PLACE}{}", reference.unwrap_or_default()).into();
            }
        }
        koji.set(record).unwrap();
        number
    }

    /// How many messages told of them.
    pub fn told(&self) -> usize {
        self.keys.len()
    }

    /// Their keys.
    pub fn keys(&self) -> BTreeSet<&str> {
        self.keys.values().map(String::as_str).collect()
    }

    /// The messages that left the broker and are not in the ledger: acknowledged and lost.
    pub fn lost(&self, waiting: &BTreeSet<String>, ledger: &Ledger) -> Vec<&str> {
        let lost = |id: &&String| !waiting.contains(*id) && !self.is_recorded(id, ledger);
        self.keys.keys().filter(lost).map(String::as_str).collect()
    }

    /// How many of the messages that the broker still has are in the ledger: recorded, and not acknowledged.
    pub fn recorded(&self, waiting: &BTreeSet<String>, ledger: &Ledger) -> usize {
        waiting.iter().filter(|id| self.is_recorded(id, ledger)).count()
    }

    fn is_recorded(&self, id: &str, ledger: &Ledger) -> bool {
        let key = self.keys.get(id);
        key.and_then(|key| ledger.doubts.get(key)).is_some_and(|causes| causes.contains(id))
    }
}

/// What a message and a record of Koji call a witness.
fn named(number: u64) -> Value {
    let build_id = FIRST_BUILD + i64::try_from(number).unwrap();
    json!({"name": NAME, "version": "1", "release": number.to_string(), "build_id": build_id})
}
