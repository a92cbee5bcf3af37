//! The name of a file's content for caches, as Apache makes it.

/// What Apache answers as `ETag` for a file with `FileETag MTime Size` (`ap_make_etag` in its `http_etag.c`; APR's times are
/// microseconds): size and modification time in hexadecimal. It does so where the time is more than a second past and no
/// negotiation chose the file; else it says `W/` before it, or more behind it.
pub fn etag(size: u64, mtime_us: i64) -> String {
    format!("\"{size:x}-{mtime_us:x}\"")
}
