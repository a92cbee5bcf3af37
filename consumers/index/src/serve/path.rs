//! What a URL's path names. Only what is published is named at all; the rest is nothing.

use super::route::{Routes, is_plain};

/// What stands at a path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// `/index/static`, where clients ask for the index.
    Static,
    /// What would be a file below the site's folder.
    File { path: String, kind: Kind },
}

/// How a file is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An index: compressed for those who like it, asked about each time.
    Index,
    /// Named by what it holds: never another.
    Lasting,
    /// Asked about each time.
    Fleeting,
}

/// Deepest path that is published, in names.
const DEPTH_MAX: usize = 4;

impl Place {
    /// `None`: nothing is there, and nothing ever will be.
    pub(crate) fn read(path: &str, routes: &Routes) -> Option<Self> {
        let decoded = decoded(path)?;
        let names: Vec<&str> = decoded.split('/').filter(|name| !name.is_empty()).collect();
        if names.len() > DEPTH_MAX || decoded.ends_with('/') || !names.iter().all(|name| is_plain(name)) {
            return None;
        }
        if names == ["index", "static"] {
            return Some(Self::Static);
        }
        Some(Self::File { path: names.join("/"), kind: kind(&names, routes)? })
    }
}

fn kind(names: &[&str], routes: &Routes) -> Option<Kind> {
    match names {
        ["icons", folder, file] => Some(by_content(folder, file.strip_suffix(".png"))),
        ["deltas", folder, file] => Some(by_content(folder, file.strip_suffix(".tardiff"))),
        ["by-digest", "sha256", folder, file] => Some(by_content(folder, Some(file))),
        ["lists", file] => Some(lasting(file.strip_suffix(".json").is_some_and(|name| is_hex(name, 64)))),
        ["icons" | "deltas" | "by-digest" | "lists", ..] | ["site.json"] => Some(Kind::Fleeting),
        [folder, file] if routes.folders().any(|known| known == *folder) => {
            Some(if file.ends_with(".json") { Kind::Index } else { Kind::Fleeting })
        }
        _ => None,
    }
}

/// `ab` and 62 digits more are a SHA-256.
fn by_content(folder: &str, file: Option<&str>) -> Kind {
    lasting(is_hex(folder, 2) && file.is_some_and(|name| is_hex(name, 62)))
}

fn lasting(yes: bool) -> Kind {
    if yes { Kind::Lasting } else { Kind::Fleeting }
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// What is left of percent signs once they are read. What they hide is judged like what they don't.
fn decoded(path: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(if byte == b'%' { digit(rest.next())? << 4 | digit(rest.next())? } else { byte });
    }
    String::from_utf8(bytes).ok()
}

fn digit(byte: Option<u8>) -> Option<u8> {
    let digit = char::from(byte?).to_digit(16)?;
    u8::try_from(digit).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(path: &str) -> Option<(String, Kind)> {
        match Place::read(path, &Routes::default())? {
            Place::Static => Some(("static".to_owned(), Kind::Index)),
            Place::File { path, kind } => Some((path, kind)),
        }
    }

    #[test]
    fn each_place_is_served_as_what_it_is() {
        let (two, most, all) = ("0a", "b".repeat(62), "c".repeat(64));
        for (path, kind) in [
            ("index/flatpak-latest.json".to_owned(), Kind::Index),
            ("index/flatpak-latest.json.gz".to_owned(), Kind::Fleeting),
            ("site.json".to_owned(), Kind::Fleeting),
            (format!("icons/{two}/{most}.png"), Kind::Lasting),
            (format!("deltas/{two}/{most}.tardiff"), Kind::Lasting),
            (format!("by-digest/sha256/{two}/{most}"), Kind::Lasting),
            (format!("lists/{all}.json"), Kind::Lasting),
            (format!("icons/{two}/x{most}.png"), Kind::Fleeting),
            (format!("deltas/{two}/{most}.json"), Kind::Fleeting),
            ("deltas/wanted.json".to_owned(), Kind::Fleeting),
            (format!("lists/{most}.json"), Kind::Fleeting),
        ] {
            assert_eq!(place(&format!("/{path}")), Some((path, kind)));
        }
        assert_eq!(place("/index/static").unwrap().0, "static");
    }

    #[test]
    fn percent_signs_and_doubled_slashes_change_nothing() {
        assert_eq!(place("//index/st%61tic").unwrap().0, "static");
        assert_eq!(place("/%69ndex///x%2Djson.json").unwrap().0, "index/x-json.json");
    }

    #[test]
    fn what_is_not_published_is_nothing() {
        for path in [
            "/",
            "/index",
            "/index/",
            "/index/x.json/",
            "/other/x.json",
            "/other",
            "/site.json/x",
            "/.tmp",
            "/index/.x.json",
            "/index/../site.json",
            "/index/%2e%2e/site.json",
            "/index/%2E%2E%2Fsite.json",
            "/index/x%00.json",
            "/index/x%2fy.json",
            "/index/%zz.json",
            "/index/%",
            "/index/a b",
            "/index/ü.json",
            "/index/x%ff.json",
            "/index/a\\b.json",
            "/icons/a/b/c/d",
            "/by-digest/sha256/ab/cd/ef",
        ] {
            assert_eq!(place(path), None, "{path}");
        }
    }
}
