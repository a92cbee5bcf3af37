//! What can be made to go wrong.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, stream, stream::BoxStream};

use crate::{Error, Repository};

/// One call of the registry, as a fault hook and a test see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// What was called.
    pub op: Op,
    /// On which repository.
    pub repository: Repository,
    /// The digest, tag or upload it is about; empty where there is none.
    pub subject: String,
    /// Whether by somebody without credentials.
    pub anonymous: bool,
}

/// The methods of a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is the method of its name")]
pub enum Op {
    ManifestGet,
    ManifestHead,
    ManifestPut,
    BlobHead,
    BlobGet { offset: u64 },
    UploadBegin,
    Mount,
    UploadPatch { offset: u64 },
    UploadStream { offset: u64 },
    UploadStatus,
    UploadPut,
    UploadCancel,
    Tags,
    TagDelete,
}

impl Op {
    /// Whether it only looks.
    pub fn reads(self) -> bool {
        match self {
            Self::ManifestGet | Self::ManifestHead | Self::BlobHead | Self::BlobGet { .. } | Self::Tags => {
                true
            }
            Self::ManifestPut
            | Self::UploadBegin
            | Self::Mount
            | Self::UploadPatch { .. }
            | Self::UploadStream { .. }
            | Self::UploadStatus
            | Self::UploadPut
            | Self::UploadCancel
            | Self::TagDelete => false,
        }
    }

    /// The same method, whatever its offset: what calls are counted under.
    pub(super) fn counted(self) -> Self {
        match self {
            Self::BlobGet { .. } => Self::BlobGet { offset: 0 },
            Self::UploadPatch { .. } => Self::UploadPatch { offset: 0 },
            Self::UploadStream { .. } => Self::UploadStream { offset: 0 },
            other => other,
        }
    }
}

/// What goes wrong with a call.
#[derive(Debug, Clone)]
pub enum Fault {
    /// It fails and changes nothing.
    Fail(Error),
    /// It does what it should, but the answer is lost.
    FailAfter(Error),
    /// It takes this long.
    Delay(Duration),
    /// It never answers.
    Hang,
    /// A blob's bytes break off after so many; of a streamed upload, so many arrive.
    Cut {
        /// Bytes that still come.
        after: u64,
    },
    /// One byte of what is read is wrong.
    Garble,
    /// A mount begins an upload instead.
    Decline,
}

/// What a broken connection looks like.
pub(super) fn cut(host: &str) -> Error {
    flatbus_http::Error::Cut { host: host.to_owned(), why: "connection reset".to_owned() }.into()
}

pub(super) fn garbled(bytes: &Bytes) -> Bytes {
    let mut wrong = BytesMut::from(bytes.as_ref());
    if let Some(last) = wrong.last_mut() {
        *last ^= 1;
    }
    wrong.freeze()
}

/// A blob's bytes piece by piece, with what is made to go wrong.
pub(super) fn pieces(
    host: &str,
    bytes: Bytes,
    piece_bytes: usize,
    fault: Option<Fault>,
) -> BoxStream<'static, Result<Bytes, Error>> {
    let (mut bytes, end) = match fault {
        Some(Fault::Garble) => (garbled(&bytes), None),
        Some(Fault::Cut { after }) => {
            let kept = bytes.len().min(usize::try_from(after).unwrap_or(usize::MAX));
            (bytes.slice(..kept), Some(Err(cut(host))))
        }
        _ => (bytes, None),
    };
    let next = move || (!bytes.is_empty()).then(|| Ok(bytes.split_to(bytes.len().min(piece_bytes))));
    stream::iter(std::iter::from_fn(next).chain(end)).boxed()
}
