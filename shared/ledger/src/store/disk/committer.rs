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

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn job(bytes: usize) -> Job {
        Job { batch: Batch(vec![(Vec::new(), Some(vec![0; bytes]))]), answer: oneshot::channel().0 }
    }

    #[test]
    fn what_waits_is_written_together_up_to_a_bound() {
        let (sender, receiver) = mpsc::channel();
        (0..GROUP_BATCHES_MAX + 5).for_each(|_| sender.send(job(1)).unwrap());
        assert_eq!(gather(job(1), &receiver).len(), GROUP_BATCHES_MAX);
        assert_eq!(gather(job(1), &receiver).len(), 7, "the five that were left, one above, and the first");
        (0..3).for_each(|_| sender.send(job(GROUP_BYTES_MAX / 2)).unwrap());
        assert_eq!(gather(job(1), &receiver).len(), 3, "the batch that passes the bound is the last one");
        assert_eq!(gather(job(GROUP_BYTES_MAX), &receiver).len(), 1, "what fills a group goes alone");
    }
}
