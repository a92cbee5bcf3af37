//! Credential files. Nothing of a secret shows in an error or in `Debug`, and whom to be is found for any repository.

use std::collections::BTreeSet;

use flatbus_oci::{AuthFile, Credentials, Repository, fuzzing::auth_file};
use serde_json::Value;

use crate::{
    rules::{told, told_without},
    samples,
};

/// Shorter values stand in any text by chance.
const SECRET_BYTES_MIN: usize = 6;

/// The text of an `auth.json` or `config.json`.
pub fn check(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let secrets = secrets(text);
    match auth_file(text) {
        Ok(file) => found(&file, &secrets),
        // Where it isn't even JSON, nothing of it may be shown but a place.
        Err(why) if secrets.is_empty() => assert!(told(&why).len() < 256 || text.contains("auths")),
        Err(why) => drop(told_without(&why, secrets.iter().map(String::as_str))),
    }
}

fn found(file: &AuthFile, secrets: &BTreeSet<String>) {
    let shown = format!("{file:?}");
    for secret in secrets {
        assert!(!shown.contains(secret), "Debug tells a secret: {shown}");
    }
    for prefix in file.prefixes() {
        let Some((host, path)) = prefix.split_once('/') else { continue };
        let Ok(repository) = path.parse::<Repository>() else { continue };
        let own = file.find(host, &repository);
        assert!(own.is_some(), "nobody is found for {prefix:?}");
        if let Ok(below) = repository.join("below") {
            assert!(file.find(host, &below).is_some(), "nobody is found below {prefix:?}");
        }
        if let Some(Credentials::Password { user, .. }) = own {
            assert!(!user.contains(':'), "a user with a colon can't be sent: {user:?}");
        }
    }
}

/// What of the file is secret, less what stands in names too, which are shown.
fn secrets(text: &str) -> BTreeSet<String> {
    let tree: Value = serde_json::from_str(text).unwrap_or_default();
    let mut shown = String::new();
    let mut secrets = BTreeSet::new();
    for (host, entry) in tree["auths"].as_object().into_iter().flatten() {
        shown.push_str(&format!("{host:?}{host}{}", entry["username"].as_str().unwrap_or_default()));
        for key in ["auth", "password", "identitytoken", "registrytoken"] {
            let Some(secret) = entry[key].as_str() else { continue };
            secrets.insert(secret.to_owned());
            let pair = samples::base64(secret.trim()).and_then(|pair| String::from_utf8(pair).ok());
            if let Some((user, password)) =
                pair.as_deref().filter(|_| key == "auth").and_then(|pair| pair.split_once(':'))
            {
                shown.push_str(user);
                secrets.insert(password.to_owned());
            }
        }
    }
    let own = "Credentials Password IdentityToken RegistryToken AuthFile not a file of registry credentials line column";
    secrets.retain(|secret| {
        secret.len() >= SECRET_BYTES_MIN && !shown.contains(secret) && !own.contains(secret)
    });
    secrets
}

/// Files of podman, skopeo and docker.
pub fn seeds() -> Vec<Vec<u8>> {
    let fixed = [
        r#"{"auths": {"quay.io/fedora": {"auth": "cm9ib3Q6aHVudGVyMi1odW50ZXIy"}, "https://index.docker.io/v1/": {"username": "u", "password": "hunter2-hunter2"}, "h:5000/v2/": {"identitytoken": "hunter2-token"}, "r": {"registrytoken": "hunter2-registry"}, "e": {}}}"#,
        r#"{"auths": {"quay.io": {"auth": "aHVudGVyMmh1bnRlcjI="}}, "credHelpers": {"x": "y"}, "credsStore": "secretservice"}"#,
        r#"{"auths": {"q": {"password": "hunter2-alone"}}}"#,
        "hunter2-no-json",
    ];
    fixed.map(|text| text.as_bytes().to_vec()).into()
}
