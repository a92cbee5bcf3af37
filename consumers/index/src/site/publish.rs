//! Publishes: prepares all that can fail, then does what can be done again.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use flatbus_oci::Digest;
use jiff::Timestamp;
use tracing::warn;

use super::{
    Error, Site, disk,
    listing::{File, Listing},
    microseconds,
    path::SitePath,
    publication::{Publication, Published},
};
use crate::weave::{
    At as _, Encoding, Files, Layout, Stamp, Temp, Whole, Woven, sync_folder, waiting, write,
};

/// What a publication is about to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Keep what stands in the next generation of a file.
    KeepLayout,
    /// Make sure of a file that is to be listed under its digest.
    SecureContent,
    /// Write a list of such files.
    WriteList,
    /// Write the next `site.json` to where it waits: from then on the publication is certain.
    Decide,
    /// Link a file under its digest.
    Link,
    /// Put a file in its place.
    Place,
    /// Put `site.json` in its place.
    Announce,
    /// Forget what stood in the last generation of files.
    Forget,
}

/// Is told of each step before it is done, and may make it fail.
pub type Hook = Box<dyn FnMut(Step) -> io::Result<()> + Send>;

/// A publication that is ready: what will be listed, and the files that wait.
struct Ready {
    next: Listing,
    temps: Vec<Temp>,
    layouts: Vec<(SitePath, Layout)>,
}

impl Site {
    /// Publishes. After a failure either nothing is published or, if it was decided already, the rest follows with the next
    /// [`Site::begin`]: read layouts anew behind that, since those of before may be of the last generation.
    ///
    /// # Errors
    /// When files can't be read or written, aren't there, or were made from what isn't published any more.
    pub fn publish(&mut self, publication: Publication, now: Timestamp) -> Result<Published, Error> {
        self.settle(now)?;
        if publication.stamp != self.last {
            return Err(Error::Stale { path: Listing::path() });
        }
        let woven: Vec<PathBuf> = publication.woven.iter().map(|woven| woven.target.path.clone()).collect();
        let published = self.try_publish(publication, now);
        if published.is_err() && self.settled {
            self.forget_attempt(&woven); // Else what failed again and again would fill the disk.
        }
        published
    }

    fn try_publish(&mut self, publication: Publication, now: Timestamp) -> Result<Published, Error> {
        let Ready { next, temps, layouts } = self.prepare(publication, now)?;
        let layouts = layouts.into_iter().collect();
        if (&next.files, &next.lists) == (&self.listing.files, &self.listing.lists) {
            return Ok(Published { serial: self.listing.serial, changed: Vec::new(), layouts });
        }
        self.decide(&next, temps)?;
        let changed: Vec<File> = self.changed(&next).cloned().collect();
        let serial = next.serial;
        self.carry_out(next, now)?;
        Ok(Published { serial, changed, layouts })
    }

    /// All that can be dropped without a trace.
    fn prepare(&mut self, publication: Publication, now: Timestamp) -> Result<Ready, Error> {
        let Publication { stamp, woven, files, withdrawn, content, .. } = publication;
        let mut ready = Ready { next: self.listing.clone(), temps: Vec::new(), layouts: Vec::new() };
        for woven in woven {
            self.prepare_output(woven, stamp, &mut ready)?;
        }
        for (path, bytes) in files {
            self.prepare_file(path, &bytes, stamp, &mut ready)?;
        }
        for path in &withdrawn {
            let gone = Encoding::ALL.map(|encoding| path.encoded(encoding));
            ready.next.files.retain(|file| !gone.contains(&file.path));
        }
        for (what, changes) in content {
            self.prepare_content(what, changes, stamp, &mut ready.next)?;
        }
        ready.next.files.iter().for_each(|file| self.unnamed.named(&file.path));
        self.unnamed.save_named()?;
        ready.next.serial = (self.listing.serial + 1).max(u64::try_from(now.as_second()).unwrap_or(0));
        ready.next.mtime_us = stamp.0;
        Ok(ready)
    }

    fn prepare_output(&mut self, woven: Woven, stamp: Stamp, ready: &mut Ready) -> Result<(), Error> {
        let Woven { target, base, mut layout, temps } = woven;
        let path = self.path_of(&target.path)?;
        let present = self.listing.file(&path).map(|file| Stamp(file.mtime_us));
        if target.stamp != stamp || base.is_some_and(|base| present != Some(base)) {
            return Err(Error::Stale { path });
        }
        if let Some(temps) = temps {
            if let Some(same) = self.same(&path, &layout)? {
                layout.set_files(same);
            } else {
                ready.list(&path, &layout);
                ready.temps.extend(temps.into_iter().map(|(_, temp)| temp));
            }
        }
        self.step(Step::KeepLayout, &target.path)?;
        self.layouts.keep(path.as_str(), &layout)?;
        ready.layouts.push((path, layout));
        Ok(())
    }

    /// The published files, if they hold just what a layout's do. They are read, since they are trusted from then on.
    fn same(&self, path: &SitePath, layout: &Layout) -> Result<Option<Files>, Error> {
        let Some(made) = layout.files() else { return Ok(None) };
        let mut stamps = BTreeSet::new();
        for (encoding, whole) in made.each.iter() {
            match self.listing.file(&path.encoded(encoding)) {
                Some(file) if file.sha256 == whole.sha256 && self.in_place(file)? => {
                    stamps.insert(file.mtime_us)
                }
                _ => return Ok(None),
            };
        }
        let [stamp] = stamps.into_iter().collect::<Vec<_>>()[..] else { return Ok(None) };
        Ok(self.verify(path)?.then_some(Files { stamp: Stamp(stamp), each: made.each }))
    }

    fn prepare_file(
        &mut self,
        path: SitePath,
        bytes: &[u8],
        stamp: Stamp,
        ready: &mut Ready,
    ) -> Result<(), Error> {
        let (place, sha256) = (self.place(&path), Digest::of(bytes));
        let listed = self.listing.file(&path).is_some_and(|file| file.sha256 == sha256);
        if listed && disk::digest(&place)? == Some((bytes.len() as u64, sha256)) {
            return Ok(());
        }
        let (temp, Whole { size, sha256 }) = write(waiting(&place, stamp), bytes, stamp)?;
        ready.next.put(File { path, size, sha256, mtime_us: stamp.0 });
        ready.temps.push(temp);
        Ok(())
    }

    /// Makes the publication certain: the listing that names its files waits like them. Should a power cut lose one of these
    /// names, then the files that are in place are not as listed, and are built anew.
    fn decide(&mut self, next: &Listing, temps: Vec<Temp>) -> Result<(), Error> {
        let path = self.decided();
        self.step(Step::Decide, &path)?;
        let mut json =
            serde_json::to_vec(next).map_err(|error| crate::weave::Error::from_io(&path, error.into()))?;
        json.push(b'\n');
        let (temp, _) = write(path, &json, Stamp(next.mtime_us))?;
        self.settled = false;
        temp.leave();
        temps.into_iter().for_each(Temp::leave);
        Ok(())
    }

    /// Does what was decided. All of it can be done again.
    pub(super) fn carry_out(&mut self, next: Listing, now: Timestamp) -> Result<(), Error> {
        let changed: Vec<File> = self.changed(&next).cloned().collect();
        for file in &changed {
            let (waits, place) = (self.waiting(file), self.place(&file.path));
            self.step(Step::Link, &place)?;
            self.link(if disk::is(&waits, file)? { &waits } else { &place }, &file.sha256)?;
        }
        for file in &changed {
            let (waits, place) = (self.waiting(file), self.place(&file.path));
            self.step(Step::Place, &place)?;
            if disk::is(&waits, file)? {
                fs::rename(&waits, &place).at(&place)?;
            } else if !self.in_place(file)? {
                return Err(Error::Missing { path: file.path.clone() });
            }
        }
        for folder in parents(changed.iter().map(|file| self.place(&file.path))) {
            sync_folder(&folder)?;
        }
        let (decided, place) = (self.decided(), self.dir.join(Listing::PATH));
        self.step(Step::Announce, &place)?;
        fs::rename(&decided, &place).at(&place)?;
        sync_folder(&self.dir)?;
        let last = std::mem::replace(&mut self.listing, next);
        self.settled = true;
        self.forget(&last, &changed, now);
        Ok(())
    }

    /// What the last generation leaves. That it goes isn't worth a failure: the publication is done.
    fn forget(&mut self, last: &Listing, changed: &[File], now: Timestamp) {
        let forgotten = self.step(Step::Forget, Path::new("")).and_then(|()| {
            self.layouts.forget_texts();
            self.unnamed.replaced(last, &self.listing, microseconds(now));
            for file in changed {
                self.layouts.forget_others(file.path.as_str(), Some(Stamp(file.mtime_us)))?;
            }
            Ok(())
        });
        if let Err(error) = forgotten {
            warn!(%error, "What was replaced is not cleared away yet");
        }
    }

    /// What stands in generations that don't come.
    fn forget_attempt(&self, woven: &[PathBuf]) {
        for place in woven {
            let Ok(path) = self.path_of(place) else { continue };
            let present = self.listing.file(&path).map(|file| Stamp(file.mtime_us));
            if let Err(error) = self.layouts.forget_others(path.as_str(), present) {
                warn!(%error, "A layout that nobody needs stays");
            }
        }
    }

    /// The files that differ from the published ones.
    pub(super) fn changed<'a>(&'a self, next: &'a Listing) -> impl Iterator<Item = &'a File> {
        next.files.iter().filter(|file| self.listing.file(&file.path) != Some(file))
    }

    /// Where the next listing waits.
    pub(super) fn decided(&self) -> PathBuf {
        self.dir.join(".site.json.next")
    }

    /// Where a file of the next listing waits.
    pub(super) fn waiting(&self, file: &File) -> PathBuf {
        waiting(&self.place(&file.path), Stamp(file.mtime_us))
    }

    fn path_of(&self, place: &Path) -> Result<SitePath, Error> {
        let bad = || Error::BadPlace { path: place.display().to_string() };
        let path = place.strip_prefix(&self.dir).ok().and_then(Path::to_str).ok_or_else(bad)?;
        path.parse().map_err(|_| bad())
    }
}

impl Ready {
    fn list(&mut self, path: &SitePath, layout: &Layout) {
        let Some(files) = layout.files() else { return };
        for (encoding, whole) in files.each.iter() {
            let (path, mtime_us) = (path.encoded(encoding), files.stamp.0);
            self.next.put(File { path, size: whole.size, sha256: whole.sha256, mtime_us });
        }
    }
}

fn parents(paths: impl Iterator<Item = PathBuf>) -> BTreeSet<PathBuf> {
    paths.filter_map(|path| path.parent().map(Path::to_owned)).collect()
}
