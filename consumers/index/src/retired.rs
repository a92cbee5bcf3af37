//! Flatpaks at the end of their life: what an operator says of them, and the labels that tell it to clients.
//!
//! Pure. Strict with names: clients don't refuse a rebase that is no ref, or one to another kind of Flatpak, they abort.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use flatbus_oci::Glob;
use serde::Deserialize;

use crate::image::{Ref, is_architecture, is_branch, is_id};

/// The label that says why there will be no more updates.
pub const END_OF_LIFE: &str = "org.flatpak.commit-metadata.ostree.endoflife";
/// The label that names what to go on with.
pub const REBASE: &str = "org.flatpak.commit-metadata.ostree.endoflife-rebase";
/// The label that makes clients ask for a token, and its value: the number 1 as a `GVariant`.
pub const TOKEN_TYPE: (&str, &str) = ("org.flatpak.commit-metadata.xa.token-type", "AQAAAABp");

/// Longest reason, in bytes: clients print it on a line of its own.
const REASON_BYTES_MAX: usize = 1000;
/// Longest pattern, and longest rebase, in bytes.
const PATTERN_BYTES_MAX: usize = 512;
/// What is shown of a text that is refused, in characters.
const SHOWN_CHARS_MAX: usize = 120;

/// `[[consumer_config.retired]]` as written. Unknown keys are errors.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawRetired {
    pattern: String,
    reason: String,
    rebase: Option<String>,
}

/// Flatpaks that are retired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retired {
    /// Which.
    pub pattern: RefPattern,
    /// Why, for their users to read: one line.
    pub reason: String,
    /// What their users are asked to go on with.
    pub rebase: Option<Rebase>,
}

/// A pattern over refs: `app/org.gnome.eog/*/stable`. `*` stands for any run of characters of one part, `?` for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefPattern(Glob);

/// What to go on with. The kind is always that of what is retired; an architecture or branch that isn't named is that of
/// what is retired, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebase {
    id: String,
    architecture: Option<String>,
    branch: Option<String>,
}

/// What is wrong with a `retired`. One sentence that names the key, and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRetired {
    /// It could match no ref, or none that was meant.
    #[error("pattern {shown:?} is no pattern over refs ({why}): write app/org.gnome.eog/*/stable")]
    Pattern {
        /// Its beginning.
        shown: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Clients couldn't show it.
    #[error("reason {why}")]
    Reason {
        /// What is wrong with it.
        why: String,
    },
    /// Clients couldn't follow it.
    #[error(
        "rebase {shown:?} can't be gone on with ({why}): write org.gnome.Loupe, or app/org.gnome.Loupe/*/stable"
    )]
    Rebase {
        /// Its beginning.
        shown: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl Retired {
    /// The labels that retire this Flatpak; none where it isn't meant.
    pub fn labels(&self, name: &Ref) -> Vec<(&'static str, String)> {
        if !self.pattern.matches(name) {
            return Vec::new();
        }
        let rebase = self.rebase.as_ref().and_then(|rebase| rebase.of(name));
        let rebase = rebase.map(|target| (REBASE, variant(&target)));
        [(END_OF_LIFE, variant(&self.reason))].into_iter().chain(rebase).collect()
    }
}

/// The labels that retire this Flatpak; where several mean it, the first of them has its say.
pub fn labels(retired: &[Retired], name: &Ref) -> Vec<(&'static str, String)> {
    retired.iter().find(|retired| retired.pattern.matches(name)).map_or_else(Vec::new, |one| one.labels(name))
}

impl RefPattern {
    /// Whether a Flatpak is meant.
    pub fn matches(&self, name: &Ref) -> bool {
        self.0.matches(name.as_str()) // Both have three slashes: no `*` can take one in.
    }

    fn parts(&self) -> [&str; 4] {
        parts(self.0.as_str()).unwrap_or_default() // Always four: it was parsed.
    }

    fn parse(text: &str) -> Result<Self, BadRetired> {
        let bad = |why| Err(BadRetired::Pattern { shown: shown(text), why });
        let Some([kind, rest @ ..]) = parts(text).filter(|_| text.len() <= PATTERN_BYTES_MAX) else {
            return bad("it must be kind/id/architecture/branch");
        };
        if !matches!(kind, "app" | "runtime") {
            return bad("its kind must be app or runtime");
        }
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"._-*?".contains(&byte);
        if !rest.iter().all(|part| !part.is_empty() && part.bytes().all(known)) {
            return bad("its parts must be letters, digits, '.', '_', '-', '*' and '?'");
        }
        Ok(Self(Glob::new(text)))
    }
}

impl Rebase {
    /// The ref that stands in for this one: always a whole one, since nothing less is understood by clients.
    fn of(&self, name: &Ref) -> Option<String> {
        let [kind, _, architecture, branch] = parts(name.as_str())?;
        let architecture = self.architecture.as_deref().unwrap_or(architecture);
        let branch = self.branch.as_deref().unwrap_or(branch);
        Some(format!("{kind}/{}/{architecture}/{branch}", self.id))
    }

    /// An id, as Flatpak's own `--end-of-life-rebase` takes it, or a whole ref with `*` for what stays.
    fn parse(text: &str, pattern: &RefPattern) -> Result<Self, BadRetired> {
        let bad = |why| BadRetired::Rebase { shown: shown(text), why };
        let [kind, _, of_architecture, _] = pattern.parts();
        let (id, architecture, branch) = match parts(text) {
            Some([own, id, architecture, branch]) if own == kind => (id, architecture, branch),
            Some(_) => return Err(bad("it must be of the kind that the pattern says")),
            None if text.contains('/') => return Err(bad("it is neither an id nor a whole ref")),
            None => (text, "*", "*"),
        };
        if !is_id(id) {
            return Err(bad(
                "its id must have three parts or more, joined by dots, with '-' in the last at most",
            ));
        }
        let named = |part: &str| (part != "*").then(|| part.to_owned());
        let rebase = Self { id: id.to_owned(), architecture: named(architecture), branch: named(branch) };
        if rebase
            .architecture
            .as_ref()
            .is_some_and(|named| !is_architecture(named) || named != of_architecture)
        {
            return Err(bad("its architecture must be *, or the one that the pattern says"));
        }
        if rebase.branch.as_ref().is_some_and(|named| !is_branch(named)) {
            return Err(bad("its branch must be *, or letters, digits, '.', '_' and '-'"));
        }
        if rebase.leads_back(pattern) {
            return Err(bad("the pattern retires it, too"));
        }
        Ok(rebase)
    }

    /// Whether what to go on with is itself retired by this pattern, for all Flatpaks that it means or for some.
    fn leads_back(&self, pattern: &RefPattern) -> bool {
        let [_, id, _, branch] = pattern.parts();
        let fits = |part: &str, named: &str| Glob::new(part).matches(named);
        fits(id, &self.id) && self.branch.as_ref().is_none_or(|named| fits(branch, named))
    }
}

impl TryFrom<RawRetired> for Retired {
    type Error = BadRetired;

    fn try_from(raw: RawRetired) -> Result<Self, BadRetired> {
        let pattern = RefPattern::parse(&raw.pattern)?;
        let (reason, bad) = (raw.reason.trim(), |why: String| Err(BadRetired::Reason { why }));
        if reason.is_empty() {
            return bad("is empty: tell users why there will be no more updates".to_owned());
        }
        if reason.len() > REASON_BYTES_MAX {
            return bad(format!("is longer than {REASON_BYTES_MAX} bytes: clients show it on one line"));
        }
        if reason.contains(char::is_control) {
            return bad("has a line end or control character: clients print it as it is".to_owned());
        }
        let rebase = raw.rebase.as_deref().map(|text| Rebase::parse(text, &pattern)).transpose()?;
        Ok(Self { pattern, reason: reason.to_owned(), rebase })
    }
}

impl fmt::Display for RefPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

/// Kind, id, architecture, branch.
fn parts(text: &str) -> Option<[&str; 4]> {
    text.split('/').collect::<Vec<_>>().try_into().ok()
}

/// A `GVariant` of type `v` that holds a text, in base64: the text and its NUL, then a NUL, then the type of what is held.
/// The text holds no NUL itself.
fn variant(text: &str) -> String {
    STANDARD.encode([text.as_bytes(), b"\0\0s"].concat())
}

fn shown(text: &str) -> String {
    text.chars().take(SHOWN_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retired(pattern: &str, reason: &str, rebase: Option<&str>) -> Result<Retired, BadRetired> {
        let rebase = rebase.map(str::to_owned);
        RawRetired { pattern: pattern.to_owned(), reason: reason.to_owned(), rebase }.try_into()
    }

    fn rebased(retired: &Retired, name: &str) -> Option<String> {
        let labels = retired.labels(&name.parse().unwrap());
        let (_, value) = labels.into_iter().find(|(label, _)| *label == REBASE)?;
        let bytes = STANDARD.decode(value).unwrap();
        Some(String::from_utf8(bytes.strip_suffix(b"\0\0s").unwrap().to_owned()).unwrap())
    }

    #[test]
    fn the_labels_are_those_that_flatpak_writes() {
        // From flatpak 1.14.10: build-export --end-of-life=… --end-of-life-rebase=org.lab.New, then build-bundle --oci.
        let new = retired("app/org.lab.Old/*/stable", "Use New — it is better", Some("org.lab.New")).unwrap();
        let labels = new.labels(&"app/org.lab.Old/x86_64/stable".parse().unwrap());
        let written = [
            (END_OF_LIFE, "VXNlIE5ldyDigJQgaXQgaXMgYmV0dGVyAABz"),
            (REBASE, "YXBwL29yZy5sYWIuTmV3L3g4Nl82NC9zdGFibGUAAHM="),
        ];
        assert_eq!(labels, written.map(|(label, value)| (label, value.to_owned())));
    }

    #[test]
    fn texts_are_written_as_a_real_build_has_them() {
        let archives =
            include_str!("../../../schemas/samples/koji/archives/eog-stable-3620220905044417.1.json");
        let archives: Vec<serde_json::Value> = serde_json::from_str(archives).unwrap();
        let labels = archives.iter().map(|archive| &archive["extra"]["docker"]["config"]["config"]["Labels"]);
        let mut compared = 0;
        for labels in labels.filter(|labels| labels.is_object()) {
            let real = labels["org.flatpak.commit-metadata.xa.ref"].as_str().unwrap();
            assert_eq!(variant(labels["org.flatpak.ref"].as_str().unwrap()), real);
            compared += 1;
        }
        assert_eq!(compared, 2);
    }

    #[test]
    fn the_token_type_is_the_number_1() {
        assert_eq!(STANDARD.decode(TOKEN_TYPE.1).unwrap(), b"\x01\0\0\0\0i");
    }

    #[test]
    fn a_rebase_goes_to_a_whole_ref_of_the_same_kind_architecture_and_branch() {
        let by_id = retired("app/org.gnome.eog/*/*", "gone", Some("org.gnome.Loupe")).unwrap();
        let name = "app/org.gnome.eog/aarch64/beta";
        assert_eq!(rebased(&by_id, name).unwrap(), "app/org.gnome.Loupe/aarch64/beta");
        let by_ref = retired("app/org.gnome.eog/*/*", "gone", Some("app/org.gnome.Loupe/*/stable")).unwrap();
        assert_eq!(rebased(&by_ref, name).unwrap(), "app/org.gnome.Loupe/aarch64/stable");
        let whole = "runtime/org.fedoraproject.Platform/x86_64/f41";
        let pattern = "runtime/org.fedoraproject.Platform/x86_64/f3?";
        let runtime = retired(pattern, "gone", Some(whole)).unwrap();
        assert_eq!(rebased(&runtime, "runtime/org.fedoraproject.Platform/x86_64/f39").unwrap(), whole);
    }

    #[test]
    fn only_what_is_meant_is_retired() {
        let eog = retired("app/org.gnome.eog/*/stable", "gone", None).unwrap();
        for (name, meant) in [
            ("app/org.gnome.eog/x86_64/stable", true),
            ("app/org.gnome.eog/aarch64/stable", true),
            ("app/org.gnome.eog/x86_64/beta", false),
            ("app/org.gnome.eog2/x86_64/stable", false),
            ("runtime/org.gnome.eog/x86_64/stable", false),
        ] {
            let labels = eog.labels(&name.parse().unwrap());
            assert_eq!(labels.len(), usize::from(meant), "{name}");
        }
    }

    #[test]
    fn the_first_that_means_a_flatpak_has_its_say() {
        let both = [
            retired("app/org.gnome.eog/*/stable", "first", None).unwrap(),
            retired("app/org.gnome.*/*/*", "second", None).unwrap(),
        ];
        let reason = |name: &str| labels(&both, &name.parse().unwrap()).pop().map(|(_, value)| value);
        assert_eq!(reason("app/org.gnome.eog/x86_64/stable"), Some(variant("first")));
        assert_eq!(reason("app/org.gnome.eog/x86_64/beta"), Some(variant("second")));
        assert_eq!(reason("app/org.kde.kate/x86_64/beta"), None);
    }

    #[test]
    fn what_a_client_could_not_follow_is_refused_with_its_reason() {
        let pattern = "app/org.gnome.eog/*/stable";
        for (pattern, reason, rebase, why) in [
            ("*", "gone", None, "kind/id/architecture/branch"),
            ("app/*/*", "gone", None, "kind/id/architecture/branch"),
            ("*/org.gnome.eog/*/stable", "gone", None, "app or runtime"),
            ("app//x86_64/stable", "gone", None, "letters, digits"),
            ("app/org.gnome.eog /x86_64/stable", "gone", None, "letters, digits"),
            (pattern, "  ", None, "is empty"),
            (pattern, "gone\nfor good", None, "line end"),
            (pattern, "\u{1b}[31mgone", None, "control character"),
            (pattern, "gone", Some("Loupe"), "three parts"),
            (pattern, "gone", Some(""), "three parts"),
            (pattern, "gone", Some("org.gnome-x.Loupe"), "three parts"),
            (pattern, "gone", Some("org.gnome.4Loupe"), "three parts"),
            (pattern, "gone", Some("org.gnome.Loupe."), "three parts"),
            (pattern, "gone", Some("org.gnome.Lo\0upe"), "three parts"),
            (pattern, "gone", Some("org.gnome.Loupe//stable"), "neither an id nor a whole ref"),
            (pattern, "gone", Some("runtime/org.gnome.Loupe/*/stable"), "the kind"),
            (pattern, "gone", Some("app/org.gnome.Loupe/x86_64/stable"), "architecture must be *"),
            (pattern, "gone", Some("app/org.gnome.Loupe//stable"), "architecture must be *"),
            (pattern, "gone", Some("app/org.gnome.Loupe/*/"), "branch must be *"),
            (pattern, "gone", Some("app/org.gnome.Loupe/*/.x"), "branch must be *"),
            (pattern, "gone", Some("org.gnome.eog"), "retires it, too"),
            ("app/org.gnome.*/*/*", "gone", Some("org.gnome.Loupe"), "retires it, too"),
            ("app/org.gnome.eog/*/*", "gone", Some("app/org.gnome.eog/*/stable"), "retires it, too"),
        ] {
            let refused = retired(pattern, reason, rebase).unwrap_err().to_string();
            assert!(refused.contains(why), "{refused}");
        }
        for long in
            [retired(&"x".repeat(1 << 20), "gone", None), retired(pattern, &"x".repeat(1 << 20), None)]
        {
            assert!(long.unwrap_err().to_string().len() < 1024);
        }
        assert!(retired("app/org.gnome.eog/*/*", "gone", Some("app/org.gnome.eog-x/*/stable")).is_ok());
        assert!(retired(pattern, "gone", Some("app/org.gnome.eog/*/beta")).is_ok());
    }

    #[test]
    fn it_is_configured_by_three_keys_and_no_other() {
        let read = |text: &str| toml::from_str::<RawRetired>(text);
        let text = "pattern = 'app/org.gnome.eog/*/stable'\nreason = 'gone'\n";
        let one: Retired = read(text).unwrap().try_into().unwrap();
        assert_eq!((one.pattern.to_string().as_str(), one.rebase), ("app/org.gnome.eog/*/stable", None));
        assert!(read(&format!("{text}rebase = 'org.gnome.Loupe'\n")).is_ok());
        assert!(read(&format!("{text}rebased = 'org.gnome.Loupe'\n")).is_err());
        assert!(read("pattern = 'app/org.gnome.eog/*/stable'\n").is_err());
    }
}
