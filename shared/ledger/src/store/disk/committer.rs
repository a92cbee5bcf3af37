//! The one thread that writes: it drains its queue into one batch, makes it durable, then answers all who waited.

use std::sync::mpsc::Receiver;

use futures::channel::oneshot;

use super::live::Live;
use crate::{Batch, StoreError};

/// Batches made durable together at most.
const GROUP_BATCHES_MAX: usize = 1024;
/// Bytes made durable together at most, but for a single larger batch.
const GROUP_BYTES_MAX: usize = 8 << 20;

/// A batch and who waits for it.
pub(super) struct Job {
    pub(super) batch: Batch,
    pub(super) answer: oneshot::Sender<Result<(), StoreError>>,
}

/// Runs until every sender is gone and the queue is empty.
pub(super) fn run(live: &Live, jobs: &Receiver<Job>) {
    while let Ok(first) = jobs.recv() {
        let group = gather(first, jobs);
        let (batches, waiting): (Vec<_>, Vec<_>) =
            group.into_iter().map(|job| (job.batch, job.answer)).unzip();
        let outcome = live.write(&batches);
        for answer in waiting {
            let theirs = outcome.as_ref().copied().map_err(StoreError::again);
            let _ = answer.send(theirs); // Nobody may be waiting any more; it is written all the same.
        }
    }
}

fn gather(first: Job, jobs: &Receiver<Job>) -> Vec<Job> {
    let mut bytes = first.batch.bytes();
    let mut group = vec![first];
    while group.len() < GROUP_BATCHES_MAX
        && bytes < GROUP_BYTES_MAX
        && let Ok(job) = jobs.try_recv()
    {
        bytes += job.batch.bytes();
        group.push(job);
    }
    group
}
