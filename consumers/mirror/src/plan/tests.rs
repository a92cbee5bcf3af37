use super::*;
use crate::{
    desired::{Claim, VersionOwner, desired},
    testing::{at, digest, placed, releases, stable, testing},
};

const DAY: Duration = Duration::from_secs(24 * 3600);
const GRACE: Duration = Duration::from_secs(30 * 24 * 3600);

fn now() -> Timestamp {
    at("2022-06-01 00:00:00")
}

fn tag(text: &str) -> Tag {
    text.parse().unwrap()
}

/// Build 1 is stable, build 2 in testing.
fn wanted() -> DesiredTags {
    let updates = [
        stable("U-1", &["eog-1-1"], "2022-01-01 00:00:00"),
        testing("U-2", &["eog-2-1"], "2022-02-01 00:00:00"),
    ];
    let builds = [placed("eog-1-1", 1, "eog"), placed("eog-2-1", 2, "eog")];
    let claims =
        [Claim { update: &updates[0], build: &builds[0] }, Claim { update: &updates[1], build: &builds[1] }];
    desired(&claims, &releases(), VersionOwner::Stable)
}

fn told(plan: &Plan) -> Vec<String> {
    plan.deeds
        .iter()
        .map(|deed| match deed {
            Deed::Establish { holding, .. } => format!("establish {holding}"),
            Deed::Move { tag, to, .. } => format!("move {tag} to {}", to.build_id),
            Deed::Withdraw { tag, .. } => format!("withdraw {tag}"),
            Deed::LetGo { holding } => format!("let go {holding}"),
        })
        .collect()
}

fn alone(desired: &DesiredTags, actual: &Actual) -> Plan {
    plan(desired, actual, &Others::Nobody, now(), GRACE)
}

/// The destination after everything desired was done.
fn done(desired: &DesiredTags) -> Actual {
    let held = desired
        .holding
        .iter()
        .map(|(t, d)| (t.clone(), Held { digest: d.digest, unwanted_since: None }))
        .collect();
    let tags =
        desired.tags.iter().chain(&desired.holding).map(|(t, d)| (t.clone(), Some(d.digest))).collect();
    Actual { tags, held, withheld: BTreeSet::new() }
}

#[test]
fn bytes_come_first_and_the_tags_users_follow_last() {
    assert_eq!(
        told(&alone(&wanted(), &Actual::default())),
        [
            "establish build-1",
            "establish build-2",
            "move 1 to 1",
            "move 1-1 to 1",
            "move 2 to 2",
            "move 2-1 to 2",
            "move latest to 1",
            "move testing to 2",
        ]
    );
}

#[test]
fn what_is_true_already_needs_nothing() {
    let plan = alone(&wanted(), &done(&wanted()));
    assert_eq!(plan.deeds, []);
    assert_eq!(plan.held, done(&wanted()).held);
}

#[test]
fn a_build_that_is_withheld_leaves_its_tags_as_they_are_and_blocks_no_other() {
    let actual = Actual { withheld: BTreeSet::from(["eog-2-1".to_owned()]), ..Actual::default() };
    assert_eq!(
        told(&alone(&wanted(), &actual)),
        ["establish build-1", "move 1 to 1", "move 1-1 to 1", "move latest to 1"]
    );
}

#[test]
fn a_holding_tag_that_someone_removed_is_put_back() {
    let mut actual = done(&wanted());
    actual.tags.insert(tag("build-2"), None);
    assert_eq!(told(&alone(&wanted(), &actual)), ["establish build-2"]);
}

#[test]
fn a_holding_tag_goes_only_after_the_grace_period() {
    let mut actual = done(&wanted());
    let mut held = |id: u64, since| {
        actual.held.insert(tag(&format!("build-{id}")), Held { digest: digest(id), unwanted_since: since })
    };
    held(7, None);
    held(8, now().checked_sub(29 * DAY).ok());
    held(9, now().checked_sub(30 * DAY).ok());
    held(10, now().checked_add(DAY).ok()); // The clock jumped back since.
    let plan = alone(&wanted(), &actual);
    assert_eq!(told(&plan), ["let go build-9"]);
    assert_eq!(plan.held[&tag("build-7")].unwanted_since, Some(now()));
    assert_eq!(plan.held[&tag("build-8")].unwanted_since, now().checked_sub(29 * DAY).ok());
    assert_eq!(plan.held[&tag("build-10")].unwanted_since, Some(now()));
}

#[test]
fn a_build_wanted_again_is_held_again() {
    let mut actual = done(&wanted());
    actual
        .held
        .insert(tag("build-1"), Held { digest: digest(1), unwanted_since: Some(at("2022-01-01 00:00:00")) });
    let plan = alone(&wanted(), &actual);
    assert_eq!(plan.deeds, []);
    assert_eq!(plan.held[&tag("build-1")].unwanted_since, None);
}

#[test]
fn testing_alone_is_ever_withdrawn() {
    let mut actual = done(&wanted());
    let mut stable_only = wanted();
    stable_only.tags.remove(&tag("testing"));
    actual.tags.insert(tag("latest"), Some(digest(1)));
    assert_eq!(told(&alone(&stable_only, &actual)), ["withdraw testing"]);
    let nothing = DesiredTags { tags: BTreeMap::new(), ..wanted() };
    assert_eq!(told(&alone(&nothing, &actual)), ["withdraw testing"]);
    actual.tags.insert(tag("testing"), None);
    assert_eq!(told(&alone(&nothing, &actual)), Vec::<String>::new());
}

#[test]
fn beside_bodhi_a_tag_just_written_waits_and_a_missing_one_is_completed() {
    let mut actual = done(&wanted());
    actual.tags.insert(tag("latest"), Some(digest(5)));
    actual.tags.insert(tag("1-1"), None);
    let composing = BTreeSet::new();
    let neighbour = Neighbour {
        updates: &[],
        builds: &[],
        composing: &composing,
        settle_after: Duration::from_secs(600),
    };
    let beside = |quiet: &[(&str, u64)]| {
        let quiet = quiet.iter().map(|&(t, s)| (tag(t), Duration::from_secs(s))).collect();
        plan(&wanted(), &actual, &Others::Bodhi(neighbour.clone(), quiet), now(), GRACE)
    };
    let first = beside(&[]);
    assert_eq!(told(&first), ["move 1-1 to 1"]);
    assert_eq!(first.waiting[0].wait, Duration::from_secs(600));
    assert_eq!(told(&beside(&[("latest", 600)])), ["move 1-1 to 1", "move latest to 1"]);
}
