//! All of it together: a candidate registry that holds the images of a history, an empty public one, Koji and Bodhi, and
//! the player that brings them through that history. What the demo and the end-to-end tests stand on.

use std::{collections::BTreeMap, io, path::PathBuf};

use tokio::task::spawn_blocking;

use crate::{
    BadSample, Samples,
    bodhi::{self, Bodhi},
    history::{self, BadLine, NoModel, Player},
    images::{self, Image, NotPushed},
    koji::{self, Koji},
    registry::{self, Content, Registry},
};

/// What a world is like.
#[derive(Clone, Default)]
pub struct Settings {
    /// Where blobs are kept, in a directory for each registry; in memory where none is given.
    pub directory: Option<PathBuf>,
    /// How images are made.
    pub images: images::Settings,
    /// Whether runtimes and a second package of one repository take part, which the real history lacks.
    pub stories: bool,
    /// What the public registry is like; its content is replaced where there is a directory.
    pub public: registry::Settings,
}

/// A world, running. Everything in it ends when it is dropped.
#[derive(Debug)]
pub struct World {
    /// Where builds were pushed to: holds every image of the history from the start.
    pub candidate: Registry,
    /// Where users pull from: empty.
    pub public: Registry,
    /// Knows nothing until the player tells.
    pub koji: Koji,
    /// Knows nothing until the player tells.
    pub bodhi: Bodhi,
    /// The history, at its beginning.
    pub player: Player,
    /// The images by the number of their build.
    pub images: BTreeMap<i64, Image>,
}

/// Why there is no world.
#[derive(Debug, thiserror::Error)]
pub enum NoWorld {
    /// No port, or a directory that can't be used.
    #[error("a server of the world did not start: {0}")]
    Start(#[from] io::Error),
    /// The built-in samples are broken.
    #[error(transparent)]
    Sample(#[from] BadSample),
    /// A message of the timeline is broken.
    #[error(transparent)]
    Line(#[from] BadLine),
    /// The stories can't be told.
    #[error(transparent)]
    Story(#[from] NoModel),
    /// A time of the stories is none.
    #[error("a story has no time: {0}")]
    Time(#[from] jiff::Error),
    /// An image could not be put into the candidate registry.
    #[error("an image could not be made: {0}")]
    Image(#[from] NotPushed),
}

/// Starts a world: images are made and put into the candidate registry, and nothing has happened yet.
///
/// # Errors
/// When a port or the directory can't be had.
pub async fn start(settings: Settings) -> Result<World, NoWorld> {
    let mut public = settings.public;
    let content = |name: &str| match &settings.directory {
        Some(directory) => Content::in_directory(&directory.join(name)).map(Some),
        None => Ok(None),
    };
    let held = content("candidate")?.unwrap_or_else(Content::in_memory);
    if let Some(content) = content("public")? {
        public.content = content;
    }
    let candidate =
        registry::start(registry::Settings { content: held, ..registry::Settings::default() }).await?;
    let public = registry::start(public).await?;
    let koji = koji::start(koji::Settings::default()).await?;
    let bodhi = bodhi::start(bodhi::Settings::default()).await?;
    let (content, host) = (candidate.content.clone(), candidate.host());
    let (samples, images) =
        spawn_blocking(move || prepare(&settings.images, settings.stories, &content, &host))
            .await
            .map_err(io::Error::other)??;
    let player = Player::new(samples, koji.builds.clone(), bodhi.updates.clone())?;
    Ok(World { candidate, public, koji, bodhi, player, images })
}

/// Records that name images, and those images in the registry.
fn prepare(
    settings: &images::Settings,
    stories: bool,
    content: &Content,
    host: &str,
) -> Result<(Samples, BTreeMap<i64, Image>), NoWorld> {
    let mut samples = Samples::built_in()?;
    if stories {
        for story in history::beside_the_timeline()? {
            story.add_to(&mut samples)?;
        }
    }
    let images = images::make_all(&samples.builds, &samples.archives, settings);
    for image in images.values() {
        image.put(content)?;
    }
    samples.name_images(&images, host);
    Ok((samples, images))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_world_starts_with_images_and_without_a_past() {
        let directory = tempfile::tempdir().unwrap();
        let images = images::Settings { ballast_bytes: 10..=20, ..images::Settings::default() };
        let settings = Settings {
            directory: Some(directory.path().to_owned()),
            images,
            stories: true,
            ..Settings::default()
        };
        let mut world = start(settings).await.unwrap();
        let repositories = [
            "baobab",
            "eog",
            "f35/flatpak-runtime",
            "f35/flatpak-sdk",
            "f36/flatpak-runtime",
            "f36/flatpak-sdk",
            "quadrapassel",
        ];
        assert_eq!(world.candidate.content.repositories(), repositories);
        assert_eq!(world.public.content.repositories(), Vec::<String>::new());
        assert!(world.koji.builds.by_nvr("eog-flatpak-42.3-1").is_none());
        world.player.play(async |_| Ok::<_, ()>(())).await.unwrap();
        let build = world.koji.builds.by_nvr("eog-flatpak-42.3-1").unwrap();
        let pull = build.pointer("/extra/image/index/pull/0").and_then(|pull| pull.as_str()).unwrap();
        let (place, digest) = pull.split_once('@').unwrap();
        assert_eq!(place, format!("{}/eog", world.candidate.host()));
        assert!(world.candidate.content.manifest("eog", &digest.parse().unwrap()).is_some());
    }
}
