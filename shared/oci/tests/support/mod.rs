//! A registry over HTTP that breaks the rules it is told to break: the in-memory registry behind the specification's
//! routes, with a say before each answer.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Body, extract::Request, response::Response};
use bytes::{Bytes, BytesMut};
use flatbus_base::Random;
use flatbus_http::{Client, HeaderMap, HostList, Method, Settings, header};
use flatbus_oci::{
    AuthFile, BlobStream, Credentials, Digest, Error, HttpRegistry, Manifest, MemoryRegistry, Mounted,
    Reference, Registry, RemoteSettings, Repository, Upload,
};
use futures::StreamExt as _;
use tokio::task::JoinSet;

/// What was asked.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: Method,
    pub path: String,
    pub query: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Seen {
    pub fn is(&self, method: &Method, part: &str) -> bool {
        self.method == *method && self.path.contains(part)
    }

    pub fn authorization(&self) -> Option<&str> {
        self.headers.get(header::AUTHORIZATION)?.to_str().ok()
    }

    fn query(&self, name: &str) -> Option<String> {
        url::form_urlencoded::parse(self.query.as_bytes())
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into())
    }
}

/// A running double. Ends with the value.
pub struct Double {
    pub address: SocketAddr,
    pub memory: MemoryRegistry,
    seen: Arc<Mutex<Vec<Seen>>>,
    _tasks: JoinSet<()>,
}

impl Double {
    /// A registry without faults.
    pub async fn good() -> Self {
        Self::start(|_| None).await
    }

    /// A registry that asks first; `None` goes the good way.
    pub async fn start(say: impl Fn(&Seen) -> Option<Response> + Send + Sync + 'static) -> Self {
        Self::changing(say, |_, answer| answer).await
    }

    /// A registry that asks first, and whose answers can be changed.
    pub async fn changing(
        say: impl Fn(&Seen) -> Option<Response> + Send + Sync + 'static,
        change: impl Fn(&Seen, Response) -> Response + Send + Sync + 'static,
    ) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let memory = MemoryRegistry::new(address.to_string());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::new((say, change, memory.clone(), seen.clone()));
        let serve = move |request: Request| {
            let shared = shared.clone();
            async move {
                let (say, change, memory, all) = &*shared;
                let (parts, body) = request.into_parts();
                let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
                let (path, query) =
                    (parts.uri.path().to_owned(), parts.uri.query().unwrap_or_default().to_owned());
                let seen = Seen { method: parts.method, path, query, headers: parts.headers, body };
                all.lock().unwrap().push(seen.clone());
                let answer = match say(&seen) {
                    Some(answer) => answer,
                    None => good_answer(memory, &seen).await.unwrap_or_else(refused),
                };
                change(&seen, answer)
            }
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(listener, Router::new().fallback(serve)).await.unwrap() });
        Self { address, memory, seen, _tasks: tasks }
    }

    pub fn host(&self) -> String {
        self.address.to_string()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub fn count(&self, method: &Method, part: &str) -> usize {
        self.seen().iter().filter(|seen| seen.is(method, part)).count()
    }

    pub fn remote(&self) -> HttpRegistry {
        self.remote_as(None)
    }

    pub fn remote_as(&self, who: Option<Credentials>) -> HttpRegistry {
        remote(&self.host(), who, client())
    }
}

pub fn remote(host: &str, who: Option<Credentials>, client: Client) -> HttpRegistry {
    let credentials = who.map(|who| Arc::new(AuthFile::single(host, who)));
    let settings =
        RemoteSettings { host: host.to_owned(), plain_http: true, credentials, ..RemoteSettings::default() };
    HttpRegistry::new(client, settings).unwrap()
}

pub fn client() -> Client {
    client_for(HostList::new(["127.0.0.1:*"]))
}

pub fn client_for(hosts: HostList) -> Client {
    let settings = Settings {
        hosts,
        read_timeout: Duration::from_millis(500),
        attempts_max: 3,
        elapsed_max: Duration::from_secs(5),
        retry_wait_max: Duration::from_secs(2),
        ..Settings::default()
    };
    Client::new(settings, Random::from_seed(1)).unwrap()
}

pub fn status(code: u16) -> Response {
    Response::builder().status(code).body(Body::empty()).unwrap()
}

pub fn with_header(code: u16, name: &str, value: &str) -> Response {
    Response::builder().status(code).header(name, value).body(Body::empty()).unwrap()
}

pub fn json(code: u16, text: impl Into<String>) -> Response {
    Response::builder()
        .status(code)
        .header("content-type", "application/json")
        .body(Body::from(text.into()))
        .unwrap()
}

/// The same answer without one of its headers.
pub fn without(mut answer: Response, name: &str) -> Response {
    answer.headers_mut().remove(name);
    answer
}

fn refused(error: Error) -> Response {
    let code = match error {
        Error::NotFound { .. } => "MANIFEST_BLOB_UNKNOWN",
        Error::UploadLost { .. } => return status(404),
        _ => "DIGEST_INVALID",
    };
    json(400, format!(r#"{{"errors":[{{"code":"{code}","message":"refused"}}]}}"#))
}

async fn good_answer(memory: &MemoryRegistry, seen: &Seen) -> Result<Response, Error> {
    let path = seen.path.strip_prefix("/v2/").unwrap_or_default();
    if path.is_empty() {
        return Ok(status(200));
    }
    if let Some((repository, upload)) = path.rsplit_once("/blobs/uploads/") {
        return upload_answer(memory, &repository.parse()?, upload, seen).await;
    }
    if let Some((repository, digest)) = path.rsplit_once("/blobs/") {
        return blob_answer(memory, &repository.parse()?, &digest.parse()?, seen).await;
    }
    if let Some((repository, reference)) = path.rsplit_once("/manifests/") {
        return manifest_answer(memory, &repository.parse()?, &reference.parse()?, seen).await;
    }
    let repository: Repository = path.trim_end_matches("/tags/list").parse()?;
    let tags: Vec<_> = memory.tags_of(&repository).into_keys().collect();
    Ok(json(200, serde_json::json!({"name": repository, "tags": tags}).to_string()))
}

async fn manifest_answer(
    memory: &MemoryRegistry,
    repository: &Repository,
    reference: &Reference,
    seen: &Seen,
) -> Result<Response, Error> {
    match (&seen.method, reference) {
        (&Method::PUT, _) => {
            let media_type = seen.headers[header::CONTENT_TYPE].to_str().ok();
            let manifest = Manifest::new(seen.body.clone(), media_type, "double")?;
            memory.manifest_put(repository, reference, &manifest).await?;
            Ok(with_header(201, "docker-content-digest", &manifest.digest.to_string()))
        }
        (&Method::DELETE, Reference::Tag(tag)) => {
            memory.tag_delete(repository, tag).await?;
            Ok(status(202))
        }
        _ => {
            let Some(manifest) = memory.manifest_get(repository, reference).await? else {
                return Ok(status(404));
            };
            let answer = Response::builder()
                .header("content-type", &manifest.media_type)
                .header("content-length", manifest.bytes.len())
                .header("docker-content-digest", manifest.digest.to_string());
            let body = if seen.method == Method::HEAD { Body::empty() } else { Body::from(manifest.bytes) };
            Ok(answer.body(body).unwrap())
        }
    }
}

async fn blob_answer(
    memory: &MemoryRegistry,
    repository: &Repository,
    digest: &Digest,
    seen: &Seen,
) -> Result<Response, Error> {
    let Some(size) = memory.blob_head(repository, digest).await? else { return Ok(status(404)) };
    if seen.method == Method::HEAD {
        return Ok(with_header(200, "content-length", &size.to_string()));
    }
    let range = seen.headers.get(header::RANGE).and_then(|range| range.to_str().ok());
    let from =
        range.and_then(|range| range.strip_prefix("bytes=")?.trim_end_matches('-').parse::<u64>().ok());
    if from.is_some_and(|from| from >= size) {
        return Ok(status(416));
    }
    let bytes = whole(memory.blob_get(repository, digest, from.unwrap_or(0)).await?).await?;
    let answer = match from {
        None => Response::builder(),
        Some(from) => Response::builder()
            .status(206)
            .header("content-range", format!("bytes {from}-{}/{size}", size - 1)),
    };
    Ok(answer.header("content-length", bytes.len()).body(Body::from(bytes)).unwrap())
}

async fn whole(mut blob: BlobStream) -> Result<Bytes, Error> {
    let mut bytes = BytesMut::new();
    while let Some(chunk) = blob.chunks.next().await {
        bytes.extend_from_slice(&chunk?);
    }
    Ok(bytes.freeze())
}

async fn upload_answer(
    memory: &MemoryRegistry,
    repository: &Repository,
    id: &str,
    seen: &Seen,
) -> Result<Response, Error> {
    let mut upload = Upload { location: id.replace('~', "/"), chunk_min: 0 };
    match seen.method {
        Method::POST => {
            if let Some((digest, from)) = seen.query("mount").zip(seen.query("from"))
                && let Mounted::Mounted = memory.mount(repository, &digest.parse()?, &from.parse()?).await?
            {
                return Ok(status(201));
            }
            let begun = memory.upload_begin(repository).await?;
            Ok(with_header(202, "location", &location(repository, &begun)))
        }
        Method::PATCH => {
            let offset = offset_of(seen);
            memory.upload_patch(repository, &mut upload, offset, seen.body.clone()).await?;
            let mut answer = with_header(202, "location", &location(repository, &upload));
            let last = (offset + seen.body.len() as u64).saturating_sub(1);
            answer.headers_mut().insert(header::RANGE, format!("0-{last}").parse().unwrap());
            Ok(answer)
        }
        Method::PUT => {
            let digest = seen.query("digest").unwrap_or_default().parse()?;
            let last = (!seen.body.is_empty()).then(|| (offset_of(seen), seen.body.clone()));
            memory.upload_put(repository, upload, &digest, last).await?;
            Ok(with_header(201, "docker-content-digest", &digest.to_string()))
        }
        Method::DELETE => {
            memory.upload_cancel(repository, upload).await;
            Ok(status(204))
        }
        _ => match memory.upload_status(repository, &mut upload).await? {
            None => Ok(status(404)),
            Some(held) => Ok(with_header(204, "range", &format!("0-{}", held.saturating_sub(1)))),
        },
    }
}

fn location(repository: &Repository, upload: &Upload) -> String {
    format!("/v2/{repository}/blobs/uploads/{}", upload.location.replace('/', "~"))
}

fn offset_of(seen: &Seen) -> u64 {
    let range = seen.headers.get(header::CONTENT_RANGE).and_then(|range| range.to_str().ok());
    range.and_then(|range| range.split_once('-')?.0.parse().ok()).unwrap_or(0)
}
