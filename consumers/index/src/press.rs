//! What stands on the shelves, and how it gets into the files: one publication at a time, of all that changed meanwhile.
//!
//! The notes in the files' layouts say what they show, and are where the shelves come from at a start: so what is
//! published is remembered in one place alone, with the files.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use flatbus_base::Remedy;
use flatbus_oci::{Digest, Repository, Tag};
use flatbus_runtime::{Ctx, Failure};
use flatbus_schemas::PublishedFile;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use crate::{
    cache::Cache,
    config::Config,
    image::Ref,
    plate::Plates,
    shelf::{Admission, Found, Held, Remark, Rules, Shelf},
};

/// Over how long departures are added up before the limit on shrinking.
const DEPARTURES_FOR: SignedDuration = SignedDuration::from_hours(1);
/// So many may always leave: a limit in per cent means nothing to a small index.
const DEPARTURES_FREE: usize = 5;

/// The publication that every start makes, so that all files are there, if without any image.
const FIRST: u64 = 1;

/// The shelves and the files.
pub(crate) struct Press {
    config: Arc<Config>,
    cache: Cache,
    shelves: Arc<Mutex<Shelves>>,
    plates: Arc<AsyncMutex<Plates>>,
}

/// What stands in the files, or will with the next publication.
#[derive(Default)]
pub(crate) struct Shelves {
    pub by_tag: BTreeMap<Tag, Shelf>,
    /// Repositories that are shown otherwise than they stand in the files.
    pub dirty: BTreeSet<Repository>,
    /// Counts changes: a publication is of all up to one.
    pub ticket: u64,
    /// Who waits for a runtime.
    waiters: BTreeMap<Ref, BTreeSet<Repository>>,
    /// Who waited for one when this process began, and was not looked at since.
    waited: BTreeSet<Repository>,
    departures: Vec<(Timestamp, Tag, usize)>,
}

/// What became of a repository before the rule.
#[derive(Debug, Default)]
pub(crate) struct Admitted {
    /// What a person may want to know.
    pub remarks: Vec<Remark>,
    /// Repositories that waited for what it holds.
    pub wakes: Vec<Repository>,
    /// Whether it is shown otherwise than before.
    pub changed: bool,
    /// The publication that shows it.
    pub ticket: u64,
}

impl Press {
    /// Opens the published folder, and reads from it what it shows. `waited`: who waited for a runtime.
    pub async fn open(
        config: &Config,
        state_dir: &Path,
        waited: BTreeSet<Repository>,
        now: Timestamp,
    ) -> Result<Self, Failure> {
        let (config, state) = (Arc::new(config.clone()), state_dir.to_owned());
        let opened = Arc::clone(&config);
        let opening = move || -> Result<_, Failure> {
            let cache = Cache::open(&state)
                .map_err(|error| Failure::retry(format!("{}: {error}", state.join("images").display())))?;
            let (plates, shelves) = Plates::open(&opened, &state, now)?;
            Ok((cache, plates, Shelves { waited, ..shelves }))
        };
        let (cache, plates, shelves) = blocking(opening).await??;
        Ok(Self {
            config,
            cache,
            shelves: Arc::new(Mutex::new(shelves)),
            plates: Arc::new(AsyncMutex::new(plates)),
        })
    }

    /// What images are remembered in.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Every repository that is shown.
    pub fn repositories(&self) -> BTreeSet<Repository> {
        lock(&self.shelves).repositories()
    }

    /// Whether something of a repository is shown.
    pub fn shows(&self, repository: &Repository) -> bool {
        lock(&self.shelves).by_tag.values().any(|shelf| !shelf.of(repository).is_empty())
    }

    /// Lets the rule decide about what was found of a repository, and puts that onto the shelves.
    pub fn admit(
        &self,
        repository: &Repository,
        found: &BTreeMap<Tag, Found>,
        patient: bool,
        ctx: &Ctx,
    ) -> Result<Admitted, Failure> {
        let rules = Rules { priority: &self.config.priority, foreign: &self.config.foreign_runtimes };
        let limit = if ctx.by_hand() { 100 } else { self.config.shrink_limit_percent };
        lock(&self.shelves).admit(repository, found, rules, patient, limit, ctx.now())
    }

    /// Publishes all up to a ticket, unless somebody did.
    pub async fn publish(&self, repository: &Repository, ticket: u64, now: Timestamp) -> Result<(), Failure> {
        let plates = Arc::clone(&self.plates).lock_owned().await;
        let plates = if plates.published >= ticket { plates } else { self.print(plates, now).await? };
        match plates.failed.get(repository) {
            None => Ok(()),
            Some(why) => Err(Failure::retry(why.clone())),
        }
    }

    async fn print(
        &self,
        mut plates: OwnedMutexGuard<Plates>,
        now: Timestamp,
    ) -> Result<OwnedMutexGuard<Plates>, Failure> {
        let (config, cache, shelves) =
            (Arc::clone(&self.config), self.cache.clone(), Arc::clone(&self.shelves));
        // On a thread of its own to the end, whoever waits for it: the plates are never left half way.
        let printing = move || {
            let (dirty, ticket) = {
                let mut shelves = lock(&shelves);
                (mem::take(&mut shelves.dirty), shelves.ticket.max(FIRST))
            };
            match plates.print(&config, &cache, &shelves, &dirty, now) {
                Ok(()) => {
                    plates.published = ticket;
                    let mut shelves = lock(&shelves);
                    if !plates.failed.is_empty() {
                        shelves.dirty.extend(plates.failed.keys().cloned());
                        shelves.ticket += 1; // Whoever comes next tries them again.
                    }
                    drop(shelves);
                    Ok(plates)
                }
                Err(failure) => {
                    lock(&shelves).dirty.extend(dirty);
                    Err(failure)
                }
            }
        };
        blocking(printing).await?
    }

    /// Removes what nothing names any more, after the grace period, and forgets images that nothing shows.
    pub async fn sweep(&self, now: Timestamp) -> Result<(), Failure> {
        let mut plates = Arc::clone(&self.plates).lock_owned().await;
        let (grace, cache, shelves) = (self.config.grace, self.cache.clone(), Arc::clone(&self.shelves));
        let sweeping = move || {
            plates.sweep(grace, now)?;
            let shown = lock(&shelves).digests();
            let swept = cache.sweep(|digest| shown.contains(digest));
            swept.map_err(|error| Failure::retry(format!("forgetting images: {error}"))).map(drop)
        };
        blocking(sweeping).await?
    }

    /// What the files say of a repository.
    pub async fn told(&self, repository: &Repository) -> Told {
        let plates = self.plates.lock().await;
        Told {
            serial: plates.serial(),
            shown: plates.shown(&self.config, repository),
            files: plates.files(&self.config),
        }
    }
}

/// What the files say of a repository.
#[derive(Debug)]
pub(crate) struct Told {
    /// Of the publication that holds.
    pub serial: u64,
    /// The images that are shown, by tag.
    pub shown: BTreeMap<Tag, Vec<Digest>>,
    /// The files.
    pub files: Vec<PublishedFile>,
}

pub(crate) fn lock(shelves: &Mutex<Shelves>) -> MutexGuard<'_, Shelves> {
    shelves.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    // What it had in hand is lost with it: a new process begins from what is published and what is doubtful.
    let panicked = |error| Failure {
        message: format!("publishing panicked, please report it: {error}"),
        remedy: Remedy::Fatal,
    };
    tokio::task::spawn_blocking(work).await.map_err(panicked)
}

impl Shelves {
    /// Every repository that is shown, in order.
    pub fn repositories(&self) -> BTreeSet<Repository> {
        self.by_tag.values().flat_map(Shelf::repositories).cloned().collect()
    }

    /// Every image that is shown.
    fn digests(&self) -> BTreeSet<Digest> {
        self.by_tag.values().flat_map(Shelf::digests).collect()
    }

    /// What a repository shows, by tag.
    pub fn shown(&self, repository: &Repository) -> BTreeMap<Tag, Vec<Held>> {
        let shown = self.by_tag.iter().map(|(tag, shelf)| (tag.clone(), shelf.of(repository).to_vec()));
        shown.filter(|(_, held)| !held.is_empty()).collect()
    }

    fn admit(
        &mut self,
        repository: &Repository,
        found: &BTreeMap<Tag, Found>,
        rules: Rules<'_>,
        patient: bool,
        limit: u8,
        now: Timestamp,
    ) -> Result<Admitted, Failure> {
        self.departures.retain(|(at, _, _)| now.duration_since(*at) < DEPARTURES_FOR);
        let mut admissions = Vec::new();
        for (tag, found) in found {
            let shelf = self.by_tag.entry(tag.clone()).or_default();
            let admission = shelf.admit(repository, found, rules, patient);
            let leaving = leaving(shelf.of(repository), &admission.shown);
            self.may_leave(repository, tag, leaving, limit)?;
            admissions.push((tag, admission, leaving));
        }
        let mut admitted = Admitted::default();
        for (tag, admission, leaving) in admissions {
            self.departures.extend((leaving > 0).then(|| (now, tag.clone(), leaving)));
            self.put(repository, tag, admission, &mut admitted);
        }
        admitted.wakes.extend(self.wakes(repository));
        self.waits(repository, &admitted.remarks);
        self.ticket = self.ticket.max(FIRST) + u64::from(admitted.changed);
        // What somebody else changed of it has to be published too before anything is told of it.
        admitted.ticket = self.ticket;
        admitted.wakes.retain(|other| other != repository);
        Ok(admitted)
    }

    /// Whether so many images may leave a tag's files, after those that did within the hour.
    fn may_leave(
        &self,
        repository: &Repository,
        tag: &Tag,
        leaving: usize,
        limit_percent: u8,
    ) -> Result<(), Failure> {
        let left: usize =
            self.departures.iter().filter(|(_, of, _)| of == tag).map(|(_, _, count)| count).sum();
        let of = left + self.by_tag.get(tag).map_or(0, Shelf::images);
        let all = left + leaving;
        if leaving == 0 || all <= DEPARTURES_FREE || all * 100 <= of * usize::from(limit_percent) {
            return Ok(());
        }
        Err(Failure::park(format!(
            "{leaving} images of {repository} would leave the index of {tag}; {left} of {of} did within the hour, and at most {limit_percent} % may: if that is meant, `flatbus ledger retry index repository/{repository}`"
        )))
    }

    fn put(&mut self, repository: &Repository, tag: &Tag, admission: Admission, admitted: &mut Admitted) {
        let shelf = self.by_tag.entry(tag.clone()).or_default();
        if shelf.of(repository) != admission.shown {
            admitted.changed = true;
            self.dirty.insert(repository.clone());
            for (other, name) in &admission.displaced {
                let rest =
                    shelf.of(other).iter().filter(|held| held.flatpak.name != *name).cloned().collect();
                shelf.put(other, rest);
                self.dirty.insert(other.clone());
                admitted.wakes.push(other.clone());
            }
            shelf.put(repository, admission.shown);
        }
        admitted.remarks.extend(admission.remarks);
    }

    /// Who waits for what a repository shows. Told each time until they were looked at: a settle that fails wakes nobody.
    fn wakes(&self, repository: &Repository) -> Vec<Repository> {
        let shown = self.by_tag.values().flat_map(|shelf| shelf.of(repository));
        let waiters = shown.filter_map(|held| self.waiters.get(&held.flatpak.name)).flatten();
        waiters.chain(&self.waited).cloned().collect()
    }

    fn waits(&mut self, repository: &Repository, remarks: &[Remark]) {
        self.waited.remove(repository);
        self.waiters.retain(|_, who| {
            who.remove(repository);
            !who.is_empty()
        });
        for remark in remarks {
            if let Remark::Waits { runtime, .. } = remark {
                self.waiters.entry(runtime.clone()).or_default().insert(repository.clone());
            }
        }
    }
}

/// How many names are no longer shown.
fn leaving(old: &[Held], new: &[Held]) -> usize {
    old.iter().filter(|held| !new.iter().any(|other| other.flatpak.name == held.flatpak.name)).count()
}
