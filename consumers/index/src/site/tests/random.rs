//! Any sequence of publications, crashes and restarts leaves what was published last.

use super::*;

/// What ought to stand in each output, and which icons ought to be listed.
#[derive(Default, Clone)]
struct Model {
    outputs: BTreeMap<&'static str, BTreeMap<String, String>>,
    icons: BTreeSet<Vec<u8>>,
}

fn publish(world: &mut World, model: &mut Model, random: &mut fastrand::Rng) -> Result<Published, Error> {
    let mut publication = world.begin();
    for output in [LATEST, AMD64] {
        let (name, text) = (random.u8(0..6).to_string(), random.u16(..).to_string());
        let text = random.bool().then_some(text);
        let pieces = model.outputs.entry(output).or_default();
        let before = pieces.clone();
        match &text {
            Some(text) => drop(pieces.insert(name.clone(), text.clone())),
            None => drop(pieces.remove(&name)),
        }
        if *pieces != before || !world.layouts.contains_key(&path(output)) {
            let all: Vec<(&str, Option<&str>)> = if world.layouts.contains_key(&path(output)) {
                vec![(&name, text.as_deref())]
            } else {
                pieces.iter().map(|(name, text)| (name.as_str(), Some(text.as_str()))).collect()
            };
            publication.output(world.woven(&publication, output, &all));
        }
    }
    let icon = vec![random.u8(0..20)];
    if model.icons.remove(&icon) {
        let sha256 = Digest::of(&icon);
        publication.unname(What::Icons, What::Icons.path(&sha256, ".png").unwrap(), &sha256);
    } else {
        publication.name(What::Icons, content::put_icon(world, &icon));
        model.icons.insert(icon);
    }
    world.publish(publication)
}

fn check(world: &World, model: &Model) {
    world.check();
    for (output, pieces) in &model.outputs {
        let texts: Vec<&str> = pieces.values().map(String::as_str).collect();
        let expected = match &texts[..] {
            [] => "{\"Results\": []}".to_owned(),
            texts => format!("{{\"Results\": [\n{}\n]}}", texts.join(",\n")),
        };
        assert_eq!(world.text(output), expected);
    }
    let listed = world.site.listed(What::Icons).unwrap();
    let icons = model.icons.iter().map(|icon| Digest::of(icon));
    assert_eq!(listed.iter().map(|file| file.sha256).collect::<BTreeSet<_>>(), icons.collect());
}

fn story(seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut world, mut model) = (World::new(), Model::default());
    for _ in 0..12 {
        let before = model.clone();
        let (failing, mut count) = (random.usize(0..25), 0);
        world.site.on_step(Box::new(move |_| {
            count += 1;
            if count == failing { Err(std::io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        }));
        if random.u8(..) < 40 {
            let now = world.later(DAY * random.u32(0..40));
            world.site.sweep(30 * DAY, now).unwrap();
        }
        match publish(&mut world, &mut model, &mut random) {
            Ok(_) => {}
            Err(_) if world.site.settled => model = before,
            Err(_) => world.site.settle(world.now.get()).unwrap(),
        }
        world.site.on_step(Box::new(|_| Ok(())));
        let now = world.now.get();
        world = if random.bool() { world.reopen() } else { world };
        world.now.set(now);
        world.read_layouts();
        if world.dir().join("site.json").exists() {
            check(&world, &model);
        }
    }
}

#[test]
fn any_sequence_of_publications_failures_and_restarts_leaves_what_was_published_last() {
    for seed in 0..25 {
        story(seed);
    }
}
