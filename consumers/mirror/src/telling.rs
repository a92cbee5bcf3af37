//! What is told of a repository's tags: a fact a tag, and the announcement of one that changed.

use flatbus_oci::{Digest, Repository, Tag};
use flatbus_runtime::{Change, Fact};
use flatbus_schemas::{Announcement, TagMoved};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What an announcement says beside the digests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detail {
    /// The destination's host.
    pub registry: String,
    /// The full name of the repository.
    pub repository: Repository,
    /// The tag.
    pub tag: Tag,
    /// Media type of what it names.
    pub media_type: Option<String>,
    /// The build.
    pub nvr: Option<String>,
    /// The update.
    pub update: Option<String>,
    /// The update's page.
    pub url: Option<String>,
}

impl Detail {
    /// The fact that the tag names this digest, or nothing.
    pub fn fact(self, digest: Option<Digest>) -> Fact {
        let subject = subject(&self.registry, &self.repository, &self.tag);
        Fact {
            subject,
            value: digest.map(|digest| digest.to_string()),
            detail: serde_json::to_value(&self).unwrap_or(Value::Null),
        }
    }
}

/// `quay.io/fedora/eog:latest`
pub fn subject(registry: &str, repository: &Repository, tag: &Tag) -> String {
    format!("{registry}/{repository}:{tag}")
}

/// The announcement of a changed fact.
pub fn announcement(change: &Change) -> Option<Announcement> {
    let detail: Detail = serde_json::from_value(change.fact.detail.clone()).ok()?;
    let moved = TagMoved {
        registry: detail.registry,
        repository: detail.repository.to_string(),
        tag: detail.tag.to_string(),
        digest: change.fact.value.clone(),
        previous_digest: change.previous.clone(),
        media_type: detail.media_type,
        nvr: detail.nvr,
        update: detail.update,
        url: detail.url,
    };
    Some(moved.announcement())
}
