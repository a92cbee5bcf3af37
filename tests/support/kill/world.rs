//! The world around the unit: Koji, Bodhi and the candidates in this process, and a story that goes on for as long as the
//! unit is killed. It is told in messages: the recorded history, in its order; new applications' updates between them;
//! and witnesses.

use std::{
    collections::{BTreeMap, VecDeque},
    num::NonZeroU32,
    sync::Arc,
};

use flatbus_base::Random;
use flatbus_embedded::{
    Samples, bodhi,
    history::{Player, Story, StoryBuild},
    images, koji,
    registry::{self, Registry},
};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::runtime::Handle;

use super::witness::Witnesses;
use crate::proxy::{Course, Fate, Proxy};

/// What the builds' pull specs say, as Fedora's do: the configuration maps it to where the candidates are.
const CANDIDATES: &str = "candidate-registry.fedoraproject.org";
/// Large enough for a copy to be caught at it, over a slow line.
const BALLAST_BYTES: std::ops::RangeInclusive<u64> = 100_000..=600_000;
/// How fast the candidates give their bytes, a connection.
const CANDIDATE_BYTES_PER_S: NonZeroU32 = NonZeroU32::new(2_000_000).unwrap();
/// New updates are of this release, and new builds like this one of Koji's.
const RELEASE: &str = "F36F";
const MODEL: i64 = 2_400_001;
const FIRST_BUILD: i64 = 2_500_000;
/// Repositories of new applications.
const APPLICATIONS: [&str; 4] = ["chess", "clocks", "maps", "weather"];
/// Of so many new updates one stays in testing.
const TESTING_ONLY_ONE_IN: u64 = 4;

/// Truth, and what is told of it.
pub struct World {
    koji: koji::Koji,
    bodhi: bodhi::Bodhi,
    candidate: Registry,
    line: Proxy,
    random: Random,
    history: Player,
    /// New updates that are not told to their ends.
    stories: VecDeque<Player>,
    /// What new builds and updates are made like.
    model: Samples,
    new_builds: i64,
    pub witnesses: Witnesses,
    /// Every line that is told, by its message's id.
    lines: BTreeMap<String, String>,
    aliases: Vec<String>,
    /// Messages told so far, of the history and of new updates.
    pub told_of_history: usize,
    pub told_of_stories: usize,
}

impl World {
    /// At the beginning of the history.
    pub fn new(runtime: &Handle, random: Random) -> Self {
        let mut samples = Samples::built_in().unwrap();
        let koji = runtime.block_on(koji::start(koji::Settings::default())).unwrap();
        let bodhi = runtime.block_on(bodhi::start(bodhi::Settings::default())).unwrap();
        let candidate = runtime.block_on(registry::start(registry::Settings::default())).unwrap();
        let line = runtime.block_on(Proxy::start("candidates", candidate.host().parse().unwrap())).unwrap();
        let slow = Course { bytes_per_s: Some(CANDIDATE_BYTES_PER_S), ..Course::default() };
        line.all(Fate { to_client: slow, ..Fate::default() });
        publish_images(&mut samples, &candidate);
        let (lines, aliases) = (by_id(&samples), samples.updates.keys().cloned().collect());
        let model = model(&samples);
        let witnesses = Witnesses::like(&model.builds[&MODEL]);
        let history = Player::new(samples, Arc::clone(&koji.builds), Arc::clone(&bodhi.updates)).unwrap();
        Self {
            koji,
            bodhi,
            candidate,
            line,
            random,
            history,
            stories: VecDeque::new(),
            model,
            new_builds: 0,
            witnesses,
            lines,
            aliases,
            told_of_history: 0,
            told_of_stories: 0,
        }
    }

    pub fn koji_url(&self) -> String {
        self.koji.url()
    }

    pub fn bodhi_url(&self) -> String {
        self.bodhi.url()
    }

    /// Where the candidates are, at the end of a slow line.
    pub fn candidate_host(&self) -> String {
        self.line.host()
    }

    /// What is told next: of what, the seed decides. Koji and Bodhi know it already.
    pub fn next(&mut self) -> String {
        let told = match self.random.below(10) {
            0..6 => self.next_of_history(),
            6..8 => self.next_of_stories(),
            _ => None,
        };
        told.unwrap_or_else(|| self.witnesses.tell(&self.koji.builds, &self.random))
    }

    /// A new build, from its first message to its push to testing: from then on its image is wanted. The rest of its
    /// story is told later.
    pub fn next_wanted_image(&mut self) -> Vec<String> {
        const TO_TESTING: usize = 4;
        let mut story = self.new_story();
        let told: Vec<String> = (0..TO_TESTING).filter_map(|_| self.step(&mut story)).collect();
        self.told_of_stories += told.len();
        self.stories.push_back(story);
        told
    }

    /// All that is left to be told. Afterwards Koji and Bodhi are as at the end of all stories.
    pub fn rest(&mut self) -> Vec<String> {
        let mut rest: Vec<String> = std::iter::from_fn(|| self.next_of_history()).collect();
        rest.extend(std::iter::from_fn(|| self.next_of_stories()));
        self.history.finish();
        rest
    }

    fn next_of_history(&mut self) -> Option<String> {
        let message = self.history.step()?;
        self.told_of_history += 1;
        Some(self.lines[&message.id].clone())
    }

    fn next_of_stories(&mut self) -> Option<String> {
        let mut story = self.stories.pop_front()?;
        let told = self.step(&mut story)?;
        self.told_of_stories += 1;
        if story.played() < story.total() {
            self.stories.push_back(story);
        } else {
            story.finish();
        }
        Some(told)
    }

    fn step(&self, story: &mut Player) -> Option<String> {
        story.step().map(|message| self.lines[&message.id].clone())
    }

    /// A new version of one of the new applications, its image among the candidates, nothing of it told.
    fn new_story(&mut self) -> Player {
        let story = story(self.new_builds, self.random.below(TESTING_ONLY_ONE_IN) > 0);
        self.new_builds += 1;
        let mut samples = self.model.clone();
        story.add_to(&mut samples).unwrap();
        samples.builds.retain(|id, _| *id >= FIRST_BUILD);
        samples.archives.retain(|id, _| *id >= FIRST_BUILD);
        samples.updates.retain(|alias, _| *alias == story.alias());
        publish_images(&mut samples, &self.candidate);
        self.lines.extend(by_id(&samples));
        self.aliases.push(story.alias());
        Player::new(samples, Arc::clone(&self.koji.builds), Arc::clone(&self.bodhi.updates)).unwrap()
    }

    /// Every update, as Bodhi has it now.
    pub fn updates(&self) -> Vec<Value> {
        self.aliases.iter().filter_map(|alias| self.bodhi.updates.update(alias)).collect()
    }

    /// A build, as Koji has it now.
    pub fn build(&self, nvr: &str) -> Option<Value> {
        self.koji.builds.by_nvr(nvr)
    }
}

/// Makes the image of every build, puts it among the candidates, and has the records name it.
fn publish_images(samples: &mut Samples, candidate: &Registry) {
    let settings = images::Settings { ballast_bytes: BALLAST_BYTES, ..images::Settings::default() };
    let images = images::make_all(&samples.builds, &samples.archives, &settings);
    for image in images.values() {
        image.put(&candidate.content).unwrap();
    }
    samples.name_images(&images, CANDIDATES);
}

fn by_id(samples: &Samples) -> BTreeMap<String, String> {
    let id = |line: &String| serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().to_owned();
    samples.timeline.iter().map(|line| (id(line), line.clone())).collect()
}

/// One build and one update, and no message.
fn model(samples: &Samples) -> Samples {
    let of_release = |update: &&Value| update["release"]["name"] == RELEASE;
    let update = samples.updates.values().find(of_release).unwrap().clone();
    Samples {
        builds: BTreeMap::from([(MODEL, samples.builds[&MODEL].clone())]),
        archives: BTreeMap::from([(MODEL, samples.archives[&MODEL].clone())]),
        updates: BTreeMap::from([(update["alias"].as_str().unwrap().to_owned(), update)]),
        timeline: Vec::new(),
    }
}

/// The story of this number, each an hour after the one before: built, in testing after two hours, stable after four.
fn story(number: i64, stable: bool) -> Story {
    let (version, application) = (number / 4, APPLICATIONS[usize::try_from(number % 4).unwrap()]);
    let begin: Timestamp = "2022-11-01T10:00:00Z".parse().unwrap();
    let completed = begin + SignedDuration::from_hours(number);
    let after = |hours: i64| completed + SignedDuration::from_hours(hours);
    let build = StoryBuild {
        id: FIRST_BUILD + number,
        nvr: format!("{application}-flatpak-44.{version}-1"),
        repository: application.to_owned(),
        flatpak_ref: format!("app/org.gnome.{application}/{{arch}}/stable"),
        completed,
    };
    Story {
        release: RELEASE.to_owned(),
        builds: vec![build],
        testing: after(2),
        stable: stable.then(|| after(4)),
    }
}
