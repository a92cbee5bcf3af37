//! Content by its digest, also of a moment ago.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use super::*;

fn standing(world: &World) -> usize {
    walk(&world.dir().join("by-digest")).len()
}

#[test]
fn a_reader_gets_what_it_read_of_while_that_changes() {
    let mut world = World::new();
    world.change(LATEST, &[("eog", Some("0"))]);
    let (dir, done) = (world.dir(), AtomicBool::new(false));
    let read = || {
        let mut times = 0;
        while !done.load(Ordering::Relaxed) || times == 0 {
            let listing: Listing = serde_json::from_slice(&fs::read(dir.join("site.json")).unwrap()).unwrap();
            for file in listing.files {
                let bytes = fs::read(dir.join(by_digest(&file.sha256))).unwrap();
                assert_eq!(Digest::of(&bytes), file.sha256);
            }
            times += 1;
        }
        times
    };
    thread::scope(|scope| {
        let reading = scope.spawn(read);
        for n in 1..30 {
            world.change(LATEST, &[("eog", Some(&n.to_string()))]);
        }
        done.store(true, Ordering::Relaxed);
        assert!(reading.join().unwrap() > 0);
    });
}

#[test]
fn what_was_replaced_stays_for_an_hour() {
    let mut world = World::new();
    for text in ["1", "2", "3"] {
        world.change(LATEST, &[("eog", Some(text))]);
        let now = world.later(HOUR / 3);
        world.site.trim(now).unwrap();
    }
    assert_eq!(standing(&world), 9);
    let now = world.later(HOUR / 2);
    world.site.trim(now).unwrap();
    assert_eq!(standing(&world), 6);
    let mut world = world.reopen(); // Whatever isn't known is as if replaced now.
    assert_eq!(standing(&world), 6);
    let now = world.later(HOUR);
    world.site.trim(now).unwrap();
    assert_eq!(standing(&world), 3);
    world.check();
}

#[test]
fn the_oldest_goes_early_when_there_is_too_much() {
    let mut world = World::new();
    for n in 0..10_u8 {
        world.change(LATEST, &[("eog", Some(&format!("\"{}\"", n.to_string().repeat(100_000))))]);
    }
    world.site.keep = Keep { bytes_max: 250_000, ..Keep::default() };
    world.site.trim(world.now.get()).unwrap();
    let large = walk(&world.dir().join("by-digest"))
        .into_iter()
        .filter(|path| path.metadata().unwrap().len() > 99_999);
    assert_eq!(large.count(), 3); // What is published, and two before.
    world.check();
}

#[test]
fn what_comes_back_is_not_trimmed() {
    let mut world = World::new();
    for text in ["1", "2", "1"] {
        world.change(LATEST, &[("eog", Some(text))]);
    }
    let now = world.later(HOUR * 2);
    world.site.trim(now).unwrap();
    assert_eq!(standing(&world), 3);
    world.check();
}

#[test]
fn lost_links_come_back_at_the_next_start() {
    let mut world = World::new();
    world.change(LATEST, &[("eog", Some("1"))]);
    fs::remove_dir_all(world.dir().join("by-digest")).unwrap();
    fs::create_dir_all(world.dir().join("by-digest/sha256/00")).unwrap();
    fs::write(world.dir().join("by-digest/sha256/00/.00.0.next"), "of a killed process").unwrap();
    let world = world.reopen();
    world.check();
}
