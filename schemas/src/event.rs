//! What a message means. Topics are matched by whole words, never by how they end, and never by the schema's name:
//! publishers fall back to `base.message`.

use serde::de::DeserializeOwned;

use crate::{
    BuildStateChange, BuildTag, ComposeEvent, ComposeStage, FromMessage, IndexPublished, KeyParked,
    Malformed, Message, TagMoved, UpdateChange, UpdateComment, UpdateEvent, UpdateRequest, bodhi::UpdateBody,
    lenient,
};

/// Everything on the bus that flatbus reads.
#[derive(Debug, Clone, PartialEq)]
pub enum FedoraEvent {
    /// A build changed its state, or its owner.
    BuildState(BuildStateChange),
    /// A build gained or lost a tag.
    BuildTag(BuildTag),
    /// Something happened to an update.
    Update(UpdateEvent),
    /// Somebody commented on an update.
    Comment(UpdateComment),
    /// A push went on.
    Compose(ComposeEvent),
    /// A tag of a registry was moved, by us or proved by us.
    TagMoved(TagMoved),
    /// The flatpak index was published anew.
    IndexPublished(IndexPublished),
    /// One of us gave up on something until a person looks.
    KeyParked(KeyParked),
    /// Nothing that is read here. Its body was not looked at.
    Unrelated,
}

impl FedoraEvent {
    /// Which Koji hub speaks, where one does and says so. Hubs for other architectures and for staging differ in this alone.
    pub fn base_url(&self) -> Option<&str> {
        match self {
            Self::BuildState(build) => build.base_url.as_deref(),
            Self::BuildTag(tag) => tag.change.base_url.as_deref(),
            Self::Update(_) | Self::Comment(_) | Self::Compose(_) => None,
            Self::TagMoved(_) | Self::IndexPublished(_) | Self::KeyParked(_) | Self::Unrelated => None,
        }
    }
}

impl FromMessage for FedoraEvent {
    fn from_message(message: &Message) -> Result<Self, Malformed> {
        Ok(match message.name() {
            "buildsys.build.state.change" => Self::BuildState(body(message)?),
            "buildsys.tag" => Self::BuildTag(BuildTag { tagged: true, change: body(message)? }),
            "buildsys.untag" => Self::BuildTag(BuildTag { tagged: false, change: body(message)? }),
            "bodhi.update.comment" => Self::Comment(body(message)?),
            TagMoved::TOPIC => Self::TagMoved(body(message)?),
            IndexPublished::TOPIC => Self::IndexPublished(body(message)?),
            KeyParked::TOPIC => Self::KeyParked(body(message)?),
            name => return of_family(name, message),
        })
    }
}

/// Topics whose last words vary.
fn of_family(name: &str, message: &Message) -> Result<FedoraEvent, Malformed> {
    if let Some(words) = name.strip_prefix("bodhi.update.") {
        return of_update(words, message);
    }
    if let Some(words) = name.strip_prefix("bodhi.compose.") {
        let stage = ComposeStage::from_words(words);
        return Ok(FedoraEvent::Compose(ComposeEvent { stage, compose: body(message)? }));
    }
    Ok(FedoraEvent::Unrelated)
}

fn of_update(words: &str, message: &Message) -> Result<FedoraEvent, Malformed> {
    let (first, rest) = words.split_once('.').map_or((words, None), |(first, rest)| (first, Some(rest)));
    if !matches!((first, rest), ("complete" | "request", Some(_)) | ("eject" | "edit", None)) {
        return Ok(FedoraEvent::Unrelated);
    }
    let UpdateBody { agent, update, reason, repo, new_builds, removed_builds } = body(message)?;
    let request = UpdateRequest::from_words(rest.unwrap_or_default());
    let change = match first {
        "complete" => UpdateChange::Completed(request),
        "request" => UpdateChange::Requested(request),
        "eject" => UpdateChange::Ejected { reason, repo },
        _edit => UpdateChange::Edited {
            new_builds: new_builds.unwrap_or_default(),
            removed_builds: removed_builds.unwrap_or_default(),
        },
    };
    Ok(FedoraEvent::Update(UpdateEvent { change, agent, update }))
}

fn body<T: DeserializeOwned>(message: &Message) -> Result<T, Malformed> {
    lenient::read(&message.body).map_err(|reason| message.malformed(reason))
}
