//! Reading what memory does not hold: the store's records, under what is not written yet.

use super::{Ledger, record::Content, types::LedgerError};
use crate::{Record, StoreError, codec::Damage, space::Space};

use super::record::refusal;

impl Ledger {
    /// A record as memory has it.
    pub(super) fn record(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let unwritten = self.state().journal.get(key);
        unwritten.map_or_else(|| self.0.store.get(key), Ok)
    }

    /// Records as memory has them, in order.
    pub(super) fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        let unwritten = self.state().journal.range(prefix, after);
        let stored = self.0.store.scan(prefix, after, limit.saturating_add(unwritten.len()))?;
        let mut records: std::collections::BTreeMap<_, _> =
            stored.into_iter().map(|(key, value)| (key, Some(value))).collect();
        records.extend(unwritten);
        let standing = records.into_iter().filter_map(|(key, value)| Some((key, value?)));
        Ok(standing.take(limit).collect())
    }

    /// The bytes of a memo or a body; `None` where they were not kept or are lost.
    pub(super) fn read_content(&self, content: Content) -> Result<Option<Vec<u8>>, StoreError> {
        let name = match content {
            Content::Here(bytes) => return Ok(Some(bytes)),
            Content::Gone => return Ok(None),
            Content::File(name) => name,
        };
        let unwritten = self.state().journal.file(name);
        match unwritten {
            Some(bytes) => Ok(Some(bytes.as_ref().clone())),
            None => self.0.files.get(name),
        }
    }

    /// Says which record could not be read, as an error of the store.
    pub(super) fn unreadable(&self, space: Space) -> impl Fn(Damage) -> StoreError {
        let path = self.0.store.path();
        move |damage| match refusal(space)(damage) {
            LedgerError::Store(error) => error,
            other @ (LedgerError::Version { .. }
            | LedgerError::Damaged { .. }
            | LedgerError::NotEmpty
            | LedgerError::Unfinished
            | LedgerError::Line { .. }) => {
                StoreError::Corrupt { path: path.clone(), what: other.to_string() }
            }
        }
    }
}
