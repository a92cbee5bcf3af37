//! One blob: looked for, taken over from a neighbour, or sent.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, stream::BoxStream};
use tokio::sync::SemaphorePermit;

use super::{
    BlobEnd, Job, UploadMode, or_unseen,
    reading::{Reading, ResumeLimits, Resumes},
};
use crate::{Error, Mounted, Upload, manifest::Descriptor};

/// The budget is counted in units of this many bytes.
const BUDGET_UNIT_BYTES: usize = 64 << 10;
/// What one streamed blob holds in memory at most, in bytes: the reader's buffer, pieces on their way, the writer's.
const STREAM_BYTES: usize = 1536 << 10;
/// Largest piece that a source hands over at once, in bytes: the last of a chunk may go beyond its end by so much.
const PIECE_BYTES_MAX: usize = 512 << 10;
/// Chunks for a destination that takes no streams but didn't say how large: what S3 takes as a part.
const FALLBACK_CHUNK_BYTES: usize = 8 << 20;

type Chunks = BoxStream<'static, Result<Bytes, String>>;

/// So many bytes in units of the budget.
pub(super) fn permits(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(BUDGET_UNIT_BYTES)).unwrap_or(u32::MAX)
}

/// One blob on its way to the destination.
pub(super) struct BlobCopy<'a, 'job> {
    job: &'a Job<'job>,
    blob: &'a Descriptor,
}

impl<'a, 'job> BlobCopy<'a, 'job> {
    pub(super) fn new(job: &'a Job<'job>, blob: &'a Descriptor) -> Self {
        Self { job, blob }
    }

    /// Makes the destination hold the blob.
    pub(super) async fn run(self) -> Result<(), Error> {
        let to = &self.job.to;
        let mut flight =
            self.job.engine.flights.board(to.registry.host(), &to.repository, &self.blob.digest).await;
        let how = if flight.has_landed() { BlobEnd::Present } else { self.bring().await? };
        flight.land();
        self.job.tally.blob(how, self.blob.size);
        self.job.progress.blob_ends(&self.blob.digest, self.blob.size, how);
        Ok(())
    }

    async fn bring(&self) -> Result<BlobEnd, Error> {
        if self.is_there().await? {
            return Ok(BlobEnd::Present);
        }
        let (to, digest) = (&self.job.to, &self.blob.digest);
        let mut begun = None;
        for from in &to.mount_from {
            if let Some(upload) = begun.take() {
                to.registry.upload_cancel(&to.repository, upload).await;
            }
            match to.registry.mount(&to.repository, digest, from).await? {
                Mounted::Mounted => return Ok(BlobEnd::Mounted),
                Mounted::Upload(upload) => begun = Some(upload),
            }
        }
        self.job.progress.blob_begins(digest, self.blob.size);
        self.send(begun).await?;
        Ok(BlobEnd::Copied)
    }

    async fn is_there(&self) -> Result<bool, Error> {
        let to = &self.job.to;
        Ok(or_unseen(to.registry.blob_head(&to.repository, &self.blob.digest).await)?.is_some())
    }

    /// Sends the bytes, and tells the watcher of them meanwhile.
    async fn send(&self, begun: Option<Upload>) -> Result<(), Error> {
        let settings = &self.job.engine.settings;
        let reading = Reading::new(&self.job.from, self.blob, settings);
        let small = self.blob.size <= settings.small_blob_bytes_max as u64;
        let sending = async {
            match settings.upload {
                _ if small => self.send_small(&reading, begun).await,
                UploadMode::Stream => self.send_streamed(&reading, begun).await,
                UploadMode::Chunks { bytes } => {
                    self.send_chunked(&reading, self.begin(begun).await?, bytes).await
                }
            }
        };
        let telling = async {
            loop {
                self.job.progress.bytes_came(reading.came().await);
            }
        };
        tokio::select! {
            biased;
            sent = sending => sent,
            () = telling => Ok(()),
        }
    }

    /// One POST and one PUT, from memory. The bytes are verified before they leave.
    async fn send_small(&self, reading: &Arc<Reading>, begun: Option<Upload>) -> Result<(), Error> {
        let _share = self.share(usize::try_from(self.blob.size).unwrap_or(usize::MAX)).await;
        let (upload, bytes) = futures::join!(self.begin(begun), self.read_whole(reading));
        let (mut upload, bytes) = match (upload?, bytes) {
            (upload, Err(error)) => return self.abandon(upload, error).await,
            (upload, Ok(bytes)) => (upload, bytes),
        };
        let mut resumes = self.resumes();
        while let Err(error) = self.end(upload, Some((0, bytes.clone()))).await {
            resumes.again(0, error).await?;
            upload = self.begin(None).await?;
        }
        Ok(())
    }

    async fn read_whole(&self, reading: &Arc<Reading>) -> Result<Bytes, Error> {
        let bytes = collect(&mut reading.chunks(0), reading, usize::MAX).await?;
        reading.verdict()?;
        Ok(bytes)
    }

    /// One streamed PATCH and a PUT; after a break, another PATCH from where the destination stands.
    async fn send_streamed(&self, reading: &Arc<Reading>, begun: Option<Upload>) -> Result<(), Error> {
        let share = self.share(STREAM_BYTES).await;
        let (to, size) = (&self.job.to, self.blob.size);
        let mut upload = self.begin(begun).await?;
        let (mut at, mut resumes) = (0, self.resumes());
        loop {
            let done = if at < size {
                let chunks = reading.chunks(at);
                to.registry.upload_stream(&to.repository, &mut upload, at, Some(size), chunks).await
            } else {
                self.end_verified(&upload, None, reading).await
            };
            match done {
                Ok(()) if at < size => at = size,
                Ok(()) => return Ok(()),
                Err(Error::Unsupported { .. }) if at < size => {
                    drop(share);
                    return self.send_chunked(reading, upload, FALLBACK_CHUNK_BYTES).await;
                }
                Err(error) => (upload, at) = self.take_up(upload, at, error, reading, &mut resumes).await?,
            }
        }
    }

    /// PATCHes of one chunk each, the next one read while one is sent; the last goes with the PUT, once all is verified.
    async fn send_chunked(
        &self,
        reading: &Arc<Reading>,
        mut upload: Upload,
        bytes: usize,
    ) -> Result<(), Error> {
        let bytes = bytes.max(usize::try_from(upload.chunk_min).unwrap_or(usize::MAX));
        let _share = self.share(bytes.saturating_mul(2)).await;
        let to = &self.job.to;
        let mut resumes = self.resumes();
        let (mut at, mut chunks) = (0, reading.chunks(0));
        let mut chunk = self.next_or_abandon(&mut chunks, reading, bytes, &upload).await?;
        loop {
            let end = at + chunk.len() as u64;
            let error = if end < self.blob.size {
                let patch = to.registry.upload_patch(&to.repository, &mut upload, at, chunk.clone());
                match futures::join!(patch, collect(&mut chunks, reading, bytes)) {
                    (Ok(()), Ok(next)) => {
                        (at, chunk) = (end, next);
                        continue;
                    }
                    (_, Err(error)) => return self.abandon(upload, error).await,
                    (Err(error), Ok(_)) => error,
                }
            } else {
                match self.end_verified(&upload, Some((at, chunk.clone())), reading).await {
                    Ok(()) => return Ok(()),
                    Err(error) => error,
                }
            };
            (upload, at) = self.take_up(upload, at, error, reading, &mut resumes).await?;
            chunks = reading.chunks(at);
            chunk = self.next_or_abandon(&mut chunks, reading, bytes, &upload).await?;
        }
    }

    async fn next_or_abandon(
        &self,
        chunks: &mut Chunks,
        reading: &Reading,
        bytes: usize,
        upload: &Upload,
    ) -> Result<Bytes, Error> {
        match collect(chunks, reading, bytes).await {
            Ok(chunk) => Ok(chunk),
            Err(error) => self.abandon(upload.clone(), error).await,
        }
    }

    /// After a break: where the destination stands, or a new upload where it has forgotten the old one.
    async fn take_up(
        &self,
        mut upload: Upload,
        at: u64,
        error: Error,
        reading: &Reading,
        resumes: &mut Resumes,
    ) -> Result<(Upload, u64), Error> {
        let to = &self.job.to;
        // A source that gave out has had its resumes.
        let waited = match reading.failure() {
            Some(failure) => Err(failure),
            None => resumes.again(at, error).await,
        };
        if let Err(error) = waited {
            return self.abandon(upload, error).await;
        }
        match to.registry.upload_status(&to.repository, &mut upload).await? {
            Some(held) if held <= self.blob.size => Ok((upload, held)),
            Some(_) | None => Ok((self.begin(None).await?, 0)),
        }
    }

    async fn begin(&self, begun: Option<Upload>) -> Result<Upload, Error> {
        let to = &self.job.to;
        match begun {
            Some(upload) => Ok(upload),
            None => to.registry.upload_begin(&to.repository).await,
        }
    }

    /// The PUT, once all that was read is what was named.
    async fn end_verified(
        &self,
        upload: &Upload,
        last: Option<(u64, Bytes)>,
        reading: &Reading,
    ) -> Result<(), Error> {
        reading.verdict()?;
        self.end(upload.clone(), last).await
    }

    /// The PUT. One whose answer was lost may have done its work: the blob tells.
    async fn end(&self, upload: Upload, last: Option<(u64, Bytes)>) -> Result<(), Error> {
        let to = &self.job.to;
        let Err(error) = to.registry.upload_put(&to.repository, upload, &self.blob.digest, last).await else {
            return Ok(());
        };
        if self.is_there().await.unwrap_or(false) { Ok(()) } else { Err(error) }
    }

    async fn abandon<T>(&self, upload: Upload, error: Error) -> Result<T, Error> {
        self.job.to.registry.upload_cancel(&self.job.to.repository, upload).await;
        Err(error)
    }

    fn resumes(&self) -> Resumes {
        Resumes::new(ResumeLimits::of(&self.job.engine.settings), 0)
    }

    /// A share of the memory of all copies; waits for it. A blob that wants more than there is gets all there is.
    async fn share(&self, bytes: usize) -> Option<SemaphorePermit<'job>> {
        let engine = self.job.engine;
        let wanted = permits(bytes).min(permits(engine.settings.copy_bytes_in_flight_max)).max(1);
        // Never closed.
        engine.budget.acquire_many(wanted).await.ok()
    }
}

/// Reads until at least so many bytes came, or the end. Pieces are joined only where there are several.
async fn collect(chunks: &mut Chunks, reading: &Reading, bytes: usize) -> Result<Bytes, Error> {
    let mut first = None;
    let mut all = BytesMut::new();
    while all.len() + first.as_ref().map_or(0, Bytes::len) < bytes {
        let Some(chunk) = chunks.next().await else { break };
        let chunk = chunk.map_err(|_| reading.gave_out())?;
        match first.take() {
            None if all.is_empty() => first = Some(chunk),
            held => {
                if all.is_empty() {
                    // Once and for all: growing step by step would hold twice as much for a moment.
                    all.reserve(reading.most(bytes).saturating_add(PIECE_BYTES_MAX));
                }
                all.extend_from_slice(held.as_deref().unwrap_or_default());
                all.extend_from_slice(&chunk);
            }
        }
    }
    Ok(first.unwrap_or_else(|| all.freeze()))
}
