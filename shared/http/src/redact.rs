//! What of a URL may be told: never user names, passwords or query values (signed URLs carry keys there).

use url::Url;

/// The URL without user information, and with the names but not the values of its query.
pub fn redacted(url: &Url) -> String {
    let mut text = format!("{}://{}{}", url.scheme(), host_of(url), url.path());
    let names: Vec<_> = url.query_pairs().map(|(name, _)| format!("{name}=…")).collect();
    if !names.is_empty() {
        text.push('?');
        text.push_str(&names.join("&"));
    }
    text
}

/// Host as a person writes it: with its port only where that isn't the scheme's own.
pub(crate) fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or("(no host)");
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signed_url_is_told_without_its_secrets() {
        let url = Url::parse("https://me:hunter2@cdn.example:8443/blob?Signature=abc&Expires=1").unwrap();
        assert_eq!(redacted(&url), "https://cdn.example:8443/blob?Signature=…&Expires=…");
    }
}
