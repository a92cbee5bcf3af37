//! What the tags should be, said once more: written from the rule, apart from the mirror's own function, so that one can
//! judge the other. Pure.

use std::collections::BTreeMap;

use flatbus_oci::{Digest, Repository, Tag};
use flatbus_upstream::bodhi::{Status, Update};
use jiff::Timestamp;

use crate::fedora::{Made, public_name, tag};

/// What each tag of the destination should name.
pub type Tags = BTreeMap<(Repository, Tag), Digest>;

/// An update's build with the time of a push.
type Pushed<'a> = (Timestamp, i64, &'a str, &'a Made);

/// The desired tags of all repositories. `last_push`: `<version>` follows the last push, as Bodhi leaves it; else the
/// stable build has it as long as there is one.
pub fn desired<'a>(
    updates: impl Iterator<Item = &'a Update>,
    builds: &'a BTreeMap<String, Made>,
    last_push: bool,
) -> Tags {
    let mut stable: BTreeMap<&str, Pushed<'a>> = BTreeMap::new();
    let mut testing: BTreeMap<&str, Pushed<'a>> = BTreeMap::new();
    for update in updates {
        for build in update.builds.iter().filter_map(|named| builds.get(&named.nvr)) {
            let pushed = |at| (at, build.id, update.alias.as_str(), build);
            let is = |statuses: &[Status]| statuses.contains(&update.status);
            if let (true, Some(at)) = (is(&[Status::Stable]), update.date_stable) {
                keep_newest(&mut stable, build.package.repository, pushed(at));
            }
            if let (true, Some(at)) = (is(&[Status::Testing, Status::Stable]), update.date_testing) {
                keep_newest(&mut testing, build.package.repository, pushed(at));
            }
        }
    }
    let mut tags = Tags::new();
    for (floating, newest) in [("latest", &stable), ("testing", &testing)] {
        for (repository, (.., build)) in newest {
            tags.insert((public_name(repository), tag(floating)), build.digest);
        }
    }
    for repository in stable.keys().chain(testing.keys()) {
        let mut owners: Vec<&Pushed<'_>> =
            stable.get(repository).into_iter().chain(testing.get(repository)).collect();
        if last_push {
            owners.sort_by_key(|(at, ..)| std::cmp::Reverse(*at));
        }
        for (.., build) in owners {
            for version in [format!("{}-{}", build.version, build.release), build.version.clone()] {
                tags.entry((public_name(repository), tag(&version))).or_insert(build.digest);
            }
        }
    }
    tags
}

fn keep_newest<'a>(newest: &mut BTreeMap<&'a str, Pushed<'a>>, repository: &'a str, pushed: Pushed<'a>) {
    let key = |(at, id, alias, _): &Pushed<'a>| (*at, *id, alias.to_string());
    if newest.get(repository).is_none_or(|held| key(held) < key(&pushed)) {
        newest.insert(repository, pushed);
    }
}
