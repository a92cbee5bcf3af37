//! What a message makes doubtful. Pure: a message is a hint, and says only where to look.

use flatbus_oci::{Location, Repository};
use flatbus_schemas::FedoraEvent;

use crate::key::Key;

/// The keys that a message makes doubtful: of a tag of the namespace that is read, its repository.
pub fn affected(event: &FedoraEvent, registry: &Location) -> Vec<Key> {
    match event {
        FedoraEvent::TagMoved(moved) if moved.registry == registry.host() => {
            below(&moved.repository, registry).map(Key::Repository).into_iter().collect()
        }
        FedoraEvent::TagMoved(_) | FedoraEvent::IndexPublished(_) | FedoraEvent::KeyParked(_) => Vec::new(),
        FedoraEvent::BuildState(_) | FedoraEvent::BuildTag(_) | FedoraEvent::Update(_) => Vec::new(),
        FedoraEvent::Comment(_) | FedoraEvent::Compose(_) | FedoraEvent::Unrelated => Vec::new(),
    }
}

/// A repository's name below the namespace; `None` for those of other namespaces.
pub fn below(full: &str, registry: &Location) -> Option<Repository> {
    if registry.namespace.is_empty() {
        return full.parse().ok();
    }
    full.strip_prefix(registry.namespace.as_str())?.strip_prefix('/')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use flatbus_schemas::TagMoved;

    use super::*;

    fn moved(registry: &str, repository: &str) -> FedoraEvent {
        FedoraEvent::TagMoved(TagMoved {
            registry: registry.to_owned(),
            repository: repository.to_owned(),
            tag: "latest".to_owned(),
            digest: None,
            previous_digest: None,
            media_type: None,
            nvr: None,
            update: None,
            url: None,
        })
    }

    #[test]
    fn a_moved_tag_of_our_namespace_makes_its_repository_doubtful() {
        let registry = Location::parse("https://quay.io/fedora").unwrap();
        let keys = |host, name| affected(&moved(host, name), &registry);
        assert_eq!(keys("quay.io", "fedora/f41/sdk")[0].to_string(), "repository/f41/sdk");
        assert!(keys("quay.io", "fedora-staging/eog").is_empty());
        assert!(keys("quay.io", "fedora").is_empty());
        assert!(keys("registry.example", "fedora/eog").is_empty());
        assert!(affected(&FedoraEvent::Unrelated, &registry).is_empty());
        let whole = Location::parse("http://127.0.0.1:5000").unwrap();
        assert_eq!(affected(&moved("127.0.0.1:5000", "eog"), &whole)[0].to_string(), "repository/eog");
    }
}
