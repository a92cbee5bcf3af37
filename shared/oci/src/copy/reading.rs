//! A blob read from its source from any offset on, taken up where it breaks, hashed on the way.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use flatbus_base::{Remediable as _, Remedy};
use futures::{StreamExt as _, stream, stream::BoxStream};
use sha2::{Digest as _, Sha256};
use tokio::sync::Notify;
use tracing::debug;

use super::{CopySettings, Source};
use crate::{Digest, Error, manifest::Descriptor};

/// Coming further by this much, in bytes, earns a transfer its resumes back.
const PROGRESS_BYTES: u64 = 1 << 20;
/// Waits before a resume: this, doubling.
const RESUME_WAIT_FIRST: Duration = Duration::from_millis(100);

/// One blob's way from its source. Shared between whoever sends it and the stream of its bytes.
pub(super) struct Reading {
    from: Source,
    blob: Descriptor,
    resumes: ResumeLimits,
    state: Mutex<State>,
    /// Bytes read that the watcher wasn't told yet.
    untold: AtomicU64,
    came: Notify,
}

struct State {
    sha: Sha256,
    hashed: u64,
    failure: Option<Error>,
}

impl Reading {
    pub(super) fn new(from: &Source, blob: &Descriptor, settings: &CopySettings) -> Arc<Self> {
        Arc::new(Self {
            from: from.clone(),
            blob: blob.clone(),
            resumes: ResumeLimits::of(settings),
            state: Mutex::new(State { sha: Sha256::new(), hashed: 0, failure: None }),
            untold: AtomicU64::new(0),
            came: Notify::new(),
        })
    }

    /// The bytes from `offset` to the end, all of them or an error; the error itself is kept for [`Self::failure`].
    pub(super) fn chunks(self: &Arc<Self>, offset: u64) -> BoxStream<'static, Result<Bytes, String>> {
        let resumes = Resumes::new(self.resumes, offset);
        let cursor = Cursor { reading: self.clone(), at: offset, open: None, resumes };
        stream::unfold(Some(cursor), |cursor| async {
            let mut cursor = cursor?;
            match cursor.next().await {
                Ok(None) => None,
                Ok(Some(chunk)) => Some((Ok(chunk), Some(cursor))),
                Err(error) => {
                    let text = error.to_string();
                    cursor.reading.state().failure = Some(error);
                    Some((Err(text), None))
                }
            }
        })
        .boxed()
    }

    /// Why the bytes gave out, if they did.
    pub(super) fn failure(&self) -> Option<Error> {
        self.state().failure.take()
    }

    /// [`Self::failure`], where it is known that there is one.
    pub(super) fn gave_out(&self) -> Error {
        let lost = || flatbus_http::Error::Cut { host: self.host(), why: "it gave out".into() }.into();
        self.failure().unwrap_or_else(lost)
    }

    /// So many bytes, or the whole blob where that is less.
    pub(super) fn most(&self, bytes: usize) -> usize {
        bytes.min(usize::try_from(self.blob.size).unwrap_or(usize::MAX))
    }

    /// Whether all bytes came and are those that were named.
    pub(super) fn verdict(&self) -> Result<(), Error> {
        let state = self.state();
        let (host, what) = (self.host(), self.what());
        if state.hashed != self.blob.size {
            return Err(Error::WrongSize { host, what, expected: self.blob.size, got: state.hashed });
        }
        let got = Digest::from_sha256(state.sha.clone().finalize().into());
        if got == self.blob.digest {
            return Ok(());
        }
        Err(Error::WrongDigest { host, what, expected: self.blob.digest, got })
    }

    /// Waits until bytes came, and says how many.
    pub(super) async fn came(&self) -> u64 {
        self.came.notified().await;
        self.untold.swap(0, Ordering::Relaxed)
    }

    fn host(&self) -> String {
        self.from.registry.host().to_owned()
    }

    fn what(&self) -> String {
        format!("blob {}@{}", self.from.repository, self.blob.digest)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hashes what of these bytes wasn't hashed before: a part that is read again is verified by the destination.
    fn hash(&self, at: u64, chunk: &[u8]) {
        let mut state = self.state();
        let known = state.hashed.saturating_sub(at);
        let Some(new) = usize::try_from(known).ok().and_then(|known| chunk.get(known..)) else { return };
        if at + known != state.hashed || new.is_empty() {
            return;
        }
        state.sha.update(new);
        state.hashed += new.len() as u64;
        drop(state);
        self.untold.fetch_add(new.len() as u64, Ordering::Relaxed);
        self.came.notify_one();
    }
}

/// Where one pass over the bytes stands.
struct Cursor {
    reading: Arc<Reading>,
    at: u64,
    open: Option<BoxStream<'static, Result<Bytes, Error>>>,
    resumes: Resumes,
}

impl Cursor {
    /// The next bytes; `None` at the blob's end.
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        while self.at < self.reading.blob.size {
            match self.read().await {
                Ok(chunk) if chunk.is_empty() => {}
                Ok(chunk) => {
                    self.reading.hash(self.at, &chunk);
                    self.at += chunk.len() as u64;
                    return Ok(Some(chunk));
                }
                Err(error) => {
                    self.open = None;
                    self.resumes.again(self.at, error).await?;
                }
            }
        }
        Ok(None)
    }

    async fn read(&mut self) -> Result<Bytes, Error> {
        let chunks = match &mut self.open {
            Some(chunks) => chunks,
            None => {
                let chunks = open(&self.reading, self.at).await?;
                self.open.insert(chunks)
            }
        };
        let Some(chunk) = chunks.next().await else {
            let why = format!("it ended at byte {} of {}", self.at, self.reading.blob.size);
            return Err(flatbus_http::Error::Cut { host: self.reading.host(), why }.into());
        };
        let chunk = chunk?;
        let left = self.reading.blob.size - self.at;
        if chunk.len() as u64 > left {
            let got = self.at + chunk.len() as u64;
            let (host, what) = (self.reading.host(), self.reading.what());
            return Err(Error::WrongSize { host, what, expected: self.reading.blob.size, got });
        }
        Ok(chunk)
    }
}

/// Opens the blob at an offset; a registry that ignores ranges is read from its start and the known part dropped.
async fn open(reading: &Reading, at: u64) -> Result<BoxStream<'static, Result<Bytes, Error>>, Error> {
    let blob = &reading.blob;
    let opened = reading.from.registry.blob_get(&reading.from.repository, &blob.digest, at).await?;
    if let Some(got) = opened.size.filter(|told| *told != blob.size) {
        let (host, what) = (reading.host(), reading.what());
        return Err(Error::WrongSize { host, what, expected: blob.size, got });
    }
    if opened.offset > at {
        let (host, what) = (reading.host(), reading.what());
        let why = format!("asked for byte {at}, it began at byte {}", opened.offset);
        return Err(Error::Protocol { host, what, why });
    }
    let mut known = at - opened.offset;
    let rest = opened.chunks.map(move |chunk| {
        chunk.map(|mut chunk| {
            let drop = usize::try_from(known).unwrap_or(usize::MAX).min(chunk.len());
            known -= drop as u64;
            chunk.split_off(drop)
        })
    });
    Ok(rest.boxed())
}

/// Bounds on taking something up again.
#[derive(Debug, Clone, Copy)]
pub(super) struct ResumeLimits {
    resumes_max: u32,
    wait_max: Duration,
}

impl ResumeLimits {
    pub(super) fn of(settings: &CopySettings) -> Self {
        Self { resumes_max: settings.resumes_max, wait_max: settings.resume_wait_max }
    }
}

/// How often a transfer was taken up again without having come further.
pub(super) struct Resumes {
    limits: ResumeLimits,
    made: u32,
    furthest: u64,
}

impl Resumes {
    pub(super) fn new(limits: ResumeLimits, at: u64) -> Self {
        Self { limits, made: 0, furthest: at }
    }

    /// Waits until it is worth going on after this failure, or gives the failure back.
    pub(super) async fn again(&mut self, at: u64, error: Error) -> Result<(), Error> {
        if at >= self.furthest + PROGRESS_BYTES {
            self.furthest = at;
            self.made = 0;
        }
        let wait = match error.remedy() {
            Remedy::Retry if transient(&error) => RESUME_WAIT_FIRST * 2_u32.saturating_pow(self.made),
            Remedy::RetryAfter(wait) => wait,
            Remedy::Retry | Remedy::Park | Remedy::Fatal => return Err(error),
        };
        if self.made == self.limits.resumes_max || wait > self.limits.wait_max {
            return Err(error);
        }
        self.made += 1;
        debug!(%error, at, "Taking a transfer up again");
        tokio::time::sleep(wait).await;
        Ok(())
    }
}

/// Whether the transfer broke, rather than what was transferred being wrong or not there.
fn transient(error: &Error) -> bool {
    match error {
        // A token that ran out in mid-copy is replaced by the next try.
        Error::Http(_) | Error::UploadLost { .. } | Error::Unauthorized { .. } => true,
        Error::Denied { .. }
        | Error::NotFound { .. }
        | Error::WrongDigest { .. }
        | Error::WrongSize { .. }
        | Error::Manifest { .. }
        | Error::TooLarge { .. }
        | Error::Protocol { .. }
        | Error::Unsupported { .. }
        | Error::Refused { .. }
        | Error::Name(_)
        | Error::Setup { .. } => false,
    }
}
