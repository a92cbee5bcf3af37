//! Texts in all their encodings, made once and used wherever they stand.

use std::{fmt, sync::Arc};

use flatbus_oci::Digest;
use flate2::{Compress, Compression, FlushCompress, Status};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use zstd::bulk::Compressor;

use super::names::{Each, Encoding};

/// What gzip takes by default. A better level costs CPU at each change and gains some per cent.
const DEFLATE_LEVEL: u32 = 6;
/// What zstd takes by default.
const ZSTD_LEVEL: i32 = 3;

/// A text with its encodings. None of them depends on what stands before it, so they can be put anywhere. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Packed(Arc<Inner>);

#[derive(PartialEq, Eq)]
struct Inner {
    /// The text; its deflate form, which ends with a full flush; its zstd frame.
    bytes: Each<Box<[u8]>>,
    crc: Each<u32>,
    sha256: [u8; 32],
}

impl Packed {
    /// Encodes one text. Who has many uses a [`Packer`].
    pub fn new(text: &str) -> Self {
        Packer::new().pack(text)
    }

    /// The text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(self.bytes(Encoding::Plain)).unwrap_or_default() // It was a str.
    }

    pub(super) fn bytes(&self, encoding: Encoding) -> &[u8] {
        &self.0.bytes[encoding]
    }

    pub(super) fn crc(&self, encoding: Encoding) -> u32 {
        self.0.crc[encoding]
    }
}

impl fmt::Debug for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packed").field("length", &self.bytes(Encoding::Plain).len()).finish_non_exhaustive()
    }
}

/// Encodes texts, one after the other, with the same memory.
pub struct Packer {
    deflate: Compress,
    zstd: Compressor<'static>,
}

impl Default for Packer {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Packer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packer").finish_non_exhaustive()
    }
}

impl Packer {
    /// One that is ready.
    pub fn new() -> Self {
        Self {
            deflate: Compress::new(Compression::new(DEFLATE_LEVEL), false),
            zstd: Compressor::new(ZSTD_LEVEL).expect("a level that zstd has"),
        }
    }

    /// Encodes a text.
    pub fn pack(&mut self, text: &str) -> Packed {
        let bytes = Each::make(|encoding| match encoding {
            Encoding::Plain => text.as_bytes().into(),
            Encoding::Gzip => self.deflated(text.as_bytes()).into_boxed_slice(),
            Encoding::Zstd => self.framed(text.as_bytes()).into_boxed_slice(),
        });
        let crc = Each::make(|encoding| crc32fast::hash(&bytes[encoding]));
        Packed(Arc::new(Inner { bytes, crc, sha256: Sha256::digest(text).into() }))
    }

    /// Ends with a full flush: on a whole byte, and with nothing that the next part could refer back to.
    fn deflated(&mut self, text: &[u8]) -> Vec<u8> {
        self.deflate.reset();
        let mut bytes = Vec::with_capacity(text.len() / 2 + 64);
        loop {
            let done = usize::try_from(self.deflate.total_in()).unwrap_or(text.len());
            let status = self.deflate.compress_vec(&text[done..], &mut bytes, FlushCompress::Full);
            if bytes.len() < bytes.capacity() || !matches!(status, Ok(Status::Ok)) {
                bytes.shrink_to_fit();
                return bytes; // With room left, all was taken and flushed.
            }
            bytes.reserve(text.len() / 2 + 64);
        }
    }

    fn framed(&mut self, text: &[u8]) -> Vec<u8> {
        self.zstd.compress(text).expect("a buffer as large as zstd asks for")
    }
}

/// What stands under one name: its text, in parts that may stand in other pieces too, and what the caller notes of it.
#[derive(Debug, Clone)]
pub struct Piece {
    pub(super) parts: Vec<Packed>,
    pub(super) note: Arc<str>,
}

impl Piece {
    /// One text of several parts. Two of the same text are the same only if they are cut into the same parts.
    pub fn new(parts: Vec<Packed>, note: &Value) -> Self {
        Self { parts, note: note.to_string().into() }
    }

    /// Another text of which the same is noted: the note is kept once.
    #[must_use]
    pub fn beside(&self, parts: Vec<Packed>) -> Self {
        Self { parts, note: Arc::clone(&self.note) }
    }

    /// The text.
    pub fn text(&self) -> String {
        self.parts.iter().map(Packed::text).collect()
    }

    /// What names this text, in these parts.
    pub(super) fn sha256(&self) -> Digest {
        let sum = self.parts.iter().fold(Sha256::new(), |sum, part| sum.chain_update(part.0.sha256));
        Digest::from_sha256(sum.finalize().into())
    }
}

/// What stands around the pieces of a file.
#[derive(Debug, Clone)]
pub struct Frame {
    pub(super) head: Packed,
    pub(super) separator: Packed,
    pub(super) tail: Packed,
    pub(super) empty: Packed,
    pub(super) sha256: Digest,
}

impl Frame {
    /// A file is `head`, its pieces with `separator` between them, `tail`; one without pieces is `empty`.
    pub fn new(head: &str, separator: &str, tail: &str, empty: &str) -> Self {
        let [head, separator, tail, empty] = [head, separator, tail, empty].map(Packed::new);
        let sums = [&head, &separator, &tail, &empty].map(|part| part.0.sha256);
        Self { head, separator, tail, empty, sha256: Digest::of(sums.as_flattened()) }
    }
}
