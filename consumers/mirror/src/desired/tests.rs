use flatbus_upstream::bodhi::{ReleaseState, Status};

use super::*;
use crate::testing::{at, digest, placed, release, releases, stable, testing, update};

/// The rule over these updates and builds, as `tag → build id`, shortest form to compare.
fn tags(updates: &[Update], builds: &[Placed]) -> Vec<(String, i64)> {
    shown(&rule(updates, builds, VersionOwner::Stable))
}

fn rule(updates: &[Update], builds: &[Placed], owner: VersionOwner) -> DesiredTags {
    let named = |update: &Update, build: &Placed| update.builds.iter().any(|b| b.nvr == build.fact.nvr);
    let claims: Vec<Claim<'_>> = updates
        .iter()
        .flat_map(|update| {
            builds.iter().filter(|build| named(update, build)).map(move |build| Claim { update, build })
        })
        .collect();
    let forward = desired(&claims, &releases(), owner);
    let backward: Vec<Claim<'_>> = claims.into_iter().rev().collect();
    assert_eq!(desired(&backward, &releases(), owner), forward, "the order of the claims must not matter");
    forward
}

fn shown(desired: &DesiredTags) -> Vec<(String, i64)> {
    desired.tags.iter().map(|(tag, wanted)| (tag.to_string(), wanted.build_id)).collect()
}

fn expect(found: Vec<(String, i64)>, expected: &[(&str, i64)]) {
    let expected: Vec<(String, i64)> = expected.iter().map(|&(tag, id)| (tag.to_owned(), id)).collect();
    assert_eq!(found, expected);
}

#[test]
fn latest_is_the_build_that_came_to_stable_last() {
    let updates = [
        stable("U-1", &["eog-42.1-1"], "2022-01-01 00:00:00"),
        stable("U-2", &["eog-42.2-1"], "2022-02-01 00:00:00"),
    ];
    let builds = [placed("eog-42.1-1", 1, "eog"), placed("eog-42.2-1", 2, "eog")];
    expect(tags(&updates, &builds), &[("42.2", 2), ("42.2-1", 2), ("latest", 2)]);
}

#[test]
fn testing_counts_what_has_gone_on_to_stable() {
    let both = Update {
        date_testing: Some(at("2022-01-05 00:00:00")),
        ..stable("U-1", &["eog-1-1"], "2022-01-09 00:00:00")
    };
    let builds = [placed("eog-1-1", 1, "eog")];
    expect(tags(&[both], &builds), &[("1", 1), ("1-1", 1), ("latest", 1), ("testing", 1)]);
}

#[test]
fn one_build_in_stable_and_in_testing_conflicts_with_nothing_and_says_why_it_has_its_tags() {
    let both = Update {
        date_testing: Some(at("2022-01-05 00:00:00")),
        ..stable("U-1", &["eog-1-1"], "2022-01-09 00:00:00")
    };
    let found = rule(&[both], &[placed("eog-1-1", 1, "eog")], VersionOwner::Stable);
    assert_eq!(found.conflicts, []);
    let because = |name: &str| found.tags[&tag_for(name).unwrap()].because.clone();
    assert_eq!(because("latest"), "eog-1-1 is in stable since 2022-01-09T00:00:00Z with U-1");
    assert_eq!(because("testing"), "eog-1-1 is in testing since 2022-01-05T00:00:00Z with U-1");
}

#[test]
fn stable_without_ever_being_in_testing_has_no_testing_tag() {
    let builds = [placed("eog-1-1", 1, "eog")];
    expect(
        tags(&[stable("U-1", &["eog-1-1"], "2022-01-09 00:00:00")], &builds),
        &[("1", 1), ("1-1", 1), ("latest", 1)],
    );
}

#[test]
fn an_unpush_moves_testing_back() {
    let old = Update {
        date_testing: Some(at("2022-01-01 00:00:00")),
        ..stable("U-1", &["eog-1-1"], "2022-01-03 00:00:00")
    };
    let new = testing("U-2", &["eog-2-1"], "2022-02-01 00:00:00");
    let builds = [placed("eog-1-1", 1, "eog"), placed("eog-2-1", 2, "eog")];
    let before = [("1", 1), ("1-1", 1), ("2", 2), ("2-1", 2), ("latest", 1), ("testing", 2)];
    expect(tags(&[old.clone(), new.clone()], &builds), &before);
    // The dates of an unpushed update stay set: its status alone tells.
    let unpushed = Update { status: Status::Unpushed, ..new };
    expect(tags(&[old, unpushed], &builds), &[("1", 1), ("1-1", 1), ("latest", 1), ("testing", 1)]);
}

#[test]
fn an_update_obsoleted_in_testing_gives_way() {
    let old = Update { status: Status::Obsolete, ..testing("U-1", &["eog-1-1"], "2022-03-01 00:00:00") };
    let builds = [placed("eog-1-1", 1, "eog"), placed("eog-2-1", 2, "eog")];
    expect(tags(std::slice::from_ref(&old), &builds), &[]);
    let new = testing("U-2", &["eog-2-1"], "2022-02-01 00:00:00");
    expect(tags(&[old, new], &builds), &[("2", 2), ("2-1", 2), ("testing", 2)]);
}

#[test]
fn an_edited_update_stands_for_its_present_builds() {
    let edited = testing("U-1", &["eog-1-2", "baobab-1-1"], "2022-03-02 00:00:00");
    let builds = [placed("eog-1-1", 1, "eog"), placed("eog-1-2", 2, "eog")];
    expect(tags(&[edited], &builds), &[("1", 2), ("1-2", 2), ("testing", 2)]);
}

#[test]
fn pending_updates_name_nothing() {
    expect(tags(&[update("U-1", &["eog-1-1"])], &[placed("eog-1-1", 1, "eog")]), &[]);
}

#[test]
fn only_releases_that_count_count() {
    let builds = [placed("eog-1-1", 1, "eog")];
    let since = "2022-01-01 00:00:00";
    let counted = |change: fn(&mut Update)| {
        let mut update = stable("U-1", &["eog-1-1"], since);
        change(&mut update);
        !tags(&[update], &builds).is_empty()
    };
    for (state, counts) in [
        (ReleaseState::Current, true),
        (ReleaseState::Frozen, true),
        (ReleaseState::Pending, true),
        (ReleaseState::Archived, true),
        (ReleaseState::Disabled, false),
    ] {
        let mut update = stable("U-1", &["eog-1-1"], since);
        update.release.state = state;
        assert_eq!(!tags(&[update], &builds).is_empty(), counts, "{state:?}");
    }
    assert!(!counted(|update| update.release.branch = "rawhide".to_owned()));
    assert!(!counted(|update| update.release.id_prefix = "FEDORA".to_owned()));
    assert!(!counted(|update| update.release.id_prefix = "FEDORA-FLATPAK-X".to_owned()));
    assert!(!counted(|update| update.builds[0].kind = "rpm".to_owned()));
}

#[test]
fn a_build_that_is_no_flatpak_is_never_published() {
    let mut build = placed("eog-1-1", 1, "eog");
    build.fact.flatpak = false;
    expect(tags(&[stable("U-1", &["eog-1-1"], "2022-01-01 00:00:00")], &[build]), &[]);
}

#[test]
fn eog_and_eog_flatpak_share_one_repository() {
    let updates = [
        stable("U-1", &["eog-stable-3620220905044417.1"], "2022-09-14 02:47:00"),
        stable("U-2", &["eog-flatpak-44.2-1"], "2023-06-01 00:00:00"),
    ];
    let builds = [placed("eog-stable-3620220905044417.1", 1, "eog"), placed("eog-flatpak-44.2-1", 2, "eog")];
    expect(tags(&updates, &builds), &[("44.2", 2), ("44.2-1", 2), ("latest", 2)]);
}

#[test]
fn two_builds_that_claim_one_tag_have_one_owner_by_rule() {
    let old = stable("U-1", &["eog-42~rc-1"], "2022-01-01 00:00:00");
    let new = testing("U-2", &["eog-42^rc-1"], "2022-02-01 00:00:00");
    let builds = [placed("eog-42~rc-1", 1, "eog"), placed("eog-42^rc-1", 2, "eog")];
    let stable_first = rule(&[old.clone(), new.clone()], &builds, VersionOwner::Stable);
    expect(shown(&stable_first), &[("42_rc", 1), ("42_rc-1", 1), ("latest", 1), ("testing", 2)]);
    let told: Vec<_> =
        stable_first.conflicts.iter().map(|c| (c.tag.as_str(), c.owner.as_str(), c.loser.as_str())).collect();
    assert_eq!(told, [("42_rc-1", "eog-42~rc-1", "eog-42^rc-1"), ("42_rc", "eog-42~rc-1", "eog-42^rc-1")]);
    let as_bodhi = rule(&[old, new], &builds, VersionOwner::LastPush);
    expect(shown(&as_bodhi), &[("42_rc", 2), ("42_rc-1", 2), ("latest", 1), ("testing", 2)]);
}

#[test]
fn the_version_follows_the_last_push_where_bodhi_writes() {
    // The older build came to stable after the newer one came to testing: Bodhi tagged its version last.
    let old = Update {
        date_testing: Some(at("2021-10-05 17:08:14")),
        ..stable("U-1", &["eog-stable-1.1"], "2021-10-06 17:37:51")
    };
    let new = testing("U-2", &["eog-stable-1.2"], "2021-10-06 17:00:00");
    let builds = [placed("eog-stable-1.1", 1, "eog"), placed("eog-stable-1.2", 2, "eog")];
    let owner = |updates: &[Update]| {
        rule(updates, &builds, VersionOwner::LastPush).tags[&tag_for("stable").unwrap()].build_id
    };
    assert_eq!(owner(&[old.clone(), new.clone()]), 1);
    let later = Update { date_testing: Some(at("2021-10-06 17:52:20")), ..new };
    assert_eq!(owner(&[old, later]), 2);
}

#[test]
fn a_version_that_spells_a_reserved_tag_does_not_get_it() {
    let builds = [placed("eog-latest-1", 1, "eog"), placed("eog-build-7", 2, "eog")];
    let updates = [testing("U-1", &["eog-latest-1"], "2022-01-01 00:00:00")];
    let desired = rule(&updates, &builds, VersionOwner::Stable);
    expect(shown(&desired), &[("latest-1", 1), ("testing", 1)]);
    assert_eq!(desired.conflicts.len(), 1);
    let updates = [testing("U-2", &["eog-build-7"], "2022-01-01 00:00:00")];
    expect(tags(&updates, &builds), &[("build", 2), ("testing", 2)]);
}

#[test]
fn pushes_of_one_second_have_one_order() {
    let updates = [
        stable("U-2", &["eog-1-1"], "2018-12-07 03:23:58"),
        stable("U-1", &["eog-2-1"], "2018-12-07 03:23:58"),
    ];
    let builds = [placed("eog-1-1", 1, "eog"), placed("eog-2-1", 2, "eog")];
    expect(tags(&updates, &builds), &[("2", 2), ("2-1", 2), ("latest", 2)]);
}

#[test]
fn each_named_build_holds_a_tag_of_its_own() {
    let updates = [
        stable("U-1", &["eog-1-1"], "2022-01-01 00:00:00"),
        testing("U-2", &["eog-2-1"], "2022-02-01 00:00:00"),
    ];
    let mut builds = [placed("eog-1-1", 1, "eog"), placed("eog-2-1", 2, "eog")];
    builds[1].digest = digest(1); // Two builds of one content happen.
    let holding: Vec<_> =
        rule(&updates, &builds, VersionOwner::Stable).holding.keys().map(ToString::to_string).collect();
    assert_eq!(holding, ["build-1", "build-2"]);
}

#[test]
fn two_releases_share_latest_and_the_last_push_has_it() {
    let mut f35 = stable("U-1", &["eog-flatpak-44-1"], "2023-06-02 00:00:00");
    f35.release = release("F35F");
    let f36 = stable("U-2", &["eog-flatpak-44-2"], "2023-06-01 00:00:00");
    let builds = [placed("eog-flatpak-44-1", 1, "eog"), placed("eog-flatpak-44-2", 2, "eog")];
    expect(tags(&[f35, f36], &builds), &[("44", 1), ("44-1", 1), ("latest", 1)]);
}

#[test]
fn where_another_build_may_be_the_one_in_testing_the_versions_of_what_seems_to_be_are_left_too() {
    let older = stable("U-0", &["eog-0-1"], "2022-01-01 00:00:00");
    let update = testing("U-1", &["eog-1-1", "eog-2-1"], "2022-02-01 00:00:00");
    let builds = [placed("eog-0-1", 7, "eog"), placed("eog-1-1", 1, "eog")];
    let mut found = rule(&[older, update.clone()], &builds, VersionOwner::Stable);
    assert!(found.leave_to(&update));
    expect(shown(&found), &[("0", 7), ("0-1", 7), ("latest", 7)]);
    let left: Vec<String> = found.left.iter().map(Tag::to_string).collect();
    assert_eq!(left, ["1", "1-1", "testing"]);
}

#[test]
fn what_is_stable_keeps_its_versions_whatever_is_in_testing() {
    let both = Update {
        date_testing: Some(at("2022-01-05 00:00:00")),
        ..stable("U-1", &["eog-1-1"], "2022-01-09 00:00:00")
    };
    let unknown = testing("U-2", &["eog-2-1"], "2022-02-01 00:00:00");
    let mut found = rule(&[both], &[placed("eog-1-1", 1, "eog")], VersionOwner::Stable);
    assert!(found.leave_to(&unknown));
    expect(shown(&found), &[("1", 1), ("1-1", 1), ("latest", 1)]);
}
