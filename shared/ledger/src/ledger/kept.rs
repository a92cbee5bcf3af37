//! What is kept in the store alone: facts, memos, announcements, positions, deeds.

use super::{
    Ledger, record,
    types::{Commit, Deed},
};
use crate::{StoreError, codec::Damage, space::Space};

/// A memo: its name and its bytes.
type Memo = (String, Vec<u8>);

impl Ledger {
    /// What was last announced of a subject.
    ///
    /// # Errors
    /// When the store can't be read.
    pub fn fact(&self, subject: &str) -> Result<Option<String>, StoreError> {
        self.text(Space::Fact, subject)
    }

    /// Facts whose subject starts with `prefix`, in order, from the one after `after` on.
    ///
    /// # Errors
    /// When the store can't be read.
    pub fn facts(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, String)>, StoreError> {
        self.named(Space::Fact, prefix, after, limit, record::read_text)
    }

    /// What the consumer remembers under a name. A memo whose file is lost counts as none: it costs work, no more.
    ///
    /// # Errors
    /// When the store can't be read.
    pub fn memo(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let key = Space::Memo.named(name);
        let mut seen = None;
        loop {
            let Some(found) = self.record(&key)? else { return Ok(None) };
            let content = record::read_memo(&found).map_err(self.unreadable(Space::Memo))?;
            let bytes = self.read_content(content)?;
            if bytes.is_some() || seen.as_ref() == Some(&found) {
                return Ok(bytes);
            }
            seen = Some(found); // Its file went: replaced just now, unless the record still stands.
        }
    }

    /// Memos whose name starts with `prefix`, in order, from the one after `after` on.
    ///
    /// # Errors
    /// When the store can't be read.
    pub fn memos(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Memo>, StoreError> {
        let found = self.named(Space::Memo, prefix, after, limit, record::read_memo)?;
        let read = found
            .into_iter()
            .map(|(name, content)| Ok(self.read_content(content)?.map(|bytes| (name, bytes))));
        read.filter_map(Result::transpose).collect()
    }

    /// The oldest announcements not yet confirmed, with their numbers.
    ///
    /// # Errors
    /// When the store can't be read.
    pub fn outbox(&self, limit: usize) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
        self.numbered(Space::Outbox, limit, record::read_bytes)
    }

    /// These announcements were confirmed.
    pub fn outbox_sent(&self, numbers: &[u64]) -> Commit {
        self.write(|state| {
            for number in numbers {
                state.sent(*number);
            }
        })
        .1
    }

    /// How far a replay got.
    ///
    /// # Errors
    /// When the store can't be read.
    pub fn position(&self, source: &str) -> Result<Option<String>, StoreError> {
        self.text(Space::Position, source)
    }

    /// What shadow mode would have done, oldest first.
    ///
    /// # Errors
    /// When the store can't be read.
    pub fn deeds(&self, limit: usize) -> Result<Vec<Deed>, StoreError> {
        let deeds = self.numbered(Space::Deed, limit, record::read_deed)?;
        Ok(deeds.into_iter().map(|(_, deed)| deed).collect())
    }

    fn text(&self, space: Space, name: &str) -> Result<Option<String>, StoreError> {
        let record = self.record(&space.named(name))?;
        record.map(|record| record::read_text(&record)).transpose().map_err(self.unreadable(space))
    }

    fn named<T>(
        &self,
        space: Space,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
        read: impl Fn(&[u8]) -> Result<T, Damage>,
    ) -> Result<Vec<(String, T)>, StoreError> {
        let after = after.map(|after| space.named(after));
        let records = self.scan(&space.named(prefix), after.as_deref(), limit)?;
        let named = records.iter().map(|(key, record)| {
            let name = space.name_of(key).ok_or(Damage::Malformed)?;
            Ok((name.to_owned(), read(record)?))
        });
        named.collect::<Result<_, Damage>>().map_err(self.unreadable(space))
    }

    fn numbered<T>(
        &self,
        space: Space,
        limit: usize,
        read: impl Fn(&[u8]) -> Result<T, Damage>,
    ) -> Result<Vec<(u64, T)>, StoreError> {
        let records = self.scan(&space.only(), None, limit)?;
        let numbered = records
            .iter()
            .map(|(key, record)| Ok((space.number_of(key).ok_or(Damage::Malformed)?, read(record)?)));
        numbered.collect::<Result<_, Damage>>().map_err(self.unreadable(space))
    }
}
