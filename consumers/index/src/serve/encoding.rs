//! How a client likes an index: compressed, and by what.

use http::{HeaderMap, header};

/// A compression that indexes are published in beside their plain form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Zstd,
    Gzip,
}

impl Encoding {
    /// Of two that a client likes equally, the smaller first.
    const ALL: [Self; 2] = [Self::Zstd, Self::Gzip];

    /// As HTTP calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
        }
    }

    /// What its files' names end in.
    pub(crate) fn ending(self) -> &'static str {
        match self {
            Self::Zstd => "zst",
            Self::Gzip => "gz",
        }
    }
}

/// How gladly something is taken, in thousandths.
type Quality = u16;

/// The compressions a client takes, the best first, as far as it likes them as well as the plain file. Only those it
/// names: `*` comes from clients that could not read them. The plain file is never refused.
pub(crate) fn accepted(headers: &HeaderMap) -> Vec<Encoding> {
    let said = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let said: Vec<&str> = said.flat_map(|value| value.split(',')).collect();
    let quality = |name: &str| said.iter().find_map(|item| quality(item, name)).unwrap_or(0);
    let plain = quality("identity");
    let liked = Encoding::ALL.map(|encoding| (quality(encoding.name()), encoding));
    let mut liked: Vec<_> =
        liked.into_iter().filter(|(quality, _)| *quality > 0 && *quality >= plain).collect();
    liked.sort_by_key(|(quality, _)| std::cmp::Reverse(*quality)); // Stable: ties stay as they were.
    liked.into_iter().map(|(_, encoding)| encoding).collect()
}

/// `None`: about something else, or not to be understood.
fn quality(item: &str, name: &str) -> Option<Quality> {
    let (coding, parameter) =
        item.split_once(';').map_or((item, None), |(coding, more)| (coding, Some(more)));
    if !coding.trim().eq_ignore_ascii_case(name) {
        return None;
    }
    let Some(parameter) = parameter else { return Some(1000) };
    let parameter = parameter.trim();
    let value = parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q="))?;
    let (whole, part) = value.split_once('.').unwrap_or((value, ""));
    if part.len() > 3 || !part.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let thousandths = format!("{part:0<3}").parse().ok()?;
    match (whole, thousandths) {
        ("0", thousandths) => Some(thousandths),
        ("1", 0) => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn taken(values: &[&'static str]) -> Vec<&'static str> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::ACCEPT_ENCODING, HeaderValue::from_static(value));
        }
        accepted(&headers).into_iter().map(Encoding::name).collect()
    }

    #[test]
    fn what_clients_and_browsers_say_is_understood() {
        assert_eq!(taken(&["gzip"]), ["gzip"]);
        assert_eq!(taken(&["deflate, gzip, br, zstd"]), ["zstd", "gzip"]);
        assert_eq!(taken(&["gzip", "zstd"]), ["zstd", "gzip"]);
        assert_eq!(taken(&["GZIP"]), ["gzip"]);
        assert!(taken(&[]).is_empty());
        assert!(taken(&["deflate, br"]).is_empty());
    }

    #[test]
    fn what_is_liked_better_comes_first() {
        assert_eq!(taken(&["zstd;q=0.5, gzip;q=0.75"]), ["gzip", "zstd"]);
        assert_eq!(taken(&["zstd ; q=0.50, gzip;q=0.5"]), ["zstd", "gzip"]);
        assert_eq!(taken(&["gzip;q=1.000, zstd;Q=0.999"]), ["gzip", "zstd"]);
        assert_eq!(taken(&["identity, gzip;q=0.9, zstd"]), ["zstd"]);
        assert!(taken(&["identity;q=1, gzip;q=0.5"]).is_empty());
    }

    #[test]
    fn what_is_refused_or_not_understood_is_not_sent() {
        for value in [
            "gzip;q=0",
            "gzip;q=0.000",
            "gzip;q=2",
            "gzip;q=1.5",
            "gzip;q=-1",
            "gzip;q=",
            "gzip;x=1",
            "*",
            "x-gzip",
            "gzip;q=0.1234",
        ] {
            assert!(taken(&[value]).is_empty(), "{value}");
        }
        assert_eq!(taken(&["gzip;q=0, zstd"]), ["zstd"]);
        assert!(taken(&["identity;q=0"]).is_empty());
    }
}
