//! Uploads under way: bytes go to the storage and through sha256 as they come. An upload that is cut keeps what came.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use flatbus_base::{Clock, Random};
use futures::StreamExt;
use http::StatusCode;
use sha2::{Digest as _, Sha256};
use tokio::{task::spawn_blocking, time::Instant};

use super::{Digest, Draft, Settings, Storage, refusal::Refusal};

/// Bytes gathered before they are hashed and written: one hop to a blocking thread for each.
const WRITE_BYTES: usize = 1 << 20;

/// How long a request waits for another one that still writes to its upload. A writer whose connection broke is gone
/// sooner; one that is stuck is overtaken.
const TURN_TIMEOUT: Duration = Duration::from_secs(2);

/// The uploads of a registry.
pub(crate) struct Uploads {
    open: Mutex<BTreeMap<String, Open>>,
    uploads_max: usize,
    idle_max: Duration,
    blob_bytes_max: u64,
    clock: Arc<dyn Clock>,
    random: Random,
}

#[derive(Debug)]
struct Open {
    repository: String,
    upload: Arc<Upload>,
    used: Instant,
}

impl Uploads {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            open: Mutex::default(),
            uploads_max: settings.limits.uploads_max,
            idle_max: settings.limits.upload_idle_max,
            blob_bytes_max: settings.limits.blob_bytes_max,
            clock: settings.clock.clone(),
            random: settings.random.clone(),
        }
    }

    /// Begins an upload and names it.
    pub(crate) async fn begin(
        &self,
        repository: &str,
        storage: &Arc<dyn Storage>,
    ) -> Result<(String, Arc<Upload>), Refusal> {
        let upload = Arc::new(Upload::begin(storage.clone(), self.blob_bytes_max).await?);
        let id = self.random.uuid().to_string();
        let mut open = self.lock();
        if open.len() >= self.uploads_max {
            return Err(Refusal::new(
                StatusCode::TOO_MANY_REQUESTS,
                "TOOMANYREQUESTS",
                "too many open uploads",
            ));
        }
        let used = self.clock.monotonic();
        open.insert(id.clone(), Open { repository: repository.to_owned(), upload: upload.clone(), used });
        Ok((id, upload))
    }

    pub(crate) fn find(&self, repository: &str, id: &str) -> Result<Arc<Upload>, Refusal> {
        let used = self.clock.monotonic();
        let mut open = self.lock();
        let found = open
            .get_mut(id)
            .filter(|open| open.repository == repository)
            .ok_or_else(Refusal::upload_unknown)?;
        found.used = used;
        Ok(found.upload.clone())
    }

    /// Forgets one upload, done or given up.
    pub(crate) fn remove(&self, id: &str) {
        self.lock().remove(id);
    }

    pub(crate) fn forget(&self) {
        self.lock().clear();
    }

    /// The uploads, without those that idled too long.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Open>> {
        let now = self.clock.monotonic();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, open| now.saturating_duration_since(open.used) <= self.idle_max);
        open
    }
}

/// One upload. Writers take turns, so that what one is told of it holds still; a writer that was overtaken is told so:
/// bytes are only ever added at its end.
pub(crate) struct Upload {
    storage: Arc<dyn Storage>,
    turn: Arc<tokio::sync::Mutex<()>>,
    received: AtomicU64,
    bytes_max: u64,
    growing: Mutex<Option<Growing>>,
}

struct Growing {
    draft: Box<dyn Draft>,
    hasher: Sha256,
}

impl std::fmt::Debug for Upload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upload").field("received", &self.received).finish_non_exhaustive()
    }
}

/// The right to write, held as long as anything of it lives: also by work that goes on when its request is gone. None
/// where a stuck writer was overtaken.
type Turn = Option<Arc<tokio::sync::OwnedMutexGuard<()>>>;

/// Why bytes were not taken.
pub(crate) enum NotTaken {
    /// They don't start where the upload ends.
    OutOfStep,
    Refused(Refusal),
}

impl From<Refusal> for NotTaken {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Upload {
    async fn begin(storage: Arc<dyn Storage>, bytes_max: u64) -> Result<Self, Refusal> {
        let begun = storage.clone();
        let draft = blocking(&storage, move || begun.begin()).await?;
        let growing = Mutex::new(Some(Growing { draft, hasher: Sha256::new() }));
        Ok(Self { storage, turn: Arc::default(), received: AtomicU64::new(0), bytes_max, growing })
    }

    /// How many bytes it holds.
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Acquire)
    }

    /// Waits until nobody writes any more: only then does what it holds say anything to who wants to go on.
    pub(crate) async fn at_rest(&self) {
        drop(self.take_turn().await);
    }

    async fn take_turn(&self) -> Turn {
        let turn = tokio::time::timeout(TURN_TIMEOUT, self.turn.clone().lock_owned());
        turn.await.ok().map(Arc::new)
    }

    /// Takes a body that starts at `offset`, or at the end. What came before a body broke off is kept.
    pub(crate) async fn take(self: &Arc<Self>, offset: Option<u64>, body: Body) -> Result<(), NotTaken> {
        let turn = self.take_turn().await;
        let mut offset = offset.unwrap_or_else(|| self.received());
        if offset != self.received() {
            return Err(NotTaken::OutOfStep);
        }
        let mut chunks = body.into_data_stream();
        let mut gathered = BytesMut::new();
        let mut broken = None;
        while let Some(chunk) = chunks.next().await {
            match chunk {
                Ok(chunk) => gathered.extend_from_slice(&chunk),
                Err(_) => {
                    broken = Some(Refusal::new(
                        StatusCode::BAD_REQUEST,
                        "BLOB_UPLOAD_INVALID",
                        "the body broke off",
                    ));
                    break;
                }
            }
            if gathered.len() >= WRITE_BYTES {
                offset = self.append(offset, gathered.split().freeze(), turn.clone()).await?;
            }
        }
        if !gathered.is_empty() {
            self.append(offset, gathered.freeze(), turn).await?;
        }
        broken.map_or(Ok(()), |refusal| Err(refusal.into()))
    }

    async fn append(self: &Arc<Self>, offset: u64, bytes: Bytes, turn: Turn) -> Result<u64, NotTaken> {
        let end = offset + bytes.len() as u64;
        if end > self.bytes_max {
            return Err(Refusal::too_large(format!("blobs may have {} bytes", self.bytes_max)).into());
        }
        let upload = self.clone();
        let taken = blocking(&self.storage, move || {
            let mut growing = upload.growing.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(growing) = growing.as_mut().filter(|_| upload.received() == offset) else {
                return Ok(false);
            };
            growing.draft.append(&bytes)?;
            growing.hasher.update(&bytes);
            upload.received.store(end, Ordering::Release);
            drop(turn);
            Ok(true)
        });
        if taken.await? { Ok(end) } else { Err(NotTaken::OutOfStep) }
    }

    /// Ends it: the bytes are kept if they have this digest, and forgotten if not.
    pub(crate) async fn finish(self: &Arc<Self>, digest: &Digest) -> Result<(), Refusal> {
        let (upload, digest) = (self.clone(), digest.clone());
        let found = blocking(&self.storage, move || {
            let growing = upload.growing.lock().unwrap_or_else(PoisonError::into_inner).take();
            let Some(Growing { draft, hasher }) = growing else { return Ok(None) };
            let found = Digest::finish(hasher);
            if found == digest {
                draft.keep(&digest)?;
                return Ok(Some(Ok(())));
            }
            Ok(Some(Err(found)))
        });
        match found.await? {
            Some(Ok(())) => Ok(()),
            Some(Err(found)) => Err(Refusal::digest_invalid(format!(
                "provided digest did not match uploaded content, {found}"
            ))),
            None => Err(Refusal::upload_unknown()),
        }
    }
}

/// Runs what may block on a disk where it may.
pub(crate) async fn blocking<T: Send + 'static>(
    storage: &Arc<dyn Storage>,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Refusal> {
    where_it_may(storage.blocks(), work).await.map_err(|error| Refusal::storage(&error))
}

/// Here, or on a thread that may block.
pub(crate) async fn where_it_may<T: Send + 'static>(
    blocks: bool,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    if blocks { spawn_blocking(work).await.map_err(io::Error::other).flatten() } else { work() }
}
