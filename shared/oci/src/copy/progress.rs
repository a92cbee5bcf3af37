//! What a copy tells while it runs, and what it adds up.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use super::Copied;
use crate::Digest;

/// Watches a copy. Called from within it: must return at once.
pub trait Progress: Send + Sync {
    /// Bytes of a blob are about to be sent.
    fn blob_begins(&self, _digest: &Digest, _size: u64) {}
    /// So many more bytes were read from the source.
    fn bytes_came(&self, _bytes: u64) {}
    /// A blob is at the destination.
    fn blob_ends(&self, _digest: &Digest, _size: u64, _how: BlobEnd) {}
}

/// How a blob came to be at the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlobEnd {
    /// It was sent.
    Copied,
    /// It was taken over from another repository.
    Mounted,
    /// It was there.
    Present,
}

/// Watches nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl Progress for NoProgress {}

/// What a copy did so far.
#[derive(Clone, Default)]
pub(super) struct Tally(Arc<Counts>);

#[derive(Default)]
struct Counts {
    bytes: AtomicU64,
    copied: AtomicU64,
    mounted: AtomicU64,
    present: AtomicU64,
    manifests: AtomicU64,
    source_requests: AtomicU64,
    destination_requests: AtomicU64,
}

/// Which registry is asked.
#[derive(Debug, Clone, Copy)]
pub(super) enum Side {
    Source,
    Destination,
}

impl Tally {
    pub(super) fn request(&self, side: Side) {
        let count = match side {
            Side::Source => &self.0.source_requests,
            Side::Destination => &self.0.destination_requests,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn manifest(&self) {
        self.0.manifests.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn blob(&self, how: BlobEnd, size: u64) {
        match how {
            BlobEnd::Copied => {
                self.0.bytes.fetch_add(size, Ordering::Relaxed);
                self.0.copied.fetch_add(1, Ordering::Relaxed)
            }
            BlobEnd::Mounted => self.0.mounted.fetch_add(1, Ordering::Relaxed),
            BlobEnd::Present => self.0.present.fetch_add(1, Ordering::Relaxed),
        };
    }

    pub(super) fn copied(&self) -> Copied {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Copied {
            bytes: read(&self.0.bytes),
            blobs_copied: read(&self.0.copied),
            blobs_mounted: read(&self.0.mounted),
            blobs_present: read(&self.0.present),
            manifests: read(&self.0.manifests),
            requests: read(&self.0.source_requests) + read(&self.0.destination_requests),
            destination_requests: read(&self.0.destination_requests),
        }
    }
}
