//! A process that is killed, and a disk that fails, at each step of a publication.

use std::{
    io,
    sync::{Arc, Mutex},
};

use super::*;

/// Something in every respect: two outputs, a small file, an icon.
fn before() -> World {
    let mut world = World::new();
    world.change(LATEST, &[("eog", Some("1")), ("baobab", Some("1"))]);
    world.change(AMD64, &[("eog", Some("1"))]);
    content::icon(&mut world, b"first");
    world
}

fn next(world: &mut World) -> Publication {
    let mut publication = world.begin();
    for output in [LATEST, AMD64] {
        let woven = world.woven(&publication, output, &[("eog", Some("2"))]);
        publication.output(woven);
    }
    publication.file(path("deltas/wanted.json"), b"[2]".to_vec());
    publication.name(What::Icons, content::put_icon(world, b"second"));
    publication
}

fn texts(world: &World) -> [String; 2] {
    [LATEST, AMD64].map(|output| world.text(output))
}

const OLD: [&str; 2] = ["{\"Results\": [\n1,\n1\n]}", "{\"Results\": [\n1\n]}"];
const NEW: [&str; 2] = ["{\"Results\": [\n1,\n2\n]}", "{\"Results\": [\n2\n]}"];

/// Calls `at` before each step.
fn hook(world: &mut World, mut at: impl FnMut(Step, usize) -> io::Result<()> + Send + 'static) {
    let mut count = 0;
    world.site.on_step(Box::new(move |step| {
        count += 1;
        at(step, count)
    }));
}

#[test]
fn a_process_killed_before_any_step_leaves_the_old_world_or_the_new() {
    let mut world = before();
    let (dir, images) = (world.dir.path().to_owned(), Arc::new(Mutex::new(Vec::new())));
    let seen = Arc::clone(&images);
    hook(&mut world, move |step, _| {
        seen.lock().unwrap().push((step, copy(&dir)));
        Ok(())
    });
    let publication = next(&mut world);
    world.publish(publication).unwrap();
    let now = world.later(DAY);
    let images = std::mem::take(&mut *images.lock().unwrap());
    let mut steps: Vec<Step> = images.iter().map(|(step, _)| *step).collect();
    assert_eq!(steps.iter().filter(|step| **step == Step::Place).count(), 7);
    steps.dedup();
    let all = [Step::KeepLayout, Step::SecureContent, Step::WriteList, Step::Decide, Step::Link, Step::Place];
    assert_eq!(steps[..6], all);
    assert_eq!(steps[6..], [Step::Announce, Step::Forget]);
    for (step, image) in images {
        check_encodings(&image.path().join("site"));
        assert_found_whole(World::open(image, now), step);
    }
}

fn assert_found_whole(mut world: World, killed_at: Step) {
    world.check();
    let decided = matches!(killed_at, Step::Link | Step::Place | Step::Announce | Step::Forget);
    assert_eq!(texts(&world), if decided { NEW } else { OLD }, "{killed_at:?}");
    assert_eq!(world.layouts.len(), 2, "{killed_at:?}");
    world.change(LATEST, &[("clocks", Some("3"))]);
    world.change(AMD64, &[("eog", None)]);
    world.check();
    assert_eq!(walk(&world.dir.path().join("state/layouts")).len(), 2);
}

#[test]
fn a_disk_that_fails_at_any_step_leaves_the_old_world_or_the_next_publication_finishes_the_new() {
    for failing in 1..40 {
        let mut world = before();
        let failed = Arc::new(Mutex::new(None));
        let tell = Arc::clone(&failed);
        hook(&mut world, move |step, count| {
            if count != failing {
                return Ok(());
            }
            *tell.lock().unwrap() = Some(step);
            Err(io::ErrorKind::StorageFull.into())
        });
        let publication = next(&mut world);
        let published = world.publish(publication);
        let Some(step) = *failed.lock().unwrap() else {
            assert!(failing > 20);
            return;
        };
        match step {
            Step::KeepLayout | Step::SecureContent | Step::WriteList | Step::Decide => {
                assert!(matches!(published, Err(Error::File(crate::weave::Error::Full { .. }))));
                world.check();
                assert_eq!(texts(&world), OLD);
                assert_eq!(walk(&world.dir.path().join("state/layouts")).len(), 2);
            }
            Step::Link | Step::Place | Step::Announce => {
                assert!(published.is_err());
                check_encodings(&world.dir());
                world.begin();
                assert_eq!(texts(&world), NEW);
                world.check();
                world.read_layouts();
            }
            Step::Forget => drop(published.unwrap()),
        }
        world.change(LATEST, &[("eog", Some("3"))]);
        world.change(AMD64, &[("eog", Some("3"))]);
        world.check();
    }
    panic!("a publication has fewer steps");
}

/// The folder of a publication that was killed when all was decided and nothing placed.
fn decided() -> (TempDir, Timestamp) {
    let mut world = before();
    let (dir, image) = (world.dir.path().to_owned(), Arc::new(Mutex::new(None)));
    let seen = Arc::clone(&image);
    hook(&mut world, move |step, _| {
        let mut image = seen.lock().unwrap();
        if step == Step::Place && image.is_none() {
            *image = Some(copy(&dir));
        }
        Ok(())
    });
    let publication = next(&mut world);
    world.publish(publication).unwrap();
    let image = image.lock().unwrap().take().unwrap();
    (image, world.later(HOUR))
}

#[test]
fn a_decision_that_is_not_whole_is_none() {
    let (image, now) = decided();
    let decision = image.path().join("site/.site.json.next");
    let whole = fs::read(&decision).unwrap();
    fs::write(&decision, &whole[..whole.len() - 3]).unwrap();
    let world = World::open(image, now);
    world.check();
    assert_eq!((texts(&world), world.layouts.len()), (OLD.map(ToOwned::to_owned), 2));
}

#[test]
fn a_decision_whose_files_are_gone_is_dropped_and_what_it_was_about_is_built_anew() {
    let (image, now) = decided();
    let waiting = left_over(image.path());
    assert_eq!(waiting.len(), 8);
    let plain =
        waiting.iter().find(|path| path.to_str().unwrap().contains("/.flatpak-latest.json.6")).unwrap();
    fs::rename(plain, image.path().join("site").join(LATEST)).unwrap(); // As if killed just then.
    for path in waiting.iter().filter(|path| path.to_str().unwrap().contains("amd64")) {
        fs::remove_file(path).unwrap();
    }
    let mut world = World::open(image, now);
    assert_eq!(world.layouts.keys().map(SitePath::as_str).collect::<Vec<_>>(), [AMD64]);
    world.change(LATEST, &[("eog", Some("2")), ("baobab", Some("1"))]);
    world.check();
}

#[test]
fn a_file_that_vanishes_while_it_waits_is_not_announced() {
    let mut world = before();
    let dir = world.dir();
    hook(&mut world, move |step, _| {
        if step == Step::Place {
            for path in left_over(&dir).into_iter().filter(|path| path.to_str().unwrap().contains("amd64")) {
                fs::remove_file(path).unwrap();
            }
        }
        Ok(())
    });
    let publication = next(&mut world);
    assert!(world.publish(publication).is_err());
    let listing = world.listing();
    let mut world = world.reopen();
    assert_eq!(world.listing(), listing);
    world.layouts.remove(&path(LATEST));
    world.change(LATEST, &[("eog", Some("3"))]);
    world.change(AMD64, &[("eog", Some("3"))]);
    world.check();
}

#[test]
fn what_a_killed_process_left_waiting_is_removed() {
    let world = before();
    for path in [
        "site/index/.flatpak-latest.json.65.next",
        "site/lists/.x.next",
        "site/.x.next",
        "state/layouts/.x.next",
    ] {
        fs::write(world.dir.path().join(path), "half of").unwrap();
    }
    let world = world.reopen();
    world.check();
    assert_eq!(world.layouts.len(), 2);
}
