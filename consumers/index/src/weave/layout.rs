//! What stands where in a published file.

use std::sync::Arc;

use flatbus_oci::Digest;
use serde_json::Value;

use super::{
    names::{Each, Encoding, Stamp},
    packed::{Frame, Piece},
    sink::Sums,
};

/// The pieces of a file in order, each with its place in all three encodings, and which files these are. Some 100 bytes a
/// piece, besides its name and note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    pub(super) frame: Digest,
    pub(super) entries: Vec<Entry>,
    pub(super) files: Option<Files>,
    pub(super) sums: Each<Sums>,
}

/// The three files of one generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Files {
    /// Their modification time, which names the generation.
    pub stamp: Stamp,
    /// What each holds.
    pub each: Each<Whole>,
}

/// A whole file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Whole {
    /// In bytes.
    pub size: u64,
    /// Of all of it.
    pub sha256: Digest,
}

/// A piece in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub name: Arc<str>,
    pub note: Arc<str>,
    pub sha256: Digest,
    /// In bytes, and the checksum of them.
    pub span: Each<Span>,
}

/// How long something is in one encoding, and the checksum of its bytes there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub length: u32,
    pub crc: u32,
}

impl Layout {
    /// Of a file that isn't there, or not known.
    pub fn empty(frame: &Frame) -> Self {
        Self { frame: frame.sha256, entries: Vec::new(), files: None, sums: Each::default() }
    }

    /// The files, if there are any.
    pub fn files(&self) -> Option<&Files> {
        self.files.as_ref()
    }

    /// It is the layout of these as well.
    pub(crate) fn set_files(&mut self, files: Files) {
        self.files = Some(files);
    }

    /// How many pieces there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The pieces' names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| &*entry.name)
    }

    /// What was noted of a piece. `None` where there is no piece of that name.
    pub fn note(&self, name: &str) -> Option<Value> {
        let at = self.entries.binary_search_by(|entry| (*entry.name).cmp(name)).ok()?;
        Some(self.entries[at].value())
    }

    /// All pieces' names with what was noted of them, in order.
    pub fn notes(&self) -> impl Iterator<Item = (&str, Value)> {
        self.entries.iter().map(|entry| (&*entry.name, entry.value()))
    }
}

impl Entry {
    /// `None` for a piece that is too large for any file.
    pub(super) fn of(name: &str, piece: &Piece) -> Option<Self> {
        let span = Each::try_make(|encoding| {
            let parts =
                piece.parts.iter().map(|part| Span::of(part.bytes(encoding).len(), part.crc(encoding)));
            parts.into_iter().try_fold(Span::default(), |before, part| before.then(part?)).ok_or(())
        });
        Some(Self {
            name: name.into(),
            note: Arc::clone(&piece.note),
            sha256: piece.sha256(),
            span: span.ok()?,
        })
    }

    fn value(&self) -> Value {
        serde_json::from_str(&self.note).unwrap_or_default() // It was made from a value, or checked when it was read.
    }
}

impl Span {
    pub(super) fn of(length: usize, crc: u32) -> Option<Self> {
        Some(Self { length: u32::try_from(length).ok()?, crc })
    }

    fn then(self, next: Self) -> Option<Self> {
        Some(Self { length: self.length.checked_add(next.length)?, crc: combine(self.crc, next) })
    }
}

/// The checksum of what has `crc`, and `next` behind it.
fn combine(crc: u32, next: Span) -> u32 {
    let length = u64::from(next.length);
    let mut both = crc32fast::Hasher::new_with_initial(crc);
    both.combine(&crc32fast::Hasher::new_with_initial_len(next.crc, length));
    both.finalize()
}

/// Length and checksum of the text of a whole file, from those of its parts.
pub(super) fn text(frame: &Frame, entries: &[Entry]) -> (u64, u32) {
    let fixed = |part: &super::Packed| Span {
        length: u32::try_from(part.bytes(Encoding::Plain).len()).unwrap_or(u32::MAX),
        crc: part.crc(Encoding::Plain),
    };
    let mut spans = Vec::with_capacity(entries.len() * 2 + 1);
    for entry in entries {
        spans.push(fixed(if spans.is_empty() { &frame.head } else { &frame.separator }));
        spans.push(entry.span[Encoding::Plain]);
    }
    spans.push(fixed(if spans.is_empty() { &frame.empty } else { &frame.tail }));
    let length = spans.iter().map(|span| u64::from(span.length)).sum();
    (length, spans.into_iter().fold(0, combine))
}
