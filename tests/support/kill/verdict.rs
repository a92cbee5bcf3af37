//! The end of a world, when nobody kills any more: everything has come true, and everything was told.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::Value;

use super::{
    images::Tags,
    stage::{Stage, VHOST},
    tally::{Doing, Tally},
};
use crate::run::{
    python::Heard,
    rule::{self, Pushed},
    until,
};

/// Longest until the unit has nothing to do any more.
const PATIENCE: Duration = Duration::from_secs(120);

impl Stage {
    /// Tells the rest, lets the unit work in peace, and judges.
    pub fn everything_comes_true(&mut self, tally: &mut Tally) {
        tally.told.in_peace += self.tell_the_rest();
        self.start(tally);
        self.until_calm();
        assert_eq!(self.mirror.terminate().code(), Some(0), "{}", self.mirror.log());
        self.nothing_acknowledged_is_missing(tally);
        let tags = self.every_tag_names_a_complete_image(tally);
        let builds = rule::pushed(&self.world.updates(), |nvr| self.world.build(nvr));
        every_tag_is_as_the_rule_says(&tags, &builds);
        tally.tags += self.everything_was_announced(&builds);
        tally.told.history += self.world.told_of_history;
        tally.told.stories += self.world.told_of_stories;
        tally.told.witnesses += self.world.witnesses.told();
        tally.worlds += 1;
    }

    /// Nothing is doubtful but the witnesses, and nothing waits, with the broker or here.
    fn until_calm(&self) {
        let calm = || {
            let Doing { doubtful, outbox, surveying, survey_owed, .. } = self.doing();
            let idle = doubtful + outbox == 0 && !surveying && !survey_owed;
            (idle && self.queues_are_empty()).then_some(())
        };
        until("nothing is left to do", PATIENCE, || self.trouble(), calm);
    }

    /// Ours, and that of who listens.
    fn queues_are_empty(&self) -> bool {
        let queues = self.rabbit.ctl(&["list_queues", "--quiet", "-p", VHOST, "messages"]);
        queues.lines().filter_map(|line| line.trim().parse::<u64>().ok()).sum::<u64>() == 0
    }

    fn trouble(&self) -> String {
        format!("{:?}\n{}\n{}", self.doing(), self.mirror.status(), self.mirror.log())
    }

    /// The last announcement of every desired tag is that it is so, and every witness was told to be parked.
    fn everything_was_announced(&self, builds: &[Pushed]) -> usize {
        let mut last: BTreeMap<(String, String), Value> = BTreeMap::new();
        let mut parked: BTreeSet<String> = BTreeSet::new();
        let text = |body: &Value, member: &str| body[member].as_str().unwrap().to_owned();
        for Heard { class, body, .. } in self.listener.heard() {
            match class.as_str() {
                "TagMovedV1" => {
                    last.insert((text(&body, "repository"), text(&body, "tag")), body["digest"].clone());
                }
                "KeyParkedV1" => drop(parked.insert(text(&body, "key"))),
                other => panic!("nobody announces a {other}"),
            }
        }
        let silent = |key: &&str| !parked.contains(*key);
        let silent: Vec<&str> = self.world.witnesses.keys().into_iter().filter(silent).collect();
        assert!(silent.is_empty(), "parked, and never announced: {silent:?}");
        assert_eq!(parked.len(), self.world.witnesses.keys().len(), "only witnesses are parked: {parked:?}");
        let desired = rule::desired(builds);
        for ((repository, tag), build) in &desired {
            let told = last.get(&(format!("fedora/{repository}"), tag.clone()));
            assert_eq!(
                told.and_then(Value::as_str),
                Some(build.digest.as_str()),
                "{repository}:{tag} was last said to be {}",
                build.nvr
            );
        }
        desired.len()
    }
}

/// Every tag that the rule speaks of is there and right, each image is held, and no other tag has no right to be.
fn every_tag_is_as_the_rule_says(tags: &Tags, builds: &[Pushed]) {
    let desired = rule::desired(builds);
    for ((repository, tag), build) in &desired {
        let named = |tag: &str| tags.get(&(format!("fedora/{repository}"), tag.to_owned()));
        assert_eq!(named(tag), Some(&build.digest), "{repository}:{tag} is {}", build.nvr);
        assert_eq!(named(&build.holding_tag()), Some(&build.digest), "{} is held", build.nvr);
    }
    for ((repository, tag), digest) in tags {
        let canonical = repository.strip_prefix("fedora/").expect("nothing stands outside the namespace");
        let held = || builds.iter().any(|build| build.holding_tag() == *tag && build.digest == *digest);
        let right = desired.contains_key(&(canonical, tag.clone()))
            || held()
            || rule::was_right(builds, canonical, tag, digest);
        assert!(right, "{repository}:{tag} should not name {digest}");
    }
}
