//! The real run: `flatbus run mirror` as a process between real servers. Python's fedora-messaging publishes a real
//! history over RabbitMQ and hears what is announced; the images go from one docker-registry to another; Koji and Bodhi
//! follow the history in this process. In the end skopeo finds every tag where the rule, read once more from the records
//! by code of the test's own, says it should be.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "support/rabbitmq.rs"]
mod rabbitmq;
#[path = "support/registry.rs"]
mod registry;
#[path = "support/run/mod.rs"]
mod run;

use std::{collections::BTreeMap, time::Duration};

use rabbitmq::{Rabbit, free_ports};
use registry::DockerRegistry;
use run::{
    encore,
    python::{Heard, Listener, Publisher, Python},
    rule::{self, Pushed},
    skopeo::{self, Tags},
    unit::{Mirror, Places, QUEUE},
    until,
    world::World,
};
use serde_json::Value;
use tempfile::TempDir;

const VHOST: &str = "test0";
/// Longest the unit may take to have nothing to do any more.
const PATIENCE: Duration = Duration::from_secs(60);
const EXPECTED: &str = include_str!("../schemas/samples/messages/synthetic-timeline-expected.json");

/// Everybody on the stage. Ended from the top: who asks goes before who answers.
struct Stage {
    mirror: Mirror,
    publisher: Publisher,
    listener: Listener,
    world: World,
    candidate: DockerRegistry,
    public: DockerRegistry,
    rabbit: Rabbit,
    _dir: TempDir,
}

#[test]
fn a_real_history_over_real_servers_ends_as_the_rule_says_and_every_move_is_announced() {
    let mut stage = Stage::set();
    stage.the_unit_is_killed_in_the_middle_of_the_history();
    stage.the_three_applications_are_as_expected();
    stage.runtimes_and_second_packages_find_their_repositories();
    stage.what_leaves_testing_is_withdrawn();
    let tags = skopeo::every_tag(&stage.public.host());
    stage.every_tag_is_what_the_rule_says(tags.clone());
    stage.every_move_was_announced(&tags);
    stage.a_restart_finds_nothing_to_do();
}

impl Stage {
    fn set() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let python = Python::find(dir.path());
        let (candidate, public) = (DockerRegistry::start(), DockerRegistry::start());
        let rabbit = Rabbit::start();
        let world = World::new();
        world.push_images(&candidate.host());
        let broker = rabbit.url(VHOST);
        let [monitoring, hearing] = free_ports();
        let places = Places {
            broker: &broker,
            candidate: &candidate.host(),
            public: &public.host(),
            koji: &world.koji_url(),
            bodhi: &world.bodhi_url(),
        };
        let mirror = Mirror::configure(dir.path(), monitoring, &places);
        let listener = python.listener(&broker, hearing);
        let publisher = python.publisher(&broker);
        Self { mirror, publisher, listener, world, candidate, public, rabbit, _dir: dir }
    }

    /// With work on its hands that can't be done, for the candidates are away; and the history goes on without it.
    fn the_unit_is_killed_in_the_middle_of_the_history(&mut self) {
        self.mirror.start();
        self.play_to(70);
        self.until_calm();
        self.candidate.kill();
        self.play_to(90);
        let doubt = || (self.mirror.status()["ledger"]["waiting"] != 0).then_some(());
        until("the unit waits for the registry", PATIENCE, || self.mirror.log(), doubt);
        self.mirror.kill();
        self.play_to(98);
        self.candidate.start_again();
        self.mirror.start();
        self.play_to(100);
        self.until_calm();
    }

    /// As the records that came with the history say.
    fn the_three_applications_are_as_expected(&self) {
        let builds: Vec<Value> = serde_json::from_str(EXPECTED).unwrap();
        for application in ["baobab", "eog", "quadrapassel"] {
            for (tag, date) in [("latest", "stable_at"), ("testing", "testing_at")] {
                let of = |build: &&Value| {
                    build["nvr"].as_str().unwrap().rsplitn(3, '-').nth(2) == Some(application)
                        && build[date].is_string()
                };
                let last = builds.iter().filter(of).max_by_key(|build| build[date].as_str()).unwrap();
                let nvr = last["nvr"].as_str().unwrap();
                self.names(application, tag, nvr);
            }
        }
    }

    /// One package in two nested repositories, two packages in one.
    fn runtimes_and_second_packages_find_their_repositories(&mut self) {
        let publisher = &mut self.publisher;
        self.world.play_encore(|line| publisher.publish(line));
        self.until_calm();
        for (repository, tag, nvr) in [
            ("f35/flatpak-runtime", "latest", "flatpak-runtime-f35-2"),
            ("f36/flatpak-runtime", "latest", "flatpak-runtime-f36-1"),
            ("f35/flatpak-sdk", "latest", "flatpak-sdk-f35-1"),
            ("f36/flatpak-sdk", "latest", "flatpak-sdk-f36-1"),
            ("eog", "latest", "eog-flatpak-43.0-1"),
            ("eog", "stable", "eog-stable-3620220905044417.1"),
            ("hello", "testing", "hello-flatpak-1.0~rc1-1"),
            ("hello", "1.0_rc1-1", "hello-flatpak-1.0~rc1-1"),
        ] {
            self.names(repository, tag, nvr);
        }
    }

    /// docker-registry deletes no tag: an index that names nothing stands there, and says why.
    fn what_leaves_testing_is_withdrawn(&mut self) {
        let publisher = &mut self.publisher;
        self.world.unpush(&encore::withdrawn().alias(), |line| publisher.publish(line));
        self.until_calm();
        let raw = skopeo::raw_manifest(&self.public.host(), "fedora/hello", "testing");
        let index: Value = serde_json::from_slice(&raw).unwrap();
        assert_eq!(index["manifests"], serde_json::json!([]), "{index}");
        assert!(index["annotations"]["flatbus.withdrawn"].is_string(), "{index}");
    }

    fn every_tag_is_what_the_rule_says(&self, mut tags: Tags) {
        let builds = self.builds();
        let desired = rule::desired(&builds);
        let withdrawn = tags.remove(&("fedora/hello".to_owned(), "testing".to_owned()));
        assert!(withdrawn.is_some() && !desired.contains_key(&("hello", "testing".to_owned())));
        for ((repository, tag), build) in &desired {
            let name = |tag: &str| (format!("fedora/{repository}"), tag.to_owned());
            assert_eq!(tags.get(&name(tag)), Some(&build.digest), "{repository}:{tag} is {}", build.nvr);
            assert_eq!(tags.get(&name(&build.holding_tag())), Some(&build.digest), "{} is held", build.nvr);
        }
        for ((repository, tag), digest) in &tags {
            let canonical = repository.strip_prefix("fedora/").expect("nothing stands outside the namespace");
            let by_rule = desired.contains_key(&(canonical, tag.clone()));
            let held = || builds.iter().any(|build| build.holding_tag() == *tag && build.digest == *digest);
            let right = by_rule || held() || rule::was_right(&builds, canonical, tag, digest);
            assert!(right, "{repository}:{tag} should not name {digest}");
        }
        for repository in desired.keys().filter(|(_, tag)| tag == "latest").map(|(repository, _)| repository)
        {
            let place = tempfile::tempdir().unwrap();
            skopeo::fetch(&self.public.host(), &format!("fedora/{repository}"), "latest", place.path());
        }
    }

    /// Each valid by its class, each after the one before it, and the last one as the registry is.
    fn every_move_was_announced(&self, tags: &Tags) {
        let published = || self.listener.counts()["processed"].as_u64() >= Some(self.mirror.announced());
        until("all announcements are heard", PATIENCE, || self.listener.log(), || published().then_some(()));
        let counts = self.listener.counts();
        for refused in ["dropped", "rejected", "failed"] {
            assert_eq!(counts[refused], 0, "{counts}\n{}", self.listener.log());
        }
        let mut last: BTreeMap<(String, String), Heard> = BTreeMap::new();
        for heard in self.listener.heard() {
            self.is_well_formed(&heard);
            let text = |key: &str| heard.body[key].as_str().unwrap().to_owned();
            let name = (text("repository"), text("tag"));
            let before = last.get(&name);
            if before.is_some_and(|before| before.id == heard.id) {
                continue; // At least once.
            }
            let previous = before.map_or(Value::Null, |before| before.body["digest"].clone());
            assert_eq!(
                heard.body["previous_digest"], previous,
                "{} follows what was said before",
                heard.summary
            );
            last.insert(name, heard);
        }
        for (name, heard) in &last {
            let withdrawn = name.0 == "fedora/hello" && name.1 == "testing";
            let there = tags.get(name).filter(|_| !withdrawn).map(String::as_str);
            assert_eq!(heard.body["digest"].as_str(), there, "{}", heard.summary);
        }
        let silent: Vec<_> =
            tags.keys().filter(|name| !name.1.starts_with("build-") && !last.contains_key(*name)).collect();
        assert!(silent.is_empty(), "never announced: {silent:?}");
    }

    /// What the survey of a restart found first was caused by no message; after that every move was.
    fn is_well_formed(&self, heard: &Heard) {
        assert_eq!(heard.class, "TagMovedV1", "{heard:?}");
        assert_eq!(heard.topic, "org.fedoraproject.prod.flatbus.tag.moved");
        assert_eq!(heard.body["registry"], self.public.host());
        assert!(heard.headers_missing.is_empty(), "{heard:?}");
        let causes =
            heard.headers.get("flatbus_causes").and_then(Value::as_array).cloned().unwrap_or_default();
        let known = causes.iter().all(|cause| self.world.is_message(cause.as_str().unwrap()));
        assert!(known, "{} has causes that were never published: {causes:?}", heard.summary);
        let live = heard.body["nvr"].as_str().is_none_or(encore::has);
        assert!(!live || !causes.is_empty(), "{} has no cause", heard.summary);
    }

    fn a_restart_finds_nothing_to_do(&mut self) {
        let (told, written) = (self.listener.heard().len(), writes(&self.public));
        assert!(written > 0, "{}", self.public.log());
        let ended = self.mirror.terminate();
        assert_eq!(ended.code(), Some(0), "{}", self.mirror.log());
        self.mirror.start();
        self.mirror.ask(&["survey", "mirror"]);
        self.until_calm();
        assert_eq!(self.mirror.announced(), 0, "{}", self.mirror.log());
        assert_eq!(self.listener.heard().len(), told);
        assert_eq!(writes(&self.public), written, "{}", self.public.log());
        assert_eq!(self.mirror.terminate().code(), Some(0));
    }

    fn play_to(&mut self, percent: usize) {
        let publisher = &mut self.publisher;
        self.world.play_to(percent, |line| publisher.publish(line));
    }

    /// Nothing is doubtful, and nothing waits in the queue.
    fn until_calm(&self) {
        let calm = || {
            self.mirror.until_calm(PATIENCE);
            let queues = self.rabbit.ctl(&["list_queues", "--quiet", "-p", VHOST, "name", "messages"]);
            queues.lines().any(|line| line.split_whitespace().eq([QUEUE, "0"])).then_some(())
        };
        until("the queue is empty", PATIENCE, || self.mirror.log(), calm);
    }

    #[track_caller]
    fn names(&self, repository: &str, tag: &str, nvr: &str) {
        let builds = self.builds();
        let build =
            builds.iter().find(|build| build.nvr == nvr).unwrap_or_else(|| panic!("no update has {nvr}"));
        let named = skopeo::digest(&self.public.host(), &format!("fedora/{repository}"), tag);
        assert_eq!(named, build.digest, "{repository}:{tag} is {nvr}");
    }

    fn builds(&self) -> Vec<Pushed> {
        rule::pushed(&self.world.updates(), |nvr| self.world.build(nvr))
    }
}

/// Requests that changed the registry.
fn writes(registry: &DockerRegistry) -> usize {
    let changes = |line: &&str| {
        ["\"PUT /", "\"POST /", "\"PATCH /", "\"DELETE /"].iter().any(|verb| line.contains(verb))
    };
    registry.log().lines().filter(changes).count()
}
