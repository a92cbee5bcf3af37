//! What a process holds, as the kernel counts it.

use std::{collections::BTreeMap, fs, path::Path};

/// Threads by name, descriptors by kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    pub threads: BTreeMap<String, usize>,
    pub descriptors: BTreeMap<String, usize>,
}

impl Held {
    /// What a process holds now.
    pub fn by(pid: u32) -> Self {
        let mut held = Self::default();
        for task in entries(&format!("/proc/{pid}/task")) {
            if let Ok(name) = fs::read_to_string(Path::new(&task).join("comm")) {
                *held.threads.entry(name.trim_end().to_owned()).or_default() += 1;
            }
        }
        for descriptor in entries(&format!("/proc/{pid}/fd")) {
            if let Ok(target) = fs::read_link(&descriptor) {
                let target = target.display().to_string();
                // `socket:[1234]`, `anon_inode:[eventpoll]`, a path.
                let kind = target.split_once(":[").map_or("file", |(kind, _)| kind);
                *held.descriptors.entry(kind.to_owned()).or_default() += 1;
            }
        }
        held
    }

    pub fn threads_named(&self, name: &str) -> usize {
        self.threads.get(name).copied().unwrap_or_default()
    }

    pub fn threads(&self) -> usize {
        self.threads.values().sum()
    }

    pub fn sockets(&self) -> usize {
        self.descriptors.get("socket").copied().unwrap_or_default()
    }

    /// Everything but sockets.
    pub fn other_descriptors(&self) -> usize {
        self.descriptors.values().sum::<usize>() - self.sockets()
    }
}

fn entries(folder: &str) -> Vec<std::path::PathBuf> {
    let listed = fs::read_dir(folder).into_iter().flatten();
    listed.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect()
}

/// The process that was started with all of these arguments.
pub fn find(arguments: &[&str]) -> u32 {
    let is = |pid: &u32| {
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<&str> = line.split('\0').collect();
        arguments.iter().all(|argument| words.contains(argument))
    };
    let pids = entries("/proc").into_iter().filter_map(|path| path.file_name()?.to_str()?.parse().ok());
    pids.into_iter().find(is).expect("it runs")
}
