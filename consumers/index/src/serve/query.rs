//! What a client asks of `/index/static`.

use std::borrow::Cow;

use flatbus_oci::Tag;

use super::route::is_architecture;

/// Read from a query. Anything else that stands in it is passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) tag: Tag,
    pub(crate) architecture: Option<String>,
    pub(crate) os: String,
    /// As clients before 1.6 ask. Whoever names neither form is given labels.
    pub(crate) annotations: bool,
}

/// What can't be understood. Shows nothing of what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadQuery {
    #[error(
        "The tag must be 1 to 128 letters, digits, '_', '.' and '-', and start with none of the last two."
    )]
    Tag,
    #[error("The architecture must be 1 to 32 small letters, digits and '_', as amd64 is.")]
    Architecture,
    #[error("The os must be 1 to 32 small letters, digits and '_', as linux is.")]
    Os,
}

impl Wanted {
    /// A parameter that is missing, or empty, is as clients have it by default.
    pub(crate) fn read(query: &str) -> Result<Self, BadQuery> {
        let pairs: Vec<_> = url::form_urlencoded::parse(query.as_bytes()).collect();
        let tag = first(&pairs, "tag").unwrap_or("latest").parse().map_err(|_| BadQuery::Tag)?;
        let word = |name: &str, bad| match first(&pairs, name) {
            Some(text) if !is_architecture(text) => Err(bad),
            given => Ok(given.map(str::to_owned)),
        };
        let asks = |form: &str| pairs.iter().any(|(name, value)| is_form(name, form) && value == "1");
        Ok(Self {
            tag,
            architecture: word("architecture", BadQuery::Architecture)?,
            os: word("os", BadQuery::Os)?.unwrap_or_else(|| "linux".to_owned()),
            annotations: asks("annotation") && !asks("label"),
        })
    }
}

fn is_form(name: &str, form: &str) -> bool {
    name.split_once(':').is_some_and(|(kind, rest)| kind == form && rest == "org.flatpak.ref:exists")
}

fn first<'a>(pairs: &'a [(Cow<'_, str>, Cow<'_, str>)], name: &str) -> Option<&'a str> {
    pairs.iter().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| &**value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(tag: &str, architecture: Option<&str>, annotations: bool) -> Wanted {
        let architecture = architecture.map(str::to_owned);
        Wanted { tag: tag.parse().unwrap(), architecture, os: "linux".to_owned(), annotations }
    }

    #[test]
    fn the_clients_own_query_is_read_in_both_spellings_and_any_order() {
        for query in [
            "label%3Aorg.flatpak.ref%3Aexists=1&architecture=amd64&os=linux&tag=latest",
            "label:org.flatpak.ref:exists=1&architecture=amd64&os=linux&tag=latest",
            "tag=latest&os=linux&more=x&architecture=amd64&label%3aorg.flatpak.ref:exists=1",
            "architecture=amd64",
        ] {
            assert_eq!(Wanted::read(query), Ok(wanted("latest", Some("amd64"), false)), "{query}");
        }
    }

    #[test]
    fn old_clients_ask_for_annotations() {
        let query = "annotation%3Aorg.flatpak.ref%3Aexists=1&architecture=arm64&os=linux&tag=testing";
        assert_eq!(Wanted::read(query), Ok(wanted("testing", Some("arm64"), true)));
        let both = format!("{query}&label:org.flatpak.ref:exists=1");
        assert_eq!(Wanted::read(&both), Ok(wanted("testing", Some("arm64"), false)));
        let other = "annotation:org.flatpak.ref:exists=0&annotation:x:exists=1";
        assert_eq!(Wanted::read(other), Ok(wanted("latest", None, false)));
    }

    #[test]
    fn what_is_empty_is_as_if_missing_and_of_two_the_first_counts() {
        assert_eq!(Wanted::read("tag=&architecture="), Ok(wanted("latest", None, false)));
        assert_eq!(Wanted::read("tag=&tag=testing&tag=x"), Ok(wanted("testing", None, false)));
    }

    #[test]
    fn what_is_malformed_is_refused_without_being_shown() {
        for (query, bad) in [
            ("tag=la+test", BadQuery::Tag),
            ("tag=.x", BadQuery::Tag),
            ("tag=latest%0A", BadQuery::Tag),
            ("tag=..%2Fx", BadQuery::Tag),
            ("architecture=AMD64", BadQuery::Architecture),
            ("architecture=a%00", BadQuery::Architecture),
            ("architecture=012345678901234567890123456789012", BadQuery::Architecture),
            ("os=../linux", BadQuery::Os),
        ] {
            assert_eq!(Wanted::read(query), Err(bad), "{query}");
        }
    }
}
