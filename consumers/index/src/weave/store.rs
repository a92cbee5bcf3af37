//! Keeps layouts across restarts: a file a generation, by its stamp. A lost one costs a build, never a wrong file.
//!
//! A layout is lines of text: what it is and of which frame, stamp and how many pieces; size and SHA-256 of each of the
//! three files; a line a piece; and the SHA-256 of all that, so that one that isn't whole is none.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use flatbus_oci::Digest;
use serde_json::Value;

use super::{
    error::{At as _, Error},
    layout::{Entry, Files, Layout, Span, Whole},
    names::{Each, Stamp, is_waiting, waiting},
    packed::Frame,
    sink::Temp,
};

/// What the first line begins with. The number changes with the form of the files, or of what is woven.
const FORMAT: &str = "flatbus-layout-1";

/// Layouts in a folder of their own.
#[derive(Debug)]
pub struct Layouts {
    dir: PathBuf,
    /// Names and notes that were read: most stand in several files.
    texts: BTreeSet<Arc<str>>,
}

impl Layouts {
    /// Opens the folder, making it where there is none, and removes what a killed process left unfinished.
    ///
    /// # Errors
    /// When it can't be read or written.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        fs::create_dir_all(dir).at(dir)?;
        for path in paths(dir)? {
            if is_waiting(&path) {
                fs::remove_file(&path).at(&path)?;
            }
        }
        Ok(Self { dir: dir.to_owned(), texts: BTreeSet::new() })
    }

    /// Keeps the layout of a generation, beside those of others. Not synced: a power cut may cost a build, and is rarer than
    /// what waiting for the disk here would delay.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn keep(&self, file: &str, layout: &Layout) -> Result<(), Error> {
        let Some(files) = &layout.files else { return Ok(()) };
        let path = self.path(file, files.stamp);
        let temp = Temp::new(waiting(&path, files.stamp));
        fs::write(temp.path(), print(layout, files)).at(temp.path())?;
        fs::rename(temp.path(), &path).at(&path)?;
        temp.leave();
        Ok(())
    }

    /// The layout of this generation of a file. `None` where there is none, or one that isn't whole or of another frame.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn find(&mut self, file: &str, stamp: Stamp, frame: &Frame) -> Result<Option<Layout>, Error> {
        let path = self.path(file, stamp);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Ok(None),
            Err(error) => return Err(Error::from_io(&path, error)),
        };
        let layout = parse(&text, &mut |text| shared(&mut self.texts, text));
        let ours = |layout: &Layout| {
            layout.frame == frame.sha256 && layout.files.is_some_and(|files| files.stamp == stamp)
        };
        Ok(layout.filter(ours))
    }

    /// Forgets what names and notes were read, once all layouts are.
    pub fn forget_texts(&mut self) {
        self.texts.clear();
    }

    /// Removes a file's layouts but that of one generation.
    ///
    /// # Errors
    /// When one can't be removed.
    pub fn forget_others(&self, file: &str, kept: Option<Stamp>) -> Result<(), Error> {
        let kept = kept.map(|stamp| self.path(file, stamp));
        let ours = format!("{}.", flat(file));
        for path in paths(&self.dir)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let generation =
                name.strip_prefix(&ours).is_some_and(|stamp| i64::from_str_radix(stamp, 16).is_ok());
            if generation && Some(&path) != kept.as_ref() {
                fs::remove_file(&path).at(&path)?;
            }
        }
        Ok(())
    }

    fn path(&self, file: &str, stamp: Stamp) -> PathBuf {
        self.dir.join(format!("{}.{:x}", flat(file), stamp.0))
    }
}

fn flat(file: &str) -> String {
    file.replace('/', "%")
}

fn paths(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    fs::read_dir(dir).at(dir)?.map(|entry| Ok(entry.at(dir)?.path())).collect()
}

fn shared(texts: &mut BTreeSet<Arc<str>>, text: &str) -> Arc<str> {
    if let Some(known) = texts.get(text) {
        return Arc::clone(known);
    }
    let new: Arc<str> = text.into();
    texts.insert(Arc::clone(&new));
    new
}

fn print(layout: &Layout, files: &Files) -> String {
    let mut text = format!("{FORMAT} {} {} {}\n", layout.frame, files.stamp.0, layout.entries.len());
    let out = &mut text;
    // Writing to a String can't fail.
    for (_, whole) in files.each.iter() {
        let _ = writeln!(out, "{} {}", whole.size, whole.sha256);
    }
    for entry in &layout.entries {
        for (_, span) in entry.span.iter() {
            let _ = write!(out, "{} {:x} ", span.length, span.crc);
        }
        // JSON has no tab or line break of its own.
        let _ = writeln!(out, "{}\t{}\t{}", entry.sha256, Value::from(&*entry.name), entry.note);
    }
    let sum = Digest::of(text.as_bytes());
    text + &sum.to_string()
}

fn parse(text: &str, share: &mut impl FnMut(&str) -> Arc<str>) -> Option<Layout> {
    let (body, sum) = text.split_at(text.rfind('\n')? + 1);
    if Digest::of(body.as_bytes()) != sum.parse().ok()? {
        return None;
    }
    let mut lines = body.lines();
    let head: Vec<&str> = lines.next()?.split(' ').collect();
    let [FORMAT, frame, stamp, count] = head[..] else { return None };
    let each = Each::try_make(|_| lines.next().and_then(whole).ok_or(())).ok()?;
    let mut entries = Vec::with_capacity(count.parse::<usize>().ok()?.min(body.len()));
    for line in lines {
        entries.push(entry(line, share)?);
    }
    let files = Some(Files { stamp: Stamp(stamp.parse().ok()?), each });
    Some(Layout { frame: frame.parse().ok()?, entries, files, sums: Each::default() })
}

fn whole(line: &str) -> Option<Whole> {
    let (size, sha256) = line.split_once(' ')?;
    Some(Whole { size: size.parse().ok()?, sha256: sha256.parse().ok()? })
}

fn entry(line: &str, share: &mut impl FnMut(&str) -> Arc<str>) -> Option<Entry> {
    let (numbers, texts) = line.split_once('\t')?;
    let (name, note) = texts.split_once('\t')?;
    let mut numbers = numbers.split(' ');
    let mut next = || numbers.next();
    let span =
        Each::try_make(|_| next().zip(next()).and_then(|(length, crc)| span(length, crc)).ok_or(())).ok()?;
    let name: String = serde_json::from_str(name).ok()?;
    serde_json::from_str::<serde::de::IgnoredAny>(note).ok()?;
    Some(Entry { name: share(&name), note: share(note), sha256: next()?.parse().ok()?, span })
}

fn span(length: &str, crc: &str) -> Option<Span> {
    Some(Span { length: length.parse().ok()?, crc: u32::from_str_radix(crc, 16).ok()? })
}
