//! Patterns over repository names: `*` for any run of characters, `?` for one. Nothing else is special.

use serde::Deserialize;

/// A pattern; it must match the whole name.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Glob(String);

impl Glob {
    /// A pattern from its text.
    pub fn new(pattern: impl Into<String>) -> Self {
        Self(pattern.into())
    }

    /// The pattern's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the whole of `name` fits. Takes time in proportion to both lengths multiplied, never more.
    pub fn matches(&self, name: &str) -> bool {
        let (pattern, name) = (self.0.as_bytes(), name.as_bytes());
        let (mut p, mut n) = (0, 0);
        let mut last_star: Option<(usize, usize)> = None;
        while n < name.len() {
            match pattern.get(p) {
                Some(b'*') => {
                    last_star = Some((p, n));
                    p += 1;
                }
                Some(&c) if c == b'?' || c == name[n] => {
                    p += 1;
                    n += 1;
                }
                _ => {
                    let Some((star, from)) = last_star else { return false };
                    last_star = Some((star, from + 1)); // The star takes one character more.
                    (p, n) = (star + 1, from + 1);
                }
            }
        }
        pattern[p..].iter().all(|&c| c == b'*')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_fits_whole_names_only() {
        for (pattern, name, fits) in [
            ("fedora", "fedora", true),
            ("fedora", "fedora-minimal", false),
            ("fedora*", "fedora-minimal", true),
            ("*flatpak-runtime", "f41/flatpak-runtime", true),
            ("*flatpak-runtime", "flatpak-runtime-x", false),
            ("a?c", "abc", true),
            ("a*b*c", "aXbYbZc", true),
            ("*", "", true),
            ("", "a", false),
        ] {
            assert_eq!(Glob::new(pattern).matches(name), fits, "{pattern} on {name}");
        }
    }
}
