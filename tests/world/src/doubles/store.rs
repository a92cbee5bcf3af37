//! The ledger's store behind the gate: a commit becomes durable on the far side.

use std::path::PathBuf;

use flatbus_ledger::{Batch, MemoryStore, Record, Store, StoreError};
use futures::future::BoxFuture;

use crate::gate::{Line, Service, Verb};

/// A store as one process sees it.
pub struct GatedStore {
    inner: MemoryStore,
    line: Line,
}

impl GatedStore {
    /// The twin behind the gate.
    pub fn new(inner: MemoryStore, line: Line) -> Self {
        Self { inner, line }
    }
}

impl Store for GatedStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.get(key)
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Record>, StoreError> {
        self.inner.scan(prefix, after, limit)
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'static, Result<(), StoreError>> {
        let durable = self.inner.commit(batch); // Visible from here on, in the order of the calls.
        let line = self.line.clone();
        Box::pin(async move {
            line.pass(Service::Store, Verb::Commit, || "commit".to_owned()).await;
            durable.await
        })
    }

    fn disk_bytes(&self) -> u64 {
        self.inner.disk_bytes()
    }

    fn path(&self) -> PathBuf {
        self.inner.path()
    }
}
