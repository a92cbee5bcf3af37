//! Doors to the parsers of what registries say and of credential files, for fuzzing alone. Nothing here decides.

use flatbus_http::HeaderMap;

use super::{
    challenge::{self, Challenge},
    content_range, next_link,
    upload::range_end,
};
use crate::AuthFile;

/// The scheme, realm and service that an answer's headers ask for.
pub fn challenge(headers: &HeaderMap) -> Option<(&'static str, String, Option<String>)> {
    Some(match Challenge::of(headers)? {
        Challenge::Basic => ("basic", String::new(), None),
        Challenge::Bearer { realm, service } => ("bearer", realm, service),
    })
}

/// The actions that a token grants on a repository, where it tells.
pub fn granted(token: &str, repository: &str) -> Option<Vec<String>> {
    challenge::granted(token, repository)
}

/// Offset and whole size of a `Content-Range`.
pub fn range_of_content(text: &str) -> Option<(u64, Option<u64>)> {
    content_range(text)
}

/// Bytes held, of a `Range`.
pub fn range_held(text: &str) -> Option<u64> {
    range_end(text)
}

/// The next page of a `Link`.
pub fn link(text: &str) -> Option<&str> {
    next_link(text)
}

/// A credentials file's text.
///
/// # Errors
/// What is wrong, told by place and never by content.
pub fn auth_file(text: &str) -> Result<AuthFile, String> {
    AuthFile::parse(text)
}
