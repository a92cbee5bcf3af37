//! What is woven equals what a plain writer would write, in all encodings, after any sequence of changes.

mod damage;
mod random;
mod store;

use std::{
    collections::BTreeMap,
    fs,
    io::Read as _,
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

use flatbus_oci::Digest;
use flate2::{bufread::GzDecoder, read::MultiGzDecoder};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

const HEAD: &str = "{\n    \"Registry\": \"https://registry.example/\",\n    \"Results\": [";
const TAIL: &str = "\n    ]\n}";

/// Text and note by name: what a file ought to hold.
type Model = BTreeMap<String, (String, Value)>;
type Changes = BTreeMap<String, Option<Piece>>;

/// A file with what it ought to be.
struct World {
    dir: TempDir,
    frame: Frame,
    layout: Layout,
    model: Model,
    stamp: i64,
}

impl World {
    fn new() -> Self {
        let frame = Frame::new(&format!("{HEAD}\n"), ",\n", TAIL, &format!("{HEAD}]\n}}"));
        let layout = Layout::empty(&frame);
        let dir = tempfile::tempdir().unwrap();
        Self { dir, frame, layout, model: Model::new(), stamp: 1_800_000_000_000_000 }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("flatpak-latest.json")
    }

    fn target(&mut self) -> Target {
        self.stamp += 1;
        Target { path: self.path(), stamp: Stamp(self.stamp) }
    }

    fn build(&mut self) -> Builder {
        let target = self.target();
        Builder::begin(&self.frame, target).unwrap()
    }

    fn weave(&mut self, changes: &Changes) -> Result<Option<Woven>, Error> {
        let target = self.target();
        let job = Job { frame: &self.frame, layout: &self.layout, changes, target };
        weave(&[job], NonZeroUsize::new(2).unwrap()).pop().unwrap()
    }

    /// Changes the file and what it ought to be, and compares.
    fn change(&mut self, changes: &Changes) {
        let woven = self.weave(changes).unwrap();
        let before = self.model.clone();
        apply(&mut self.model, changes);
        assert_eq!(woven.is_none(), before == self.model && self.layout.files().is_some());
        if let Some(woven) = woven {
            self.place(woven);
        }
        self.check();
    }

    /// What a site does.
    fn place(&mut self, woven: Woven) {
        for (encoding, temp) in woven.temps.into_iter().flatten() {
            fs::rename(temp.path(), encoding.path(&woven.target.path)).unwrap();
        }
        self.layout = woven.layout;
    }

    fn check(&self) {
        let expected = expected(&self.model);
        assert_eq!(self.plain(), expected);
        assert_eq!(gunzipped(&self.bytes(Encoding::Gzip)), expected);
        assert_eq!(unzstd(&self.bytes(Encoding::Zstd)), expected);
        let files = self.layout.files().unwrap();
        for encoding in Encoding::ALL {
            let bytes = self.bytes(encoding);
            assert_eq!(files.each[encoding], Whole { size: bytes.len() as u64, sha256: Digest::of(&bytes) });
            let metadata = fs::metadata(encoding.path(&self.path())).unwrap();
            assert_eq!(Stamp::of(&metadata), Some(files.stamp));
        }
        let notes: Vec<_> =
            self.model.iter().map(|(name, (_, note))| (name.as_str(), note.clone())).collect();
        assert_eq!(self.layout.notes().collect::<Vec<_>>(), notes);
        assert_eq!(waiting_files(self.dir.path()), Vec::<PathBuf>::new());
    }

    fn plain(&self) -> String {
        String::from_utf8(self.bytes(Encoding::Plain)).unwrap()
    }

    fn bytes(&self, encoding: Encoding) -> Vec<u8> {
        fs::read(encoding.path(&self.path())).unwrap()
    }
}

/// The file as whoever knows nothing of pieces would write it.
fn expected(model: &Model) -> String {
    let texts: Vec<&str> = model.values().map(|(text, _)| text.as_str()).collect();
    if texts.is_empty() { format!("{HEAD}]\n}}") } else { format!("{HEAD}\n{}{TAIL}", texts.join(",\n")) }
}

fn apply(model: &mut Model, changes: &Changes) {
    for (name, change) in changes {
        match change {
            None => drop(model.remove(name)),
            Some(piece) => {
                let note = serde_json::from_str(&piece.note).unwrap();
                drop(model.insert(name.clone(), (piece.text(), note)));
            }
        }
    }
}

/// By both decoders: that for one member must not stop before the other.
fn gunzipped(bytes: &[u8]) -> String {
    let (mut all, mut first, mut rest) = (String::new(), String::new(), Vec::new());
    MultiGzDecoder::new(bytes).read_to_string(&mut all).unwrap();
    let mut one = GzDecoder::new(bytes);
    one.read_to_string(&mut first).unwrap();
    one.into_inner().read_to_end(&mut rest).unwrap();
    assert_eq!((&first, rest), (&all, Vec::new()));
    all
}

fn unzstd(bytes: &[u8]) -> String {
    String::from_utf8(zstd::stream::decode_all(bytes).unwrap()).unwrap()
}

fn waiting_files(dir: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| is_waiting(path)).collect()
}

fn piece(text: &str) -> Option<Piece> {
    noted(text, &json!({ "length": text.len() }))
}

fn noted(text: &str, note: &Value) -> Option<Piece> {
    let cut = (0..=text.len() / 3).rev().find(|at| text.is_char_boundary(*at)).unwrap();
    let (first, rest) = text.split_at(cut);
    Some(Piece::new(vec![Packed::new(first), Packed::new(rest)], note))
}

fn changes<const N: usize>(changes: [(&str, Option<Piece>); N]) -> Changes {
    changes.into_iter().map(|(name, piece)| (name.to_owned(), piece)).collect()
}

#[test]
fn a_file_is_its_pieces_in_the_order_of_their_names() {
    let mut world = World::new();
    world.change(&changes([("eog", piece("        {E}")), ("baobab", piece("        {B}"))]));
    assert!(world.plain().ends_with("[\n        {B},\n        {E}\n    ]\n}"));
    world.change(&changes([("clocks", piece("        {C}"))]));
    world.change(&changes([("eog", piece("        {another}"))]));
    world.change(&changes([("baobab", None)]));
    assert!(world.plain().ends_with("[\n        {C},\n        {another}\n    ]\n}"));
}

#[test]
fn a_file_without_pieces_is_written_too() {
    let mut world = World::new();
    world.change(&Changes::new());
    assert!(world.plain().ends_with("\"Results\": []\n}"));
    world.change(&changes([("eog", piece("{}"))]));
    world.change(&changes([("eog", None)]));
    assert!(world.plain().ends_with("\"Results\": []\n}"));
}

#[test]
fn what_changes_nothing_writes_nothing() {
    let mut world = World::new();
    world.change(&changes([("eog", piece("{eog}")), ("clocks", piece("{clocks}"))]));
    let unchanged = changes([("eog", piece("{eog}")), ("baobab", None)]);
    assert!(world.weave(&unchanged).unwrap().is_none());
    assert!(world.weave(&Changes::new()).unwrap().is_none());
}

#[test]
fn another_note_is_another_layout_of_the_same_files() {
    let mut world = World::new();
    world.change(&changes([("eog", noted("{eog}", &json!(1))), ("clocks", piece("{clocks}"))]));
    let woven = world.weave(&changes([("eog", noted("{eog}", &json!({"two": [2]})))])).unwrap().unwrap();
    assert!(woven.temps.is_none());
    assert_eq!(woven.layout().files(), world.layout.files());
    assert_eq!(woven.layout().note("eog"), Some(json!({"two": [2]})));
    assert_eq!(woven.layout().note("nobody"), None);
}

#[test]
fn pieces_larger_than_what_is_read_at_once_are_copied_whole() {
    let mut world = World::new();
    let mut random = fastrand::Rng::with_seed(7);
    let noise =
        |random: &mut fastrand::Rng, length| (0..length).map(|_| random.alphanumeric()).collect::<String>();
    let large = noise(&mut random, 3 << 20);
    world.change(&changes([
        ("a", piece("{a}")),
        ("b", piece(&large)),
        ("c", piece("")),
        ("d", piece("{d}")),
    ]));
    world.change(&changes([("d", piece("{other}"))]));
    world.change(&changes([("a", None), ("e", piece(&noise(&mut random, 600_000)))]));
    world.change(&changes([("c", None)]));
}

#[test]
fn several_files_at_once_are_what_each_alone_would_be() {
    let mut worlds: Vec<World> = (0..5).map(|_| World::new()).collect();
    let all: Vec<Changes> =
        (0..5).map(|n| changes([("eog", piece(&format!("{{{n}}}").repeat(n)))])).collect();
    let targets: Vec<Target> = worlds.iter_mut().map(World::target).collect();
    let jobs = worlds.iter().zip(&all).zip(targets);
    let jobs: Vec<Job<'_>> = jobs
        .map(|((world, changes), target)| Job { frame: &world.frame, layout: &world.layout, changes, target })
        .collect();
    let woven = weave(&jobs, NonZeroUsize::new(3).unwrap());
    for ((world, changes), woven) in worlds.iter_mut().zip(&all).zip(woven) {
        apply(&mut world.model, changes);
        world.place(woven.unwrap().unwrap());
        world.check();
    }
}

#[test]
fn a_built_file_is_the_same_as_a_woven_one() {
    let mut woven = World::new();
    let pieces = changes([("baobab", piece("{B}")), ("clocks", piece("{C}")), ("eog", piece("{E}"))]);
    woven.change(&pieces);
    let mut built = World::new();
    let mut builder = built.build();
    for (name, piece) in &pieces {
        builder.push(name, piece.as_ref().unwrap()).unwrap();
    }
    built.place(builder.finish().unwrap());
    apply(&mut built.model, &pieces);
    built.check();
    assert_eq!(built.layout, woven.layout);
    for encoding in Encoding::ALL {
        assert_eq!(built.bytes(encoding), woven.bytes(encoding));
    }
    built.change(&changes([("baobab", None)]));
}

#[test]
fn pieces_that_come_in_another_order_are_refused() {
    let mut world = World::new();
    let mut builder = world.build();
    builder.push("eog", &piece("{E}").unwrap()).unwrap();
    for late in ["eog", "baobab"] {
        assert!(matches!(builder.push(late, &piece("{}").unwrap()), Err(Error::BadPiece { .. })));
    }
    drop(builder);
    assert!(waiting_files(world.dir.path()).is_empty());
}

#[test]
fn any_text_comes_out_of_each_encoding_as_it_went_in() {
    let mut packer = Packer::new();
    let mut random = fastrand::Rng::with_seed(3);
    for length in [0, 1, 2, 63, 64, 65, 1000, 70_000, 300_000] {
        for letters in [1, 2, 60, 50_000] {
            let text: String =
                (0..length).map(|_| char::from_u32(32 + random.u32(0..letters)).unwrap_or('x')).collect();
            let packed = packer.pack(&text);
            assert_eq!(packed.text(), text);
            assert_eq!(packed, Packed::new(&text));
            assert_eq!(unzstd(packed.bytes(Encoding::Zstd)), text);
            let twice = [packed.bytes(Encoding::Gzip), packed.bytes(Encoding::Gzip), &[3, 0]].concat();
            let mut inflated = String::new();
            flate2::read::DeflateDecoder::new(&*twice).read_to_string(&mut inflated).unwrap();
            assert_eq!(inflated, text.repeat(2));
        }
    }
}

#[test]
fn other_programs_read_what_is_woven() {
    let mut world = World::new();
    world.change(&changes([("eog", piece(&"{eog}".repeat(9000))), ("clocks", piece("{clocks}"))]));
    let gzip = std::process::Command::new("gzip")
        .arg("-dc")
        .arg(Encoding::Gzip.path(&world.path()))
        .output()
        .unwrap();
    assert!(gzip.status.success() && gzip.stderr.is_empty(), "{gzip:?}");
    assert_eq!(String::from_utf8(gzip.stdout).unwrap(), world.plain());
}
