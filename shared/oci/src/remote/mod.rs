//! A registry over HTTP.
//!
//! Never sends a credential to another host than the registry and the token server it names, never follows anything to a
//! host that isn't allowed, and believes no digest it hasn't computed.

mod answer;
mod auth;
mod challenge;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod upload;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use flatbus_base::{Clock, SystemClock};
use flatbus_http::{Client, HeaderName, Redirects, Request, Response, StatusCode, Urgency, Url, header};
use futures::{StreamExt as _, stream::BoxStream};
use serde::Deserialize;
use tracing::debug;

use self::{
    answer::{refusal, unauthorized},
    auth::{Auth, Need, Proof, Tried},
};
use crate::{
    AuthFile, BlobStream, Digest, Error, Location, Manifest, ManifestHead, Mounted, Reference, Registry,
    Repository, Tag, TagDeleted, Upload,
    manifest::{MANIFEST_BYTES_MAX, MANIFEST_TYPES},
};

/// The digest a registry computed, or says it did.
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
/// Tags asked for at once, and most pages of them read.
const TAGS_PAGE: &str = "1000";
const TAG_PAGES_MAX: usize = 100;
/// Largest page of tags, in bytes.
const TAGS_BYTES_MAX: usize = 8 << 20;

/// Which registry, and who we are to it.
#[derive(Debug, Clone, Default)]
pub struct RemoteSettings {
    /// Host and port as image references name it.
    pub host: String,
    /// Without TLS: for this machine and its tests.
    pub plain_http: bool,
    /// Whom to be where nobody isn't enough.
    pub credentials: Option<Arc<AuthFile>>,
    /// Who goes first where the host's budget is short.
    pub urgency: Urgency,
}

impl RemoteSettings {
    /// Those of the registry at a location.
    pub fn at(location: &Location, credentials: Option<Arc<AuthFile>>, urgency: Urgency) -> Self {
        let plain_http = location.registry.scheme() == "http";
        Self { host: location.host(), plain_http, credentials, urgency }
    }
}

/// A registry over HTTP. Clones share tokens.
#[derive(Clone)]
pub struct HttpRegistry {
    client: Client,
    host: String,
    base: Url,
    urgency: Urgency,
    auth: Arc<Auth>,
}

impl HttpRegistry {
    /// A registry by its host.
    ///
    /// # Errors
    /// When the host is none.
    pub fn new(client: Client, settings: RemoteSettings) -> Result<Self, Error> {
        Self::with_clock(client, settings, Arc::new(SystemClock))
    }

    /// A registry whose tokens end by another clock.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_clock(
        client: Client,
        settings: RemoteSettings,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        let RemoteSettings { host, plain_http, credentials, urgency } = settings;
        let setup = |_| Error::Setup { why: format!("{host:?} is not a registry's host") };
        let scheme = if plain_http { "http" } else { "https" };
        // Docker's own name for its registry isn't where that registry is.
        let asked = if host == "docker.io" { "registry-1.docker.io" } else { &host };
        let base = Url::parse(&format!("{scheme}://{asked}/v2/")).map_err(setup)?;
        if base.path() != "/v2/" || !base.username().is_empty() || base.query().is_some() {
            return Err(Error::Setup { why: format!("{host:?} is not a registry's host") });
        }
        let auth = Arc::new(Auth::new(client.clone(), clock, host.clone(), !plain_http, credentials));
        Ok(Self { client, host, base, urgency, auth })
    }

    /// The same registry, asked with another urgency.
    #[must_use]
    pub fn with_urgency(&self, urgency: Urgency) -> Self {
        Self { urgency, ..self.clone() }
    }

    /// One cheap call that proves that the registry answers, whoever we are to it.
    ///
    /// # Errors
    /// When it doesn't.
    pub async fn ping(&self) -> Result<(), Error> {
        let answer = self.client.send(self.request(Request::get(self.base.clone()))).await?;
        if answer.status.is_success() || answer.status == StatusCode::UNAUTHORIZED {
            return Ok(());
        }
        Err(refusal(answer).await.into_error("the version of its interface"))
    }

    /// `/v2/<repository>/<path>`. Names are checked types: they can't leave their place.
    fn url(&self, repository: &Repository, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("/v2/{repository}/{path}"));
        url
    }

    fn request(&self, request: Request) -> Request {
        let mut request = request.urgency(self.urgency);
        request.redirects = Redirects::Follow { drop_auth: false };
        request
    }

    /// Sends a request with the proof it needs; after a 401 with a better one. Every other answer is handed over.
    async fn ask(&self, need: &Need, make: impl Fn() -> Request) -> Result<Response, Error> {
        let mut proof = self.auth.first(need).await?;
        let mut tried = Tried::default();
        loop {
            let request = self.request(make());
            let asked = request.url.origin();
            let answer = self.client.send(proof.apply(request)).await?;
            if answer.status != StatusCode::UNAUTHORIZED {
                return Ok(answer);
            }
            if answer.url.origin() != asked {
                // Whoever we were redirected to isn't whom our credentials are for.
                return Err(refusal(answer).await.into_error(need.repository.as_str()));
            }
            tried.note(&proof);
            match self.auth.after_refusal(need, &proof, tried, &answer).await? {
                Some(next) => proof = next,
                None => return Err(self.unauthorized(need, &proof, answer).await),
            }
        }
    }

    async fn unauthorized(&self, need: &Need, proof: &Proof, answer: Response) -> Error {
        let said = refusal(answer).await.said;
        let why = if *proof == Proof::Bare { format!("none are configured ({said})") } else { said };
        unauthorized(&self.host, need.repository.to_string(), &why)
    }

    fn manifest_request(
        &self,
        method: fn(Url) -> Request,
        repository: &Repository,
        reference: &Reference,
    ) -> Request {
        let url = self.url(repository, &format!("manifests/{reference}"));
        method(url).header(header::ACCEPT, MANIFEST_TYPES.join(", "))
    }

    /// A yes that doesn't say to what may be a proxy's: only what can be seen has been done.
    async fn look_at_put(
        &self,
        repository: &Repository,
        reference: &Reference,
        digest: Digest,
    ) -> Result<(), Error> {
        let what = format!("manifest {repository}:{reference}");
        match self.manifest_head(repository, reference).await? {
            Some(seen) => self.same(&what, Some(digest), seen.digest),
            None => Err(self.protocol(what, "it said that it took it, and has it not")),
        }
    }

    fn protocol(&self, what: impl Into<String>, why: impl Into<String>) -> Error {
        Error::Protocol { host: self.host.clone(), what: what.into(), why: why.into() }
    }

    /// Compares digests, where both are known.
    fn same(&self, what: &str, expected: Option<Digest>, got: Digest) -> Result<(), Error> {
        match expected {
            Some(expected) if expected != got => {
                Err(Error::WrongDigest { host: self.host.clone(), what: what.to_owned(), expected, got })
            }
            _ => Ok(()),
        }
    }
}

/// The digest an answer tells, where it is one we can compute.
fn told_digest(answer: &Response) -> Option<Digest> {
    answer.header(&CONTENT_DIGEST)?.parse().ok()
}

fn wanted_digest(reference: &Reference) -> Option<Digest> {
    match reference {
        Reference::Digest(digest) => Some(*digest),
        Reference::Tag(_) => None,
    }
}

#[async_trait]
impl Registry for HttpRegistry {
    fn host(&self) -> &str {
        &self.host
    }

    async fn manifest_get(
        &self,
        repository: &Repository,
        reference: &Reference,
    ) -> Result<Option<Manifest>, Error> {
        let what = format!("manifest {repository}:{reference}");
        let make = || self.manifest_request(Request::get, repository, reference);
        let answer = self.ask(&Need::read(repository), make).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        if answer.status != StatusCode::OK {
            return Err(refusal(answer).await.into_error(&what));
        }
        let media_type = answer.header(&header::CONTENT_TYPE).map(str::to_owned);
        let told = told_digest(&answer);
        let bytes = answer.bytes(MANIFEST_BYTES_MAX).await?;
        let got = Digest::of(&bytes);
        self.same(&what, wanted_digest(reference), got)?;
        self.same(&what, told, got)?;
        Manifest::new(bytes, media_type.as_deref(), &self.host).map(Some)
    }

    async fn manifest_head(
        &self,
        repository: &Repository,
        reference: &Reference,
    ) -> Result<Option<ManifestHead>, Error> {
        let what = format!("manifest {repository}:{reference}");
        let make = || self.manifest_request(Request::head, repository, reference);
        let answer = self.ask(&Need::read(repository), make).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        if answer.status != StatusCode::OK && answer.status != StatusCode::METHOD_NOT_ALLOWED {
            return Err(refusal(answer).await.into_error(&what));
        }
        let media_type = answer.header(&header::CONTENT_TYPE).unwrap_or_default().to_owned();
        match told_digest(&answer) {
            Some(digest) if answer.status == StatusCode::OK => {
                self.same(&what, wanted_digest(reference), digest)?;
                Ok(Some(ManifestHead { digest, media_type, size: answer.content_length() }))
            }
            _ => {
                let found = self.manifest_get(repository, reference).await?;
                Ok(found.map(|Manifest { bytes, media_type, digest }| ManifestHead {
                    digest,
                    media_type,
                    size: Some(bytes.len() as u64),
                }))
            }
        }
    }

    async fn manifest_put(
        &self,
        repository: &Repository,
        reference: &Reference,
        manifest: &Manifest,
    ) -> Result<(), Error> {
        let what = format!("manifest {repository}:{reference}");
        let make = || {
            let url = self.url(repository, &format!("manifests/{reference}"));
            Request::put(url, manifest.bytes.clone()).header(header::CONTENT_TYPE, &manifest.media_type)
        };
        let answer = self.ask(&Need::write(repository), make).await?;
        if answer.status.is_success() {
            // What was taken as something else must not be announced.
            return match told_digest(&answer) {
                Some(got) => self.same(&what, Some(manifest.digest), got),
                None => self.look_at_put(repository, reference, manifest.digest).await,
            };
        }
        let refused = refusal(answer).await;
        if refused.names(&["MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN", "MANIFEST_UNKNOWN"]) {
            let what = format!("all that {what} names: {}", refused.said);
            return Err(Error::NotFound { host: self.host.clone(), what });
        }
        Err(refused.into_error(&what))
    }

    async fn blob_head(&self, repository: &Repository, digest: &Digest) -> Result<Option<u64>, Error> {
        let what = format!("blob {repository}@{digest}");
        let make = || Request::head(self.url(repository, &format!("blobs/{digest}")));
        let answer = self.ask(&Need::read(repository), make).await?;
        match answer.status {
            StatusCode::OK => {
                answer.content_length().map(Some).ok_or_else(|| self.protocol(what, "it tells no size"))
            }
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(refusal(answer).await.into_error(&what)),
        }
    }

    async fn blob_get(
        &self,
        repository: &Repository,
        digest: &Digest,
        offset: u64,
    ) -> Result<BlobStream, Error> {
        let what = format!("blob {repository}@{digest}");
        let make = || {
            let request = Request::get(self.url(repository, &format!("blobs/{digest}")));
            if offset == 0 { request } else { request.header(header::RANGE, format!("bytes={offset}-")) }
        };
        let answer = self.ask(&Need::read(repository), make).await?;
        if answer
            .header(&header::CONTENT_ENCODING)
            .is_some_and(|coding| !coding.eq_ignore_ascii_case("identity"))
        {
            return Err(self.protocol(what, "it compressed what must come as it is"));
        }
        let (offset, size) = match answer.status {
            StatusCode::OK => (0, answer.content_length()),
            StatusCode::PARTIAL_CONTENT => {
                let range = answer.header(&header::CONTENT_RANGE).and_then(content_range);
                range.ok_or_else(|| self.protocol(&what, "a part without saying which"))?
            }
            StatusCode::RANGE_NOT_SATISFIABLE => {
                return Err(self.protocol(what, format!("it has nothing from byte {offset} on")));
            }
            _ => return Err(refusal(answer).await.into_error(&what)),
        };
        let chunks = answer.stream().map(|chunk| chunk.map_err(Error::from)).boxed();
        Ok(BlobStream { offset, size, chunks })
    }

    async fn upload_begin(&self, repository: &Repository) -> Result<Upload, Error> {
        self.begin(repository).await
    }

    async fn mount(
        &self,
        repository: &Repository,
        digest: &Digest,
        from: &Repository,
    ) -> Result<Mounted, Error> {
        self.mount_or_begin(repository, digest, from).await
    }

    async fn upload_patch(
        &self,
        repository: &Repository,
        upload: &mut Upload,
        offset: u64,
        chunk: Bytes,
    ) -> Result<(), Error> {
        self.patch(repository, upload, offset, chunk).await
    }

    async fn upload_stream(
        &self,
        repository: &Repository,
        upload: &mut Upload,
        offset: u64,
        size: Option<u64>,
        chunks: BoxStream<'static, Result<Bytes, String>>,
    ) -> Result<(), Error> {
        self.patch_stream(repository, upload, offset, size, chunks).await
    }

    async fn upload_status(
        &self,
        repository: &Repository,
        upload: &mut Upload,
    ) -> Result<Option<u64>, Error> {
        self.status(repository, upload).await
    }

    async fn upload_put(
        &self,
        repository: &Repository,
        upload: Upload,
        digest: &Digest,
        last: Option<(u64, Bytes)>,
    ) -> Result<(), Error> {
        self.put(repository, &upload, digest, last).await
    }

    async fn upload_cancel(&self, repository: &Repository, upload: Upload) {
        if let Err(error) = self.cancel(repository, &upload).await {
            debug!(%error, "An upload could not be given up; the registry clears it away");
        }
    }

    async fn tags(&self, repository: &Repository) -> Result<Vec<Tag>, Error> {
        #[derive(Deserialize)]
        struct Page {
            tags: Option<Vec<String>>,
        }
        let what = format!("tags of {repository}");
        let mut next = self.url(repository, "tags/list");
        next.query_pairs_mut().append_pair("n", TAGS_PAGE);
        let mut tags = Vec::new();
        for _ in 0..TAG_PAGES_MAX {
            let answer = self.ask(&Need::read(repository), || Request::get(next.clone())).await?;
            match answer.status {
                StatusCode::OK => {}
                StatusCode::NOT_FOUND if tags.is_empty() => return Ok(tags),
                _ => return Err(refusal(answer).await.into_error(&what)),
            }
            let link = answer.header(&header::LINK).and_then(next_link).map(|link| next.join(link));
            let page: Page = answer.json(TAGS_BYTES_MAX).await?;
            // A tag outside the grammar can't be asked for anyhow.
            tags.extend(page.tags.unwrap_or_default().iter().filter_map(|tag| tag.parse::<Tag>().ok()));
            next = match link {
                None => return Ok(tags),
                Some(Ok(link)) if link.origin() == self.base.origin() => link,
                Some(_) => return Err(self.protocol(what, "its next page is elsewhere")),
            };
        }
        let why = format!("more than {TAG_PAGES_MAX} pages");
        Err(Error::TooLarge { host: self.host.clone(), what, why })
    }

    async fn tag_delete(&self, repository: &Repository, tag: &Tag) -> Result<TagDeleted, Error> {
        let make = || Request::delete(self.url(repository, &format!("manifests/{tag}")));
        let answer = self.ask(&Need::write(repository), make).await?;
        match answer.status.as_u16() {
            200..=299 | 404 => Ok(TagDeleted::Deleted),
            400 | 405 | 501 => Ok(TagDeleted::Unsupported),
            _ => {
                let refused = refusal(answer).await;
                if refused.names(&["UNSUPPORTED"]) {
                    return Ok(TagDeleted::Unsupported);
                }
                Err(refused.into_error(&format!("the deletion of {repository}:{tag}")))
            }
        }
    }
}

/// `bytes 5-9/10` as offset and whole size.
fn content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, size) = text.trim().strip_prefix("bytes")?.trim_start().split_once('/')?;
    let offset = range.split_once('-')?.0.trim().parse().ok()?;
    Some((offset, size.trim().parse().ok()))
}

/// The target of `<…>; rel="next"`. Targets may hold commas and semicolons, and titles anything.
fn next_link(text: &str) -> Option<&str> {
    let mut rest = text;
    while let Some((_, link)) = rest.split_once('<') {
        let (target, after) = link.split_once('>')?;
        let (mut parameters, others) = split_unquoted(after, ',');
        while !parameters.is_empty() {
            let (parameter, more) = split_unquoted(parameters, ';');
            if is_next(parameter) {
                return Some(target);
            }
            parameters = more;
        }
        rest = others;
    }
    None
}

/// `rel=next`, `rel="next last"`
fn is_next(parameter: &str) -> bool {
    let (name, value) = parameter.split_once('=').unwrap_or_default();
    let mut relations = value.trim().trim_matches('"').split_ascii_whitespace();
    name.trim().eq_ignore_ascii_case("rel") && relations.any(|relation| relation.eq_ignore_ascii_case("next"))
}

/// What stands before the first `sign` outside of quotes, and what comes after it.
fn split_unquoted(text: &str, sign: char) -> (&str, &str) {
    let (mut quoted, mut escaped) = (false, false);
    let at = text.find(|letter| {
        let plain = !escaped;
        escaped = plain && quoted && letter == '\\';
        quoted ^= plain && letter == '"';
        plain && !quoted && letter == sign
    });
    at.map_or((text, ""), |at| (&text[..at], &text[at + sign.len_utf8()..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_links_are_read() {
        assert_eq!(content_range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(content_range("bytes 5-9/*"), Some((5, None)));
        assert_eq!(content_range("bytes */10"), None);
        assert_eq!(
            next_link(r#"</v2/x/tags/list?n=1&last=a>; rel="next""#),
            Some("/v2/x/tags/list?n=1&last=a")
        );
        assert_eq!(next_link(r#"<a>; rel="prev", <b>; rel=next"#), Some("b"));
        assert_eq!(next_link("<a>"), None);
        let commas =
            r#"</x?last=1,2;rel=next>; rel="prev"; title="a, <b>; rel=next", </x?last=3,4> ; REL = next"#;
        assert_eq!(next_link(commas), Some("/x?last=3,4"));
        for nonsense in ["", "<", "<a", "a>; rel=next", "<a>; rel=", ", ,", "<a>; x=\"\\"] {
            assert_eq!(next_link(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn a_host_is_only_a_host() {
        let client =
            Client::new(flatbus_http::Settings::default(), flatbus_base::Random::from_seed(1)).unwrap();
        let new = |host: &str| {
            HttpRegistry::new(
                client.clone(),
                RemoteSettings { host: host.into(), ..RemoteSettings::default() },
            )
        };
        assert!(new("quay.io").is_ok() && new("[::1]:5000").is_ok());
        for bad in ["", "quay.io/fedora", "user@quay.io", "quay.io?x", "quay.io#", "a b"] {
            assert!(new(bad).is_err(), "{bad}");
        }
    }
}
