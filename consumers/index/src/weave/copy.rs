//! Copies what didn't change out of a published file, each byte read once, and finds out if it isn't what was published.

use std::{
    fs::File,
    ops::Range,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use super::{
    error::{At as _, Error},
    layout::{Layout, Span},
    names::{Encoding, Stamp},
    packed::Frame,
    plan::Strand,
    sink::Sink,
};

/// How much is read at once: what a thread holds of a file.
const CHUNK_BYTES: usize = 512 << 10;

/// What gzip puts first: deflate, no flags, no time, no system. Fixed, so that equal texts are equal files.
pub(super) const GZIP_HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// A published file in one encoding, read from its front to its end.
pub(super) struct Source<'a> {
    path: PathBuf,
    file: File,
    layout: &'a Layout,
    encoding: Encoding,
    separator: Span,
    chunk: Vec<u8>,
    /// Which piece is next, and where it begins.
    next: usize,
    offset: u64,
}

impl<'a> Source<'a> {
    pub(super) fn open(
        plain: &Path,
        layout: &'a Layout,
        frame: &Frame,
        encoding: Encoding,
    ) -> Result<Option<Self>, Error> {
        let Some(files) = &layout.files else { return Ok(None) };
        let path = encoding.path(plain);
        let damaged = |why| Error::Damaged { path: path.clone(), why };
        if layout.frame != frame.sha256 {
            return Err(damaged("other things stand around its pieces"));
        }
        let file = File::open(&path).at(&path)?;
        let metadata = file.metadata().at(&path)?;
        if metadata.len() != files.each[encoding].size || Stamp::of(&metadata) != Some(files.stamp) {
            return Err(damaged("it has another size or time"));
        }
        let separator = Span::of(frame.separator.bytes(encoding).len(), frame.separator.crc(encoding))
            .ok_or_else(|| damaged("its separator is longer than a piece may be"))?;
        let before = if encoding == Encoding::Gzip { GZIP_HEAD.len() } else { 0 };
        let offset = (before + frame.head.bytes(encoding).len()) as u64;
        Ok(Some(Self { path, file, layout, encoding, separator, chunk: Vec::new(), next: 0, offset }))
    }

    /// How many bytes of it the next file begins with.
    pub(super) fn begins_with(&self, strands: &[Strand<'_>]) -> u64 {
        let Some(Strand::Kept(pieces @ Range { start: 0, .. })) = strands.first() else { return 0 };
        let lengths =
            self.layout.entries[pieces.clone()].iter().map(|entry| entry.span[self.encoding].length);
        let separators = (pieces.len() - 1) as u64 * u64::from(self.separator.length);
        self.offset + lengths.map(u64::from).sum::<u64>() + separators
    }

    /// Copies pieces with the separators between them. Ranges come in order.
    pub(super) fn copy(&mut self, pieces: Range<usize>, sink: &mut Sink) -> Result<(), Error> {
        let mut offset = self.skip_to(pieces.start);
        let end = self.skip_to(pieces.end) - u64::from(self.separator.length);
        let spans = self.layout.entries[pieces].iter().map(|entry| entry.span[self.encoding]);
        let separator = self.separator;
        let mut check = Check::new(spans.flat_map(|span| [span, separator]));
        self.chunk.resize(CHUNK_BYTES, 0);
        while offset < end {
            let length = usize::try_from(end - offset).map_or(CHUNK_BYTES, |left| left.min(CHUNK_BYTES));
            let chunk = &mut self.chunk[..length];
            self.file.read_exact_at(chunk, offset).at(&self.path)?;
            if !check.passes(chunk) {
                return Err(Error::Damaged { path: self.path.clone(), why: "a piece has another checksum" });
            }
            sink.put(chunk)?;
            offset += length as u64;
        }
        Ok(())
    }

    /// Where a piece begins; that of the one behind the last tells where it would.
    fn skip_to(&mut self, piece: usize) -> u64 {
        let skipped =
            self.layout.entries[self.next..piece].iter().map(|entry| entry.span[self.encoding].length);
        self.offset +=
            skipped.map(|length| u64::from(length) + u64::from(self.separator.length)).sum::<u64>();
        self.next = piece;
        self.offset
    }
}

/// Compares bytes that come in any portions with the checksums of the spans that they should be.
struct Check<I> {
    spans: I,
    left: usize,
    expected: u32,
    sum: crc32fast::Hasher,
}

impl<I: Iterator<Item = Span>> Check<I> {
    fn new(spans: I) -> Self {
        Self { spans, left: 0, expected: 0, sum: crc32fast::Hasher::new() }
    }

    /// Whether all spans that end within these bytes are what they should be.
    fn passes(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            while self.left == 0 {
                let Some(span) = self.spans.next() else { return false };
                (self.left, self.expected) = (span.length as usize, span.crc);
            }
            let (now, later) = bytes.split_at(self.left.min(bytes.len()));
            self.sum.update(now);
            self.left -= now.len();
            bytes = later;
            if self.left == 0 && std::mem::take(&mut self.sum).finalize() != self.expected {
                return false;
            }
        }
        true
    }
}
