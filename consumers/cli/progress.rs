//! Progress where a person waits; nothing where nobody looks.

use std::{
    collections::BTreeMap,
    io::IsTerminal,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use flatbus_runtime::Progress;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A counter of what is done, without an end in sight.
pub fn counter(what: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, target());
    bar.set_style(style("{spinner} {pos} {msg} ({elapsed})"));
    bar.set_message(what.to_owned());
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

/// A bar of things.
pub fn items(what: &str, total: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total), target());
    bar.set_style(style("{msg} {bar:30} {pos}/{len} {eta}"));
    bar.set_message(what.to_owned());
    bar
}

/// A bar of bytes.
pub fn bytes(what: &str, total: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total), target());
    bar.set_style(style("{msg} {bar:30} {bytes}/{total_bytes} {eta}"));
    bar.set_message(what.to_owned());
    bar
}

/// Bytes of which nobody knows how many there will be.
fn growing(what: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, target());
    bar.set_style(style("{spinner} {msg} {bytes} {bytes_per_sec}"));
    bar.set_message(what.to_owned());
    bar
}

fn target() -> ProgressDrawTarget {
    if std::io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// Bars of copies under way.
pub struct Bars {
    all: MultiProgress,
    bars: Mutex<BTreeMap<String, ProgressBar>>,
    /// Whether each settled key is told in a line.
    tell_keys: bool,
}

impl Bars {
    pub fn new(tell_keys: bool) -> Self {
        Self { all: MultiProgress::with_draw_target(target()), bars: Mutex::default(), tell_keys }
    }
}

impl Progress for Bars {
    fn begin(&self, what: &str, total: Option<u64>) {
        let bar = self.all.add(total.map_or_else(|| growing(what), |total| bytes(what, total)));
        self.bars.lock().unwrap_or_else(PoisonError::into_inner).insert(what.to_owned(), bar);
    }

    fn advance(&self, what: &str, bytes: u64) {
        if let Some(bar) = self.bars.lock().unwrap_or_else(PoisonError::into_inner).get(what) {
            bar.inc(bytes);
        }
    }

    fn end(&self, what: &str) {
        if let Some(bar) = self.bars.lock().unwrap_or_else(PoisonError::into_inner).remove(what) {
            bar.finish_and_clear();
            self.all.remove(&bar);
        }
    }

    fn settled(&self, key: &str, said: &str) {
        if self.tell_keys {
            self.all.suspend(|| super::output::line(format!("{key}: {said}")));
        }
    }
}
