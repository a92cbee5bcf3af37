//! Between memory and store: one batch under way, the rest gathered behind it. That is the group commit, and what keeps
//! the order: a batch that failed goes again with all that came after it, so nothing later is ever durable without it.
//! Knows bytes only.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::{Arc, OnceLock},
};

use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};

use crate::{Batch, FileName, Files, Store, StoreError};

type Outcome = Result<(), Arc<StoreError>>;

/// Those who wait for one batch.
#[derive(Debug, Default)]
pub(super) struct Group(OnceLock<Outcome>);

impl Group {
    pub(super) fn outcome(&self) -> Option<Result<(), StoreError>> {
        self.0.get().map(|outcome| outcome.as_ref().copied().map_err(|error| error.again()))
    }
}

/// A batch under way.
#[derive(Clone)]
pub(super) struct Flight {
    pub(super) number: u64,
    pub(super) done: Shared<BoxFuture<'static, Outcome>>,
}

/// Writes that belong together.
#[derive(Default)]
struct Load {
    records: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// Written before the records that name them.
    files: BTreeMap<FileName, Arc<Vec<u8>>>,
    /// Removed after the records that named them, unless something names them again.
    unnamed: BTreeSet<FileName>,
    group: Arc<Group>,
}

impl Load {
    fn is_empty(&self) -> bool {
        self.records.is_empty() && self.files.is_empty()
    }
}

/// What is written and what is about to be.
pub(super) struct Journal {
    store: Arc<dyn Store>,
    files: Arc<dyn Files>,
    gathered: Load,
    /// Somebody waits for what is gathered.
    wanted: bool,
    /// More is about to come: nothing goes by itself, only when somebody waits for it.
    corked: bool,
    under_way: Option<(Flight, Load)>,
    flights: u64,
    failed: bool,
    /// How many records name a file.
    names: BTreeMap<FileName, usize>,
}

impl Journal {
    pub(super) fn new(store: Arc<dyn Store>, files: Arc<dyn Files>) -> Self {
        Self {
            store,
            files,
            gathered: Load::default(),
            wanted: false,
            corked: false,
            under_way: None,
            flights: 0,
            failed: false,
            names: BTreeMap::new(),
        }
    }

    pub(super) fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.gathered.records.insert(key, Some(value));
    }

    pub(super) fn delete(&mut self, key: Vec<u8>) {
        self.gathered.records.insert(key, None);
    }

    /// Keeps content in a file; the caller puts the record that names it.
    pub(super) fn name_file(&mut self, content: Vec<u8>) -> FileName {
        let name = FileName::of(&content);
        *self.names.entry(name).or_default() += 1;
        self.gathered.files.insert(name, Arc::new(content));
        name
    }

    /// A stored record names the file.
    pub(super) fn already_named(&mut self, name: FileName) {
        *self.names.entry(name).or_default() += 1;
    }

    /// A record that named the file is deleted or replaced.
    pub(super) fn unname_file(&mut self, name: FileName) {
        if let Some(count) = self.names.get_mut(&name) {
            *count -= 1;
            if *count == 0 {
                self.names.remove(&name);
                self.gathered.unnamed.insert(name);
            }
        }
    }

    /// Sends what is gathered as soon as it may go. The group is answered once it, and all before it, is durable.
    pub(super) fn send(&mut self) -> Arc<Group> {
        self.wanted = true;
        let group = self.gathered.group.clone();
        self.launch_if_free();
        group
    }

    /// Holds back what is sent until it is uncorked, or until somebody waits for it.
    pub(super) fn cork(&mut self) {
        self.corked = true;
    }

    /// Lets go what was held back.
    pub(super) fn uncork(&mut self) {
        self.corked = false;
        self.launch_if_free();
    }

    fn launch_if_free(&mut self) {
        if self.wanted && !self.corked && self.under_way.is_none() {
            self.launch();
        }
    }

    /// The group to wait for where nothing new was written: the last one that is not durable, if there is one.
    pub(super) fn last(&mut self) -> Option<Arc<Group>> {
        if self.wanted || !self.gathered.is_empty() {
            return Some(self.send());
        }
        self.under_way.as_ref().map(|(_, load)| load.group.clone())
    }

    /// The batch under way; launches one if somebody waits and none is.
    pub(super) fn flight(&mut self) -> Option<Flight> {
        if self.under_way.is_none() && self.wanted {
            self.launch();
        }
        self.under_way.as_ref().map(|(flight, _)| flight.clone())
    }

    fn launch(&mut self) {
        let load = std::mem::take(&mut self.gathered);
        self.wanted = false;
        let batch = Batch(load.records.iter().map(|(key, value)| (key.clone(), value.clone())).collect());
        let written = if load.files.is_empty() {
            self.store.commit(batch)
        } else {
            let contents = load.files.values().cloned().collect();
            Box::pin(write_files_first(self.files.clone(), contents, self.store.clone(), batch))
        };
        self.flights += 1;
        let done = written.map(|outcome| outcome.map_err(Arc::new)).boxed().shared();
        self.under_way = Some((Flight { number: self.flights, done }, load));
    }

    /// Takes note of how a flight ended. Whoever learns of it first calls this; later calls change nothing.
    pub(super) fn land(&mut self, number: u64, outcome: Outcome) {
        let Some((_, load)) = self.under_way.take_if(|(flight, _)| flight.number == number) else { return };
        self.failed = outcome.is_err();
        let group = load.group.clone();
        match &outcome {
            Ok(()) => self.collect(&load.unnamed),
            Err(_) => self.put_back(load),
        }
        let _ = group.0.set(outcome); // Set once: the flight landed once.
        self.launch_if_free();
    }

    /// Lands the flight if it is over though nobody waits for it.
    pub(super) fn poll(&mut self) {
        let landed = self.under_way.as_ref().and_then(|(flight, _)| {
            let outcome = flight.done.clone().now_or_never()?;
            Some((flight.number, outcome))
        });
        if let Some((number, outcome)) = landed {
            self.land(number, outcome);
        }
    }

    fn put_back(&mut self, older: Load) {
        let group = self.gathered.group.clone();
        let newer = std::mem::replace(&mut self.gathered, Load { group, ..older });
        self.gathered.records.extend(newer.records);
        self.gathered.files.extend(newer.files);
        self.gathered.unnamed.extend(newer.unnamed);
    }

    /// Removes files that nothing names. One that stays behind is found when the ledger is next opened.
    fn collect(&self, unnamed: &BTreeSet<FileName>) {
        for name in unnamed {
            self.remove_unless_named(*name);
        }
    }

    pub(super) fn remove_unless_named(&self, name: FileName) {
        if self.names.contains_key(&name) {
            return;
        }
        if let Err(error) = self.files.remove(name) {
            tracing::warn!(file = %name, %error, "Could not remove a file that nothing names any more");
        }
    }

    /// Whether something in memory failed to be written and waits for the next try.
    pub(super) fn failed(&self) -> bool {
        self.failed
    }

    /// A record as memory has it: what is not durable yet is seen first.
    pub(super) fn get(&self, key: &[u8]) -> Option<Option<Vec<u8>>> {
        let under_way = self.under_way.as_ref().and_then(|(_, load)| load.records.get(key));
        self.gathered.records.get(key).or(under_way).cloned()
    }

    pub(super) fn file(&self, name: FileName) -> Option<Arc<Vec<u8>>> {
        let under_way = self.under_way.as_ref().and_then(|(_, load)| load.files.get(&name));
        self.gathered.files.get(&name).or(under_way).cloned()
    }

    /// Records not durable yet whose key starts with `prefix` and is greater than `after`.
    pub(super) fn range(&self, prefix: &[u8], after: Option<&[u8]>) -> BTreeMap<Vec<u8>, Option<Vec<u8>>> {
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            Some(_) | None => Bound::Included(prefix),
        };
        let loads = self.under_way.iter().map(|(_, load)| load).chain([&self.gathered]);
        let records = loads.flat_map(|load| load.records.range::<[u8], _>((from, Bound::Unbounded)));
        let matching = records.filter(|(key, _)| key.starts_with(prefix));
        matching.map(|(key, value)| (key.clone(), value.clone())).collect()
    }
}

async fn write_files_first(
    files: Arc<dyn Files>,
    contents: Vec<Arc<Vec<u8>>>,
    store: Arc<dyn Store>,
    batch: Batch,
) -> Result<(), StoreError> {
    for content in contents {
        files.put(content.as_ref().clone()).await?;
    }
    store.commit(batch).await
}
