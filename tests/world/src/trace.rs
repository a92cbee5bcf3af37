//! The trace of a world: what happened, line by line, in the world's own time. Written only where somebody wants to read
//! it, and then the same for the same history, to the byte.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Timestamp;
use tracing_subscriber::fmt::MakeWriter;

/// A trace, or none. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct Trace(Option<Arc<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    text: Mutex<String>,
    /// Shown as it is written, for a history that never ends.
    follow: bool,
}

impl Trace {
    /// Keeps what it is told.
    pub fn kept() -> Self {
        Self(Some(Arc::default()))
    }

    /// Keeps what it is told, and shows it at once.
    pub fn followed() -> Self {
        Self(Some(Arc::new(Kept { follow: true, ..Kept::default() })))
    }

    /// Whether it keeps anything.
    pub fn is_kept(&self) -> bool {
        self.0.is_some()
    }

    /// Adds a line.
    pub fn line(&self, now: Timestamp, line: impl FnOnce() -> String) {
        if self.is_kept() {
            self.add(&format!("{} {}\n", now.strftime("%d %H:%M:%S%.3f"), line()));
        }
    }

    #[expect(clippy::print_stdout, reason = "asked for, by a person at a terminal")]
    fn add(&self, line: &str) {
        let Some(kept) = &self.0 else { return };
        kept.text.lock().unwrap_or_else(PoisonError::into_inner).push_str(line);
        if kept.follow {
            print!("{line}");
        }
    }

    /// Everything so far.
    pub fn read(&self) -> String {
        let text =
            self.0.as_ref().map(|kept| kept.text.lock().unwrap_or_else(PoisonError::into_inner).clone());
        text.unwrap_or_default()
    }

    /// Runs something with what the consumers log going into the trace.
    pub fn with_logs<T>(&self, run: impl FnOnce() -> T) -> T {
        if !self.is_kept() {
            return tracing::subscriber::with_default(tracing::subscriber::NoSubscriber::new(), run);
        }
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::INFO)
            .with_ansi(false)
            .without_time()
            .with_target(false)
            .with_writer(self.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, run)
    }
}

/// What is logged, as lines of the trace.
pub struct Logs(Trace);

impl io::Write for Logs {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.add(&format!("                    {}", String::from_utf8_lossy(bytes)));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Trace {
    type Writer = Logs;

    fn make_writer(&'a self) -> Logs {
        Logs(self.clone())
    }
}
