//! Layouts are found again, each of its generation, or not at all.

use super::*;

const FILE: &str = "index/flatpak-latest.json";

fn kept() -> (World, TempDir, Layouts) {
    let mut world = World::new();
    world.change(&changes([("eog", noted("{eog}", &json!({"a\tb": "c\nd"}))), ("a\tb\n\"", piece("{}"))]));
    let state = tempfile::tempdir().unwrap();
    let layouts = Layouts::open(state.path()).unwrap();
    layouts.keep(FILE, &world.layout).unwrap();
    (world, state, layouts)
}

fn the_one(state: &TempDir) -> PathBuf {
    let mut paths = fs::read_dir(state.path()).unwrap().map(|entry| entry.unwrap().path());
    let path = paths.next().unwrap();
    assert!(paths.next().is_none());
    path
}

#[test]
fn generations_are_kept_beside_each_other_until_they_are_forgotten() {
    let (mut world, state, mut layouts) = kept();
    let (first, stamp) = (world.layout.clone(), Stamp(world.stamp));
    world.change(&changes([("eog", None)]));
    layouts.keep(FILE, &world.layout).unwrap();
    layouts.keep("index/flatpak-latest.json.more", &world.layout).unwrap();
    let mut find = |stamp: i64| layouts.find(FILE, Stamp(stamp), &world.frame).unwrap();
    assert_eq!(find(stamp.0), Some(first));
    assert_eq!(find(world.stamp), Some(world.layout.clone()));
    assert_eq!(find(world.stamp + 1), None);

    layouts.forget_others(FILE, Some(stamp)).unwrap();
    assert!(layouts.find(FILE, stamp, &world.frame).unwrap().is_some());
    assert_eq!(layouts.find(FILE, Stamp(world.stamp), &world.frame).unwrap(), None);
    layouts.forget_others(FILE, None).unwrap();
    layouts.forget_texts();
    assert!(the_one(&state).to_str().unwrap().contains(".more."));
}

#[test]
fn a_layout_that_is_not_whole_is_none() {
    let (world, state, mut layouts) = kept();
    let path = the_one(&state);
    let whole = fs::read(&path).unwrap();
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        assert_eq!(layouts.find(FILE, Stamp(world.stamp), &world.frame).unwrap(), None, "{length}");
    }
    for at in (0..whole.len()).step_by(3) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x81;
        fs::write(&path, bytes).unwrap();
        assert_eq!(layouts.find(FILE, Stamp(world.stamp), &world.frame).unwrap(), None, "{at}");
    }
    fs::write(&path, whole).unwrap();
    assert!(layouts.find(FILE, Stamp(world.stamp), &world.frame).unwrap().is_some());
}

#[test]
fn a_layout_of_another_frame_is_none() {
    let (world, _state, mut layouts) = kept();
    let other = Frame::new(HEAD, ",\n", TAIL, "");
    assert_eq!(layouts.find(FILE, Stamp(world.stamp), &other).unwrap(), None);
}

#[test]
fn what_a_killed_process_left_unfinished_is_removed() {
    let (_world, state, _layouts) = kept();
    fs::write(state.path().join(".x.next"), "half a lay").unwrap();
    Layouts::open(state.path()).unwrap();
    the_one(&state);
}
