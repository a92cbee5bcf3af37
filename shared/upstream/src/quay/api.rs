//! quay's own API over HTTP. Creates repositories and makes them public; reads and writes nothing else.

use async_trait::async_trait;
use flatbus_base::Secret;
use flatbus_http::{Client, Request, Response, StatusCode, Urgency, Url, header};
use serde_json::{Value, json};

use super::{Quay, Visibility};
use crate::{
    Error, fetch,
    shape::{clip, wrong},
};

/// Largest answer, in bytes. Tags, which could make it large, are not asked for.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Longest name of a repository that quay takes.
const REPOSITORY_BYTES_MAX: usize = 255;

/// What a person must do where the token is refused: a robot's registry token never has this right.
const ADVICE: &str = "the OAuth application token needs the scopes repo:create, repo:read and repo:admin, and its owner the \
                      role Admin in the organisation (a robot account's password does not work here); else make the \
                      repository public by hand, in its settings";

/// quay's API, with an OAuth token that is used for nothing else.
#[derive(Debug, Clone)]
pub struct QuayApi {
    http: Client,
    base: Url,
    token: Secret,
}

impl QuayApi {
    /// The quay at `base` (`https://quay.io/`), which the client must be allowed to contact.
    pub fn new(http: Client, base: Url, token: Secret) -> Self {
        Self { http, base, token }
    }

    fn url(&self, path: &[&str]) -> Result<Url, Error> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| Error::BadQuestion {
                what: path.join("/"),
                problem: "quay's URL has no path".to_owned(),
            })?
            .pop_if_empty()
            .extend(["api", "v1", "repository"])
            .extend(path);
        Ok(url)
    }

    async fn post(&self, url: Url, body: &Value) -> Result<Response, Error> {
        let request = Request::post(url, body.to_string())
            .header(header::CONTENT_TYPE, "application/json")
            .idempotent()
            .urgency(Urgency::Push);
        self.send(request).await
    }

    async fn send(&self, request: Request) -> Result<Response, Error> {
        Ok(self
            .http
            .send(request.bearer(&self.token).header(header::ACCEPT, "application/json").no_redirects())
            .await?)
    }
}

#[async_trait]
impl Quay for QuayApi {
    async fn create_public(&self, repository: &str) -> Result<(), Error> {
        let (namespace, name) = split(repository)?;
        let what = format!("the creation of {repository}");
        let body = json!({
            "namespace": namespace, "repository": name, "visibility": "public", "description": "", "repo_kind": "image",
        });
        let response = self.post(self.url(&[])?, &body).await?;
        match response.status {
            status if status.is_success() => Ok(()),
            StatusCode::BAD_REQUEST => {
                let said = fetch::said(response).await;
                if said.contains("already exists") {
                    Ok(())
                } else {
                    Err(Error::BadQuestion { what, problem: said })
                }
            }
            _ => Err(fetch::unexpected(response, &what, ADVICE).await),
        }
    }

    async fn visibility(&self, repository: &str) -> Result<Option<Visibility>, Error> {
        let (namespace, name) = split(repository)?;
        let what = format!("the visibility of {repository}");
        let mut url = self.url(&path(namespace, name))?;
        url.query_pairs_mut().append_pair("includeTags", "false");
        let response = self.send(Request::get(url)).await?;
        if response.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let answer = read(response, &what).await?;
        match answer.get("is_public").and_then(Value::as_bool) {
            Some(true) => Ok(Some(Visibility::Public)),
            Some(false) => Ok(Some(Visibility::Private)),
            None => Err(wrong(&what, "is_public", "true or false was expected")),
        }
    }

    async fn make_public(&self, repository: &str) -> Result<(), Error> {
        let (namespace, name) = split(repository)?;
        let what = format!("making {repository} public");
        let url = self.url(&[&path(namespace, name)[..], &["changevisibility"]].concat())?;
        let answer = read(self.post(url, &json!({ "visibility": "public" })).await?, &what).await?;
        // For a repository that is not there quay answers 200 with null.
        if answer.get("success").and_then(Value::as_bool) == Some(true) {
            Ok(())
        } else {
            Err(wrong(&what, "success", "quay changed nothing: is the repository there?"))
        }
    }
}

async fn read(response: Response, what: &str) -> Result<Value, Error> {
    if !response.status.is_success() {
        return Err(fetch::unexpected(response, what, ADVICE).await);
    }
    let body = response.bytes(ANSWER_BYTES_MAX).await?;
    serde_json::from_slice(&body).map_err(|error| wrong(what, "body", &error.to_string()))
}

/// Namespace and name: `fedora`, `f41/flatpak-runtime`. It ends up in a path, so only what a repository can be called.
pub(crate) fn split(repository: &str) -> Result<(&str, &str), Error> {
    let part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
            && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
    };
    let fits = repository.len() <= REPOSITORY_BYTES_MAX && repository.split('/').all(part);
    repository.split_once('/').filter(|_| fits).ok_or_else(|| Error::BadQuestion {
        what: clip(&format!("repository {repository}")),
        problem: "not of the form namespace/name, in lower case".to_owned(),
    })
}

fn path<'a>(namespace: &'a str, name: &'a str) -> Vec<&'a str> {
    std::iter::once(namespace).chain(name.split('/')).collect()
}
