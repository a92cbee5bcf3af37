//! What a path of the distribution API means. Pure.

use super::{Digest, refusal::Refusal};

/// A tag or a digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reference {
    Tag(String),
    Digest(Digest),
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    Base,
    Token,
    Catalog,
    Tags { repository: String },
    Manifest { repository: String, reference: Reference },
    Blob { repository: String, digest: Digest },
    Uploads { repository: String },
    Upload { repository: String, id: String },
}

impl Route {
    pub(crate) fn parse(path: &str) -> Result<Self, Refusal> {
        if path == "/token" {
            return Ok(Self::Token);
        }
        let path = path.replace("%3A", ":").replace("%3a", ":");
        match path.strip_prefix("/v2").ok_or_else(Refusal::not_found)? {
            "" | "/" => Ok(Self::Base),
            "/_catalog" => Ok(Self::Catalog),
            rest => Self::in_repository(rest.strip_prefix('/').ok_or_else(Refusal::not_found)?),
        }
    }

    /// Read from the right: names hold slashes, and may hold `blobs` or `tags` too.
    fn in_repository(rest: &str) -> Result<Self, Refusal> {
        if let Some(repository) = rest.strip_suffix("/tags/list") {
            return Ok(Self::Tags { repository: repository_name(repository)? });
        }
        let open = rest.strip_suffix("/blobs/uploads/").or_else(|| rest.strip_suffix("/blobs/uploads"));
        if let Some(repository) = open {
            return Ok(Self::Uploads { repository: repository_name(repository)? });
        }
        let (parent, last) = rest.rsplit_once('/').ok_or_else(Refusal::not_found)?;
        if let Some(repository) = parent.strip_suffix("/blobs/uploads") {
            return Ok(Self::Upload { repository: repository_name(repository)?, id: last.to_owned() });
        }
        if let Some(repository) = parent.strip_suffix("/blobs") {
            let digest =
                last.parse().map_err(|_| Refusal::digest_invalid("provided digest is no sha256 digest"))?;
            return Ok(Self::Blob { repository: repository_name(repository)?, digest });
        }
        if let Some(repository) = parent.strip_suffix("/manifests") {
            return Ok(Self::Manifest {
                repository: repository_name(repository)?,
                reference: reference(last)?,
            });
        }
        Err(Refusal::not_found())
    }

    /// The repository it is about, if any.
    pub(crate) fn repository(&self) -> Option<&str> {
        match self {
            Self::Base | Self::Token | Self::Catalog => None,
            Self::Tags { repository }
            | Self::Manifest { repository, .. }
            | Self::Blob { repository, .. }
            | Self::Uploads { repository }
            | Self::Upload { repository, .. } => Some(repository),
        }
    }
}

fn reference(text: &str) -> Result<Reference, Refusal> {
    if text.contains(':') {
        return text
            .parse()
            .map(Reference::Digest)
            .map_err(|_| Refusal::digest_invalid("not a sha256 digest"));
    }
    if is_tag(text) {
        Ok(Reference::Tag(text.to_owned()))
    } else {
        Err(Refusal::manifest_invalid("invalid tag"))
    }
}

pub(crate) fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    text.len() <= 128
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

fn repository_name(text: &str) -> Result<String, Refusal> {
    if is_repository(text) { Ok(text.to_owned()) } else { Err(Refusal::name_invalid()) }
}

/// Components of lower-case letters and digits, joined by `.`, `_`, `__` or dashes; slashes between components.
pub(crate) fn is_repository(text: &str) -> bool {
    text.len() <= 255 && text.split('/').all(is_component)
}

fn is_component(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let mut separator = String::new();
    for byte in text.bytes() {
        if word(byte) {
            let joins = separator.is_empty()
                || matches!(&*separator, "." | "_" | "__")
                || separator.bytes().all(|b| b == b'-');
            if !joins {
                return false;
            }
            separator.clear();
        } else if matches!(byte, b'.' | b'_' | b'-') {
            separator.push(char::from(byte));
        } else {
            return false;
        }
    }
    separator.is_empty() && text.bytes().next().is_some_and(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_names_are_read_from_the_right() {
        let Ok(Route::Manifest { repository, reference }) =
            Route::parse("/v2/f41/blobs/flatpak-runtime/manifests/latest")
        else {
            panic!("not a manifest");
        };
        assert_eq!((&*repository, reference), ("f41/blobs/flatpak-runtime", Reference::Tag("latest".into())));
    }

    #[test]
    fn names_outside_the_grammar_are_refused() {
        for name in ["", "Eog", "eog-", "-eog", "a..b", "a/../b", "a//b", "a___b", "a%2fb"] {
            assert!(!is_repository(name), "{name}");
        }
        for name in ["eog", "f41/flatpak-runtime", "a--b", "a__b", "a.b_c-d"] {
            assert!(is_repository(name), "{name}");
        }
    }

    #[test]
    fn tags_outside_the_grammar_are_refused() {
        assert!(is_tag("latest") && is_tag("_x") && is_tag("1.0-2"));
        assert!(!is_tag("") && !is_tag(".x") && !is_tag("-x") && !is_tag("a~b") && !is_tag(&"x".repeat(129)));
    }
}
