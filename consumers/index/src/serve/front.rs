//! Where a registry's front sends those who ask it for images.

use flatbus_oci::{Location, Reference, Repository};
use http::Uri;

/// Where manifests, blobs and tags of a repository really are. `None`: the path names none of them.
pub(crate) fn target(front: &Location, uri: &Uri) -> Option<String> {
    let path = uri.path().strip_prefix("/v2/")?;
    let mut parts = path.rsplitn(3, '/');
    let (name, kind, repository) = (parts.next()?, parts.next()?, parts.next()?);
    let plain = matches!(kind, "manifests" | "blobs" | "tags") && name.parse::<Reference>().is_ok();
    let repository = repository.parse::<Repository>().ok().filter(|_| plain)?;
    let repository = front.repository(&repository)?;
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    Some(format!("{}v2/{repository}/{kind}/{name}{query}", front.registry))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(path: &'static str) -> Option<String> {
        target(&Location::parse("https://quay.io/fedora").unwrap(), &Uri::from_static(path))
    }

    #[test]
    fn images_are_below_the_namespace() {
        let to = sent("/v2/f41/flatpak-runtime/manifests/latest").unwrap();
        assert_eq!(to, "https://quay.io/v2/fedora/f41/flatpak-runtime/manifests/latest");
        assert_eq!(sent("/v2/eog/tags/list?n=9").unwrap(), "https://quay.io/v2/fedora/eog/tags/list?n=9");
    }

    #[test]
    fn nothing_else_is_sent_anywhere() {
        for path in [
            "/v2/",
            "/v2/eog",
            "/v2/eog/uploads/x",
            "/v2/../manifests/x",
            "/v2/EOG/manifests/x",
            "/v2/eog/blobs/%2e",
        ] {
            assert_eq!(sent(path), None, "{path}");
        }
    }
}
