//! Credentials as containers' tools keep them: `auth.json` (podman, skopeo) and `config.json` (docker).
//!
//! Never runs a credential helper: no child process ever sees a secret.

use std::{collections::BTreeMap, fmt, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use flatbus_base::Secret;
use serde::Deserialize;
use tracing::warn;

use crate::{Error, Repository};

/// The service manager's name for the registries' credentials.
const CREDENTIAL: &str = "auth.json";

/// Who we are to a registry.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A user (a robot, on quay) and its password.
    Password {
        /// Its name.
        user: String,
        /// Its password.
        password: Secret,
    },
    /// An OAuth2 refresh token (`identitytoken`).
    IdentityToken(Secret),
    /// A bearer token, sent as it is (`registrytoken`).
    RegistryToken(Secret),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password { user, .. } => write!(f, "Password({user})"),
            Self::IdentityToken(_) => f.write_str("IdentityToken"),
            Self::RegistryToken(_) => f.write_str("RegistryToken"),
        }
    }
}

/// Credentials by host and repository prefix. The longest prefix wins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuthFile(BTreeMap<String, Credentials>);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    #[serde(default)]
    auths: BTreeMap<String, RawEntry>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
    #[serde(default)]
    creds_store: Option<String>,
}

#[derive(Default, Deserialize)]
struct RawEntry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

impl AuthFile {
    /// Reads the file that is named, else the credential `auth.json` in the service manager's folder; none where there is
    /// neither. `mounted`: see [`Secret::find`].
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn given(named: Option<&Path>, folder: Option<&Path>, mounted: bool) -> Result<Option<Self>, Error> {
        let found = Secret::find(named, folder, CREDENTIAL, mounted);
        found.map(|(path, trusted)| Self::read(&path, trusted)).transpose()
    }

    /// Reads a file that others can't read. A file of the service manager is not checked for its mode: pass `trusted`.
    ///
    /// # Errors
    /// When the file can't be read, is open to others, or isn't what it should be.
    pub fn read(path: &Path, trusted: bool) -> Result<Self, Error> {
        let text =
            Secret::from_file(path, trusted).map_err(|error| Error::Setup { why: error.to_string() })?;
        Self::parse(text.expose()).map_err(|why| Error::Setup { why: format!("{}: {why}", path.display()) })
    }

    /// One user for a whole host.
    pub fn single(host: &str, credentials: Credentials) -> Self {
        Self(BTreeMap::from([(normalised(host), credentials)]))
    }

    /// Parses the file's text. What is wrong is told by place, never by content.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let raw: Raw = serde_json::from_str(text).map_err(|error| {
            format!("not a file of registry credentials (line {}, column {})", error.line(), error.column())
        })?;
        if raw.creds_store.is_some() || !raw.cred_helpers.is_empty() {
            warn!("Credential helpers are not run; only what stands under \"auths\" is used");
        }
        let mut known = BTreeMap::new();
        for (key, entry) in raw.auths {
            if let Some(credentials) =
                entry.credentials().map_err(|why| format!("the entry {key:?}: {why}"))?
            {
                known.insert(normalised(&key), credentials);
            }
        }
        Ok(Self(known))
    }

    /// Whom to be towards this repository.
    pub fn find(&self, host: &str, repository: &Repository) -> Option<&Credentials> {
        let mut name = format!("{}/{repository}", normalised(host));
        loop {
            if let Some(found) = self.0.get(&name) {
                return Some(found);
            }
            name.truncate(name.rfind('/')?);
        }
    }

    /// Hosts and prefixes there are credentials for.
    pub fn prefixes(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

impl RawEntry {
    fn credentials(self) -> Result<Option<Credentials>, &'static str> {
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        if let Some(token) = given(self.identitytoken) {
            return Ok(Some(Credentials::IdentityToken(Secret::new(token))));
        }
        if let Some(token) = given(self.registrytoken) {
            return Ok(Some(Credentials::RegistryToken(Secret::new(token))));
        }
        if let Some(auth) = given(self.auth) {
            return pair(&auth).map(Some);
        }
        match (given(self.username), given(self.password)) {
            (Some(user), Some(password)) => {
                Ok(Some(Credentials::Password { user, password: Secret::new(password) }))
            }
            (None, None) => Ok(None), // docker leaves empty entries for its helpers.
            _ => Err("it has a user name or a password but not both"),
        }
    }
}

fn pair(auth: &str) -> Result<Credentials, &'static str> {
    const WRONG: &str = "its \"auth\" is not base64 of user:password";
    let bytes = STANDARD.decode(auth.trim()).map_err(|_| WRONG)?;
    let text = String::from_utf8(bytes).map_err(|_| WRONG)?;
    let (user, password) = text.trim_end_matches('\0').split_once(':').ok_or(WRONG)?;
    Ok(Credentials::Password { user: user.to_owned(), password: Secret::new(password) })
}

/// `https://index.docker.io/v1/` and the like as a plain `host[/prefix]`.
fn normalised(key: &str) -> String {
    let key = key.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
    let key = key.strip_suffix("/v1").or_else(|| key.strip_suffix("/v2")).unwrap_or(key);
    let (host, rest) = key.split_once('/').map_or((key, ""), |(host, rest)| (host, rest));
    let host = match host.to_ascii_lowercase().as_str() {
        "index.docker.io" | "registry-1.docker.io" => "docker.io".to_owned(),
        host => host.to_owned(),
    };
    if rest.is_empty() { host } else { format!("{host}/{rest}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(file: &AuthFile, host: &str, repository: &str) -> Option<String> {
        match file.find(host, &repository.parse().unwrap())? {
            Credentials::Password { user, .. } => Some(user.clone()),
            other => Some(format!("{other:?}")),
        }
    }

    fn auth(pair: &str) -> String {
        STANDARD.encode(pair)
    }

    #[test]
    fn the_longest_prefix_wins() {
        let json = format!(
            r#"{{"auths": {{"quay.io": {{"auth": "{}"}}, "quay.io/fedora": {{"auth": "{}"}},
            "quay.io/fedora/eog": {{"username": "eog", "password": "p"}}, "quay.io/empty": {{}}}}}}"#,
            auth("all:p"),
            auth("fedora+robot:p:with:colons")
        );
        let file = AuthFile::parse(&json).unwrap();
        assert_eq!(user(&file, "quay.io", "fedora/eog").unwrap(), "eog");
        assert_eq!(user(&file, "quay.io", "fedora/eog/nested").unwrap(), "eog");
        assert_eq!(user(&file, "quay.io", "fedora/eogg").unwrap(), "fedora+robot");
        assert_eq!(user(&file, "QUAY.io", "empty/x").unwrap(), "all");
        assert_eq!(user(&file, "quay.io.evil.example", "fedora/eog"), None);
        let Some(Credentials::Password { password, .. }) = file.find("quay.io", &"fedora/x".parse().unwrap())
        else {
            panic!("no password")
        };
        assert_eq!(password.expose(), "p:with:colons");
    }

    #[test]
    fn keys_in_dockers_own_spelling_are_understood() {
        let json = format!(
            r#"{{"auths": {{"https://index.docker.io/v1/": {{"auth": "{}"}}, "http://127.0.0.1:5000/v2/": {{"identitytoken": "t"}}}}}}"#,
            auth("hub:p")
        );
        let file = AuthFile::parse(&json).unwrap();
        assert_eq!(user(&file, "docker.io", "library/x").unwrap(), "hub");
        assert_eq!(user(&file, "127.0.0.1:5000", "x").unwrap(), "IdentityToken");
    }

    #[test]
    fn nothing_secret_is_told_of_a_broken_file() {
        for text in [
            "hunter2",
            r#"{"auths": {"quay.io": {"auth": "aHVudGVyMg=="}}}"#,
            r#"{"auths": {"q": {"password": "hunter2"}}}"#,
        ] {
            let why = AuthFile::parse(text).unwrap_err();
            assert!(!why.contains("hunter2") && !why.contains("aHVudGVyMg"), "{why}");
        }
        assert!(
            !format!("{:?}", AuthFile::single("h", Credentials::RegistryToken(Secret::new("hunter2"))))
                .contains("hunter2")
        );
    }
}
