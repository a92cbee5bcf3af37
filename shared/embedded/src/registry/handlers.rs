//! Requests about manifests, tags and the registry as a whole; those about blobs are in `blobs`.

use std::{error::Error as _, sync::Arc};

use axum::{
    Json,
    body::{Body, to_bytes},
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts};
use http_body_util::LengthLimitError;
use serde_json::{Value, json};

use super::{
    Content, Limits, Manifest, NotPut, Settings,
    access::{Gate, Need, Who},
    manifests,
    refusal::Refusal,
    route::{Reference, Route},
    uploads::Uploads,
};

pub(crate) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");

/// Longest form of a token request, in bytes.
const FORM_BYTES_MAX: usize = 64 << 10;

/// A registry that serves.
pub(crate) struct Served {
    pub(crate) content: Arc<Content>,
    pub(crate) access: Gate,
    pub(crate) uploads: Uploads,
    pub(crate) limits: Limits,
    tag_delete: bool,
    accept_strict: bool,
    host: String,
}

/// What is left of a request once its body is taken.
pub(crate) struct Asked {
    pub(crate) parts: Parts,
    pub(crate) who: Who,
    /// `http://host:port` as the asker named it.
    pub(crate) base: String,
}

impl Asked {
    /// A value of the query.
    pub(crate) fn query(&self, key: &str) -> Option<String> {
        let query = self.parts.uri.query().unwrap_or_default();
        url::form_urlencoded::parse(query.as_bytes())
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.into_owned())
    }

    fn head(&self) -> bool {
        self.parts.method == Method::HEAD
    }
}

pub(crate) async fn answer(State(served): State<Arc<Served>>, request: Request) -> Response {
    let mut answer = served.handle(request).await.unwrap_or_else(IntoResponse::into_response);
    answer.headers_mut().insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
    answer
}

impl Served {
    pub(crate) fn new(settings: Settings, host: String) -> Self {
        Self {
            access: Gate::new(&settings, host.clone()),
            uploads: Uploads::new(&settings),
            content: settings.content,
            limits: settings.limits,
            tag_delete: settings.tag_delete,
            accept_strict: settings.accept_strict,
            host,
        }
    }

    async fn handle(&self, request: Request) -> Result<Response, Refusal> {
        let (parts, body) = request.into_parts();
        let route = Route::parse(parts.uri.path())?;
        if route == Route::Token {
            return self.token(&parts, body).await;
        }
        let need = match (route.repository(), &parts.method) {
            (None, _) => Need::Login,
            (Some(repository), &Method::GET | &Method::HEAD) if !matches!(route, Route::Upload { .. }) => {
                Need::Pull(repository)
            }
            (Some(repository), _) => Need::Push(repository),
        };
        // A wire says whether it was asked securely; a socket never is.
        let scheme = parts.uri.scheme_str().unwrap_or("http");
        let who = self.access.check(&parts.headers, need, scheme)?;
        let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or(&self.host);
        let base = format!("{scheme}://{host}");
        self.dispatch(route, Asked { parts, who, base }, body).await
    }

    async fn dispatch(&self, route: Route, asked: Asked, body: Body) -> Result<Response, Refusal> {
        let reads = matches!(asked.parts.method, Method::GET | Method::HEAD);
        match (route, asked.parts.method.as_str()) {
            (Route::Base, _) if reads => Ok(Json(json!({})).into_response()),
            (Route::Catalog, _) if reads => self.catalog(&asked),
            (Route::Tags { repository }, _) if reads => self.tags(&repository, &asked),
            (Route::Manifest { repository, reference }, _) if reads => {
                self.manifest(&repository, &reference, &asked)
            }
            (Route::Manifest { repository, reference }, "PUT") => {
                self.put_manifest(&repository, &reference, &asked, body).await
            }
            (Route::Manifest { repository, reference }, "DELETE") => {
                self.delete_manifest(&repository, &reference)
            }
            (Route::Blob { repository, digest }, _) if reads => self.blob(&repository, &digest, &asked).await,
            (Route::Blob { repository, digest }, "DELETE") => self.delete_blob(&repository, &digest),
            (Route::Uploads { repository }, "POST") => self.begin_upload(&repository, &asked, body).await,
            (Route::Upload { repository, id }, method) => {
                self.upload(&repository, &id, method, &asked, body).await
            }
            _ => Err(Refusal::unsupported()),
        }
    }

    async fn token(&self, parts: &Parts, body: Body) -> Result<Response, Refusal> {
        let form =
            to_bytes(body, FORM_BYTES_MAX).await.map_err(|_| Refusal::too_large("the form is too large"))?;
        let query = match parts.method {
            Method::POST => String::from_utf8_lossy(&form).into_owned(),
            _ => parts.uri.query().unwrap_or_default().to_owned(),
        };
        Ok(Json(self.access.token(&parts.headers, &query)?).into_response())
    }

    fn catalog(&self, asked: &Asked) -> Result<Response, Refusal> {
        let (page, link) = self.page(asked, "/v2/_catalog", self.content.repositories())?;
        Ok(listing(json!({"repositories": page}), link))
    }

    fn tags(&self, repository: &str, asked: &Asked) -> Result<Response, Refusal> {
        let tags = self.content.tags(repository).ok_or_else(Refusal::name_unknown)?.into_keys().collect();
        let (page, link) = self.page(asked, &format!("/v2/{repository}/tags/list"), tags)?;
        Ok(listing(json!({"name": repository, "tags": page}), link))
    }

    /// A page of names in order, and where the next one is.
    fn page(
        &self,
        asked: &Asked,
        path: &str,
        mut names: Vec<String>,
    ) -> Result<(Vec<String>, Option<String>), Refusal> {
        let invalid = |_| {
            Refusal::new(
                StatusCode::BAD_REQUEST,
                "PAGINATION_NUMBER_INVALID",
                "invalid number of results requested",
            )
        };
        let n = asked.query("n").map(|n| n.parse::<usize>().map_err(invalid)).transpose()?;
        let n = n.unwrap_or(usize::MAX).min(self.limits.page_max);
        if let Some(last) = asked.query("last") {
            names.retain(|name| *name > last);
        }
        let more = names.len() > n && n > 0;
        names.truncate(n);
        let link =
            names.last().filter(|_| more).map(|last| format!(r#"<{path}?last={last}&n={n}>; rel="next""#));
        Ok((names, link))
    }

    fn manifest(&self, repository: &str, reference: &Reference, asked: &Asked) -> Result<Response, Refusal> {
        let manifest = self.find_manifest(repository, reference)?;
        if self.accept_strict {
            manifests::shown(&manifest.media_type, &asked.parts.headers)
                .map_err(Refusal::manifest_unknown)?;
        }
        let etag = format!(r#""{}""#, manifest.digest);
        let answer = Response::builder()
            .header(CONTENT_DIGEST, manifest.digest.as_str())
            .header(header::ETAG, &etag)
            .header(header::CONTENT_TYPE, &manifest.media_type);
        if unchanged(&asked.parts.headers, &etag) {
            return finish(answer.status(StatusCode::NOT_MODIFIED).body(Body::empty()));
        }
        let answer = answer.header(header::CONTENT_LENGTH, manifest.bytes.len());
        finish(answer.body(if asked.head() { Body::empty() } else { manifest.bytes.into() }))
    }

    fn find_manifest(&self, repository: &str, reference: &Reference) -> Result<Manifest, Refusal> {
        if !self.content.has_repository(repository) {
            return Err(Refusal::name_unknown());
        }
        let digest = match reference {
            Reference::Digest(digest) => Some(digest.clone()),
            Reference::Tag(tag) => self.content.tag(repository, tag),
        };
        let manifest = digest.and_then(|digest| self.content.manifest(repository, &digest));
        manifest.ok_or_else(|| Refusal::manifest_unknown("manifest unknown"))
    }

    async fn put_manifest(
        &self,
        repository: &str,
        reference: &Reference,
        asked: &Asked,
        body: Body,
    ) -> Result<Response, Refusal> {
        let max = self.limits.manifest_bytes_max;
        let told = asked.parts.headers.get(header::CONTENT_TYPE).and_then(|told| told.to_str().ok());
        let told = told.ok_or_else(|| Refusal::manifest_invalid("no Content-Type"))?;
        let bytes = to_bytes(body, max).await;
        let bytes = bytes.map_err(|error| match error.source() {
            Some(source) if source.is::<LengthLimitError>() => {
                Refusal::too_large(format!("manifests may have {max} bytes"))
            }
            Some(_) | None => Refusal::manifest_invalid("it broke off"),
        })?;
        let digest = super::Digest::of(&bytes);
        let tag = match reference {
            Reference::Tag(tag) => Some(tag.as_str()),
            Reference::Digest(asked) if *asked == digest => None,
            Reference::Digest(_) => {
                return Err(Refusal::digest_invalid("provided digest did not match uploaded content"));
            }
        };
        self.content.put_manifest(repository, tag, told, bytes).map_err(|error| match error {
            NotPut::Invalid(_) => Refusal::manifest_invalid(error.to_string()),
            NotPut::Unknown(_) => {
                Refusal::new(StatusCode::BAD_REQUEST, "MANIFEST_BLOB_UNKNOWN", error.to_string())
            }
        })?;
        let location = format!("{}/v2/{repository}/manifests/{digest}", asked.base);
        created(&location, &digest)
    }

    fn delete_manifest(&self, repository: &str, reference: &Reference) -> Result<Response, Refusal> {
        let deleted = match reference {
            Reference::Tag(tag) if self.tag_delete => self.content.remove_tag(repository, tag),
            Reference::Tag(_) => {
                return Err(Refusal::digest_invalid("a tag can't be deleted without its manifest"));
            }
            Reference::Digest(digest) => self.content.remove_manifest(repository, digest),
        };
        if deleted {
            Ok(StatusCode::ACCEPTED.into_response())
        } else {
            Err(Refusal::manifest_unknown("manifest unknown"))
        }
    }
}

fn listing(body: Value, link: Option<String>) -> Response {
    let link = link.and_then(|link| HeaderValue::from_str(&link).ok());
    let mut answer = Json(body).into_response();
    answer.headers_mut().extend(link.map(|link| (header::LINK, link)));
    answer
}

/// Whether the asker holds this already.
pub(crate) fn unchanged(headers: &HeaderMap, etag: &str) -> bool {
    let known = headers.get(header::IF_NONE_MATCH).and_then(|known| known.to_str().ok());
    known.is_some_and(|known| known.split(',').any(|one| one.trim() == etag || one.trim() == "*"))
}

/// 201, with the place and digest of what was made.
pub(crate) fn created(location: &str, digest: &super::Digest) -> Result<Response, Refusal> {
    let answer = Response::builder().status(StatusCode::CREATED).header(header::LOCATION, location);
    finish(answer.header(CONTENT_DIGEST, digest.as_str()).body(Body::empty()))
}

/// A built answer. Building fails only on a header that is none, such as a media type with a line end.
pub(crate) fn finish(answer: http::Result<Response>) -> Result<Response, Refusal> {
    answer.map_err(|error| Refusal::manifest_invalid(error.to_string()))
}
