//! Any sequence of changes leaves what a plain writer would write.

use super::*;

fn text(random: &mut fastrand::Rng, large: bool) -> String {
    let words = ["flatpak", "\"Images\": [", "\n", "é", "org.gnome", "0123456789abcdef", " "];
    let count = if large { random.usize(0..60_000) } else { random.usize(0..40) };
    (0..count).map(|_| words[random.usize(0..words.len())]).collect()
}

fn some(random: &mut fastrand::Rng, model: &Model) -> Changes {
    let mut changes = Changes::new();
    for _ in 0..random.usize(0..5) {
        let known: Vec<&String> = model.keys().collect();
        let name = match random.usize(0..3) {
            0 if !known.is_empty() => known[random.usize(0..known.len())].clone(),
            _ => format!("app{}", random.u8(0..30)),
        };
        let change = match random.usize(0..8) {
            0..3 => None,
            3 => model.get(&name).and_then(|(text, note)| noted(text, note)),
            4 => model.get(&name).and_then(|(text, _)| noted(text, &json!(random.u8(..)))),
            5 => piece(&text(random, true)),
            _ => piece(&text(random, false)),
        };
        changes.insert(name, change);
    }
    changes
}

fn story(seed: u64, length: usize) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut world = World::new();
    let state = tempfile::tempdir().unwrap();
    for _ in 0..length {
        let changes = some(&mut random, &world.model);
        world.change(&changes);
        if random.u8(..) < 60 {
            let mut layouts = Layouts::open(state.path()).unwrap();
            layouts.keep("index/x.json", &world.layout).unwrap();
            let stamp = world.layout.files().unwrap().stamp;
            layouts.forget_others("index/x.json", Some(stamp)).unwrap();
            assert_eq!(
                layouts.find("index/x.json", stamp, &world.frame).unwrap().as_ref(),
                Some(&world.layout)
            );
        }
    }
}

#[test]
fn any_sequence_of_changes_leaves_what_a_plain_writer_would_write() {
    for seed in 0..12 {
        story(seed, 25);
    }
}
