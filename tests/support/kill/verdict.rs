//! The end of a world, when nobody kills any more: everything has come true, and everything was told.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    images::Tags,
    stage::{Stage, VHOST},
    tally::{Doing, Tally},
};
use crate::run::{
    rule::{self, Pushed},
    until,
};

/// Longest until the unit has nothing to do any more.
const PATIENCE: Duration = Duration::from_secs(120);
/// What tags begin with that hold an image and tell nobody anything.
const HOLDING: &str = "build-";

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
        self.everything_was_announced(&tags, &builds, tally);
        tally.told.history += self.world.told_of_history;
        tally.told.stories += self.world.told_of_stories;
        tally.told.witnesses += self.world.witnesses.told();
        tally.worlds += 1;
    }

    /// Nothing is left to do, here or with the broker. Each is looked at twice, for one makes work for the other.
    fn until_calm(&self) {
        let calm = || self.is_idle() && self.queues_are_empty() && self.is_idle() && self.queues_are_empty();
        until("nothing is left to do", PATIENCE, || self.trouble(), || calm().then_some(()));
    }

    /// Nothing is doubtful but the witnesses, and nothing waits to be announced.
    fn is_idle(&self) -> bool {
        self.doing().is_some_and(|doing| {
            let Doing { doubtful, in_flight: _, outbox, surveying, survey_owed } = doing;
            doubtful + outbox == 0 && !surveying && !survey_owed
        })
    }

    /// Ours, and that of who listens.
    fn queues_are_empty(&self) -> bool {
        let queues = self.rabbit.ctl(&["list_queues", "--quiet", "-p", VHOST, "messages"]);
        queues.lines().filter_map(|line| line.trim().parse::<u64>().ok()).sum::<u64>() == 0
    }

    fn trouble(&self) -> String {
        format!("{:?}\n{}\n{}", self.doing(), self.mirror.status(), self.mirror.log())
    }

    /// All that the ledger takes for announced was, and last so; every tag that the rule speaks of is among it, and every
    /// witness was told to be parked.
    fn everything_was_announced(&self, tags: &Tags, builds: &[Pushed], tally: &mut Tally) {
        let Heard { moved, parked } = self.heard();
        let silent = |key: &&str| !parked.contains(*key);
        let silent: Vec<&str> = self.world.witnesses.keys().into_iter().filter(silent).collect();
        assert!(silent.is_empty(), "parked, and never announced: {silent:?}");
        assert_eq!(parked.len(), self.world.witnesses.keys().len(), "only witnesses are parked: {parked:?}");
        let facts = self.ledger().facts;
        for (tag, digest) in &facts {
            assert_eq!(moved.get(tag), Some(digest), "what was last announced of {tag}");
        }
        let host = self.public.host();
        for ((repository, tag), build) in rule::desired(builds) {
            let fact = facts.get(&format!("{host}/fedora/{repository}:{tag}"));
            assert_eq!(fact, Some(&build.digest), "{repository}:{tag} is announced as {}", build.nvr);
        }
        let named = tags.keys().filter(|(_, tag)| !tag.starts_with(HOLDING));
        let silent = named.filter(|(name, tag)| !facts.contains_key(&format!("{host}/{name}:{tag}")));
        tally.announced += facts.len();
        tally.unannounced += silent.count();
    }

    fn heard(&self) -> Heard {
        let mut heard = Heard::default();
        for announcement in self.listener.heard() {
            let text = |member: &str| announcement.body[member].as_str().unwrap_or_default().to_owned();
            match announcement.class.as_str() {
                "TagMovedV1" => {
                    let tag = format!("{}/{}:{}", text("registry"), text("repository"), text("tag"));
                    heard.moved.insert(tag, text("digest"));
                }
                "KeyParkedV1" => drop(heard.parked.insert(text("key"))),
                other => panic!("nobody announces a {other}"),
            }
        }
        heard
    }
}

/// What was announced.
#[derive(Default)]
struct Heard {
    /// The last of every tag: `host/repository:tag` to digest.
    moved: BTreeMap<String, String>,
    /// Keys that a person must look at.
    parked: BTreeSet<String>,
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
