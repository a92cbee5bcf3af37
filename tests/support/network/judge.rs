//! The end of a run: the registry is as the rule says, and every move was told.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;

use super::stage::Stage;
use crate::run::{
    rule,
    skopeo::{self, Tags},
    until,
};

const PATIENCE: Duration = Duration::from_secs(30);

/// Fails unless all is as it should be; hands back how many tags were looked at.
pub fn judge(stage: &Stage) -> usize {
    let tags = skopeo::every_tag(&stage.public.host());
    every_tag_is_what_the_rule_says(stage, &tags);
    every_move_was_told(stage, &tags);
    tags.len()
}

fn every_tag_is_what_the_rule_says(stage: &Stage, tags: &Tags) {
    let builds = rule::pushed(&stage.world.updates(), |nvr| stage.world.build(nvr));
    let desired = rule::desired(&builds);
    for ((repository, tag), build) in &desired {
        let name = |tag: &str| (format!("fedora/{repository}"), tag.to_owned());
        assert_eq!(tags.get(&name(tag)), Some(&build.digest), "{repository}:{tag} is {}", build.nvr);
        assert_eq!(tags.get(&name(&build.holding_tag())), Some(&build.digest), "{} is held", build.nvr);
    }
    for ((repository, tag), digest) in tags {
        let canonical = repository.strip_prefix("fedora/").expect("nothing stands outside the namespace");
        let by_rule = desired.contains_key(&(canonical, tag.clone()));
        let held = || builds.iter().any(|build| build.holding_tag() == *tag && build.digest == *digest);
        let right = by_rule || held() || rule::was_right(&builds, canonical, tag, digest);
        assert!(right, "{repository}:{tag} should not name {digest}");
    }
    for (repository, _) in desired.keys().filter(|(_, tag)| tag == "latest") {
        let place = tempfile::tempdir().unwrap();
        skopeo::fetch(&stage.public.host(), &format!("fedora/{repository}"), "latest", place.path());
    }
}

/// Each after the one before it, each at least once, and the last one as the registry is.
fn every_move_was_told(stage: &Stage, tags: &Tags) {
    let (listener, mirror) = (&stage.listener, &stage.mirror);
    let moves = || listener.heard().into_iter().filter(|heard| heard.topic.ends_with(".tag.moved"));
    let all = || (moves().count() as u64 >= mirror.announced()).then_some(());
    until("all announcements are heard", PATIENCE, || listener.log(), all);
    let mut last: BTreeMap<(String, String), (String, Value)> = BTreeMap::new();
    for heard in moves() {
        assert_eq!(heard.body["registry"], stage.lines.public.host());
        let text = |key: &str| heard.body[key].as_str().unwrap().to_owned();
        let name = (text("repository"), text("tag"));
        let (id, before) = last.get(&name).cloned().unwrap_or_default();
        if id != heard.id {
            assert_eq!(
                heard.body["previous_digest"], before,
                "{} follows what was said before",
                heard.summary
            );
            last.insert(name, (heard.id, heard.body["digest"].clone()));
        }
    }
    for (name, (_, digest)) in &last {
        assert_eq!(digest.as_str(), tags.get(name).map(String::as_str), "the last word about {name:?}");
    }
    let silent: Vec<_> =
        tags.keys().filter(|name| !name.1.starts_with("build-") && !last.contains_key(*name)).collect();
    assert!(silent.is_empty(), "never told: {silent:?}");
}
