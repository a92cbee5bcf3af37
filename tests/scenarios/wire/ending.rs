//! The end of every story: what must hold then, looked at from outside. Nothing may be left.

use std::collections::{BTreeMap, BTreeSet};

use flatbus_schemas::KeyParked;

use super::{
    hosts::{BODHI, CANDIDATE, CDN, KOJI, PUBLIC},
    stage::Stage,
    truth::{Build, Push},
    visitor::Visitor,
};

impl Stage {
    /// Ends the story. Answers everything that was asked in it, to the byte.
    pub(super) async fn end(mut self) -> String {
        self.quiet().await;
        self.strikes.finish();
        let exactly = self.strikes.exactly();
        let unit = self.unit.take().unwrap();
        assert_eq!(unit.keys(None), BTreeMap::new(), "keys are left");
        assert_eq!(unit.messages(), 0, "messages are left");
        self.check_tags();
        let told = unit.announced().into_iter().map(|outgoing| outgoing.announcement);
        self.check_told(told.map(|told| (told.topic, told.body)));
        Visitor::new(&self.hosts.wire, &self.clock).sees_all_of(&self.hosts.public.content).await;
        unit.stop().await;
        self.check_hosts();
        exactly
    }

    /// What the newest pushes say, and nothing else but what is kept of those before.
    fn check_tags(&self) {
        let (desired, tags) = (self.desired(), self.tags());
        for (tag, number) in &desired {
            assert_eq!(tags.get(tag), Some(number), "{tag} of {tags:?}, desired {desired:?}");
        }
        let own: BTreeSet<String> = self.builds.values().flat_map(Build::own_tags).collect();
        let strange: Vec<_> =
            tags.keys().filter(|tag| !desired.contains_key(*tag) && !own.contains(*tag)).collect();
        assert!(strange.is_empty(), "{strange:?} of {tags:?}, desired {desired:?}");
    }

    /// The rule, as far as these stories go: pushes come in order, and each build is a version.
    fn desired(&self) -> BTreeMap<String, u32> {
        let newest =
            |to: Push| self.pushes.iter().rev().find(|(_, push)| *push == to).map(|(number, _)| *number);
        let stable = newest(Push::Stable);
        let floating = [("latest", stable), ("testing", newest(Push::Testing).or(stable))];
        let mut tags = BTreeMap::new();
        for (tag, number) in floating.into_iter().filter_map(|(tag, number)| Some((tag, number?))) {
            tags.insert(tag.to_owned(), number);
            tags.extend(self.builds[&number].own_tags().map(|tag| (tag, number)));
        }
        tags
    }

    /// What was last told of each tag is what it names, and a person was called only where the story says so.
    fn check_told(&self, said: impl Iterator<Item = (String, serde_json::Value)>) {
        let (mut told, mut parked) = (BTreeMap::new(), Vec::new());
        for (topic, body) in said {
            if topic == KeyParked::TOPIC {
                parked.push(body.to_string());
            } else {
                let text = |key: &str| body[key].as_str().map(str::to_owned);
                told.insert(text("tag").unwrap(), text("digest"));
            }
        }
        assert_eq!(parked.len(), self.parkings, "a person was called: {parked:?}");
        for (tag, number) in self.desired().iter().filter(|(tag, _)| !tag.starts_with("build-")) {
            let digest = self.builds[number].image.index.digest.as_str();
            assert_eq!(told.get(tag), Some(&Some(digest.to_owned())), "told of {tag}");
        }
    }

    fn check_hosts(&self) {
        let asked = self.hosts.wire.asked();
        let stranger =
            asked.keys().find(|host| ![CANDIDATE, PUBLIC, KOJI, BODHI, CDN].contains(&host.as_str()));
        assert_eq!(stranger, None, "a host outside of the list was contacted");
    }
}
