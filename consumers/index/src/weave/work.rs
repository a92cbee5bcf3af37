//! Makes the next generation of files from the present one, several at once.

use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    panic,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use super::{
    copy::{GZIP_HEAD, Source},
    error::Error,
    layout::{self, Files, Layout, Whole},
    names::{Each, Encoding, Stamp, Target},
    packed::{Frame, Piece},
    plan::{Plan, Strand},
    sink::{Sink, Sums, Temp, Written},
};

/// One file that may change.
#[derive(Debug)]
pub struct Job<'a> {
    /// What stands around its pieces.
    pub frame: &'a Frame,
    /// What stands in it now.
    pub layout: &'a Layout,
    /// By name: what stands there from now on, `None` for nothing.
    pub changes: &'a BTreeMap<String, Option<Piece>>,
    /// Where it stands, and the time of its next generation.
    pub target: Target,
}

/// The next generation of a file, whole and synced, at its waiting place. Dropped, it is gone.
#[derive(Debug)]
pub struct Woven {
    pub(crate) target: Target,
    /// The generation that it was made from.
    pub(crate) base: Option<Stamp>,
    pub(crate) layout: Layout,
    /// `None` where only notes changed: the published files stay.
    pub(crate) temps: Option<Each<Temp>>,
}

impl Woven {
    /// What stands in it.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }
}

/// Weaves all jobs on at most so many threads, each with its own half a megabyte. `None` for a job that changes nothing.
pub fn weave(jobs: &[Job<'_>], threads: NonZeroUsize) -> Vec<Result<Option<Woven>, Error>> {
    let plans: Vec<_> = jobs.iter().map(|job| (job, plan(job))).collect();
    let mut tasks: Vec<Task<'_>> =
        plans.iter().enumerate().flat_map(|(at, (job, plan))| tasks(at, job, plan)).collect();
    tasks.sort_by_key(|task| std::cmp::Reverse(task.bytes)); // The longest first: what comes last ends soon.
    let files = side_by_side(&tasks, threads, Task::write);
    let mut written: BTreeMap<_, _> = tasks.iter().map(|task| (task.at, task.encoding)).zip(files).collect();
    let mut all = Vec::with_capacity(plans.len());
    for (at, (job, plan)) in plans.into_iter().enumerate() {
        let files = |encoding| written.remove(&(at, encoding)).transpose();
        all.push(plan.and_then(|plan| Ok(woven(job, plan, Each::try_make(files)?))));
    }
    all
}

fn plan<'a>(job: &Job<'a>) -> Result<Plan<'a>, Error> {
    Plan::new(job.layout, job.changes).map_err(|name| Error::BadPiece {
        path: job.target.path.clone(),
        name: name.to_owned(),
        why: "it is larger than 4 GiB",
    })
}

fn woven(job: &Job<'_>, plan: Plan<'_>, files: Each<Option<Written>>) -> Option<Woven> {
    let (files, temps, sums) = match files.try_map(|_, file| file.ok_or(())) {
        Ok(written) => {
            let (temps, each, sums) = apart(written);
            (Some(Files { stamp: job.target.stamp, each }), Some(temps), sums)
        }
        Err(()) if plan.noted => (job.layout.files, None, job.layout.sums.clone()),
        Err(()) => return None,
    };
    let layout = Layout { frame: job.frame.sha256, entries: plan.entries, files, sums };
    Some(Woven { target: job.target.clone(), base: job.layout.files.map(|files| files.stamp), layout, temps })
}

/// Temporary files, what they hold, and the states of their sums.
pub(super) fn apart(written: Each<Written>) -> (Each<Temp>, Each<Whole>, Each<Sums>) {
    let each = Each::make(|encoding| written[encoding].whole);
    let both = written.map(|written| (written.temp, written.sums));
    let (temps, sums) = both.unzip();
    (temps, each, sums)
}

/// One file in one encoding.
struct Task<'a> {
    at: usize,
    job: &'a Job<'a>,
    plan: &'a Plan<'a>,
    encoding: Encoding,
    bytes: u64,
}

fn tasks<'a>(at: usize, job: &'a Job<'a>, plan: &'a Result<Plan<'a>, Error>) -> Vec<Task<'a>> {
    let Some(plan) = plan.as_ref().ok().filter(|plan| plan.changed) else { return Vec::new() };
    let bytes = |encoding| plan.entries.iter().map(|entry| u64::from(entry.span[encoding].length)).sum();
    Encoding::ALL.map(|encoding| Task { at, job, plan, encoding, bytes: bytes(encoding) }).into()
}

/// Does all of it on at most so many threads, begun in order. The answers are in order too.
fn side_by_side<T: Sync, R: Send>(all: &[T], threads: NonZeroUsize, work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let mine = || {
        let next = || Some(next.fetch_add(1, Ordering::Relaxed));
        std::iter::from_fn(next).map_while(|at| Some((at, work(all.get(at)?)))).collect::<Vec<_>>()
    };
    let mut done = thread::scope(|scope| {
        let running: Vec<_> = (0..threads.get().min(all.len())).map(|_| scope.spawn(mine)).collect();
        let ended = running
            .into_iter()
            .map(|one| one.join().unwrap_or_else(|panicked| panic::resume_unwind(panicked)));
        ended.flatten().collect::<Vec<_>>()
    });
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, answer)| answer).collect()
}

impl Task<'_> {
    fn write(&self) -> Result<Written, Error> {
        let Self { job, plan, encoding, .. } = *self;
        let mut source = Source::open(&job.target.path, job.layout, job.frame, encoding)?;
        let same = source.as_ref().map_or(0, |source| source.begins_with(&plan.strands));
        let sums = &job.layout.sums[encoding];
        let mut sink = Sink::begun(job.target.waiting(encoding), sums, same)?;
        begin(&mut sink, encoding)?;
        for (at, strand) in plan.strands.iter().enumerate() {
            let before = if at == 0 { &job.frame.head } else { &job.frame.separator };
            sink.put(before.bytes(encoding))?;
            match (strand, &mut source) {
                (Strand::Kept(pieces), Some(source)) => source.copy(pieces.clone(), &mut sink)?,
                (Strand::Kept(_), None) => {} // A layout without files has no pieces.
                (Strand::New(piece), _) => sink.put_piece(piece, encoding)?,
            }
        }
        end(&mut sink, encoding, job.frame, &plan.entries)?;
        sink.finish(job.target.stamp)
    }
}

/// What an encoding puts before everything.
pub(super) fn begin(sink: &mut Sink, encoding: Encoding) -> Result<(), Error> {
    match encoding {
        Encoding::Gzip => sink.put(&GZIP_HEAD),
        Encoding::Plain | Encoding::Zstd => Ok(()),
    }
}

/// What stands behind the pieces, and what an encoding puts behind everything.
pub(super) fn end(
    sink: &mut Sink,
    encoding: Encoding,
    frame: &Frame,
    entries: &[layout::Entry],
) -> Result<(), Error> {
    sink.put(if entries.is_empty() { &frame.empty } else { &frame.tail }.bytes(encoding))?;
    match encoding {
        Encoding::Gzip => sink.put(&gzip_end(frame, entries)),
        Encoding::Plain | Encoding::Zstd => Ok(()),
    }
}

/// An empty last block, the text's checksum and its length modulo 4 GiB.
fn gzip_end(frame: &Frame, entries: &[layout::Entry]) -> [u8; 10] {
    let (length, crc) = layout::text(frame, entries);
    let [c0, c1, c2, c3] = crc.to_le_bytes();
    let [l0, l1, l2, l3, ..] = length.to_le_bytes();
    [0x03, 0x00, c0, c1, c2, c3, l0, l1, l2, l3]
}
