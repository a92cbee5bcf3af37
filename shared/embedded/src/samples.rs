//! The real records and messages that come with the project, built into the program: the demo needs no file.
//!
//! What each is and where it comes from stands beside them, in `schemas/samples`.

use std::collections::BTreeMap;

use serde_json::Value;

/// Builds, archives, updates and messages of three applications.
#[derive(Debug, Clone, Default)]
pub struct Samples {
    /// Build records (`getBuild`) by number.
    pub builds: BTreeMap<i64, Value>,
    /// Archive records (`listArchives`) by the number of their build.
    pub archives: BTreeMap<i64, Vec<Value>>,
    /// Flatpak updates in their final state, by alias.
    pub updates: BTreeMap<String, Value>,
    /// Messages in order of time: lines of a recording.
    pub timeline: Vec<String>,
}

/// A sample that can't be read: the program was built wrongly.
#[derive(Debug, thiserror::Error)]
#[error("the sample {name} can't be read: {problem}")]
pub struct BadSample {
    name: String,
    problem: String,
}

macro_rules! files {
    ($folder:literal: $($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../../schemas/samples/", $folder, "/", $name)))),*]
    };
}

type Files = &'static [(&'static str, &'static str)];

const BUILDS: Files = files!["koji/builds":
    "baobab-master-3220200331145937.1.json",
    "baobab-master-3220200331145937.2.json",
    "baobab-stable-3520211002221204.1.json",
    "baobab-stable-3620220517102805.1.json",
    "eog-master-20180821163756.2.json",
    "eog-master-20181128204005.1.json",
    "eog-stable-3520211004195602.1.json",
    "eog-stable-3520211004195602.2.json",
    "eog-stable-3520211208122518.1.json",
    "eog-stable-3620220517111936.1.json",
    "eog-stable-3620220719201019.2.json",
    "eog-stable-3620220905044417.1.json",
    "quadrapassel-master-20181203181243.2.json",
    "quadrapassel-stable-3520211005192946.1.json",
    "synthetic-eog-flatpak-42.3-1.json",
    "synthetic-quadrapassel-flatpak-40.2-1.json",
];

const ARCHIVES: Files = files!["koji/archives":
    "baobab-master-3220200331145937.1.json",
    "baobab-stable-3520211002221204.1.json",
    "eog-master-20181128204005.1.json",
    "eog-stable-3620220905044417.1.json",
    "synthetic-eog-flatpak-42.3-1.json",
    "synthetic-quadrapassel-flatpak-40.2-1.json",
];

const UPDATES: Files = files!["bodhi/updates":
    "FEDORA-FLATPAK-2018-2f1988821e.json",
    "FEDORA-FLATPAK-2018-b653073d2f.json",
    "FEDORA-FLATPAK-2020-c3101996a6.json",
    "FEDORA-FLATPAK-2020-dfd7272b06.json",
    "FEDORA-FLATPAK-2021-2db97225fd.json",
    "FEDORA-FLATPAK-2021-4df18ed3c8.json",
    "FEDORA-FLATPAK-2021-56cf8de552.json",
    "FEDORA-FLATPAK-2021-be7df1d070.json",
    "FEDORA-FLATPAK-2021-cb6b3c0cad.json",
    "FEDORA-FLATPAK-2022-274a792493.json",
    "FEDORA-FLATPAK-2022-6e191c5e67.json",
    "FEDORA-FLATPAK-2022-efcca6b48a.json",
];

const BUILD_LINES: Files = files!["koji": "rpm-builds.jsonl", "module-builds.jsonl"];

const TIMELINE: &str = include_str!("../../../schemas/samples/messages/synthetic-timeline.jsonl");

impl Samples {
    /// The samples of the project.
    ///
    /// # Errors
    /// When the program was built with samples that can't be read.
    pub fn built_in() -> Result<Self, BadSample> {
        let mut samples = Self::default();
        for (name, text) in BUILDS {
            samples.add_build(name, parse(name, text)?)?;
        }
        for (name, text) in BUILD_LINES {
            for line in text.lines() {
                samples.add_build(name, parse(name, line)?)?;
            }
        }
        for (name, text) in ARCHIVES {
            samples.add_archives(name, parse(name, text)?)?;
        }
        for (name, text) in UPDATES {
            let update = parse(name, text)?;
            let alias = update["alias"].as_str().ok_or_else(|| bad(name, "no alias"))?.to_owned();
            samples.updates.insert(alias, update);
        }
        samples.timeline = TIMELINE.lines().map(str::to_owned).collect();
        Ok(samples)
    }

    fn add_build(&mut self, name: &str, build: Value) -> Result<(), BadSample> {
        let id = build["build_id"].as_i64().ok_or_else(|| bad(name, "no build_id"))?;
        self.builds.insert(id, build);
        Ok(())
    }

    fn add_archives(&mut self, name: &str, archives: Value) -> Result<(), BadSample> {
        let Value::Array(archives) = archives else { return Err(bad(name, "not a list")) };
        let id = archives.first().and_then(|archive| archive["build_id"].as_i64());
        self.archives.insert(id.ok_or_else(|| bad(name, "no build_id"))?, archives);
        Ok(())
    }
}

fn parse(name: &str, text: &str) -> Result<Value, BadSample> {
    serde_json::from_str(text).map_err(|error| bad(name, &error.to_string()))
}

fn bad(name: &str, problem: &str) -> BadSample {
    BadSample { name: name.to_owned(), problem: problem.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, path::Path};

    use super::*;

    #[test]
    fn every_sample_file_is_built_in() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas/samples");
        for (folder, files) in
            [("koji/builds", BUILDS), ("koji/archives", ARCHIVES), ("bodhi/updates", UPDATES)]
        {
            let here: BTreeSet<String> = files.iter().map(|(name, _)| (*name).to_owned()).collect();
            let entries = std::fs::read_dir(root.join(folder)).unwrap();
            let there = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            assert_eq!(here, there, "{folder}");
        }
    }

    #[test]
    fn the_samples_can_be_read() {
        let samples = Samples::built_in().unwrap();
        assert_eq!(samples.updates.len(), UPDATES.len());
        assert!(samples.builds.len() > 200 && samples.timeline.len() > 900);
        assert!(samples.archives.keys().all(|id| samples.builds.contains_key(id)));
    }
}
