//! Everything that goes wrong in the world, by name. A fault is a switch: a history orders it, the part of the world that
//! it concerns obeys.
//!
//! The table in the tests' README is this one: a scenario compares them.

use std::fmt;

use crate::gate::Verb;

/// One way to go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "`Fault::says` says each in a sentence")]
pub enum Fault {
    // Messages
    MessageLost,
    MessageDoubled,
    MessageLate,
    MessagesReordered,
    MessageMalformed,
    MessageForged,
    MessageFromStaging,
    // The broker
    BrokerGone,
    ConsumerCancelled,
    BrokerBlocked,
    QueueMissing,
    AckLost,
    ConfirmLost,
    PublishRefused,
    // The ledger's store, and the process on it
    StoreHeld,
    StoreCorrupt,
    StoreFull,
    StoreFailing,
    StoreSlow,
    PowerCut,
    Killed,
    // Registries
    Unauthorized,
    LimitedForATime,
    Limited,
    Answered500,
    Answered502,
    Answered503,
    Answered504,
    BodyCut,
    BodyStalled,
    BytesWrong,
    LengthWrong,
    LocationMissing,
    MountDeclined,
    RangeRefused,
    UploadExpired,
    AnswerLost,
    TagMoved,
    ManifestVanished,
    RepositoryPrivate,
    RedirectLoop,
    RedirectForbidden,
    Outage,
    // Koji and Bodhi
    WrongType,
    FieldMissing,
    FaultAnswer,
    EmptyAnswer,
    ListingShifts,
    StaleAnswer,
    TimeOut,
    // Fedora, and the machine
    BodhiCopiesFirst,
    ComposeDies,
    RuntimeLate,
    ClockForward,
    ClockBack,
}

/// Which part of the world a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Realm {
    /// Messages on their way from Fedora.
    Post,
    /// The broker, for a time.
    Broker,
    /// The ledger's store, for a time.
    Store,
    /// The process.
    Process,
    /// Calls of a registry.
    Registry,
    /// A registry, for a time.
    RegistryState,
    /// Calls of Koji and Bodhi.
    Upstream,
    /// What Fedora's own tools do.
    Fedora,
    /// The machine's clock.
    Clock,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 55] = [
        Self::MessageLost,
        Self::MessageDoubled,
        Self::MessageLate,
        Self::MessagesReordered,
        Self::MessageMalformed,
        Self::MessageForged,
        Self::MessageFromStaging,
        Self::BrokerGone,
        Self::ConsumerCancelled,
        Self::BrokerBlocked,
        Self::QueueMissing,
        Self::AckLost,
        Self::ConfirmLost,
        Self::PublishRefused,
        Self::StoreHeld,
        Self::StoreCorrupt,
        Self::StoreFull,
        Self::StoreFailing,
        Self::StoreSlow,
        Self::PowerCut,
        Self::Killed,
        Self::Unauthorized,
        Self::LimitedForATime,
        Self::Limited,
        Self::Answered500,
        Self::Answered502,
        Self::Answered503,
        Self::Answered504,
        Self::BodyCut,
        Self::BodyStalled,
        Self::BytesWrong,
        Self::LengthWrong,
        Self::LocationMissing,
        Self::MountDeclined,
        Self::RangeRefused,
        Self::UploadExpired,
        Self::AnswerLost,
        Self::TagMoved,
        Self::ManifestVanished,
        Self::RepositoryPrivate,
        Self::RedirectLoop,
        Self::RedirectForbidden,
        Self::Outage,
        Self::WrongType,
        Self::FieldMissing,
        Self::FaultAnswer,
        Self::EmptyAnswer,
        Self::ListingShifts,
        Self::StaleAnswer,
        Self::TimeOut,
        Self::BodhiCopiesFirst,
        Self::ComposeDies,
        Self::RuntimeLate,
        Self::ClockForward,
        Self::ClockBack,
    ];

    /// In a sentence.
    pub fn says(self) -> &'static str {
        match self {
            Self::MessageLost => "a message never arrives",
            Self::MessageDoubled => "a message arrives twice",
            Self::MessageLate => "a message arrives days late",
            Self::MessagesReordered => "a message arrives after the next one",
            Self::MessageMalformed => "a message of a topic that is read has a body that breaks its schema",
            Self::MessageForged => "a message of true shape tells of what never happened",
            Self::MessageFromStaging => "a message of Fedora's staging environment arrives",
            Self::BrokerGone => "the connection to the broker breaks, and comes back later",
            Self::ConsumerCancelled => "the broker cancels the consumer: what is unacked comes again",
            Self::BrokerBlocked => "the broker takes no publications for a time",
            Self::QueueMissing => "the queue is deleted with what is in it, and made anew",
            Self::AckLost => "an acknowledgement never reaches the broker, and the connection breaks",
            Self::ConfirmLost => "the broker's confirm of a publication is lost",
            Self::PublishRefused => "the broker refuses a publication",
            Self::StoreHeld => "another process holds the ledger when it is to be opened",
            Self::StoreCorrupt => "the ledger's files are damaged",
            Self::StoreFull => "the ledger's disk is full",
            Self::StoreFailing => "the ledger's disk fails",
            Self::StoreSlow => "the ledger's disk takes seconds for a commit",
            Self::PowerCut => "the machine loses what was not flushed, or part of it",
            Self::Killed => "the process is killed between any two steps",
            Self::Unauthorized => "the registry answers 401 in the middle of a copy",
            Self::LimitedForATime => "the registry answers 429 and says for how long",
            Self::Limited => "the registry answers 429 and says nothing else",
            Self::Answered500 => "the registry answers 500",
            Self::Answered502 => "the registry answers 502",
            Self::Answered503 => "the registry answers 503",
            Self::Answered504 => "the registry answers 504",
            Self::BodyCut => "a body breaks off",
            Self::BodyStalled => "a body stops, and the connection stays open",
            Self::BytesWrong => "bytes arrive that are not those that were named",
            Self::LengthWrong => "a body is longer or shorter than named",
            Self::LocationMissing => "an upload is begun without a Location",
            Self::MountDeclined => "a mount is answered 202: upload it yourself",
            Self::RangeRefused => "a chunk is answered 416: wrong offset",
            Self::UploadExpired => "an upload's session is gone in its middle",
            Self::AnswerLost => "the work is done and its answer lost",
            Self::TagMoved => "somebody else moves a tag under us",
            Self::ManifestVanished => "the source no longer has an image, and gets it back later",
            Self::RepositoryPrivate => "a repository of the destination becomes private",
            Self::RedirectLoop => "a registry redirects for ever",
            Self::RedirectForbidden => "a registry redirects to a host that is not allowed",
            Self::Outage => "a registry is gone for an hour",
            Self::WrongType => "an answer has a value of the wrong type",
            Self::FieldMissing => "an answer lacks a field",
            Self::FaultAnswer => "the service answers with a fault of its own",
            Self::EmptyAnswer => "the service answers, well-formed, that there is nothing",
            Self::ListingShifts => "a listing changes while its pages are read",
            Self::StaleAnswer => "the answer is that of before the last change",
            Self::TimeOut => "the service does not answer",
            Self::BodhiCopiesFirst => "Bodhi copies tags before its database says so",
            Self::ComposeDies => "a compose dies after it copied some tags",
            Self::RuntimeLate => "a runtime arrives long after the application that needs it",
            Self::ClockForward => "the clock jumps forward",
            Self::ClockBack => "the clock jumps back",
        }
    }

    /// Which part of the world it strikes.
    pub fn realm(self) -> Realm {
        match self {
            Self::MessageLost
            | Self::MessageDoubled
            | Self::MessageLate
            | Self::MessagesReordered
            | Self::MessageMalformed
            | Self::MessageForged
            | Self::MessageFromStaging => Realm::Post,
            Self::BrokerGone
            | Self::ConsumerCancelled
            | Self::BrokerBlocked
            | Self::QueueMissing
            | Self::AckLost
            | Self::ConfirmLost
            | Self::PublishRefused => Realm::Broker,
            Self::StoreHeld | Self::StoreCorrupt | Self::StoreFull | Self::StoreFailing | Self::StoreSlow => {
                Realm::Store
            }
            Self::PowerCut | Self::Killed => Realm::Process,
            Self::Unauthorized
            | Self::LimitedForATime
            | Self::Limited
            | Self::Answered500
            | Self::Answered502
            | Self::Answered503
            | Self::Answered504
            | Self::BodyCut
            | Self::BodyStalled
            | Self::BytesWrong
            | Self::LengthWrong
            | Self::LocationMissing
            | Self::MountDeclined
            | Self::RangeRefused
            | Self::UploadExpired
            | Self::AnswerLost
            | Self::RedirectLoop
            | Self::RedirectForbidden => Realm::Registry,
            Self::TagMoved | Self::ManifestVanished | Self::RepositoryPrivate | Self::Outage => {
                Realm::RegistryState
            }
            Self::WrongType
            | Self::FieldMissing
            | Self::FaultAnswer
            | Self::EmptyAnswer
            | Self::ListingShifts
            | Self::StaleAnswer
            | Self::TimeOut => Realm::Upstream,
            Self::BodhiCopiesFirst | Self::ComposeDies | Self::RuntimeLate => Realm::Fedora,
            Self::ClockForward | Self::ClockBack => Realm::Clock,
        }
    }

    /// Whether it can strike this call.
    pub fn strikes(self, verb: Verb) -> bool {
        use flatbus_oci::memory::Op;
        match self {
            Self::BodyCut => {
                matches!(verb, Verb::Registry(Op::BlobGet { .. } | Op::UploadStream { .. }))
            }
            Self::BodyStalled | Self::LengthWrong => matches!(verb, Verb::Registry(Op::BlobGet { .. })),
            Self::BytesWrong => matches!(verb, Verb::Registry(Op::BlobGet { .. } | Op::ManifestGet)),
            Self::LocationMissing => matches!(verb, Verb::Registry(Op::UploadBegin)),
            Self::MountDeclined => matches!(verb, Verb::Registry(Op::Mount)),
            Self::RangeRefused | Self::UploadExpired => {
                matches!(
                    verb,
                    Verb::Registry(Op::UploadPatch { .. } | Op::UploadStream { .. } | Op::UploadPut)
                )
            }
            Self::ListingShifts => matches!(verb, Verb::Bodhi | Verb::BodhiListing),
            other => match other.realm() {
                Realm::Registry => matches!(verb, Verb::Registry(_)),
                Realm::Upstream => matches!(verb, Verb::Koji | Verb::Bodhi | Verb::BodhiListing),
                Realm::Broker => match other {
                    Self::AckLost => verb == Verb::Ack,
                    Self::ConfirmLost | Self::PublishRefused => verb == Verb::Publish,
                    _ => false,
                },
                Realm::Post
                | Realm::Store
                | Realm::Process
                | Realm::RegistryState
                | Realm::Fedora
                | Realm::Clock => false,
            },
        }
    }

    /// Whether it strikes single calls: then it is armed, and waits for one it can strike.
    pub fn strikes_calls(self) -> bool {
        matches!(self, Self::AckLost | Self::ConfirmLost | Self::PublishRefused)
            || matches!(self.realm(), Realm::Registry | Realm::Upstream)
    }
}

impl fmt::Display for Fault {
    /// `message lost`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, letter) in format!("{self:?}").char_indices() {
            match letter {
                upper if upper.is_uppercase() && at > 0 => write!(f, " {}", upper.to_ascii_lowercase())?,
                other => write!(f, "{}", other.to_ascii_lowercase())?,
            }
        }
        Ok(())
    }
}
