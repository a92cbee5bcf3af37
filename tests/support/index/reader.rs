//! Somebody who reads the published files all the time, as a web server does: opened once, read to the end.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use flate2::read::GzDecoder;
use serde_json::Value;

/// Reads until it is asked what it saw.
pub struct Reader {
    stop: Arc<AtomicBool>,
    reading: JoinHandle<Seen>,
}

/// What was read.
#[derive(Default)]
pub struct Seen {
    /// How many files, each whole.
    pub files: usize,
    /// Images that they named.
    pub digests: BTreeSet<String>,
    /// What was wrong with others.
    pub wrong: Vec<String>,
}

impl Reader {
    /// Reads the files of a site's index, plain and compressed, and looks for the icons that they name.
    pub fn start(site: &Path) -> Self {
        let (stop, site) = (Arc::new(AtomicBool::new(false)), site.to_owned());
        let stopped = Arc::clone(&stop);
        let reading = thread::spawn(move || {
            let mut seen = Seen::default();
            while !stopped.load(Ordering::Relaxed) {
                files(&site).iter().for_each(|path| seen.read(&site, path));
            }
            seen
        });
        Self { stop, reading }
    }

    /// Ends it.
    pub fn seen(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        self.reading.join().expect("a reader that does not panic")
    }
}

fn files(site: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(site.join("index")).into_iter().flatten().flatten().map(|entry| entry.path());
    let ours = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.starts_with("flatpak-") && (name.ends_with(".json") || name.ends_with(".json.gz"))
    };
    entries.filter(ours).collect()
}

impl Seen {
    fn read(&mut self, site: &Path, path: &Path) {
        match read(path).map_err(|error| error.to_string()).and_then(|text| self.look(site, &text)) {
            Ok(()) => self.files += 1,
            Err(why) => self.wrong.push(format!("{}: {why}", path.display())),
        }
    }

    fn look(&mut self, site: &Path, text: &str) -> Result<(), String> {
        let index: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let repositories = index["Results"].as_array().ok_or("it has no Results")?;
        let images = repositories.iter().filter_map(|one| one["Images"].as_array()).flatten();
        self.digests.extend(images.filter_map(|image| image["Digest"].as_str()).map(str::to_owned));
        let icons = text.split("\"/icons/").skip(1).filter_map(|rest| rest.split('"').next());
        match icons.into_iter().find(|icon| !site.join("icons").join(icon).exists()) {
            Some(icon) => Err(format!("it names {icon}, which is not there")),
            None => Ok(()),
        }
    }
}

fn read(path: &Path) -> std::io::Result<String> {
    let (mut file, mut text) = (File::open(path)?, String::new());
    if path.extension().is_some_and(|end| end == "gz") {
        GzDecoder::new(file).read_to_string(&mut text)?;
    } else {
        file.read_to_string(&mut text)?;
    }
    Ok(text)
}
