//! Headers of registries: challenges, ranges, links. What is read prints itself back, and reads the same after noise.

use flatbus_http::{HeaderMap, HeaderValue, header};
use flatbus_oci::fuzzing::{challenge, granted, link, range_held, range_of_content};

use crate::rules::halves;

/// Each line is a `WWW-Authenticate`; the first is also a token.
pub fn check_challenge(data: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in data.split(|&byte| byte == b'\n') {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(header::WWW_AUTHENTICATE, value);
        }
    }
    let asked = challenge(&headers);
    if let Some(("bearer", realm, service)) = &asked {
        let service = service.as_ref().map(|service| format!(",service={}", quoted(service)));
        let printed = format!("Bearer realm={}{}", quoted(realm), service.unwrap_or_default());
        assert_eq!(challenge(&one(&printed)), asked, "{printed}");
        assert_eq!(
            challenge(&one(&format!("Negotiate, Basic realm=\"a\\\"b\", {printed}, error=\"e\""))),
            asked
        );
    }
    if let Ok(token) = str::from_utf8(halves(data).0) {
        let told = granted(token, "fedora/eog");
        assert!(told.is_none_or(|actions| actions.len() <= token.len()));
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn one(value: &str) -> HeaderMap {
    let value = HeaderValue::from_str(value).unwrap_or_else(|error| panic!("{value:?}: {error}"));
    HeaderMap::from_iter([(header::WWW_AUTHENTICATE, value)])
}

/// One header value.
pub fn check_range(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    if let Some((offset, size)) = range_of_content(text) {
        let whole = size.map_or_else(|| "*".to_owned(), |size| size.to_string());
        assert_eq!(range_of_content(&format!("bytes {offset}-{offset}/{whole}")), Some((offset, size)));
    }
    if let Some(held) = range_held(text) {
        assert_eq!(range_held(&format!("0-{}", held - 1)), Some(held));
    }
    if let Some(target) = link(text) {
        assert!(text.contains(target) && !target.contains('>'), "{text:?}");
        next_page(target);
    }
    next_page(text);
}

/// Any URL can be a next page, whatever stands before it.
fn next_page(target: &str) {
    if target.contains(|c: char| c.is_control() || "<>\"".contains(c)) {
        return;
    }
    for text in [
        format!("<{target}>; rel=\"next\""),
        format!("<{target}>;rel=next; title=\"a, b; c\""),
        format!("</first?a=1,2>; rel=\"first\", <{target}>; rel=\"next\""),
    ] {
        assert_eq!(link(&text), Some(target), "{text}");
    }
}

/// Challenges and tokens as registries send them.
pub fn challenges() -> Vec<Vec<u8>> {
    let fixed = [
        r#"Bearer realm="https://quay.io/v2/auth",service="quay.io",scope="repository:fedora/eog:pull""#,
        r#"Basic realm="Registry Realm""#,
        "basic realm=x, bearer Realm=https://a/b",
        "Basic realm=\"a\\\"b, Bearer\"\nBearer realm=\"https://quay.io/v2/auth\",service=\"quay.io\"",
        "Negotiate\nBearer error=\"invalid_token\" , realm = \"https://a/b\"",
        "e30.eyJhY2Nlc3MiOlt7InR5cGUiOiJyZXBvc2l0b3J5IiwibmFtZSI6ImZlZG9yYS9lb2ciLCJhY3Rpb25zIjpbInB1bGwiXX1dfQ.c2ln",
    ];
    fixed.map(|text| text.as_bytes().to_vec()).into()
}

/// Ranges and links as registries send them.
pub fn ranges() -> Vec<Vec<u8>> {
    let fixed = [
        "bytes 5-9/10",
        "bytes 5-9/*",
        "bytes */10",
        "0-9",
        "bytes=0-9",
        "0-18446744073709551614",
        r#"</v2/x/tags/list?n=1&last=a>; rel="next""#,
        r#"<a>; rel="prev", <https://quay.io/v2/b?last=1,2>; rel=next"#,
    ];
    fixed.map(|text| text.as_bytes().to_vec()).into()
}
