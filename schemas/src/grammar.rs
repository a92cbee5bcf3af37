//! What a registry takes for a name, as the distribution specification says: what these refuse never gets near a URL.

/// Longest repository name, host apart.
const REPOSITORY_BYTES_MAX: usize = 255;

/// `quay.io`, `127.0.0.1:5000`
pub(crate) fn is_host(text: &str) -> bool {
    let (name, port) = text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port)));
    let label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let is_port =
        |port: &str| !port.is_empty() && port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit());
    name.len() <= 253 && name.split('.').all(label) && port.is_none_or(is_port)
}

/// `fedora/f41/flatpak-runtime`
pub(crate) fn is_repository(text: &str) -> bool {
    text.len() <= REPOSITORY_BYTES_MAX && text.split('/').all(is_component)
}

/// Runs of lower-case letters and digits, joined by one `.`, one or two `_`, or any number of `-`.
fn is_component(text: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let joins = text
        .split(|letter: char| u8::try_from(letter).is_ok_and(alphanumeric))
        .filter(|join| !join.is_empty());
    let ends = |byte: Option<&u8>| byte.copied().is_some_and(alphanumeric);
    ends(text.as_bytes().first())
        && ends(text.as_bytes().last())
        && joins
            .into_iter()
            .all(|join| matches!(join, "." | "_" | "__") || join.bytes().all(|byte| byte == b'-'))
}

/// `42.3-1`
pub(crate) fn is_tag(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=128).contains(&text.len())
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|byte| word(byte) || byte == b'.' || byte == b'-')
}

/// `sha256:` and 64 digits, or `sha512:` and 128: the two that registries use.
pub(crate) fn is_digest(text: &str) -> bool {
    let hex = |hex: &str, digits: usize| {
        hex.len() == digits && hex.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    match text.split_once(':') {
        Some(("sha256", digits)) => hex(digits, 64),
        Some(("sha512", digits)) => hex(digits, 128),
        Some(_) | None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_a_registry_takes_are_taken() {
        for name in
            ["eog", "fedora/eog", "f41/flatpak-runtime", "a.b_c__d--e/0", "fedora-testing/flatpak/eog"]
        {
            assert!(is_repository(name), "{name}");
        }
        for tag in ["latest", "_", "3620220905044417.1", "42_rc-1.fc36", "build-1839827", &"a".repeat(128)] {
            assert!(is_tag(tag), "{tag}");
        }
        for host in ["quay.io", "127.0.0.1:5000", "localhost", "registry.fedoraproject.org"] {
            assert!(is_host(host), "{host}");
        }
        assert!(is_digest(&format!("sha256:{}", "0af9".repeat(16))));
        assert!(is_digest(&format!("sha512:{}", "0af9".repeat(32))));
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for name in [
            "", "/", "eog/", "/eog", "a//b", "../a", "a/..", "Eog", "a...b", "a___b", "-a", "a_", "a?b", "ä",
            "a/b\n",
        ] {
            assert!(!is_repository(name), "{name:?}");
        }
        for tag in ["", "-a", ".a", "a/b", "a:b", "a b", "42~rc", &"a".repeat(129)] {
            assert!(!is_tag(tag), "{tag:?}");
        }
        for host in [
            "",
            "user@quay.io",
            "quay.io/",
            "quay..io",
            "quay.io:",
            "quay.io:port",
            "a:b:1",
            "quay.io:123456",
        ] {
            assert!(!is_host(host), "{host:?}");
        }
        for digest in [
            "",
            "sha256:",
            "sha256:00",
            &format!("sha256:{}", "0AF9".repeat(16)),
            &format!("md5:{}", "0".repeat(32)),
        ] {
            assert!(!is_digest(digest), "{digest:?}");
        }
    }
}
