//! What a message makes doubtful. Pure: a message is a hint, and says only where to look.

use std::collections::BTreeSet;

use flatbus_schemas::{BuildStateChange, FedoraEvent};

use crate::key::Key;

/// The method of the Koji task that builds a Flatpak.
const FLATPAK_TASK: &str = "flatpakBuild";

/// Whether a message is of a Koji hub that is not ours: staging, or another architecture. One that doesn't say is ours.
pub fn is_foreign(event: &FedoraEvent, base_urls: &BTreeSet<String>) -> bool {
    event.base_url().is_some_and(|url| !base_urls.contains(url.trim_end_matches('/')))
}

/// The keys that a message makes doubtful.
pub fn affected(event: &FedoraEvent) -> Vec<Key> {
    match event {
        FedoraEvent::BuildState(change) => of_build(change).into_iter().collect(),
        FedoraEvent::Update(event) if event.update.is_flatpak() => {
            event.nvrs().cloned().map(Key::Build).collect()
        }
        FedoraEvent::Update(_) => Vec::new(),
        FedoraEvent::BuildTag(_) | FedoraEvent::Comment(_) | FedoraEvent::Compose(_) => Vec::new(),
        FedoraEvent::TagMoved(_) | FedoraEvent::IndexPublished(_) => Vec::new(),
        FedoraEvent::KeyParked(_) | FedoraEvent::Unrelated => Vec::new(),
    }
}

/// A completion of a Flatpak task names a Flatpak; one without any task may be anything; all others are noise.
fn of_build(change: &BuildStateChange) -> Option<Key> {
    if !change.is_completion() {
        return None;
    }
    match (change.task_method(), change.task_id) {
        (Some(FLATPAK_TASK), _) => Some(Key::Build(change.nvr().clone())),
        (Some(_), _) | (None, Some(_)) => None,
        (None, None) => Some(Key::Import(change.nvr().clone())),
    }
}
