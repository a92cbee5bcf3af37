//! Removes what no list names any more, after a grace period. Never what is named, and nothing when a list can't be read.

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;

use super::{
    Error, Site, content, disk,
    listing::{Shard, What},
    microseconds, microseconds_of,
    path::SitePath,
};

/// What a sweep came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// How many files were removed.
    pub files: u64,
    /// How large they were.
    pub bytes: u64,
    /// How many stand unnamed, and stay for now.
    pub waiting: u64,
}

impl Site {
    /// Removes the files that nothing has named for so long. Reads all lists and folders: for now and then.
    ///
    /// # Errors
    /// When a list is damaged, or files can't be read or removed.
    pub fn sweep(&mut self, grace: Duration, now: Timestamp) -> Result<Swept, Error> {
        self.settle(now)?;
        let unnamed = self.unnamed_content()?;
        self.unnamed.marks.content.see(&unnamed, microseconds(now));
        let withdrawn = self.withdrawn();
        self.unnamed.marks.files.see(&withdrawn, microseconds(now));
        let mut swept = Swept::default();
        let long_ago = microseconds(now).saturating_sub(microseconds_of(grace));
        let (content, files) = (&self.unnamed.marks.content, &self.unnamed.marks.files);
        for (path, since) in content.newest_first().into_iter().chain(files.newest_first()) {
            if since > long_ago {
                swept.waiting += 1;
                continue;
            }
            let place = self.place(&path);
            swept.bytes += disk::size(&place)?.unwrap_or(0);
            swept.files += 1;
            disk::remove(&place)?;
            self.unnamed.named(&path);
        }
        self.link_present(now)?;
        self.unnamed.save()?;
        Ok(swept)
    }

    /// Files that stand under their content's digest, and are listed nowhere.
    fn unnamed_content(&self) -> Result<BTreeSet<SitePath>, Error> {
        let mut unnamed = BTreeSet::new();
        for what in What::ALL {
            for shard in (0..=u8::MAX).map(Shard) {
                let named = self.listing.list(what, shard).map(|list| self.read_list(list)).transpose()?;
                let named: BTreeSet<SitePath> = named.into_iter().flatten().map(|file| file.path).collect();
                unnamed.extend(self.standing(what, shard)?.into_iter().filter(|path| !named.contains(path)));
            }
        }
        let lists: BTreeSet<&SitePath> = self.listing.lists.iter().map(|list| &list.file.path).collect();
        unnamed.extend(self.standing_in(content::LISTS)?.into_iter().filter(|path| !lists.contains(path)));
        Ok(unnamed)
    }

    /// Files with names that stay, which were listed once and aren't now. Others in their folders aren't ours to remove.
    fn withdrawn(&self) -> BTreeSet<SitePath> {
        let marked = self.unnamed.marks.files.keys();
        marked.filter(|path| self.listing.file(path).is_none()).cloned().collect()
    }
}
