//! Files under their own digests: listed in small lists, removed long after.

use super::*;

/// Puts an icon where icons stand, as whoever makes them does.
pub(super) fn put_icon(world: &World, bytes: &[u8]) -> Content {
    let sha256 = Digest::of(bytes);
    let path = What::Icons.path(&sha256, ".png").unwrap();
    let place = world.site.place(&path);
    fs::create_dir_all(place.parent().unwrap()).unwrap();
    if !place.exists() {
        fs::write(place, bytes).unwrap();
    }
    Content { path, size: bytes.len() as u64, sha256 }
}

/// Puts and publishes one.
pub(super) fn icon(world: &mut World, bytes: &[u8]) -> Content {
    let content = put_icon(world, bytes);
    let mut publication = world.begin();
    publication.name(What::Icons, content.clone());
    world.publish(publication).unwrap();
    content
}

fn unname(world: &mut World, content: &Content) {
    let mut publication = world.begin();
    publication.unname(What::Icons, content.path.clone(), &content.sha256);
    world.publish(publication).unwrap();
}

fn listed(world: &World) -> Vec<SitePath> {
    world.site.listed(What::Icons).unwrap().into_iter().map(|file| file.path).collect()
}

fn sweep(world: &mut World, time: Duration) -> Swept {
    let now = world.later(time);
    world.site.sweep(30 * DAY, now).unwrap()
}

#[test]
fn another_icon_rewrites_one_small_list() {
    let mut world = World::new();
    let mut publication = world.begin();
    for n in 0..2000_u32 {
        publication.name(What::Icons, put_icon(&world, &n.to_le_bytes()));
    }
    world.publish(publication).unwrap();
    world.check();
    let before = world.listing();
    assert_eq!((before.lists.len(), listed(&world).len()), (256, 2000));
    let added = icon(&mut world, b"another");
    world.check();
    let after = world.listing();
    assert!(listed(&world).contains(&added.path));
    let changed: Vec<&ListRef> = after.lists.iter().filter(|list| !before.lists.contains(list)).collect();
    let [list] = changed[..] else { panic!("{changed:?}") };
    assert_eq!(list.shard, Shard::of(&added.sha256));
    assert!(list.file.size < 8000, "{}", list.file.size);
    assert!(world.metadata("site.json").len() < 80_000);
}

#[test]
fn lists_say_what_they_list() {
    let mut world = World::new();
    let content = icon(&mut world, b"icon");
    let json: Value = serde_json::from_slice(&world.read("site.json")).unwrap();
    let list = &json["lists"][0];
    assert_eq!(
        (list["what"].as_str(), list["shard"].as_str()),
        (Some("icons"), Some(&content.sha256.hex()[..2]))
    );
    let bytes = world.read(list["path"].as_str().unwrap());
    assert_eq!(list["path"], format!("lists/{}.json", Digest::of(&bytes).hex()));
    let json: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(json["files"][0]["path"], content.path.as_str());
    assert_eq!(json["files"][0]["sha256"], content.sha256.hex());
}

#[test]
fn naming_twice_is_naming_once() {
    let mut world = World::new();
    let content = icon(&mut world, b"icon");
    let before = (world.listing(), world.metadata(content.path.as_str()).mtime());
    icon(&mut world, b"icon");
    fs::write(world.dir().join(content.path.as_str()), b"icon").unwrap(); // Of another time now.
    icon(&mut world, b"icon");
    assert_eq!(before, (world.listing(), world.metadata(content.path.as_str()).mtime()));
    world.check();
}

#[test]
fn a_file_that_is_not_there_is_not_named() {
    let mut world = World::new();
    let content = put_icon(&world, b"icon");
    let wrong = [
        Content { size: 5, ..content.clone() },
        Content {
            path: What::Icons.path(&Digest::of(b"x"), ".png").unwrap(),
            sha256: Digest::of(b"x"),
            size: 4,
        },
        Content { path: path("icons/x.png"), ..content.clone() },
        Content { path: What::Deltas.path(&content.sha256, ".json").unwrap(), ..content },
    ];
    for content in wrong {
        let mut publication = world.begin();
        publication.name(What::Icons, content);
        let error = world.publish(publication).unwrap_err();
        assert!(matches!(error, Error::Missing { .. } | Error::BadPlace { .. }), "{error}");
    }
    assert!(!world.dir().join("site.json").exists());
}

#[test]
fn what_nothing_names_any_more_goes_after_the_grace_period() {
    let mut world = World::new();
    let (kept, gone) = (icon(&mut world, b"kept"), icon(&mut world, b"gone"));
    assert_ne!(Shard::of(&kept.sha256), Shard::of(&gone.sha256));
    assert_eq!(sweep(&mut world, 100 * DAY), Swept::default());
    unname(&mut world, &gone);
    world.check();
    assert_eq!(listed(&world), [kept.path]);
    assert_eq!(sweep(&mut world, HOUR).waiting, 2); // The icon and a list.
    let mut world = world.reopen();
    assert_eq!(sweep(&mut world, 29 * DAY), Swept { waiting: 2, ..Swept::default() });
    assert!(world.dir().join(gone.path.as_str()).exists());
    assert_eq!(sweep(&mut world, DAY).files, 2);
    assert!(!world.dir().join(gone.path.as_str()).exists());
    world.check();
}

#[test]
fn a_lost_mark_begins_the_period_anew() {
    let mut world = World::new();
    let gone = icon(&mut world, b"gone");
    unname(&mut world, &gone);
    sweep(&mut world, HOUR);
    fs::write(world.dir.path().join("state/unnamed.json"), "{\"content\": [").unwrap();
    let mut world = world.reopen();
    assert_eq!(sweep(&mut world, 29 * DAY).files, 0);
    assert_eq!(sweep(&mut world, 29 * DAY).files, 0);
    assert_eq!(sweep(&mut world, DAY).files, 2);
}

#[test]
fn what_was_named_in_between_begins_a_period_of_its_own() {
    let mut world = World::new();
    let content = icon(&mut world, b"icon");
    unname(&mut world, &content);
    sweep(&mut world, HOUR);
    world.later(29 * DAY);
    icon(&mut world, b"icon");
    unname(&mut world, &content);
    let mut world = world.reopen();
    assert_eq!(sweep(&mut world, 2 * DAY).files, 0);
    assert!(world.dir().join(content.path.as_str()).exists());
    assert_eq!(sweep(&mut world, 30 * DAY).files, 2);
}

#[test]
fn nothing_is_removed_when_a_list_can_not_be_read() {
    let mut world = World::new();
    let (content, gone) = (icon(&mut world, b"icon"), put_icon(&world, b"gone"));
    sweep(&mut world, HOUR);
    let list = world.dir().join(world.listing().lists[0].file.path.as_str());
    fs::write(&list, "{\"files\": []}").unwrap();
    let now = world.later(100 * DAY);
    let error = world.site.sweep(30 * DAY, now).unwrap_err();
    assert!(matches!(error, Error::BadList { .. }), "{error}");
    assert_eq!(error.remedy(), Remedy::Park);
    assert!(world.dir().join(gone.path.as_str()).exists());

    let mut publication = world.begin();
    publication.relist(What::Icons);
    publication.name(What::Icons, content.clone());
    world.publish(publication).unwrap();
    world.check();
    assert_eq!(listed(&world), [content.path]);
    assert!(sweep(&mut world, DAY).files > 0);
    world.check();
}

#[test]
fn an_output_that_is_withdrawn_stays_through_the_grace_period() {
    let mut world = World::new();
    world.change(AMD64, &[("eog", Some("1"))]);
    world.change(LATEST, &[("eog", Some("1"))]);
    fs::write(world.dir().join("index/robots.txt"), "an operator's own").unwrap();
    let mut publication = world.begin();
    publication.withdraw(path(LATEST));
    world.publish(publication).unwrap();
    assert_eq!(world.listing().files.len(), 3);
    assert_eq!(sweep(&mut world, DAY).waiting, 3);
    let mut world = world.reopen();
    assert_eq!(world.text(LATEST), "{\"Results\": [\n1\n]}");
    assert_eq!(sweep(&mut world, 30 * DAY).files, 3);
    assert!(!world.dir().join(LATEST).exists() && world.dir().join("index/robots.txt").exists());
    world.check();
}
