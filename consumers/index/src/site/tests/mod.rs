//! A site is always whole, whatever happens to whom when.

mod content;
mod crash;
mod digests;
mod random;

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Read as _,
    num::NonZeroUsize,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use flatbus_base::{Remediable as _, Remedy};
use flatbus_oci::Digest;
use flate2::read::MultiGzDecoder;
use jiff::Timestamp;
use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::weave::{Frame, Job, Layout, Packed, Piece, Woven, weave};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
const LATEST: &str = "index/flatpak-latest.json";
const AMD64: &str = "index/flatpak-latest-amd64.json";

/// A site with what ought to be in its outputs.
struct World {
    dir: TempDir,
    site: Site,
    frame: Frame,
    layouts: BTreeMap<SitePath, Layout>,
    now: Cell<Timestamp>,
}

/// Names with texts.
type Pieces<'a> = &'a [(&'a str, Option<&'a str>)];

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let now: Timestamp = "2026-11-23T12:00:00.123456789Z".parse().unwrap();
        let site =
            Site::open(&dir.path().join("site"), &dir.path().join("state"), Keep::default(), now).unwrap();
        Self { dir, site, frame: frame(), layouts: BTreeMap::new(), now: Cell::new(now) }
    }

    /// The site as another process finds it, perhaps in another place.
    fn open(dir: TempDir, now: Timestamp) -> Self {
        let site =
            Site::open(&dir.path().join("site"), &dir.path().join("state"), Keep::default(), now).unwrap();
        let mut world = Self { dir, site, frame: frame(), layouts: BTreeMap::new(), now: Cell::new(now) };
        world.read_layouts();
        world
    }

    fn reopen(self) -> Self {
        let Self { dir, site, now, .. } = self;
        drop(site);
        Self::open(dir, now.get())
    }

    fn read_layouts(&mut self) {
        self.layouts.clear();
        for path in [LATEST, AMD64].map(path) {
            if let Some(layout) = self.site.layout(&path, &self.frame).unwrap() {
                self.layouts.insert(path, layout);
            }
        }
    }

    fn later(&self, time: Duration) -> Timestamp {
        self.now.set(self.now.get() + time);
        self.now.get()
    }

    fn dir(&self) -> PathBuf {
        self.dir.path().join("site")
    }

    fn woven(&mut self, publication: &Publication, output: &str, pieces: Pieces<'_>) -> Woven {
        let empty = Layout::empty(&self.frame);
        let layout = self.layouts.get(&path(output)).unwrap_or(&empty);
        let piece = |text: &str| Piece::new(vec![Packed::new(text)], &Value::from(text));
        let changes = pieces.iter().map(|(name, text)| ((*name).to_owned(), text.map(piece))).collect();
        let target = publication.target(&path(output));
        let job = Job { frame: &self.frame, layout, changes: &changes, target };
        weave(&[job], NonZeroUsize::MIN).pop().unwrap().unwrap().unwrap()
    }

    fn begin(&mut self) -> Publication {
        self.site.begin(self.later(Duration::from_secs(1))).unwrap()
    }

    fn publish(&mut self, publication: Publication) -> Result<Published, Error> {
        let published = self.site.publish(publication, self.now.get())?;
        self.layouts.extend(published.layouts.clone());
        Ok(published)
    }

    fn try_change(&mut self, output: &str, pieces: Pieces<'_>) -> Result<Published, Error> {
        let mut publication = self.begin();
        let woven = self.woven(&publication, output, pieces);
        publication.output(woven);
        self.publish(publication)
    }

    fn change(&mut self, output: &str, pieces: Pieces<'_>) -> Published {
        self.try_change(output, pieces).unwrap()
    }

    /// The listing as a reader finds it.
    fn listing(&self) -> Listing {
        serde_json::from_slice(&self.read("site.json")).unwrap()
    }

    fn read(&self, path: &str) -> Vec<u8> {
        fs::read(self.dir().join(path)).unwrap()
    }

    fn text(&self, output: &str) -> String {
        String::from_utf8(self.read(output)).unwrap()
    }

    fn metadata(&self, path: &str) -> fs::Metadata {
        fs::metadata(self.dir().join(path)).unwrap()
    }

    /// All that must be so at rest.
    fn check(&self) {
        let listing = self.listing();
        assert_eq!(&listing, self.site.listing());
        let lists = listing.lists.iter().map(|list| &list.file);
        for file in listing.files.iter().chain(lists) {
            self.check_file(file);
        }
        for file in &listing.files {
            assert_eq!(self.read(&by_digest(&file.sha256)), self.read(file.path.as_str()), "{}", file.path);
        }
        for file in What::ALL.iter().flat_map(|what| self.site.listed(*what).unwrap()) {
            self.check_file(&file);
        }
        assert_eq!(left_over(self.dir.path()), Vec::<PathBuf>::new());
        check_encodings(&self.dir());
    }

    fn check_file(&self, file: &File) {
        let (path, bytes) = (file.path.as_str(), self.read(file.path.as_str()));
        assert_eq!((bytes.len() as u64, Digest::of(&bytes)), (file.size, file.sha256), "{path}");
        let metadata = self.metadata(path);
        let nanoseconds = metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec();
        assert_eq!(nanoseconds, file.mtime_us * 1000, "{path}");
        assert!(file.mtime_us <= self.now.get().as_microsecond() - 2_000_000, "{path}");
    }
}

fn frame() -> Frame {
    Frame::new("{\"Results\": [\n", ",\n", "\n]}", "{\"Results\": []}")
}

fn path(text: &str) -> SitePath {
    text.parse().unwrap()
}

fn by_digest(digest: &Digest) -> String {
    format!("by-digest/sha256/{}/{}", &digest.hex()[..2], &digest.hex()[2..])
}

/// Files that wait, anywhere.
fn left_over(dir: &Path) -> Vec<PathBuf> {
    walk(dir).into_iter().filter(|path| crate::weave::is_waiting(path)).collect()
}

fn walk(dir: &Path) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() { paths.extend(walk(&path)) } else { paths.push(path) }
    }
    paths.sort();
    paths
}

/// Every index that stands there is whole in each of its encodings, whichever generation each is.
fn check_encodings(dir: &Path) {
    let ours = |path: &PathBuf| path.to_str().unwrap().contains("/flatpak-");
    for path in walk(&dir.join("index")).into_iter().filter(ours) {
        let bytes = fs::read(&path).unwrap();
        let text = match path.extension().and_then(|end| end.to_str()) {
            Some("gz") => {
                let mut text = Vec::new();
                MultiGzDecoder::new(&*bytes).read_to_end(&mut text).unwrap();
                text
            }
            Some("zst") => zstd::stream::decode_all(&*bytes).unwrap(),
            _ => bytes,
        };
        let json: Value =
            serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(json["Results"].is_array());
    }
}

/// As it is at this instant.
fn copy(dir: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    let copied = Command::new("cp").arg("-a").arg(dir.join(".")).arg(copy.path()).status().unwrap();
    assert!(copied.success());
    copy
}

#[test]
fn what_is_published_is_listed_with_its_digest_and_time() {
    let mut world = World::new();
    let published = world.change(LATEST, &[("eog", Some("{}"))]);
    world.check();
    let paths: Vec<&str> = published.changed.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, [LATEST, "index/flatpak-latest.json.gz", "index/flatpak-latest.json.zst"]);
    assert_eq!(published.serial, world.listing().serial);
    assert_eq!(world.text(LATEST), "{\"Results\": [\n{}\n]}");
    let json: Value = serde_json::from_slice(&world.read("site.json")).unwrap();
    let file = &json["files"][0];
    assert_eq!((&file["path"], &file["size"]), (&LATEST.into(), &19.into()));
    assert_eq!(file["sha256"], Digest::of(world.text(LATEST).as_bytes()).hex());
    assert_eq!(
        file["mtime_us"],
        "2026-11-23T11:59:59.123456Z".parse::<Timestamp>().unwrap().as_microsecond()
    );
    assert_eq!(file["mtime_us"], json["mtime_us"]);
    assert_eq!(world.metadata("site.json").mtime_nsec() % 1000, 0);
}

#[test]
fn each_generation_is_newer_than_the_last_whatever_the_clock_does() {
    let mut world = World::new();
    let (mut last, mut serial) = (0, 0);
    let steps = ["PT0S", "PT0S", "PT1S", "-PT20M", "PT5S", "PT1H", "PT0.0000001S"];
    for (n, step) in steps.into_iter().enumerate() {
        let now = world.now.get() + step.parse::<jiff::SignedDuration>().unwrap();
        world.now.set(now);
        let mut publication = world.site.begin(now).unwrap();
        let woven = world.woven(&publication, LATEST, &[("eog", Some(&n.to_string()))]);
        publication.output(woven);
        world.publish(publication).unwrap();
        let listing = world.listing();
        let file = listing.file(&path(LATEST)).unwrap();
        assert!(file.mtime_us > last && listing.serial > serial, "{step}");
        (last, serial) = (file.mtime_us, listing.serial);
        world = world.reopen();
    }
}

#[test]
fn a_time_far_to_come_is_not_gone_on_from() {
    let mut world = World::new();
    let true_now = world.now.get();
    world.now.set(true_now + DAY * 400);
    world.change(LATEST, &[("eog", Some("1"))]);
    world.now.set(true_now);
    let mut world = world.reopen();
    world.change(LATEST, &[("eog", Some("2"))]);
    world.check();
}

#[test]
fn what_did_not_change_is_not_touched() {
    let mut world = World::new();
    world.change(AMD64, &[("eog", Some("{}"))]);
    world.change(LATEST, &[("eog", Some("{}"))]);
    let before = (world.metadata(LATEST).ino(), world.metadata("site.json").ino(), world.listing());
    let mut publication = world.begin();
    world.layouts.clear(); // So that it is all woven anew.
    let woven = world.woven(&publication, LATEST, &[("eog", Some("{}"))]);
    publication.output(woven);
    let published = world.publish(publication).unwrap();
    assert!(published.changed.is_empty());
    assert_eq!(before, (world.metadata(LATEST).ino(), world.metadata("site.json").ino(), world.listing()));
    world.check();
    let mut world = world.reopen();
    assert_eq!(world.layouts[&path(LATEST)], published.layouts[&path(LATEST)]);
    world.change(LATEST, &[("baobab", Some("{}"))]);
    world.check();
}

#[test]
fn what_only_seems_unchanged_is_replaced() {
    let mut world = World::new();
    world.change(LATEST, &[("eog", Some("{\"a\": 1}"))]);
    let place = world.dir().join(LATEST);
    let stamp = Stamp(world.listing().mtime_us);
    let file = fs::File::options().write(true).open(&place).unwrap();
    std::os::unix::fs::FileExt::write_at(&file, b"#", 20).unwrap();
    file.set_times(stamp.times()).unwrap();
    assert!(!world.site.verify(&path(LATEST)).unwrap());
    world.site.forget_layout(&path(LATEST)).unwrap();
    let mut world = world.reopen();
    assert!(world.layouts.is_empty());
    world.change(LATEST, &[("eog", Some("{\"a\": 1}"))]);
    assert!(world.site.verify(&path(LATEST)).unwrap());
    world.check();
}

#[test]
fn what_was_made_from_another_generation_is_refused() {
    let mut world = World::new();
    world.change(LATEST, &[("eog", Some("1"))]);
    let old = world.layouts.clone();
    world.change(LATEST, &[("baobab", Some("1"))]);
    let new = std::mem::replace(&mut world.layouts, old);
    let mut publication = world.begin();
    world.layouts.clone_from(&new);
    let woven = world.woven(&publication, LATEST, &[("eog", Some("2"))]);
    publication.output(woven);
    world.begin();
    let error = world.publish(publication).unwrap_err();
    assert!(matches!(error, Error::Stale { .. }), "{error}");
    assert_eq!(error.remedy(), Remedy::Retry);
    assert_eq!(left_over(world.dir.path()), Vec::<PathBuf>::new());
    world.change(LATEST, &[("eog", Some("2"))]);
    assert_eq!(world.text(LATEST), "{\"Results\": [\n1,\n2\n]}");
}

#[test]
fn small_files_are_published_like_large_ones() {
    let mut world = World::new();
    let wanted = path("deltas/wanted.json");
    for (content, changed) in [("[]", 1), ("[]", 0), ("[1]", 1)] {
        let mut publication = world.begin();
        publication.file(wanted.clone(), content.into());
        assert_eq!(world.publish(publication).unwrap().changed.len(), changed);
        assert_eq!(world.text("deltas/wanted.json"), content);
        world.check();
    }
}

#[test]
fn a_damaged_site_json_is_begun_anew() {
    let mut world = World::new();
    world.change(LATEST, &[("eog", Some("1"))]);
    let before = world.listing();
    fs::write(world.dir().join("site.json"), "{\"serial\": 3, \"fil").unwrap();
    let mut world = world.reopen();
    assert!(world.layouts.is_empty());
    world.change(LATEST, &[("eog", Some("1"))]);
    world.check();
    assert!(world.listing().mtime_us > before.mtime_us && world.listing().serial > before.serial);
}

#[test]
fn a_path_that_leads_elsewhere_is_none() {
    for bad in [
        "",
        "/etc/passwd",
        "index/../x",
        "a//b",
        ".htaccess",
        "index/.x.next",
        "a\\b",
        "a b",
        "a?b",
        "é",
        "a/",
    ] {
        assert!(bad.parse::<SitePath>().is_err(), "{bad}");
        assert!(serde_json::from_value::<SitePath>(bad.into()).is_err(), "{bad}");
    }
    assert!("a".repeat(201).parse::<SitePath>().is_err());
    assert_eq!(path("deltas/wanted.json").to_string(), "deltas/wanted.json");
}

#[test]
fn an_etag_is_what_apache_answers() {
    // Apache 2.4 with `FileETag MTime Size`, for a file of 19 bytes of 2026-11-23T11:59:59.123456Z.
    assert_eq!(etag(19, 1_795_435_199_123_456), "\"13-660f05542d000\"");
    assert_eq!(etag(0, 1), "\"0-1\"");
}
