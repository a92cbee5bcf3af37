//! The stage that the unit is killed on: real servers around a real process, and whoever looks at what it leaves.

use std::{
    collections::BTreeSet,
    fs,
    io::Write as _,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::Command,
    thread::sleep,
    time::Duration,
};

use flatbus_base::{Clock as _, Random, SystemClock};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use toml::Table;

use super::{
    autopsy::{Autopsy, Ledger},
    broker::Queue,
    images::{self, Tags},
    manager::Manager,
    scene::Scene,
    tally::{Cut, Doing, Tally},
    world::World,
};
use crate::{
    rabbitmq::{Rabbit, free_ports},
    registry::DockerRegistry,
    run::{
        python::{Listener, Publisher, Python},
        unit::{Mirror, Places, QUEUE},
    },
};

pub const VHOST: &str = "test0";
/// The promise: a restart is ready within this.
const READY_WITHIN: Duration = Duration::from_secs(5);
/// How long a scene is waited for, and how often it is looked whether it has come.
const SCENE_WITHIN: Duration = Duration::from_secs(2);
const GLANCE_EVERY: Duration = Duration::from_millis(2);
/// Kills between walks over all tags.
const WALK_EVERY: usize = 5;
/// For these tests: every start makes the survey that it owes at once, and slowly enough to be caught at it.
const SURVEYS: [(&str, i64); 2] = [("survey_gap_min_s", 0), ("survey_keys_per_s", 40)];

/// Everybody on the stage. Ended from the top: who asks goes before who answers.
pub struct Stage {
    pub mirror: Mirror,
    pub listener: Listener,
    pub world: World,
    publisher: Publisher,
    autopsy: Autopsy,
    queue: Queue,
    pub public: DockerRegistry,
    pub rabbit: Rabbit,
    pub runtime: Runtime,
    random: Random,
    rounds: usize,
    dir: TempDir,
}

impl Stage {
    /// A world at its beginning, and the unit running in it.
    pub fn set(random: Random) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let dir = tempfile::tempdir().unwrap();
        calm_the_disk(dir.path());
        let python = Python::find(dir.path());
        let (public, rabbit) = (DockerRegistry::start(), Rabbit::start());
        let world = World::new(runtime.handle(), random.clone());
        let broker = rabbit.url(VHOST);
        let [monitoring, hearing] = free_ports();
        let places = Places {
            broker: &broker,
            candidate: &world.candidate_host(),
            public: &public.host(),
            koji: &world.koji_url(),
            bodhi: &world.bodhi_url(),
        };
        let mut mirror = Mirror::configure(dir.path(), monitoring, &places);
        set(&dir.path().join("mirror.toml"), &SURVEYS);
        let autopsy = Autopsy::new(&dir.path().join("autopsy"), &places);
        let queue = Queue::new(runtime.handle().clone(), broker.clone(), QUEUE);
        let listener = python.listener(&broker, hearing);
        let publisher = python.publisher(&broker);
        mirror.start(); // From now on its queue is there.
        mirror.kill();
        Self {
            mirror,
            listener,
            world,
            publisher,
            autopsy,
            queue,
            public,
            rabbit,
            runtime,
            random,
            rounds: 0,
            dir,
        }
    }

    /// Starts the unit, brings it to a scene, kills it there, and looks at what it left.
    pub fn kill_once(&mut self, tally: &mut Tally) {
        let scene = Scene::draw(&self.random);
        let uploads = self.uploads();
        let doing = self.bring_to(scene, tally);
        let status = self.mirror.end();
        let left = self.nothing_acknowledged_is_missing(tally);
        if scene == Scene::Draining && status.success() {
            tally.ended_by_themselves += 1;
        } else {
            assert_eq!(status.signal(), Some(9), "it ran until it was killed\n{}", self.mirror.log());
            let uploads = self.uploads().difference(&uploads).count();
            tally.kill(scene, doing, Cut { uploads, ..left });
        }
        self.rounds += 1;
        if self.rounds.is_multiple_of(WALK_EVERY) {
            self.every_tag_names_a_complete_image(tally);
        }
    }

    /// What it was doing a moment before the end.
    fn bring_to(&mut self, scene: Scene, tally: &mut Tally) -> Doing {
        if scene == Scene::Opening {
            self.tell_some();
            let manager = Manager::listen(self.dir.path());
            self.mirror.spawn(Some(manager.path()));
        } else {
            self.start(tally);
            self.play(scene);
        }
        sleep(scene.pause(&self.random));
        let doing = self.doing().unwrap_or_default();
        match scene {
            Scene::Reading => self.tell_some(),
            Scene::Draining => self.mirror.tell_to_stop(),
            _ => return doing,
        }
        sleep(scene.pause(&self.random));
        doing
    }

    /// Starts the unit and waits until it is ready.
    pub fn start(&mut self, tally: &mut Tally) {
        let manager = Manager::listen(self.dir.path());
        self.mirror.spawn(Some(manager.path()));
        let ready = manager.until_ready(READY_WITHIN);
        tally.ready(ready.unwrap_or_else(|| {
            let disk = sync_takes(self.dir.path());
            let log = self.mirror.log();
            panic!(
                "a restart was not ready within {READY_WITHIN:?}; the disk takes {disk:?} for a byte\n{log}"
            )
        }));
    }

    /// Tells what makes the scene come, and waits until it has.
    fn play(&mut self, scene: Scene) {
        match scene {
            Scene::Opening => {}
            Scene::Surveying => self.until(|stage| stage.doing().is_some_and(|doing| doing.surveying)),
            Scene::Reading => self.until_consuming(),
            Scene::Acknowledging => {
                self.until_consuming();
                let before = self.count("/consumed/processed");
                self.tell_some();
                self.until(|stage| stage.count("/consumed/processed") > before);
            }
            Scene::Copying => {
                self.until_consuming();
                let before = self.uploads();
                self.tell_of_an_image();
                self.until(|stage| !stage.uploads().is_subset(&before));
            }
            Scene::Announcing => {
                self.until_consuming();
                let before = self.count("/published");
                self.tell_of_an_image();
                self.until(|stage| stage.count("/published") > before);
            }
            Scene::Draining => {
                self.until_consuming();
                self.tell_of_an_image();
                self.tell_some();
            }
        }
    }

    fn until_consuming(&self) {
        self.until(|stage| stage.mirror.answer("/ready").is_some_and(|ready| ready["consuming"] == true));
    }

    /// Waits for what makes a scene. Where it does not come the unit is killed all the same.
    fn until(&self, mut comes: impl FnMut(&Self) -> bool) {
        let end = SystemClock.monotonic() + SCENE_WITHIN;
        while !comes(self) && SystemClock.monotonic() < end {
            sleep(GLANCE_EVERY);
        }
    }

    fn tell_some(&mut self) {
        for _ in 0..Scene::messages(&self.random) {
            let line = self.world.next();
            self.publisher.publish(&line);
        }
    }

    fn tell_of_an_image(&mut self) {
        let story = self.world.next_wanted_image();
        self.tell(story);
    }

    /// Tells the rest of every story, and says how many messages that took.
    pub fn tell_the_rest(&mut self) -> usize {
        let rest = self.world.rest();
        let told = rest.len();
        self.tell(rest);
        told
    }

    fn tell(&mut self, lines: Vec<String>) {
        lines.iter().for_each(|line| self.publisher.publish(line));
    }

    /// By its own word; `None` where it does not answer.
    pub fn doing(&self) -> Option<Doing> {
        let status = self.mirror.answer("/status")?;
        let ledger = |name: &str| status["ledger"][name].as_u64().unwrap();
        Some(Doing {
            doubtful: ledger("doubtful") - ledger("parked"),
            in_flight: ledger("in_flight"),
            outbox: ledger("outbox"),
            surveying: status["survey"]["running"] == true,
            survey_owed: !status["survey"]["state"]["owed"].is_null(),
        })
    }

    /// One of the counts of `/ready`; 0 where it does not answer.
    fn count(&self, pointer: &str) -> u64 {
        let ready = self.mirror.answer("/ready");
        ready.and_then(|ready| ready.pointer(pointer)?.as_u64()).unwrap_or_default()
    }

    /// The uploads that are open at the destination, or were left open there.
    fn uploads(&self) -> BTreeSet<PathBuf> {
        let mut found = BTreeSet::new();
        uploads_in(&self.public.data().join("docker/registry/v2/repositories"), &mut found);
        found
    }

    /// What the broker has no more, the ledger of the dead has. Says what was cut.
    pub fn nothing_acknowledged_is_missing(&mut self, tally: &mut Tally) -> Cut {
        let waiting = self.queue.waiting();
        let ledger = self.ledger();
        let lost = self.world.witnesses.lost(&waiting.ids, &ledger);
        assert!(lost.is_empty(), "acknowledged, not in the ledger: {lost:?}\n{}", self.mirror.log());
        tally.autopsies += 1;
        let recorded = self.world.witnesses.recorded(&waiting.ids, &ledger);
        Cut { deliveries: waiting.given_back, acknowledgements: recorded, ..Cut::default() }
    }

    /// The ledger of the dead.
    pub fn ledger(&self) -> Ledger {
        self.autopsy.read(&self.dir.path().join("state"))
    }

    /// To the last blob, for anybody.
    pub fn every_tag_names_a_complete_image(&self, tally: &mut Tally) -> Tags {
        let walk = images::walk(self.runtime.handle(), &self.public.host());
        assert!(walk.wrong.is_empty(), "{:#?}\n{}", walk.wrong, self.mirror.log());
        tally.walks += 1;
        tally.images += walk.images;
        walk.tags
    }
}

/// Descends into repositories, and not into what the registry keeps of each.
fn uploads_in(dir: &Path, found: &mut BTreeSet<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.file_name().to_str() {
            Some("_uploads") => found.extend(
                fs::read_dir(entry.path()).into_iter().flatten().flatten().map(|upload| upload.path()),
            ),
            Some(name) if name.starts_with('_') => {}
            _ => uploads_in(&entry.path(), found),
        }
    }
}

/// How long the disk takes to make a byte durable: on one that others keep busy nothing is ready soon.
fn sync_takes(dir: &Path) -> Duration {
    let begun = SystemClock.monotonic();
    let mut file = fs::File::create(dir.join("byte")).unwrap();
    file.write_all(b"0").and_then(|()| file.sync_all()).unwrap();
    begun.elapsed()
}

/// Makes all durable that was written before, by a build for one: the unit's first commits would wait for that.
fn calm_the_disk(dir: &Path) {
    assert!(Command::new("sync").arg("--file-system").arg(dir).status().unwrap().success());
}

/// Changes settings of the loop in a configuration.
fn set(config: &Path, settings: &[(&str, i64)]) {
    let mut table: Table = fs::read_to_string(config).unwrap().parse().unwrap();
    let runtime = table["consumer_config"]["runtime"].as_table_mut().unwrap();
    runtime.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())));
    fs::write(config, table.to_string()).unwrap();
}
