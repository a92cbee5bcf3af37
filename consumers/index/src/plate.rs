//! Prints the files: what each repository shows, as pieces, woven into every file that it stands in, and published.
//!
//! Blocking: called on a thread of its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    num::NonZeroUsize,
    path::Path,
    sync::Mutex,
    time::Duration,
};

use flatbus_oci::{Digest, Repository, Tag};
use flatbus_runtime::Failure;
use flatbus_schemas::PublishedFile;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use crate::{
    cache::Cache,
    config::{Config, Output},
    dress::{self, Dressed},
    entry::{self, Shown},
    event,
    image::Image,
    press::{Shelves, lock},
    recover,
    serve::EMPTY_INDEX,
    shelf::{Held, Shelf},
    site::{Content, Keep, Publication, Site, SitePath, What},
    weave::{self, Builder, Encoding, Frame, Job, Layout, Packed, Packer, Piece},
};

/// Files written at once: most wait for the disk, and use no processor.
const THREADS: NonZeroUsize = NonZeroUsize::new(4).expect("four is some");

/// What a piece shows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    /// All that the repository shows of the tag, also what other files show.
    held: Vec<Held>,
    /// The icons that its labels name.
    icons: BTreeSet<Digest>,
}

/// The files, and what stands in them.
pub(crate) struct Plates {
    site: Site,
    frame: Frame,
    layouts: BTreeMap<String, Layout>,
    /// Which icons each repository's labels name.
    icons: BTreeMap<Repository, BTreeSet<Digest>>,
    /// Images as published files show them, until these are printed again: of files of which nothing was remembered.
    recovered: BTreeMap<Digest, Image>,
    /// All changes up to this ticket are published.
    pub published: u64,
    /// Repositories that could not be printed with the last publication, and why.
    pub failed: BTreeMap<Repository, String>,
}

/// One repository's images, ready to be shown.
struct Proof {
    images: BTreeMap<Digest, Image>,
    /// By image, and whether its icons are files.
    dressed: BTreeMap<(Digest, bool), Dressed>,
}

impl Plates {
    /// Opens the published folder, and reads what it shows.
    pub fn open(config: &Config, state: &Path, now: Timestamp) -> Result<(Self, Shelves), Failure> {
        let mut site = Site::open(&config.site_dir, state, Keep::default(), now)?;
        let (head, tail) = entry::frame(config.public_url());
        let frame = Frame::new(&head, ",", tail, &entry::empty(config.public_url()));
        let (mut layouts, mut shelves, mut icons) = (BTreeMap::new(), Shelves::default(), BTreeMap::new());
        let mut recovered = BTreeMap::new();
        for output in &config.outputs {
            let path = path(output)?;
            let place = path.below(&config.site_dir);
            make_folder_of(&place)?;
            let layout = site.layout(&path, &frame)?;
            let shelf = shelves.by_tag.entry(output.tag.clone()).or_default();
            if layout.is_none() {
                recover(config, &place, shelf, &mut recovered);
            }
            let layout = layout.unwrap_or_else(|| Layout::empty(&frame));
            for (name, note) in layout.notes() {
                let (Some(repository), Ok(note)) =
                    (event::below(name, &config.clients), serde_json::from_value::<Note>(note))
                else {
                    continue;
                };
                icons.entry(repository.clone()).or_insert_with(BTreeSet::new).extend(note.icons);
                if shelf.of(&repository).is_empty() {
                    shelf.put(&repository, note.held);
                }
            }
            layouts.insert(output.path.clone(), layout);
        }
        let empty = site_path(EMPTY_INDEX)?;
        make_folder_of(&empty.below(&config.site_dir))?;
        if let Some(layout) = site.layout(&empty, &frame)? {
            layouts.insert(EMPTY_INDEX.to_owned(), layout);
        }
        Ok((Self { site, frame, layouts, icons, recovered, published: 0, failed: BTreeMap::new() }, shelves))
    }

    /// The index files as they are published.
    pub fn files(&self, config: &Config) -> Vec<PublishedFile> {
        let published = |output: &Output| {
            let whole = self.layouts.get(&output.path)?.files()?.each[Encoding::Plain];
            Some(PublishedFile {
                path: output.path.clone(),
                digest: whole.sha256.to_string(),
                size: whole.size,
            })
        };
        config.outputs.iter().filter_map(published).collect()
    }

    /// The images that the files show of a repository, by tag.
    pub fn shown(&self, config: &Config, repository: &Repository) -> BTreeMap<Tag, Vec<Digest>> {
        let name = config.public_name(repository);
        let noted = |output: &Output| {
            let note = self.layouts.get(&output.path)?.note(name.as_ref()?.as_str())?;
            let note: Note = serde_json::from_value(note).ok()?;
            Some((output.tag.clone(), note.held.into_iter().map(|held| held.digest).collect()))
        };
        config.outputs.iter().filter_map(noted).collect()
    }

    /// Removes what nothing names any more, after the grace period.
    pub fn sweep(&mut self, grace: Duration, now: Timestamp) -> Result<(), Failure> {
        let swept = self.site.sweep(grace, now)?;
        if swept.files > 0 {
            info!(
                files = swept.files,
                bytes = swept.bytes,
                "Removed {} files that nothing named any more",
                swept.files
            );
        }
        Ok(())
    }

    /// Of the publication that holds.
    pub fn serial(&self) -> u64 {
        self.site.listing().serial
    }

    /// Publishes what these repositories show now. One whose images are not at hand stays as it is, and is told in
    /// [`Self::failed`].
    pub fn print(
        &mut self,
        config: &Config,
        cache: &Cache,
        shelves: &Mutex<Shelves>,
        dirty: &BTreeSet<Repository>,
        now: Timestamp,
    ) -> Result<(), Failure> {
        let recovered = std::mem::take(&mut self.recovered);
        let printed = self.print_with(config, cache, &recovered, shelves, dirty, now);
        if printed.is_err() {
            self.recovered = recovered;
        }
        printed
    }

    fn print_with(
        &mut self,
        config: &Config,
        cache: &Cache,
        recovered: &BTreeMap<Digest, Image>,
        shelves: &Mutex<Shelves>,
        dirty: &BTreeSet<Repository>,
        now: Timestamp,
    ) -> Result<(), Failure> {
        self.failed.retain(|repository, _| !dirty.contains(repository));
        let mut publication = self.site.begin(now)?;
        self.look_again(config)?;
        let mut press = Setter { config, cache, recovered, packer: Packer::new(), shared: BTreeMap::new() };
        let mut changes: BTreeMap<&str, BTreeMap<String, Option<Piece>>> = BTreeMap::new();
        let mut icons = BTreeMap::new();
        for repository in dirty {
            let shown = lock(shelves).shown(repository);
            match press.pieces(repository, &shown) {
                Ok(set) => {
                    for (output, piece) in set.pieces {
                        changes.entry(output).or_default().insert(set.name.clone(), piece);
                    }
                    icons.insert(repository.clone(), set.icons);
                }
                Err(why) => {
                    warn!(image.repository = %repository, "{repository} stays in the index as it was: {why}");
                    self.failed.insert(repository.clone(), why);
                }
            }
        }
        self.build_missing(&mut press, shelves, &mut changes, &mut publication)?;
        self.weave(config, &changes, &mut publication)?;
        self.name_icons(config, &icons, &mut publication)?;
        let published = self.site.publish(publication, now)?;
        for (path, layout) in published.layouts {
            self.layouts.insert(path.to_string(), layout);
        }
        self.icons.extend(icons);
        self.icons.retain(|_, icons| !icons.is_empty());
        if let Err(error) = self.site.trim(now) {
            warn!(%error, "What was replaced could not be cleared away: {error}"); // What is published is published.
        }
        Ok(())
    }

    /// Reads again what stands in files that are not those of the last publication known here: one that was interrupted
    /// was finished since.
    fn look_again(&mut self, config: &Config) -> Result<(), Failure> {
        for name in config.outputs.iter().map(|output| output.path.as_str()).chain([EMPTY_INDEX]) {
            let path = site_path(name)?;
            let listed = self.site.listing().file(&path).map(|file| file.mtime_us);
            let known = self.layouts.get(name).and_then(Layout::files).map(|files| files.stamp.0);
            if listed != known {
                let layout = self.site.layout(&path, &self.frame)?;
                self.layouts.insert(name.to_owned(), layout.unwrap_or_else(|| Layout::empty(&self.frame)));
            }
        }
        Ok(())
    }

    /// Builds files of which nothing is known, from the shelves: side by side, a repository at a time.
    fn build_missing(
        &self,
        press: &mut Setter<'_>,
        shelves: &Mutex<Shelves>,
        changes: &mut BTreeMap<&str, BTreeMap<String, Option<Piece>>>,
        publication: &mut Publication,
    ) -> Result<(), Failure> {
        let missing = |name: &str| self.layouts.get(name).is_none_or(|layout| layout.files().is_none());
        if missing(EMPTY_INDEX) {
            let builder = Builder::begin(&self.frame, publication.target(&site_path(EMPTY_INDEX)?));
            publication.output(builder.and_then(Builder::finish)?);
        }
        let mut builders = BTreeMap::new();
        for output in press.config.outputs.iter().filter(|output| missing(&output.path)) {
            changes.remove(output.path.as_str());
            let builder = Builder::begin(&self.frame, publication.target(&path(output)?))?;
            builders.insert(output.path.as_str(), builder);
        }
        let repositories = if builders.is_empty() { BTreeSet::new() } else { lock(shelves).repositories() };
        for repository in repositories {
            let shown = lock(shelves).shown(&repository);
            let set = press.pieces(&repository, &shown).map_err(Failure::retry)?;
            for (output, piece) in set.pieces {
                if let (Some(builder), Some(piece)) = (builders.get_mut(output), piece) {
                    builder.push(&set.name, &piece)?;
                }
            }
            press.shared.clear();
        }
        for builder in builders.into_values() {
            publication.output(builder.finish()?);
        }
        Ok(())
    }

    fn weave(
        &mut self,
        config: &Config,
        changes: &BTreeMap<&str, BTreeMap<String, Option<Piece>>>,
        publication: &mut Publication,
    ) -> Result<(), Failure> {
        let (mut names, mut jobs) = (Vec::new(), Vec::new());
        for output in &config.outputs {
            let name = output.path.as_str();
            if let (Some(changes), Some(layout)) = (changes.get(name), self.layouts.get(name)) {
                names.push(name);
                let target = publication.target(&path(output)?);
                jobs.push(Job { frame: &self.frame, layout, changes, target });
            }
        }
        for (name, woven) in names.into_iter().zip(weave::weave(&jobs, THREADS)) {
            match woven {
                Ok(woven) => woven.into_iter().for_each(|woven| publication.output(woven)),
                Err(error) => {
                    if matches!(error, weave::Error::Damaged { .. }) {
                        self.site.forget_layout(&site_path(name)?)?; // So that the next try builds it.
                        self.layouts.insert(name.to_owned(), Layout::empty(&self.frame));
                    }
                    return Err(error.into());
                }
            }
        }
        Ok(())
    }

    /// Lists the icons that are named now, and no more those that no repository names.
    fn name_icons(
        &self,
        config: &Config,
        new: &BTreeMap<Repository, BTreeSet<Digest>>,
        publication: &mut Publication,
    ) -> Result<(), Failure> {
        let place = |digest: &Digest| {
            What::Icons.path(digest, ".png").map_err(|error| Failure::park(error.to_string()))
        };
        for digest in new.values().flatten() {
            let path = place(digest)?;
            let size = fs::metadata(path.below(&config.site_dir)).map_or(0, |found| found.len());
            publication.name(What::Icons, Content { path, size, sha256: *digest });
        }
        for (repository, icons) in new {
            let before = self.icons.get(repository).into_iter().flatten();
            for gone in before.filter(|digest| !icons.contains(*digest)) {
                let used = |(other, icons): (&Repository, &BTreeSet<Digest>)| {
                    other != repository && icons.contains(gone)
                };
                if !self.icons.iter().any(used) && !new.values().any(|icons| icons.contains(gone)) {
                    publication.unname(What::Icons, place(gone)?, gone);
                }
            }
        }
        Ok(())
    }
}

fn make_folder_of(place: &Path) -> Result<(), Failure> {
    let Some(folder) = place.parent() else { return Ok(()) };
    fs::create_dir_all(folder)
        .map_err(|error| Failure::retry(format!("making {}: {error}", folder.display())))
}

/// Puts what a file shows onto the shelf, where that has nothing of a repository yet.
fn recover(config: &Config, place: &Path, shelf: &mut Shelf, recovered: &mut BTreeMap<Digest, Image>) {
    for (name, images) in recover::read(place) {
        // Another index may have called it by its name alone.
        let Some(repository) = event::below(&name, &config.clients).or_else(|| name.parse().ok()) else {
            continue;
        };
        let mut held = shelf.of(&repository).to_vec();
        for image in images {
            if let Ok(one) = Held::of(&image)
                && !held.iter().any(|known| known.flatpak.name == one.flatpak.name)
            {
                held.push(one);
                recovered.insert(image.digest, image);
            }
        }
        held.sort_by_key(|one| one.digest);
        shelf.put(&repository, held);
    }
}

fn path(output: &Output) -> Result<SitePath, Failure> {
    site_path(&output.path)
}

fn site_path(path: &str) -> Result<SitePath, Failure> {
    path.parse().map_err(|error: crate::site::BadPath| Failure::park(error.to_string()))
}

/// Sets repositories' pieces.
struct Setter<'a> {
    config: &'a Config,
    cache: &'a Cache,
    recovered: &'a BTreeMap<Digest, Image>,
    packer: Packer,
    /// Texts that stand in several files.
    shared: BTreeMap<String, Packed>,
}

/// One repository's pieces.
struct Set<'a> {
    /// As the files name it.
    name: String,
    /// By file; `None`: it does not stand there.
    pieces: Vec<(&'a str, Option<Piece>)>,
    /// What its labels name.
    icons: BTreeSet<Digest>,
}

impl<'a> Setter<'a> {
    fn pieces(
        &mut self,
        repository: &Repository,
        shown: &BTreeMap<Tag, Vec<Held>>,
    ) -> Result<Set<'a>, String> {
        let config = self.config;
        let name = config.public_name(repository).map(|name| name.to_string());
        let name = name.ok_or_else(|| format!("{repository} is too long a name behind its namespace"))?;
        let proof = self.proof(repository, shown)?;
        let mut icons = BTreeSet::new();
        for ((_, extract), dressed) in &proof.dressed {
            icons.extend(dressed.icons.iter().filter(|_| *extract));
        }
        let (mut pieces, mut noted) = (Vec::new(), BTreeMap::<&Tag, Piece>::new());
        for output in &config.outputs {
            let held = shown.get(&output.tag).map_or(&[][..], Vec::as_slice);
            let wanted =
                |held: &&Held| output.architecture.as_ref().is_none_or(|one| *one == held.architecture);
            let here: Vec<&Held> = held.iter().filter(wanted).collect();
            if here.is_empty() {
                pieces.push((output.path.as_str(), None));
                continue;
            }
            let tags: Vec<Vec<String>> = here.iter().map(|held| tags(held, shown)).collect();
            let images = here.iter().zip(&tags).filter_map(|(held, tags)| {
                let image = proof.images.get(&held.digest)?;
                let dressed = proof.dressed.get(&(held.digest, output.extract_icons))?;
                Some(Shown { image, labels: &dressed.labels, tags })
            });
            let parts = entry::repository(&name, &images.collect::<Vec<_>>(), output.annotations);
            let parts = parts.into_iter().map(|part| self.packed(part)).collect();
            let note = || Note { held: held.to_vec(), icons: icons.clone() };
            let piece = match noted.get(&output.tag) {
                Some(other) => other.beside(parts),
                None => Piece::new(parts, &serde_json::to_value(note()).unwrap_or_default()),
            };
            noted.entry(&output.tag).or_insert_with(|| piece.clone());
            pieces.push((output.path.as_str(), Some(piece)));
        }
        Ok(Set { name, pieces, icons })
    }

    fn proof(&self, repository: &Repository, shown: &BTreeMap<Tag, Vec<Held>>) -> Result<Proof, String> {
        let mut proof = Proof { images: BTreeMap::new(), dressed: BTreeMap::new() };
        for (tag, held) in shown {
            for held in held {
                let absent = || format!("its image {} is no longer remembered", held.digest);
                let image =
                    self.cache.get(&held.digest).or_else(|| self.recovered.get(&held.digest).cloned());
                let image = image.ok_or_else(absent)?;
                let styles = self.config.outputs.iter().filter(|output| output.tag == *tag);
                for extract in styles.map(|output| output.extract_icons).collect::<BTreeSet<_>>() {
                    let dressed =
                        dress::dress(&image, self.config, extract).map_err(|error| error.to_string())?;
                    for (label, why) in &dressed.lost {
                        warn!(image.repository = %repository, "{repository}: the icon in {label} is left out: {why}");
                    }
                    proof.dressed.insert((held.digest, extract), dressed);
                }
                proof.images.insert(held.digest, image);
            }
        }
        Ok(proof)
    }

    fn packed(&mut self, part: entry::Part) -> Packed {
        if !part.shared {
            return self.packer.pack(&part.text);
        }
        if let Some(packed) = self.shared.get(&part.text) {
            return packed.clone();
        }
        let packed = self.packer.pack(&part.text);
        self.shared.insert(part.text, packed.clone());
        packed
    }
}

/// The tags that name an image, in order.
fn tags(held: &Held, shown: &BTreeMap<Tag, Vec<Held>>) -> Vec<String> {
    let names = |(tag, all): (&Tag, &Vec<Held>)| {
        all.iter().any(|one| one.digest == held.digest).then(|| tag.to_string())
    };
    shown.iter().filter_map(names).collect()
}
