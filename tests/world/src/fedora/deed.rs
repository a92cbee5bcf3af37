//! What people and tools do at Fedora: each deed changes the truth, and has a message that tells of it.

use std::fmt;

use flatbus_schemas::Message;
use flatbus_upstream::bodhi::{Status, Update, UpdateBuild};

use super::{Fedora, PACKAGES, choose, message};

/// A deed. Its numbers pick one of those it can be done to; where there is none, nothing happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// A build of a package is complete.
    Build {
        /// Which package.
        package: u8,
        /// Whether it has a new version, or a new release of the same.
        new_version: bool,
        /// Whether it was imported, as before 2023: then no task says that it is a Flatpak.
        imported: bool,
    },
    /// An update is submitted with the newest builds that are in none.
    Submit {
        /// Which build first.
        pick: u8,
        /// With how many more.
        more: u8,
    },
    /// An update is pushed.
    Push {
        /// Which.
        pick: u8,
        /// Where to.
        to: Push,
    },
    /// An update is taken back from testing.
    Unpush {
        /// Which.
        pick: u8,
    },
    /// Bodhi replaces an update in testing by a newer one, without a message.
    Obsolete {
        /// Which.
        pick: u8,
    },
    /// A build of an update is replaced: it goes back to pending.
    Edit {
        /// Which.
        pick: u8,
    },
}

/// Where an update is pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Push {
    /// To testing.
    Testing,
    /// To stable.
    Stable,
}

impl Fedora {
    /// Does it. Gives back the message that tells of it, if one does.
    pub fn act(&mut self, deed: Deed) -> Option<Message> {
        match deed {
            Deed::Build { package, new_version, imported } => {
                Some(self.build_completes(package, new_version, imported))
            }
            Deed::Submit { pick, more } => self.submit(pick, more),
            Deed::Push { pick, to } => {
                let alias = self.pushable(pick, to)?;
                Some(self.finish_push(&alias, to))
            }
            Deed::Unpush { pick } => {
                let alias = self.in_status(&[Status::Testing, Status::Pending], pick)?;
                self.change(&alias, |update, _| {
                    update.status = Status::Unpushed;
                    update.request = None;
                });
                Some(self.tell_update("bodhi.update.request.unpush", &alias, &[], &[]))
            }
            Deed::Obsolete { pick } => {
                let alias = self.in_status(&[Status::Testing, Status::Pending], pick)?;
                self.change(&alias, |update, _| update.status = Status::Obsolete);
                None
            }
            Deed::Edit { pick } => self.edit(pick),
        }
    }

    fn build_completes(&mut self, package: u8, new_version: bool, imported: bool) -> Message {
        let package = &PACKAGES[usize::from(package) % PACKAGES.len()];
        let id = self.make(package, new_version);
        let body = message::build_body(&self.builds[&id], imported);
        self.message("buildsys.build.state.change", &body)
    }

    fn submit(&mut self, pick: u8, more: u8) -> Option<Message> {
        let free = self.free_builds();
        let first = choose(free.iter().copied(), pick)?;
        let mut builds = vec![first];
        for id in free {
            let fits =
                builds.iter().all(|held| self.builds[held].package.name != self.builds[&id].package.name);
            if builds.len() <= usize::from(more % 3) && fits {
                builds.push(id);
            }
        }
        let alias = self.submitted(&builds);
        Some(self.tell_update("bodhi.update.request.testing", &alias, &[], &[]))
    }

    /// Builds that no update holds.
    fn free_builds(&self) -> Vec<i64> {
        let held = |nvr: &str| self.updates.values().any(|update| update.builds.iter().any(|b| b.nvr == nvr));
        self.builds.values().filter(|build| !held(&build.nvr)).map(|build| build.id).collect()
    }

    /// An update that may be pushed there now.
    pub fn pushable(&self, pick: u8, to: Push) -> Option<String> {
        match to {
            Push::Testing => self.in_status(&[Status::Pending], pick),
            Push::Stable => self.in_status(&[Status::Testing, Status::Pending], pick),
        }
    }

    fn in_status(&self, statuses: &[Status], pick: u8) -> Option<String> {
        let fits = |update: &&Update| statuses.contains(&update.status) && !update.locked;
        choose(self.updates.values().filter(fits), pick).map(|update| update.alias.clone())
    }

    /// The composer begins: the update is locked, its builds are being pushed.
    pub fn begin_push(&mut self, alias: &str, to: Push) {
        self.change(alias, |update, _| update.request = Some(to.to_string()));
        self.set_composing(alias, true);
    }

    /// The composer is done, and Bodhi's database says so.
    pub fn finish_push(&mut self, alias: &str, to: Push) -> Message {
        self.set_composing(alias, false);
        self.change(alias, |update, now| {
            update.request = None;
            update.date_pushed = Some(now);
            match to {
                Push::Testing => {
                    update.status = Status::Testing;
                    update.date_testing = Some(now);
                }
                Push::Stable => {
                    update.status = Status::Stable;
                    update.date_stable = Some(now);
                }
            }
        });
        self.tell_update(&format!("bodhi.update.complete.{to}"), alias, &[], &[])
    }

    /// The composer died: nothing was pushed as far as the database knows, and nobody is told.
    pub fn abandon_push(&mut self, alias: &str) {
        self.set_composing(alias, false);
    }

    fn edit(&mut self, pick: u8) -> Option<Message> {
        let free = self.free_builds();
        let alias = self.in_status(&[Status::Testing, Status::Pending], pick)?;
        let held = &self.updates[&alias].builds;
        let fits = |id: &i64| {
            let name = self.builds[id].package.name;
            held.iter().position(|build| self.build(&build.nvr).is_some_and(|b| b.package.name == name))
        };
        let (id, at) = free.iter().find_map(|id| Some((*id, fits(id)?)))?;
        let new = self.builds[&id].nvr.clone();
        let mut removed = String::new();
        self.change(&alias, |update, now| {
            let build = UpdateBuild { nvr: new.clone(), kind: "flatpak".to_owned() };
            removed = std::mem::replace(&mut update.builds[at], build).nvr;
            update.status = Status::Pending;
            update.date_modified = Some(now);
        });
        Some(self.tell_update("bodhi.update.edit", &alias, &[new], &[removed]))
    }

    fn tell_update(&mut self, topic: &str, alias: &str, new: &[String], removed: &[String]) -> Message {
        let body = message::update_body(&self.updates[alias], new, removed);
        self.message(topic, &body)
    }

    /// A message of true shape that tells of what never happened: an update that isn't there with a build that isn't
    /// there, or a real one that is said to be where it is not.
    pub fn forge(&mut self, pick: u8) -> Message {
        let forged = choose(self.updates.values().filter(|update| update.status == Status::Pending), pick);
        let body = match forged {
            Some(update) if !pick.is_multiple_of(3) => {
                message::update_body(&Update { status: Status::Stable, ..update.clone() }, &[], &[])
            }
            _ => message::forged_body(pick),
        };
        self.message("bodhi.update.complete.stable", &body)
    }

    /// A message that is read, and whose body breaks its schema.
    pub fn malform(&mut self) -> Message {
        self.message("bodhi.update.complete.stable", &serde_json::json!({"update": {"builds": 7}}))
    }

    /// A message of no concern.
    pub fn noise(&mut self, pick: u8) -> Message {
        let (topic, body) = message::noise(pick);
        self.message(topic, &body)
    }
}

impl fmt::Display for Push {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Testing => "testing",
            Self::Stable => "stable",
        })
    }
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Build { package, new_version, imported } => {
                let package = &PACKAGES[usize::from(*package) % PACKAGES.len()];
                let how = if *imported { "is imported" } else { "completes" };
                let what = if *new_version { "a new version" } else { "a new release" };
                write!(f, "{what} of {} for {} {how}", package.name, package.repository)
            }
            Self::Submit { pick, more } => {
                write!(f, "an update is submitted (build {pick} and {} more)", more % 3)
            }
            Self::Push { pick, to } => write!(f, "an update is pushed to {to} (pick {pick})"),
            Self::Unpush { pick } => write!(f, "an update is unpushed (pick {pick})"),
            Self::Obsolete { pick } => write!(f, "an update becomes obsolete in silence (pick {pick})"),
            Self::Edit { pick } => write!(f, "a build of an update is replaced (pick {pick})"),
        }
    }
}
