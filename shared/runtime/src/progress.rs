//! How long work tells a person how far it is. A unit tells nobody; the command line draws bars.

/// Somebody who may be watching.
pub trait Progress: Send + Sync + 'static {
    /// A piece of work begins: `total` in bytes where known.
    fn begin(&self, what: &str, total: Option<u64>);
    /// More of it is done.
    fn advance(&self, what: &str, bytes: u64);
    /// It is over.
    fn end(&self, what: &str);
    /// A key was settled, with the line the log says of it.
    fn settled(&self, _key: &str, _said: &str) {}
}

/// Nobody watches.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unwatched;

impl Progress for Unwatched {
    fn begin(&self, _what: &str, _total: Option<u64>) {}
    fn advance(&self, _what: &str, _bytes: u64) {}
    fn end(&self, _what: &str) {}
}
