//! A source that isn't what was published is found before anything is; a full disk leaves nothing behind.

use std::os::unix::fs::symlink;

use super::*;

fn three() -> World {
    let mut world = World::new();
    let large = |letter: &str| piece(&letter.repeat(200_000));
    world.change(&changes([("a", large("a")), ("b", large("b")), ("c", large("c"))]));
    world
}

fn damaged(world: &mut World) {
    let error = world.weave(&changes([("b", piece("{another}"))])).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
    assert!(waiting_files(world.dir.path()).is_empty());
}

fn rewrite(world: &World, encoding: Encoding, change: impl FnOnce(&mut Vec<u8>)) {
    let path = encoding.path(&world.path());
    let mut bytes = fs::read(&path).unwrap();
    change(&mut bytes);
    fs::write(&path, bytes).unwrap();
    let times = world.layout.files().unwrap().stamp.times();
    fs::File::options().write(true).open(&path).unwrap().set_times(times).unwrap();
}

#[test]
fn a_byte_that_changed_in_any_encoding_is_found() {
    for encoding in Encoding::ALL {
        for from_end in [false, true] {
            let mut world = three();
            rewrite(&world, encoding, |bytes| {
                let (head, tail) =
                    (world.frame.head.bytes(encoding).len(), world.frame.tail.bytes(encoding).len());
                let at = if from_end { bytes.len() - tail - 24 } else { head + 24 };
                bytes[at] ^= 1;
            });
            damaged(&mut world);
        }
    }
}

#[test]
fn a_file_of_another_length_or_time_is_found() {
    let mut world = three();
    rewrite(&world, Encoding::Zstd, |bytes| bytes.truncate(bytes.len() - 1));
    damaged(&mut world);
    let mut world = three();
    let file = fs::File::options().write(true).open(Encoding::Gzip.path(&world.path())).unwrap();
    file.set_times(Stamp(world.stamp + 5).times()).unwrap();
    damaged(&mut world);
}

#[test]
fn a_file_with_another_frame_is_not_copied_from() {
    let mut world = three();
    world.frame = Frame::new("{[", ",\n", "]}", "{}");
    damaged(&mut world);
}

#[test]
fn a_file_that_is_gone_is_an_error() {
    let mut world = three();
    fs::remove_file(Encoding::Gzip.path(&world.path())).unwrap();
    let error = world.weave(&changes([("b", None)])).unwrap_err();
    assert!(matches!(&error, Error::Io { path, .. } if path.ends_with("flatpak-latest.json.gz")), "{error}");
}

#[test]
fn a_full_disk_leaves_the_last_generation_and_nothing_else() {
    for encoding in Encoding::ALL {
        let mut world = three();
        let next = Target { path: world.path(), stamp: Stamp(world.stamp + 1) };
        symlink("/dev/full", next.waiting(encoding)).unwrap();
        let error = world.weave(&changes([("b", None)])).unwrap_err();
        assert!(matches!(error, Error::Full { .. }), "{error}");
        world.check();

        let mut builder = world.build();
        builder.push("a", &piece("{a}").unwrap()).unwrap();
        drop(builder);
        world.check();
    }
}
