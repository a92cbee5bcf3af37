//! What it costs to build an index's sixteen files and to follow one change, beside a bare write of the same bytes.
//!
//! `cargo run --release -p flatbus-index --example weave -- 100 1000 5000 20000`; the files go to a folder in `TMPDIR`.

use std::{
    collections::BTreeMap,
    env,
    error::Error,
    fs::{self, File},
    io::Write as _,
    num::NonZeroUsize,
    path::Path,
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use flatbus_index::{
    site::{Keep, Publication, Site, SitePath},
    weave::{Builder, Frame, Job, Layout, Packed, Packer, Piece, Woven, weave},
};
use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;
use sha2::{Digest as _, Sha256};

const ARCHITECTURES: [&str; 3] = ["amd64", "arm64", "ppc64le"];
const CHANGES: u64 = 5;

type Answer<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Answer<()> {
    let sizes: Vec<usize> = env::args().skip(1).map(|size| size.parse()).collect::<Result<_, _>>()?;
    let sizes = if sizes.is_empty() { vec![100, 1000, 5000, 20_000] } else { sizes };
    say(format_args!("| images | | wall ms | CPU ms | written MB | peak RSS MiB |\n|-|-|-|-|-|-|"));
    for images in sizes {
        bench(images)?;
    }
    Ok(())
}

fn bench(images: usize) -> Answer<()> {
    let dir = env::temp_dir().join(format!("weave-bench-{}", std::process::id()));
    let (site_dir, state) = (dir.join("site"), dir.join("state"));
    fs::create_dir_all(site_dir.join("index"))?;
    let outputs = outputs();
    let frame = frame();
    let texts = Texts::new();
    let mut site = Site::open(&site_dir, &state, Keep { bytes_max: 0, ..Keep::default() }, at(0))?;

    let figures = measure(|| full(&mut site, &outputs, &frame, &texts, images))?;
    figures.print(images, "full build", written(&site, &outputs)?);
    let mut layouts = measured_layouts(images, &mut site, &outputs, &frame)?;
    for turn in 1..=CHANGES {
        let figures = measure(|| change(&mut site, &outputs, &frame, &texts, &mut layouts, images, turn))?;
        figures.print(images, "one changed repository", written(&site, &outputs[..8])?);
        measure(|| Ok(site.trim(at(10 * turn))?))?.print(images, "  removing what was replaced", 0);
        let sizes = file_sizes(&site, &outputs[..8])?;
        measure(|| bare(&dir, &sizes))?.print(images, "  bare write, fsync, sha256", sizes.iter().sum());
    }
    drop(site);
    measure(|| Ok(Site::open(&site_dir, &state, Keep::default(), at(60))?))?.print(images, "open", 0);
    fs::remove_dir_all(&dir)?;
    Ok(())
}

/// One output: its path, and which architecture stands in it.
struct Output {
    path: SitePath,
    architecture: Option<usize>,
    annotations: bool,
}

/// First the eight of one tag.
fn outputs() -> Vec<Output> {
    let mut outputs = Vec::new();
    for tag in ["latest", "testing"] {
        for annotations in [false, true] {
            for architecture in [None, Some(0), Some(1), Some(2)] {
                let middle =
                    architecture.map_or(String::new(), |at: usize| format!("-{}", ARCHITECTURES[at]));
                let end = if annotations { "-annotations" } else { "" };
                let path = format!("index/flatpak-{tag}{middle}{end}.json").parse().expect("a plain path");
                outputs.push(Output { path, architecture, annotations });
            }
        }
    }
    outputs
}

fn frame() -> Frame {
    let head = "{\n    \"Registry\": \"https://registry.example/\",\n    \"Results\": [";
    Frame::new(&format!("{head}\n"), ",\n", "\n    ]\n}", &format!("{head}]\n}}"))
}

/// The blocks of a repository's images: what is large, and stands in several files.
struct Repository {
    name: String,
    blocks: Vec<Packed>,
    before: Vec<[Packed; 2]>,
    between: [Packed; 3],
}

/// Makes texts that compress like metadata and descriptions do: about 3.5 times.
struct Texts {
    pool: Vec<String>,
}

impl Texts {
    fn new() -> Self {
        let mut random = fastrand::Rng::with_seed(1);
        let words: Vec<String> =
            (0..2500).map(|_| (0..random.usize(2..9)).map(|_| random.lowercase()).collect()).collect();
        Self { pool: (0..61).map(|_| labels(&mut random, &words)).collect() }
    }

    fn repository(&self, packer: &mut Packer, number: usize, turn: u64) -> Repository {
        let name = format!("org.example.app{number:05}");
        let block = |architecture: usize| {
            let pooled = &self.pool[(number * 3 + architecture) % self.pool.len()];
            pooled.replace("@NAME@", &name).replace("@TURN@", &format!("{number:05}.{turn}"))
        };
        let blocks = (0..3).map(|architecture| packer.pack(&block(architecture))).collect();
        let before = (0..3).map(|architecture| {
            ["Annotations", "Labels"].map(|member| {
                let digest = format!("{:064x}", number * 31 + architecture + usize::try_from(turn).unwrap_or(0));
                let text = format!(
                    "                {{\n                    \"Architecture\": \"{}\",\n                    \"Digest\": \
                     \"sha256:{digest}\",\n                    \"{member}\": {{\n",
                    ARCHITECTURES[architecture]
                );
                packer.pack(&text)
            })
        });
        let before = before.collect();
        let between = [
            "        {\n            \"Images\": [\n".to_owned(),
            "\n                    },\n                    \"MediaType\": \"application/vnd.oci.image.manifest.v1+json\",\n           \
             \"OS\": \"linux\",\n                    \"Tags\": [\n                        \"latest\"\n                    ]\n                }"
                .to_owned(),
            format!("\n            ],\n            \"Lists\": [],\n            \"Name\": \"{name}\"\n        }}"),
        ];
        let between = between.map(|text| packer.pack(&text));
        Repository { name, blocks, before, between }
    }
}

fn labels(random: &mut fastrand::Rng, words: &[String]) -> String {
    let words: Vec<&String> = (0..320).map(|_| &words[random.usize(0..words.len())]).collect();
    let mut metadata = String::new();
    while metadata.len() < 3000 {
        let section =
            ["Context", "Session Bus Policy", "Environment", "Extension @NAME@"][random.usize(0..4)];
        metadata += &format!("[{section}]\\n");
        for _ in 0..random.usize(1..6) {
            let word = |random: &mut fastrand::Rng| words[random.usize(0..60)];
            metadata += &format!("{}.{}={};{}\\n", word(random), word(random), word(random), word(random));
        }
    }
    let mut appdata = String::from("<component><id>@NAME@</id><release version=\\\"@TURN@\\\"/>");
    while appdata.len() < 10_000 {
        let language = ["de", "fr", "pt_BR", "zh_CN", "uk", "ja", "pl"][random.usize(0..7)];
        appdata += &format!("\\n      <p xml:lang=\\\"{language}\\\">");
        for _ in 0..random.usize(5..30) {
            let skewed = random.f64().powi(4) * words.len() as f64;
            appdata += words[skewed as usize];
            appdata.push(' ');
        }
        appdata += "</p>";
    }
    let indent = "                        ";
    format!(
        "{indent}\"org.flatpak.metadata\": \"{metadata}\",\n{indent}\"org.flatpak.ref\": \"app/@NAME@/x86_64/stable\",\n\
         {indent}\"org.freedesktop.appstream.appdata\": \"{appdata}\""
    )
}

impl Repository {
    fn piece(&self, output: &Output) -> Piece {
        let [open, after, close] = &self.between;
        let comma = Packed::clone(open);
        let mut parts = vec![comma];
        for architecture in output.architecture.map_or(0..3, |one| one..one + 1) {
            let before = &self.before[architecture][usize::from(!output.annotations)];
            parts.extend([before.clone(), self.blocks[architecture].clone(), after.clone()]);
        }
        parts.push(close.clone());
        Piece::new(parts, &json!([self.name, "sha256:0123456789abcdef", "sha256:0123456789abcdef"]))
    }
}

fn full(site: &mut Site, outputs: &[Output], frame: &Frame, texts: &Texts, images: usize) -> Answer<()> {
    let mut publication = site.begin(at(0))?;
    let builders = outputs.iter().map(|output| Builder::begin(frame, publication.target(&output.path)));
    let mut builders: Vec<Builder> = builders.collect::<Result<_, _>>()?;
    let numbers: Vec<usize> = (0..images.div_ceil(3)).collect();
    let mut packers = [Packer::new(), Packer::new()];
    for chunk in numbers.chunks(64) {
        let halves = chunk.split_at(chunk.len() / 2);
        let (first, second) = packers.split_at_mut(1);
        let pack = |numbers: &[usize], packer: &mut Packer| {
            numbers.iter().map(|number| texts.repository(packer, *number, 0)).collect::<Vec<_>>()
        };
        let (mut repositories, rest) = thread::scope(|scope| {
            let rest = scope.spawn(|| pack(halves.1, &mut second[0]));
            (pack(halves.0, &mut first[0]), rest.join().expect("no panic"))
        });
        repositories.extend(rest);
        push(&mut builders, outputs, &repositories)?;
    }
    for woven in finish(builders)? {
        publication.output(woven);
    }
    site.publish(publication, at(0))?;
    Ok(())
}

fn push(builders: &mut [Builder], outputs: &[Output], repositories: &[Repository]) -> Answer<()> {
    let half = builders.len() / 2;
    let one = |builders: &mut [Builder], outputs: &[Output]| -> Answer<()> {
        for (builder, output) in builders.iter_mut().zip(outputs) {
            for repository in repositories {
                builder.push(&repository.name, &repository.piece(output))?;
            }
        }
        Ok(())
    };
    let (first, second) = builders.split_at_mut(half);
    thread::scope(|scope| {
        let rest = scope.spawn(|| one(second, &outputs[half..]));
        one(first, &outputs[..half])?;
        rest.join().expect("no panic")
    })
}

fn finish(builders: Vec<Builder>) -> Answer<Vec<Woven>> {
    let (left, done) = (Mutex::new(builders), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let next = left.lock().expect("no panic").pop();
                    let Some(builder) = next else { return };
                    let woven = builder.finish();
                    done.lock().expect("no panic").push(woven);
                }
            });
        }
    });
    Ok(done.into_inner().expect("no panic").into_iter().collect::<Result<_, _>>()?)
}

fn measured_layouts(
    images: usize,
    site: &mut Site,
    outputs: &[Output],
    frame: &Frame,
) -> Answer<Vec<Layout>> {
    let mut layouts = Vec::new();
    let read = || {
        for output in outputs {
            layouts.push(site.layout(&output.path, frame)?.ok_or("no layout")?);
        }
        Ok(())
    };
    measure(read)?.print(images, "read layouts", 0);
    Ok(layouts)
}

fn change(
    site: &mut Site,
    outputs: &[Output],
    frame: &Frame,
    texts: &Texts,
    layouts: &mut [Layout],
    images: usize,
    turn: u64,
) -> Answer<()> {
    let repository = texts.repository(&mut Packer::new(), images / 7, turn);
    let now = at(10 * turn);
    let mut publication: Publication = site.begin(now)?;
    let changes: Vec<BTreeMap<String, Option<Piece>>> = outputs[..8]
        .iter()
        .map(|output| BTreeMap::from([(repository.name.clone(), Some(repository.piece(output)))]))
        .collect();
    let jobs: Vec<Job<'_>> = outputs[..8]
        .iter()
        .zip(&changes)
        .zip(&*layouts)
        .map(|((output, changes), layout)| Job {
            frame,
            layout,
            changes,
            target: publication.target(&output.path),
        })
        .collect();
    let threads = env::var("THREADS").ok().and_then(|text| text.parse().ok()).unwrap_or(4);
    for woven in weave(&jobs, NonZeroUsize::new(threads).expect("some")) {
        publication.output(woven?.ok_or("nothing changed")?);
    }
    let mut published = site.publish(publication, now)?;
    for (output, layout) in outputs.iter().zip(layouts) {
        if let Some(new) = published.layouts.remove(&output.path) {
            *layout = new;
        }
    }
    Ok(())
}

fn bare(dir: &Path, sizes: &[u64]) -> Answer<()> {
    let bytes: Vec<u8> = (0..1 << 20).map(|at: u32| (at * 7 / 5) as u8).collect();
    let left = Mutex::new(sizes.to_vec());
    let write = || -> Answer<()> {
        loop {
            let (size, number) = {
                let mut left = left.lock().expect("no panic");
                let Some(size) = left.pop() else { return Ok(()) };
                (size, left.len())
            };
            let mut file = File::create(dir.join(format!("bare-{number}")))?;
            let (mut sum, mut to_do) = (Sha256::new(), usize::try_from(size)?);
            while to_do > 0 {
                let chunk = &bytes[..to_do.min(bytes.len())];
                sum.update(chunk);
                file.write_all(chunk)?;
                to_do -= chunk.len();
            }
            file.sync_all()?;
            std::hint::black_box(sum.finalize());
        }
    };
    thread::scope(|scope| {
        let running: Vec<_> = (0..4).map(|_| scope.spawn(write)).collect();
        running.into_iter().try_for_each(|one| one.join().expect("no panic"))
    })
}

fn file_sizes(site: &Site, outputs: &[Output]) -> Answer<Vec<u64>> {
    let mut sizes = Vec::new();
    for output in outputs {
        for suffix in ["", ".gz", ".zst"] {
            let path: SitePath = format!("{}{suffix}", output.path).parse()?;
            sizes.push(fs::metadata(site.place(&path))?.len());
        }
    }
    sizes.sort_unstable();
    Ok(sizes)
}

fn written(site: &Site, outputs: &[Output]) -> Answer<u64> {
    Ok(file_sizes(site, outputs)?.iter().sum())
}

struct Figures {
    wall: Duration,
    cpu: Duration,
    peak_kib: u64,
}

fn measure<T>(work: impl FnOnce() -> Answer<T>) -> Answer<Figures> {
    fs::write("/proc/self/clear_refs", "5")?; // The peak from here on.
    let (wall, cpu) = (now(), cpu());
    work()?;
    Ok(Figures { wall: now() - wall, cpu: self::cpu() - cpu, peak_kib: peak_kib()? })
}

#[expect(clippy::disallowed_methods, reason = "what a bench measures is the real time")]
fn now() -> Instant {
    Instant::now()
}

fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn peak_kib() -> Answer<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

impl Figures {
    fn print(&self, images: usize, what: &str, bytes: u64) {
        let (wall, cpu, peak) = (self.wall.as_millis(), self.cpu.as_millis(), self.peak_kib / 1024);
        say(format_args!("| {images} | {what} | {wall} | {cpu} | {} | {peak} |", bytes / 1_000_000));
    }
}

#[expect(clippy::print_stdout, reason = "a bench speaks to who started it")]
fn say(text: std::fmt::Arguments<'_>) {
    println!("{text}");
}

/// The world's time is another's business: this one begins in 2026.
fn at(second: u64) -> Timestamp {
    Timestamp::UNIX_EPOCH + Duration::from_secs(1_790_000_000 + second)
}
