//! What is told of a repository: the fact of how the files show it, and the announcement when that changed.

use flatbus_oci::{Digest, Repository, Tag};
use flatbus_runtime::{Change, Fact};
use flatbus_schemas::{Announcement, IndexPublished, PublishedFile};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::press::Told;

/// What an announcement says beside the value.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Detail {
    serial: u64,
    repository: Repository,
    files: Vec<PublishedFile>,
}

/// How the files show a repository: which images, under which tags.
pub(crate) fn fact(repository: &Repository, told: Told) -> Fact {
    let line = |(tag, digest): (&Tag, &Digest)| format!("{tag} {digest}\n");
    let shown = told.shown.iter().flat_map(|(tag, digests)| digests.iter().map(move |digest| (tag, digest)));
    let text: String = shown.map(line).collect();
    let detail = Detail { serial: told.serial, repository: repository.clone(), files: told.files };
    Fact {
        subject: format!("repository/{repository}"),
        value: (!text.is_empty()).then(|| Digest::of(text.as_bytes()).to_string()),
        detail: serde_json::to_value(detail).unwrap_or(Value::Null),
    }
}

/// The announcement of a changed fact.
pub(crate) fn announcement(change: &Change) -> Option<Announcement> {
    let Detail { serial, repository, files } = serde_json::from_value(change.fact.detail.clone()).ok()?;
    let published = IndexPublished { serial, site: None, repositories: vec![repository.to_string()], files };
    Some(published.announcement())
}
