//! How versions become tags: as Bodhi's composer writes them, so that both writers name one tag alike.

use flatbus_oci::Tag;

/// Longest tag, in characters.
const TAG_CHARS_MAX: usize = 128;

/// A tag out of any text: characters that a tag can't hold become `_`, and it is cut at 128. Two texts can become one
/// tag: whoever uses this must decide who owns it. `None` for the empty text.
pub fn tag_for(text: &str) -> Option<Tag> {
    let keep = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let mut tag: String = text.chars().take(TAG_CHARS_MAX).map(|c| if keep(c) { c } else { '_' }).collect();
    if tag.starts_with(['.', '-']) {
        tag.replace_range(..1, "_");
    }
    tag.parse().ok()
}

/// The tag that holds a build's digest whatever happens to the others: no other build can claim it.
pub fn holding_tag(build_id: i64) -> Option<Tag> {
    tag_for(&format!("build-{build_id}"))
}

/// The Koji build whose digest a tag holds, if it is a holding tag.
pub fn held_build(tag: &Tag) -> Option<i64> {
    tag.as_str().strip_prefix("build-")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_a_tag_cannot_hold_become_underscores() {
        for (text, tag) in [
            ("42.3-1", "42.3-1"),
            ("42~rc-1.fc36", "42_rc-1.fc36"),
            ("1.0^a5", "1.0_a5"),
            ("1.0+b-1.module_f35+13092", "1.0_b-1.module_f35_13092"),
            (".5-1", "_5-1"),
            ("é-1", "_-1"),
        ] {
            assert_eq!(tag_for(text).unwrap().as_str(), tag);
        }
        assert!(tag_for("").is_none());
    }

    #[test]
    fn a_long_version_is_cut_at_128() {
        assert_eq!(tag_for(&"9".repeat(300)).unwrap().as_str().len(), 128);
    }

    #[test]
    fn a_holding_tag_names_its_build() {
        assert_eq!(held_build(&holding_tag(1_840_550).unwrap()), Some(1_840_550));
        assert_eq!(held_build(&tag_for("build-x").unwrap()), None);
        assert_eq!(held_build(&tag_for("latest").unwrap()), None);
    }
}
