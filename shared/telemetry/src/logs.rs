//! Where log lines go and which are kept. Set up once, first thing; never touches the messages themselves.

use std::{
    env,
    io::{self, IsTerminal},
    os::{linux::fs::MetadataExt, unix::fs::MetadataExt as _},
};

use tracing::{Level, Metadata};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::filter_fn,
    fmt::{self, MakeWriter},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

/// What is kept when nothing else is asked for. lapin calls every ordinary close an error; the bus says what happened
/// itself, once, so that of lapin only its dying threads are heard.
pub const FILTER_DEFAULT: &str = "info,lapin=off,lapin::thread=error";

/// Crates whose lines below INFO can hold credentials: AMQP frames (the PLAIN answer), HTTP headers, TLS secrets. They
/// are withheld whatever the filter says.
const WITHHELD: [&str; 7] = ["lapin", "amq_protocol", "hyper", "hyper_util", "reqwest", "h2", "rustls"];

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// The journal if it reads our standard error, JSON under Kubernetes, else text.
    #[default]
    Auto,
    /// For a person, to standard error.
    Text,
    /// One JSON object a line, to standard output: what container platforms collect.
    Json,
    /// The journal, with each field as a field of its own: `journalctl FLATBUS_KEY=...`.
    Journald,
}

/// Why logs could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The filter can't be read.
    #[error("the log filter {filter:?} is not one like \"info,flatbus_bus=debug\": {reason}")]
    Filter {
        /// As given.
        filter: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The journal doesn't answer.
    #[error("cannot write to the journal: {0}")]
    Journal(#[source] io::Error),
    /// Someone set up logs before.
    #[error("logs are set up twice")]
    Twice,
}

/// Sets up the logs of this process. `filter` is like `info,flatbus_bus=debug`; `None`: [`FILTER_DEFAULT`].
///
/// # Errors
/// When the filter can't be read, the journal was asked for and isn't there, or logs are set up already.
pub fn init(format: Format, filter: Option<&str>) -> Result<(), InitError> {
    init_with(format, filter, io::stderr)
}

/// Like [`init`], with text written through `writer`: one that lifts a progress bar out of the way while it writes.
///
/// # Errors
/// As [`init`].
pub fn init_with<W>(format: Format, filter: Option<&str>, writer: W) -> Result<(), InitError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let chosen = choose(format, journal_reads_stderr(), env::var_os("KUBERNETES_SERVICE_HOST").is_some());
    let filter = parse(filter.unwrap_or(FILTER_DEFAULT))?;
    let written = match chosen {
        Format::Journald => journal(format)?.unwrap_or_else(|| text(writer)),
        Format::Json => json(io::stdout),
        Format::Auto | Format::Text => text(writer),
    };
    tracing_subscriber::registry().with(kept(written, filter)).try_init().map_err(|_| InitError::Twice)
}

type Written = Box<dyn Layer<Registry> + Send + Sync>;

/// The format that a wish and the surroundings come to. Pure.
fn choose(wish: Format, journal: bool, kubernetes: bool) -> Format {
    match wish {
        Format::Auto if journal => Format::Journald,
        Format::Auto if kubernetes => Format::Json,
        Format::Auto => Format::Text,
        Format::Text | Format::Json | Format::Journald => wish,
    }
}

fn parse(filter: &str) -> Result<EnvFilter, InitError> {
    EnvFilter::try_new(filter)
        .map_err(|error| InitError::Filter { filter: filter.to_owned(), reason: error.to_string() })
}

/// Whether a line may be said at all.
fn may_be_said(line: &Metadata<'_>) -> bool {
    let from = line.target().split("::").next().unwrap_or_default();
    *line.level() <= Level::INFO || !WITHHELD.contains(&from)
}

/// Only what was asked for and may be said.
fn kept(written: Written, filter: EnvFilter) -> impl Layer<Registry> {
    written.with_filter(filter).with_filter(filter_fn(may_be_said))
}

fn text<W>(writer: W) -> Written
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    fmt::layer().with_writer(writer).with_ansi(io::stderr().is_terminal()).boxed()
}

fn json<W>(writer: W) -> Written
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    fmt::layer().json().flatten_event(true).with_span_list(false).with_writer(writer).boxed()
}

/// The journal; `None` where it was only guessed and doesn't answer.
fn journal(wish: Format) -> Result<Option<Written>, InitError> {
    match tracing_journald::layer() {
        Ok(layer) => Ok(Some(layer.with_field_prefix(Some("FLATBUS".to_owned())).boxed())),
        Err(error) if wish == Format::Journald => Err(InitError::Journal(error)),
        Err(_) => Ok(None),
    }
}

/// systemd names the journal's stream by device and inode. One inherited from a parent whose standard error was sent
/// elsewhere does not count.
fn journal_reads_stderr() -> bool {
    let named = env::var("JOURNAL_STREAM").ok();
    let stderr = std::fs::metadata("/proc/self/fd/2").ok();
    match (named, stderr) {
        (Some(named), Some(stderr)) => named == format!("{}:{}", stderr.st_dev(), stderr.ino()),
        (None, _) | (_, None) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        sync::{Arc, Mutex},
    };

    use serde_json::Value;

    use super::*;

    /// Keeps what is written.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn said(filter: &str, say: impl FnOnce()) -> Vec<Value> {
        let sink = Kept::default();
        let writer = sink.clone();
        let layer = kept(json(move || writer.clone()), parse(filter).unwrap());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), say);
        let written = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        written.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn the_surroundings_decide_only_where_nothing_was_asked_for() {
        assert_eq!(choose(Format::Auto, true, true), Format::Journald);
        assert_eq!(choose(Format::Auto, false, true), Format::Json);
        assert_eq!(choose(Format::Auto, false, false), Format::Text);
        assert_eq!(choose(Format::Text, true, true), Format::Text);
        assert_eq!(choose(Format::Json, true, false), Format::Json);
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_told_with_its_text() {
        let error = parse("info,flatbus_bus=loud").unwrap_err().to_string();
        assert!(error.contains("flatbus_bus=loud"), "{error}");
    }

    #[test]
    fn json_has_one_object_a_line_with_the_fields_beside_the_sentence() {
        let lines = said(FILTER_DEFAULT, || tracing::info!(key = "eog", "Settled eog"));
        assert_eq!(lines.len(), 1);
        assert_eq!((&lines[0]["message"], &lines[0]["key"]), (&"Settled eog".into(), &"eog".into()));
        assert_eq!(lines[0]["level"], "INFO");
    }

    #[test]
    fn an_ordinary_close_of_lapin_is_no_error_but_its_dying_threads_are() {
        let lines = said(FILTER_DEFAULT, || {
            tracing::error!(target: "lapin::channels", "Connection error");
            tracing::error!(target: "lapin::thread", "Thread panicked");
        });
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0]["message"], "Thread panicked");
    }

    #[test]
    fn frames_and_headers_are_withheld_whatever_the_filter_asks_for() {
        let lines = said("trace", || {
            tracing::trace!(target: "lapin::io_loop", "will write to buffer: StartOk secret");
            tracing::debug!(target: "hyper::proto::h1", "authorization: Bearer secret");
            tracing::debug!(target: "rustls", "secret");
            tracing::trace!(target: "flatbus_bus::amqp", "fine");
        });
        assert_eq!(lines.len(), 1, "{lines:?}");
    }
}
