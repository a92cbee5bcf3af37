//! What stands in the files of one tag, and the rule of what may come and go.
//!
//! Pure. An index that is wrong is silent: clients say "nothing to do". So nothing leaves it but for a reason that somebody
//! gave, no name stands in it twice, and no application comes before its runtime.

use std::{collections::BTreeMap, fmt};

use flatbus_oci::{Digest, Glob, Repository};
use serde::{Deserialize, Serialize};

use crate::image::{Flatpak, Image, NotInstallable, Ref};

/// An image that stands in the files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Of its manifest.
    pub digest: Digest,
    /// In OCI's spelling.
    pub architecture: String,
    /// What it installs as, and what it needs.
    pub flatpak: Flatpak,
}

impl Held {
    /// An image that a client can install.
    ///
    /// # Errors
    /// When it can't.
    pub fn of(image: &Image) -> Result<Self, NotInstallable> {
        let flatpak = image.flatpak()?;
        Ok(Self { digest: image.digest, architecture: image.architecture.clone(), flatpak })
    }
}

/// What a repository's tag was found to name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// These images, those left out that no client could install.
    Images(Vec<Held>),
    /// Nothing, and that is meant: the tag was withdrawn, or the repository is excluded.
    Withdrawn,
    /// Nothing at all, which nobody said it should be.
    Vanished,
}

/// What an operator has said of names.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// Of two repositories that claim one name, the one whose pattern stands first has it.
    pub priority: &'a [Glob],
    /// Runtimes that clients have from elsewhere.
    pub foreign: &'a [Glob],
}

/// What a person may want to know of a repository's place in the files.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Remark {
    /// An application is held back.
    Waits {
        /// The application.
        name: Ref,
        /// What it waits for.
        runtime: Ref,
    },
    /// It was published all the same, after `runtime_wait`.
    WithoutRuntime {
        /// The application.
        name: Ref,
        /// What it lacks.
        runtime: Ref,
    },
    /// Another repository has that name.
    Claimed {
        /// The name.
        name: Ref,
        /// Who has it.
        by: Repository,
    },
    /// It is not among what was found, and stays.
    Kept {
        /// The name.
        name: Ref,
    },
    /// It should go, and stays for an application.
    Needed {
        /// The runtime.
        name: Ref,
        /// Who needs it.
        by: Repository,
    },
    /// Two images of one name were found; the first by digest is shown.
    Twice {
        /// The name.
        name: Ref,
    },
}

impl Remark {
    /// Whether waiting mends it.
    pub fn is_wait(&self) -> bool {
        matches!(self, Self::Waits { .. })
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waits { name, runtime } => write!(f, "{name} waits for {runtime}"),
            Self::WithoutRuntime { name, runtime } => {
                write!(
                    f,
                    "{name} is published, but its {runtime} is not: push it, or name it in foreign_runtimes"
                )
            }
            Self::Claimed { name, by } => {
                write!(f, "{name} is left out, {by} has that name already: exclude one, or give it priority")
            }
            Self::Kept { name } => {
                write!(
                    f,
                    "{name} is no longer there and stays as it was: withdraw it, or exclude its repository"
                )
            }
            Self::Needed { name, by } => write!(f, "{name} was withdrawn and stays, {by} needs it"),
            Self::Twice { name } => write!(f, "{name} was found twice, the first by digest is shown"),
        }
    }
}

/// What a repository may show.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Admission {
    /// In the order of the digests.
    pub shown: Vec<Held>,
    /// Names that another repository has to give up for it, in the same publication.
    pub displaced: Vec<(Repository, Ref)>,
    /// What a person may want to know.
    pub remarks: Vec<Remark>,
}

/// What stands in the files of one tag.
#[derive(Debug, Clone, Default)]
pub struct Shelf {
    held: BTreeMap<Repository, Vec<Held>>,
    owners: BTreeMap<Ref, Repository>,
    /// How many images of a repository need a runtime.
    users: BTreeMap<Ref, BTreeMap<Repository, usize>>,
}

impl Shelf {
    /// What a repository shows.
    pub fn of(&self, repository: &Repository) -> &[Held] {
        self.held.get(repository).map_or(&[], Vec::as_slice)
    }

    /// Every repository that shows something, in order.
    pub fn repositories(&self) -> impl Iterator<Item = &Repository> {
        self.held.keys()
    }

    /// Every image that is shown.
    pub fn digests(&self) -> impl Iterator<Item = Digest> {
        self.held.values().flatten().map(|held| held.digest)
    }

    /// How many images stand in the files.
    pub fn images(&self) -> usize {
        self.held.values().map(Vec::len).sum()
    }

    /// Who needs a runtime.
    pub fn users(&self, runtime: &Ref) -> impl Iterator<Item = &Repository> {
        self.users.get(runtime).into_iter().flat_map(BTreeMap::keys)
    }

    /// Puts what a repository shows in the place of what it showed.
    pub fn put(&mut self, repository: &Repository, shown: Vec<Held>) {
        for old in self.held.remove(repository).unwrap_or_default() {
            if self.owners.get(&old.flatpak.name) == Some(repository) {
                self.owners.remove(&old.flatpak.name);
            }
            self.use_runtime(repository, &old, |count| count.saturating_sub(1));
        }
        for new in &shown {
            self.owners.insert(new.flatpak.name.clone(), repository.clone());
            self.use_runtime(repository, new, |count| count + 1);
        }
        if !shown.is_empty() {
            self.held.insert(repository.clone(), shown);
        }
    }

    fn use_runtime(&mut self, repository: &Repository, held: &Held, count: impl Fn(usize) -> usize) {
        let Some(runtime) = &held.flatpak.runtime else { return };
        let users = self.users.entry(runtime.clone()).or_default();
        let uses = count(users.get(repository).copied().unwrap_or(0));
        if uses == 0 {
            users.remove(repository);
        } else {
            users.insert(repository.clone(), uses);
        }
        if users.is_empty() {
            self.users.remove(runtime);
        }
    }

    /// What a repository may show, now that this was found at its tag. `patient`: an application still waits for its runtime.
    pub fn admit(
        &self,
        repository: &Repository,
        found: &Found,
        rules: Rules<'_>,
        patient: bool,
    ) -> Admission {
        let mut admission = Admission::default();
        let old = self.of(repository);
        match found {
            Found::Images(images) => {
                let asked = Asked { shelf: self, repository, rules, patient, images };
                images.iter().for_each(|image| asked.judge(image, &mut admission));
                let here: Vec<&Ref> = images.iter().map(|image| &image.flatpak.name).collect();
                let lost = old.iter().filter(|held| !here.contains(&&held.flatpak.name));
                lost.for_each(|held| {
                    admission.remarks.push(Remark::Kept { name: held.flatpak.name.clone() });
                    admission.shown.push(held.clone());
                });
            }
            Found::Vanished => {
                admission.shown = old.to_vec();
                let kept = old.iter().map(|held| Remark::Kept { name: held.flatpak.name.clone() });
                admission.remarks.extend(kept);
            }
            Found::Withdrawn => {
                for held in old {
                    let needed = self.users(&held.flatpak.name).find(|user| *user != repository);
                    admission.remarks.extend(
                        needed.map(|by| Remark::Needed { name: held.flatpak.name.clone(), by: by.clone() }),
                    );
                    admission.shown.extend(needed.map(|_| held.clone()));
                }
            }
        }
        admission.shown.sort_by_key(|held| held.digest);
        admission
    }

    /// Whether `mine` has a name rather than `theirs`, which has it now.
    fn takes(rules: Rules<'_>, mine: &Repository, theirs: &Repository) -> bool {
        let rank = |name: &Repository| rules.priority.iter().position(|glob| glob.matches(name.as_str()));
        match (rank(mine), rank(theirs)) {
            (Some(mine), Some(theirs)) => mine < theirs,
            (Some(_), None) => true,
            (None, _) => false,
        }
    }
}

/// One repository's images before the rule.
struct Asked<'a> {
    shelf: &'a Shelf,
    repository: &'a Repository,
    rules: Rules<'a>,
    patient: bool,
    images: &'a [Held],
}

impl Asked<'_> {
    fn judge(&self, image: &Held, admission: &mut Admission) {
        let name = &image.flatpak.name;
        if admission.shown.iter().any(|shown| shown.flatpak.name == *name) {
            admission.remarks.push(Remark::Twice { name: name.clone() });
            return;
        }
        let other = self.shelf.owners.get(name).filter(|by| *by != self.repository);
        if let Some(by) = other.filter(|by| !Shelf::takes(self.rules, self.repository, by)) {
            admission.remarks.push(Remark::Claimed { name: name.clone(), by: by.clone() });
            return;
        }
        let shown = admission.shown.len();
        match image.flatpak.runtime.as_ref().filter(|runtime| !self.has(runtime)) {
            None => admission.shown.push(image.clone()),
            Some(runtime) if self.patient && !self.stands(image) => {
                admission.remarks.push(Remark::Waits { name: name.clone(), runtime: runtime.clone() });
                let old = self.shelf.of(self.repository).iter().find(|held| held.flatpak.name == *name);
                admission.shown.extend(old.cloned());
            }
            Some(runtime) => {
                admission
                    .remarks
                    .push(Remark::WithoutRuntime { name: name.clone(), runtime: runtime.clone() });
                admission.shown.push(image.clone());
            }
        }
        if let Some(by) = other.filter(|_| admission.shown.len() > shown) {
            admission.displaced.push((by.clone(), name.clone()));
        }
    }

    /// Whether this very image is shown already: then nothing is gained by waiting.
    fn stands(&self, image: &Held) -> bool {
        self.shelf.of(self.repository).iter().any(|held| held.digest == image.digest)
    }

    /// Whether a client that has these files finds a runtime.
    fn has(&self, runtime: &Ref) -> bool {
        let foreign = |glob: &Glob| {
            glob.matches(runtime.as_str())
                || runtime.as_str().strip_prefix("runtime/").is_some_and(|id| glob.matches(id))
        };
        self.shelf.owners.contains_key(runtime)
            || self.images.iter().any(|image| image.flatpak.name == *runtime)
            || self.rules.foreign.iter().any(foreign)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Rules<'static> = Rules { priority: &[], foreign: &[] };
    const APP: &str = "app/org.gnome.eog/x86_64/stable";
    const RUNTIME: &str = "runtime/org.fedoraproject.Platform/x86_64/f36";

    fn repository(name: &str) -> Repository {
        name.parse().unwrap()
    }

    fn held(build: &str, name: &str, runtime: Option<&str>) -> Held {
        let flatpak =
            Flatpak { name: name.parse().unwrap(), runtime: runtime.map(|name| name.parse().unwrap()) };
        let architecture = if name.contains("/aarch64/") { "arm64" } else { "amd64" };
        Held { digest: Digest::of(build.as_bytes()), architecture: architecture.to_owned(), flatpak }
    }

    fn app(build: &str) -> Held {
        held(build, APP, Some(RUNTIME))
    }

    /// A shelf with a runtime and the first build of an application.
    fn shelf() -> Shelf {
        let mut shelf = Shelf::default();
        shelf.put(&repository("f36/runtime"), vec![held("r", RUNTIME, None)]);
        shelf.put(&repository("eog"), vec![app("one")]);
        shelf
    }

    fn admit(shelf: &Shelf, name: &str, found: &Found) -> Admission {
        shelf.admit(&repository(name), found, NONE, true)
    }

    #[test]
    fn a_new_build_takes_the_place_of_the_old_one() {
        let admission = admit(&shelf(), "eog", &Found::Images(vec![app("two")]));
        assert_eq!(admission, Admission { shown: vec![app("two")], ..Admission::default() });
    }

    #[test]
    fn an_application_waits_for_its_runtime_and_its_old_build_stays_meanwhile() {
        let newer = "runtime/org.fedoraproject.Platform/x86_64/f37";
        let next = held("two", APP, Some(newer));
        let waiting = admit(&shelf(), "eog", &Found::Images(vec![next.clone()]));
        assert_eq!(waiting.shown, [app("one")]);
        assert_eq!(waiting.remarks[0].to_string(), format!("{APP} waits for {newer}"));
        let mut shelf = shelf();
        let published = shelf.admit(&repository("eog"), &Found::Images(vec![next.clone()]), NONE, false);
        assert_eq!(published.shown, std::slice::from_ref(&next));
        assert!(published.remarks[0].to_string().contains("push it, or name it in foreign_runtimes"));
        shelf.put(&repository("eog"), vec![next.clone()]);
        let again = admit(&shelf, "eog", &Found::Images(vec![next.clone()]));
        assert_eq!(
            (again.shown, again.remarks),
            (published.shown, published.remarks),
            "what is shown waits no more"
        );
        shelf.put(&repository("f37/runtime"), vec![held("r2", newer, None)]);
        let admission = admit(&shelf, "eog", &Found::Images(vec![next.clone()]));
        assert_eq!(admission, Admission { shown: vec![next], ..Admission::default() });
    }

    #[test]
    fn a_runtime_of_the_same_repository_or_from_elsewhere_is_there() {
        let (empty, runtime) = (Shelf::default(), held("r", RUNTIME, None));
        let both = admit(&empty, "all", &Found::Images(vec![app("one"), runtime]));
        assert_eq!((both.shown.len(), both.remarks), (2, Vec::new()));
        for foreign in ["runtime/org.fedoraproject.*", "org.fedoraproject.Platform/*"] {
            let foreign = [Glob::new(foreign)];
            let rules = Rules { foreign: &foreign, ..NONE };
            let admission = empty.admit(&repository("eog"), &Found::Images(vec![app("one")]), rules, true);
            assert_eq!(admission.shown, [app("one")]);
        }
    }

    #[test]
    fn what_is_no_longer_found_stays_unless_it_was_withdrawn() {
        let mut shelf = shelf();
        let arm = held("arm", "app/org.gnome.eog/aarch64/stable", None);
        shelf.put(&repository("eog"), vec![app("one"), arm.clone()]);
        let admission = admit(&shelf, "eog", &Found::Images(vec![app("two")]));
        assert_eq!(admission.shown.len(), 2);
        assert_eq!(admission.remarks, [Remark::Kept { name: arm.flatpak.name }]);
        let vanished = admit(&shelf, "eog", &Found::Vanished);
        assert_eq!((vanished.shown.len(), vanished.remarks.len()), (2, 2));
        assert_eq!(admit(&shelf, "eog", &Found::Withdrawn), Admission::default());
    }

    #[test]
    fn a_runtime_stays_while_an_application_needs_it() {
        let mut shelf = shelf();
        let kept = admit(&shelf, "f36/runtime", &Found::Withdrawn);
        assert_eq!(kept.shown.len(), 1);
        assert!(kept.remarks[0].to_string().ends_with("stays, eog needs it"));
        shelf.put(&repository("eog"), Vec::new());
        assert_eq!(admit(&shelf, "f36/runtime", &Found::Withdrawn), Admission::default());
        assert_eq!(shelf.images(), 1);
    }

    #[test]
    fn a_name_has_one_repository_the_first_unless_another_has_priority() {
        let shelf = shelf();
        let refused = admit(&shelf, "eog2", &Found::Images(vec![app("two")]));
        assert_eq!((refused.shown.len(), refused.displaced.len()), (0, 0));
        assert!(refused.remarks[0].to_string().contains("eog has that name already"));
        let priority = [Glob::new("eog2"), Glob::new("eog*")];
        let rules = Rules { priority: &priority, ..NONE };
        let won = shelf.admit(&repository("eog2"), &Found::Images(vec![app("two")]), rules, true);
        assert_eq!(won.shown, [app("two")]);
        assert_eq!(won.displaced, [(repository("eog"), APP.parse().unwrap())]);
        let waiting = held("two", APP, Some("runtime/org.fedoraproject.Platform/x86_64/f37"));
        let waits = shelf.admit(&repository("eog2"), &Found::Images(vec![waiting]), rules, true);
        assert!(waits.displaced.is_empty(), "what isn't shown displaces nobody");
        let again = shelf.admit(&repository("eog3"), &Found::Images(vec![app("two")]), rules, true);
        assert!(again.shown.is_empty(), "of equals the first stays");
    }

    #[test]
    fn two_images_of_one_name_in_one_repository_are_one() {
        let admission = admit(&shelf(), "eog", &Found::Images(vec![app("two"), app("three")]));
        assert_eq!(admission.shown, [app("two")]);
        assert_eq!(admission.remarks, [Remark::Twice { name: APP.parse().unwrap() }]);
    }

    #[test]
    fn a_shelf_forgets_what_nobody_shows() {
        let mut shelf = shelf();
        for name in ["eog", "f36/runtime"] {
            shelf.put(&repository(name), Vec::new());
        }
        assert_eq!((shelf.images(), shelf.owners.len(), shelf.users.len()), (0, 0, 0));
    }
}
