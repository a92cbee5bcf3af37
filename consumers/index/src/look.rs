//! What a repository's tags name, as the shelf wants to know it.

use std::collections::BTreeMap;

use flatbus_oci::{Repository, Tag};
use flatbus_runtime::Failure;

use crate::{
    image::{Image, REF},
    index::Index,
    press::Press,
    read::{self, Named, Place},
    shelf::{Found, Held},
};

/// What was found of a repository.
#[derive(Debug, Default)]
pub(crate) struct Looked {
    /// By tag.
    pub found: BTreeMap<Tag, Found>,
    /// What no client could install, and why: a sentence each.
    pub left_out: Vec<String>,
}

impl Index {
    /// Reads every tag that some file shows.
    pub(crate) async fn look(&self, press: &Press, repository: &Repository) -> Result<Looked, Failure> {
        let mut looked = Looked::default();
        if !self.config.covers(repository) {
            looked.found = self.config.tags().into_iter().map(|tag| (tag, Found::Withdrawn)).collect();
            return Ok(looked);
        }
        let too_long = || Failure::park(format!("{repository} is too long a name behind its namespace"));
        let full = self.config.registry.repository(repository).ok_or_else(too_long)?;
        let public = self.config.public_name(repository).ok_or_else(too_long)?;
        let at = Place { registry: &*self.registry, repository: &full };
        let clients = Place { registry: &*self.clients, repository: &public };
        let mut absent = Vec::new();
        for tag in self.config.tags() {
            match read::read(at, clients, press.cache(), &tag).await? {
                Named::Absent => absent.push(tag),
                Named::Withdrawn => drop(looked.found.insert(tag, Found::Withdrawn)),
                Named::Images { images, left_out, .. } => {
                    let told = left_out
                        .iter()
                        .map(|one| format!("{} is left out of the index: {}", one.digest, one.why));
                    looked.left_out.extend(told);
                    let held = installable(images, &mut looked.left_out);
                    looked.found.insert(tag, Found::Images(held));
                }
            }
        }
        if !absent.is_empty() {
            let alone = looked.found.is_empty() && press.shows(repository);
            let found = if alone && !self.is_withdrawn(&full, &absent).await? {
                Found::Vanished
            } else {
                Found::Withdrawn
            };
            looked.found.extend(absent.into_iter().map(|tag| (tag, found.clone())));
        }
        Ok(looked)
    }

    /// Whether somebody removed these tags: the repository is there, and has others. Asked only where nothing that is shown
    /// was found, since lists are expensive.
    async fn is_withdrawn(&self, full: &Repository, absent: &[Tag]) -> Result<bool, Failure> {
        let listed = self.registry.tags(full).await?;
        Ok(!listed.is_empty() && !absent.iter().any(|tag| listed.contains(tag)))
    }
}

/// The Flatpaks among a tag's images. A tag without any is somebody else's: base images share the namespace.
fn installable(images: Vec<Image>, left_out: &mut Vec<String>) -> Vec<Held> {
    if !images.iter().any(|image| image.labels.contains_key(REF)) {
        return Vec::new();
    }
    let mut held = Vec::new();
    for image in images.iter().filter(|image| image.os == "linux") {
        match Held::of(image) {
            Ok(one) => held.push(one),
            Err(why) => left_out
                .push(format!("{} ({}) is left out of the index: {why}", image.digest, image.architecture)),
        }
    }
    held.sort_by_key(|one| one.digest); // Of two of one name the first stays, whatever the order they were named in.
    held
}
