//! A secret shows itself to nobody by accident: no `Display`, and a `Debug` that prints nothing of it.

use std::{
    fmt, fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// Longest secret file read: a certificate chain fits, a wrong path to something huge does not.
const SECRET_BYTES_MAX: u64 = 1 << 20;

/// A password, token or key.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// Why a secret could not be read. Never holds the secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file is not there or can't be read.
    #[error("cannot read the secret in {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others than its owner may read or change the file.
    #[error("{} holds a secret but others may read it (mode {mode:o}): chmod 600 it", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Larger than any secret.
    #[error("{} is larger than {SECRET_BYTES_MAX} bytes: not a secret", path.display())]
    Large {
        /// The file.
        path: PathBuf,
    },
}

impl Secret {
    /// Wraps a secret that is already in memory.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// The secret itself, for the one call that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Where a secret is: the file that is `named`, else the credential `name` in the service manager's folder, where it has
    /// that one. With it, whether [`Self::from_file`] may trust the file whatever its mode. `mounted`: files come from a
    /// read-only mount whose modes say nothing, as in a container.
    pub fn find(
        named: Option<&Path>,
        folder: Option<&Path>,
        name: &str,
        mounted: bool,
    ) -> Option<(PathBuf, bool)> {
        if let Some(named) = named {
            return Some((named.to_owned(), mounted));
        }
        folder.map(|folder| folder.join(name)).filter(|path| path.exists()).map(|path| (path, true))
    }

    /// Reads a secret from a file that others can't read, without its trailing line end.
    ///
    /// A file under `$CREDENTIALS_DIRECTORY` or a read-only mount is the service manager's and is not checked for its
    /// mode: pass `trusted`.
    ///
    /// # Errors
    /// When the file is missing, too large, or open to others.
    pub fn from_file(path: &Path, trusted: bool) -> Result<Self, SecretError> {
        let unreadable = |source| SecretError::Unreadable { path: path.to_owned(), source };
        let meta = fs::metadata(path).map_err(unreadable)?;
        let mode = meta.mode() & 0o777;
        if !trusted && mode & 0o007 != 0 {
            return Err(SecretError::Open { path: path.to_owned(), mode });
        }
        if meta.len() > SECRET_BYTES_MAX {
            return Err(SecretError::Large { path: path.to_owned() });
        }
        let text = fs::read_to_string(path).map_err(unreadable)?;
        Ok(Self(text.trim_end_matches(['\r', '\n']).to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_prints_nothing_of_a_secret() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "Secret");
    }
}
