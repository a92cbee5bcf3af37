//! What a client has already, and what part of a file it wants: RFC 9110, sections 13 and 14. Pure.

use std::ops::Range;

use http::{HeaderMap, HeaderName, header};
use jiff::{Timestamp, fmt::rfc2822::DateTimeParser};

/// What a file is known by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Version<'a> {
    /// Strong, with its quotes.
    pub(crate) etag: &'a str,
    /// `None`: no file, and no time.
    pub(crate) modified_s: Option<i64>,
    pub(crate) size: u64,
}

/// What is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Whole,
    /// Never empty.
    Part(Range<u64>),
    NotModified,
    /// The client asked for another version only.
    Refused,
    /// No such part.
    Unsatisfiable,
}

/// Ranges are for GET, and for files that have any.
pub(crate) fn decide(headers: &HeaderMap, get: bool, version: Version<'_>) -> Verdict {
    if !precondition(headers, version) {
        return Verdict::Refused;
    }
    if unchanged(headers, version) {
        return Verdict::NotModified;
    }
    if !get || version.size == 0 || !same_for_range(headers, version) {
        return Verdict::Whole;
    }
    part(headers, version.size)
}

fn precondition(headers: &HeaderMap, version: Version<'_>) -> bool {
    if headers.contains_key(header::IF_MATCH) {
        return names(headers, header::IF_MATCH, version, Comparison::Strong);
    }
    match (date(headers, header::IF_UNMODIFIED_SINCE), version.modified_s) {
        (Some(since), Some(modified)) => modified <= since,
        _ => true,
    }
}

fn unchanged(headers: &HeaderMap, version: Version<'_>) -> bool {
    if headers.contains_key(header::IF_NONE_MATCH) {
        return names(headers, header::IF_NONE_MATCH, version, Comparison::Weak);
    }
    match (date(headers, header::IF_MODIFIED_SINCE), version.modified_s) {
        (Some(since), Some(modified)) => modified <= since,
        _ => false,
    }
}

/// A date is never good enough: two versions may be of one second. Then the whole is sent.
fn same_for_range(headers: &HeaderMap, version: Version<'_>) -> bool {
    let Some(said) = headers.get(header::IF_RANGE) else { return true };
    said.as_bytes() == version.etag.as_bytes()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Strong,
    Weak,
}

/// Whether one of the tags in a header is the version's.
fn names(headers: &HeaderMap, header: HeaderName, version: Version<'_>, comparison: Comparison) -> bool {
    let values = headers.get_all(header);
    values.iter().filter_map(|value| value.to_str().ok()).any(|value| {
        value.trim() == "*"
            || tags(value)
                .any(|(weak, tag)| tag == version.etag && !(weak && comparison == Comparison::Strong))
    })
}

/// Each with whether it is weak, and its quotes. What is no tag ends the list.
fn tags(value: &str) -> impl Iterator<Item = (bool, &str)> {
    let mut rest = value;
    std::iter::from_fn(move || {
        let tag = rest.trim_start_matches([' ', '\t', ',']);
        let (weak, tag) = tag.strip_prefix("W/").map_or((false, tag), |tag| (true, tag));
        let end = tag.strip_prefix('"')?.find('"')? + 2;
        rest = &tag[end..];
        Some((weak, &tag[..end]))
    })
}

/// In seconds since 1970.
fn date(headers: &HeaderMap, header: HeaderName) -> Option<i64> {
    let said = headers.get(header)?.to_str().ok()?;
    DateTimeParser::new().parse_timestamp(said).map(Timestamp::as_second).ok()
}

/// The one part that is asked for. Several at once are answered by the whole, as is what can't be understood.
fn part(headers: &HeaderMap, size: u64) -> Verdict {
    let said = headers.get(header::RANGE).and_then(|range| range.to_str().ok());
    let Some((first, last)) =
        said.and_then(|said| said.strip_prefix("bytes=")).and_then(|said| said.split_once('-'))
    else {
        return Verdict::Whole;
    };
    let part = match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => first..last.saturating_add(1).min(size),
        (Some(first), None) if last.trim().is_empty() => first..size,
        (None, Some(tail)) if first.trim().is_empty() && tail > 0 => size.saturating_sub(tail)..size,
        _ => return Verdict::Whole,
    };
    if part.start < part.end { Verdict::Part(part) } else { Verdict::Unsatisfiable }
}

fn number(text: &str) -> Option<u64> {
    let text = text.trim();
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    /// 2023-11-14 22:13:20
    const VERSION: Version<'_> = Version { etag: "\"a-1\"", modified_s: Some(1_700_000_000), size: 10 };

    fn verdict(sent: &[(HeaderName, &'static str)]) -> Verdict {
        let mut headers = HeaderMap::new();
        for (name, value) in sent {
            headers.append(name, HeaderValue::from_static(value));
        }
        decide(&headers, true, VERSION)
    }

    #[test]
    fn a_client_that_has_it_is_told_so() {
        for said in ["\"a-1\"", "W/\"a-1\"", "\"x,y\", \"a-1\"", "*", "W/\"x\",W/\"a-1\""] {
            assert_eq!(verdict(&[(header::IF_NONE_MATCH, said)]), Verdict::NotModified, "{said}");
        }
        for said in ["\"b\"", "a-1", "\"a-1", "", "x, \"a-1\""] {
            assert_eq!(verdict(&[(header::IF_NONE_MATCH, said)]), Verdict::Whole, "{said}");
        }
        assert_eq!(
            verdict(&[(header::IF_NONE_MATCH, "\"b\""), (header::IF_NONE_MATCH, "\"a-1\"")]),
            Verdict::NotModified
        );
    }

    #[test]
    fn a_date_counts_only_without_a_tag() {
        let (same, before) = ("Tue, 14 Nov 2023 22:13:20 GMT", "Tue, 14 Nov 2023 22:13:19 GMT");
        assert_eq!(verdict(&[(header::IF_MODIFIED_SINCE, same)]), Verdict::NotModified);
        assert_eq!(verdict(&[(header::IF_MODIFIED_SINCE, before)]), Verdict::Whole);
        assert_eq!(verdict(&[(header::IF_MODIFIED_SINCE, "yesterday")]), Verdict::Whole);
        assert_eq!(
            verdict(&[(header::IF_MODIFIED_SINCE, same), (header::IF_NONE_MATCH, "\"b\"")]),
            Verdict::Whole
        );
    }

    #[test]
    fn who_wants_another_version_only_gets_none() {
        assert_eq!(verdict(&[(header::IF_MATCH, "\"a-1\"")]), Verdict::Whole);
        assert_eq!(verdict(&[(header::IF_MATCH, "*")]), Verdict::Whole);
        assert_eq!(verdict(&[(header::IF_MATCH, "W/\"a-1\"")]), Verdict::Refused);
        assert_eq!(verdict(&[(header::IF_MATCH, "\"b\"")]), Verdict::Refused);
        let before = "Tue, 14 Nov 2023 22:13:19 GMT";
        assert_eq!(verdict(&[(header::IF_UNMODIFIED_SINCE, before)]), Verdict::Refused);
    }

    #[test]
    fn ranges_are_read_as_http_means_them() {
        let part = |range| verdict(&[(header::RANGE, range)]);
        assert_eq!(part("bytes=0-0"), Verdict::Part(0..1));
        assert_eq!(part("bytes=4-"), Verdict::Part(4..10));
        assert_eq!(part("bytes=-3"), Verdict::Part(7..10));
        assert_eq!(part("bytes=-30"), Verdict::Part(0..10));
        assert_eq!(part("bytes=8-99"), Verdict::Part(8..10));
        assert_eq!(part("bytes=10-"), Verdict::Unsatisfiable);
        for whole in [
            "bytes=-0",
            "bytes=5-4",
            "bytes=0-1,3-4",
            "lines=0-1",
            "bytes=-",
            "bytes=+1-2",
            "bytes=x-2",
            "bytes",
        ] {
            assert_eq!(part(whole), Verdict::Whole, "{whole}");
        }
    }

    #[test]
    fn a_part_is_sent_only_of_the_version_that_the_client_has() {
        let part = |validator| verdict(&[(header::RANGE, "bytes=0-0"), (header::IF_RANGE, validator)]);
        assert_eq!(part("\"a-1\""), Verdict::Part(0..1));
        for other in ["\"b\"", "W/\"a-1\"", "Tue, 14 Nov 2023 22:13:20 GMT"] {
            assert_eq!(part(other), Verdict::Whole, "{other}");
        }
        let headers = [(header::RANGE, HeaderValue::from_static("bytes=0-0"))].into_iter().collect();
        assert_eq!(decide(&headers, false, VERSION), Verdict::Whole);
        assert_eq!(decide(&headers, true, Version { size: 0, ..VERSION }), Verdict::Whole);
    }
}
