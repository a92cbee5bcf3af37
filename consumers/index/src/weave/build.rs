//! Builds a file of which nothing is known, piece by piece, so that they need not be in memory together.

use super::{
    error::Error,
    layout::{Entry, Files, Layout},
    names::{Each, Encoding, Target},
    packed::{Frame, Piece},
    sink::Sink,
    work::{Woven, apart, begin, end},
};

/// A file that is being built, in all three encodings.
pub struct Builder {
    frame: Frame,
    target: Target,
    sinks: Each<Sink>,
    entries: Vec<Entry>,
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder").field("target", &self.target).finish_non_exhaustive()
    }
}

impl Builder {
    /// Begins the files at their waiting places.
    ///
    /// # Errors
    /// When they can't be written.
    pub fn begin(frame: &Frame, target: Target) -> Result<Self, Error> {
        let sinks = Each::try_make(|encoding| {
            let mut sink = Sink::create(target.waiting(encoding))?;
            begin(&mut sink, encoding)?;
            Ok(sink)
        })?;
        Ok(Self { frame: frame.clone(), target, sinks, entries: Vec::new() })
    }

    /// Puts the next piece. They come in the order of their names.
    ///
    /// # Errors
    /// When it can't be written, isn't the next, or is larger than a piece may be.
    pub fn push(&mut self, name: &str, piece: &Piece) -> Result<(), Error> {
        let bad = |why| Error::BadPiece { path: self.target.path.clone(), name: name.to_owned(), why };
        let last = self.entries.last();
        if last.is_some_and(|last| *last.name >= *name) {
            return Err(bad("pieces come in the order of their names"));
        }
        let before = if last.is_none() { &self.frame.head } else { &self.frame.separator };
        let entry = Entry::of(name, piece).ok_or_else(|| bad("it is larger than 4 GiB"))?;
        for encoding in Encoding::ALL {
            self.sinks[encoding].put(before.bytes(encoding))?;
            self.sinks[encoding].put_piece(piece, encoding)?;
        }
        self.entries.push(entry);
        Ok(())
    }

    /// Ends the files and syncs them.
    ///
    /// # Errors
    /// When that fails.
    pub fn finish(self) -> Result<Woven, Error> {
        let Self { frame, target, sinks, entries } = self;
        let written = sinks.try_map(|encoding, mut sink| {
            end(&mut sink, encoding, &frame, &entries)?;
            sink.finish(target.stamp)
        })?;
        let (temps, each, sums) = apart(written);
        let files = Some(Files { stamp: target.stamp, each });
        let layout = Layout { frame: frame.sha256, entries, files, sums };
        Ok(Woven { target, base: None, layout, temps: Some(temps) })
    }
}
