//! The same blob is never on its way twice to one repository: who comes second waits for the first.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{Digest, Repository};

type Key = (String, Repository, Digest);

/// Blobs on their way. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Flights(Arc<Mutex<BTreeMap<Key, Arc<tokio::sync::Mutex<Landed>>>>>);

/// Whether somebody who held the flight before brought the blob.
#[derive(Default)]
pub(super) struct Landed(bool);

/// The right to bring one blob. Given up on drop, so that a copy that fails or is cancelled lets the next one try.
pub(super) struct Flight {
    flights: Flights,
    key: Key,
    held: Option<tokio::sync::OwnedMutexGuard<Landed>>,
}

impl Flights {
    pub(super) async fn board(&self, host: &str, repository: &Repository, digest: &Digest) -> Flight {
        let key = (host.to_owned(), repository.clone(), *digest);
        let seat = self.map().entry(key.clone()).or_default().clone();
        // Made before waiting, so that a waiter who is cancelled cleans up too.
        let mut flight = Flight { flights: self.clone(), key, held: None };
        flight.held = Some(seat.lock_owned().await);
        flight
    }

    fn map(&self) -> MutexGuard<'_, BTreeMap<Key, Arc<tokio::sync::Mutex<Landed>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.map().len()
    }
}

impl Flight {
    /// Whether whoever went before brought the blob.
    pub(super) fn has_landed(&self) -> bool {
        self.held.as_ref().is_some_and(|landed| landed.0)
    }

    /// Tells those who wait that the blob is there.
    pub(super) fn land(&mut self) {
        if let Some(landed) = &mut self.held {
            landed.0 = true;
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.held = None;
        let mut map = self.flights.map();
        if map.get(&self.key).is_some_and(|seat| Arc::strong_count(seat) == 1) {
            map.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_second_waits_for_the_first_and_sees_whether_it_landed() {
        let (flights, repository) = (Flights::default(), "eog".parse().unwrap());
        let digest = Digest::of(b"x");
        let mut first = flights.board("h", &repository, &digest).await;
        let mut second = Box::pin(flights.board("h", &repository, &digest));
        assert!(futures::poll!(&mut second).is_pending());
        first.land();
        drop(first);
        assert!(second.await.has_landed());
        assert_eq!(flights.len(), 0);
    }

    #[tokio::test]
    async fn a_waiter_who_leaves_leaves_nothing_behind() {
        let (flights, repository) = (Flights::default(), "eog".parse().unwrap());
        let digest = Digest::of(b"x");
        let first = flights.board("h", &repository, &digest).await;
        let mut second = Box::pin(flights.board("h", &repository, &digest));
        assert!(futures::poll!(&mut second).is_pending());
        drop(second);
        drop(first);
        assert_eq!(flights.len(), 0);
    }
}
