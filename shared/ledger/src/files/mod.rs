//! Files beside the store, named by their content: for what is too large to be a record. Knows nothing of who names
//! them; the ledger removes what nothing names any more.

mod dir;
mod memory;

use std::{fmt, str::FromStr};

use futures::future::BoxFuture;
use sha2::{Digest, Sha256};

use crate::StoreError;

pub use dir::DirFiles;
pub use memory::MemoryFiles;

/// Largest file kept. Larger memos and bodies are not remembered.
pub const FILE_BYTES_MAX: usize = 16 << 20;

/// The name of a file: the SHA-256 of its content, in hexadecimal where it is shown.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileName(pub(crate) [u8; 32]);

impl FileName {
    /// The name content has.
    #[must_use]
    pub fn of(content: &[u8]) -> Self {
        Self(Sha256::digest(content).into())
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A text that is not the name of a file here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a SHA-256 in lower-case hexadecimal")]
pub struct NotAFileName;

impl FromStr for FileName {
    type Err = NotAFileName;

    fn from_str(text: &str) -> Result<Self, NotAFileName> {
        let mut name = [0; 32];
        let plain = |digit: u8| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit);
        if text.len() != 64 || !text.bytes().all(plain) {
            return Err(NotAFileName);
        }
        for (at, byte) in name.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).map_err(|_| NotAFileName)?;
        }
        Ok(Self(name))
    }
}

/// Files named by their content.
pub trait Files: Send + Sync + 'static {
    /// Keeps `content` under its name. Answers once it is durable. Putting the same twice is harmless.
    fn put(&self, content: Vec<u8>) -> BoxFuture<'static, Result<FileName, StoreError>>;
    /// The content, checked against its name; `None` where there is no such file, or none undamaged.
    fn get(&self, name: FileName) -> Result<Option<Vec<u8>>, StoreError>;
    /// Removes the file; one that is not there is no error.
    fn remove(&self, name: FileName) -> Result<(), StoreError>;
    /// The names of all files, in order.
    fn list(&self) -> Result<Vec<FileName>, StoreError>;
}

#[cfg(test)]
mod tests;
