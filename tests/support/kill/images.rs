//! A registry as an anonymous client sees it: every tag, and whether all that it names can be had. Shares no line with the
//! client that is judged.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use flatbus_embedded::registry::Digest;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::TcpStream, runtime::Handle, task::JoinSet};

/// What a client accepts.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json";

/// What every tag names: (repository, tag) to digest.
pub type Tags = BTreeMap<(String, String), String>;

/// What a walk over all tags found.
#[derive(Default)]
pub struct Walk {
    pub tags: Tags,
    /// Images that were looked at, each once.
    pub images: usize,
    /// What is named and can't be had, or is not what its name says.
    pub wrong: Vec<String>,
}

/// Walks over all tags of the registry on this host, to the last blob.
pub fn walk(runtime: &Handle, host: &str) -> Walk {
    runtime.block_on(async {
        let mut client = Client::connect(host).await;
        let mut walk = Walk::default();
        let repositories = client.list("/v2/_catalog?n=1000", "repositories").await.unwrap();
        for repository in repositories {
            let mut seen = BTreeSet::new();
            // A repository in which nothing was ever finished has no list.
            let tags = client.list(&format!("/v2/{repository}/tags/list"), "tags").await;
            for tag in tags.unwrap_or_default() {
                let place = format!("{repository}:{tag}");
                let found = client.root(&repository, &tag, &mut seen).await;
                match found {
                    Ok(digest) => drop(walk.tags.insert((repository.clone(), tag), digest)),
                    Err(why) => walk.wrong.push(format!("{place}: {why}")),
                }
            }
            walk.images += seen.len();
        }
        walk
    })
}

struct Client {
    sender: http1::SendRequest<Empty<Bytes>>,
    host: String,
    _driving: JoinSet<()>,
}

impl Client {
    async fn connect(host: &str) -> Self {
        let stream = TcpStream::connect(host).await.unwrap();
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        let mut driving = JoinSet::new();
        driving.spawn(async { connection.await.unwrap_or_default() });
        Self { sender, host: host.to_owned(), _driving: driving }
    }

    async fn ask(&mut self, method: Method, path: &str) -> Response<Incoming> {
        let request = Request::builder().method(method).uri(path).header("host", &self.host);
        let request = request.header("accept", MANIFESTS).body(Empty::new()).unwrap();
        self.sender.ready().await.unwrap();
        self.sender.send_request(request).await.unwrap()
    }

    async fn read(&mut self, path: &str) -> (StatusCode, Bytes) {
        let answer = self.ask(Method::GET, path).await;
        (answer.status(), answer.into_body().collect().await.unwrap().to_bytes())
    }

    async fn get(&mut self, path: &str) -> Result<Bytes, String> {
        let (status, body) = self.read(path).await;
        if status == StatusCode::OK { Ok(body) } else { Err(format!("GET {path} answers {status}")) }
    }

    /// `None` where there is none.
    async fn list(&mut self, path: &str, member: &str) -> Option<Vec<String>> {
        let (status, body) = self.read(path).await;
        if status == StatusCode::NOT_FOUND {
            return None;
        }
        assert_eq!(status, StatusCode::OK, "GET {path}");
        let listed: Value = serde_json::from_slice(&body).unwrap();
        let texts = listed[member].as_array().into_iter().flatten();
        Some(texts.map(|text| text.as_str().unwrap().to_owned()).collect())
    }

    /// The digest that a tag names, once all beneath it is seen to be there.
    async fn root(
        &mut self,
        repository: &str,
        tag: &str,
        seen: &mut BTreeSet<String>,
    ) -> Result<String, String> {
        let root = self.get(&format!("/v2/{repository}/manifests/{tag}")).await?;
        let digest = Digest::of(&root).to_string();
        if seen.insert(digest.clone()) {
            for child in parts(&root, &["manifests"]) {
                let path = format!("/v2/{repository}/manifests/{}", child.digest);
                let manifest = self.get(&path).await?;
                child.is(&Digest::of(&manifest).to_string(), manifest.len() as u64)?;
                self.blobs(repository, &manifest).await?;
            }
            self.blobs(repository, &root).await?;
        }
        Ok(digest)
    }

    async fn blobs(&mut self, repository: &str, manifest: &[u8]) -> Result<(), String> {
        for blob in parts(manifest, &["config", "layers"]) {
            let path = format!("/v2/{repository}/blobs/{}", blob.digest);
            let answer = self.ask(Method::HEAD, &path).await;
            if answer.status() != StatusCode::OK {
                return Err(format!("HEAD {path} answers {}", answer.status()));
            }
            let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok());
            let bytes = header("content-length").and_then(|length| length.parse().ok());
            blob.is(header("docker-content-digest").unwrap_or_default(), bytes.unwrap_or_default())?;
        }
        Ok(())
    }
}

/// Something that a manifest names.
struct Part {
    digest: String,
    bytes: u64,
}

impl Part {
    fn is(&self, digest: &str, bytes: u64) -> Result<(), String> {
        if (digest, bytes) == (self.digest.as_str(), self.bytes) {
            return Ok(());
        }
        Err(format!("{} of {} bytes is {digest} of {bytes} bytes", self.digest, self.bytes))
    }
}

/// What a manifest names under these members, of which one may be a list and another not.
fn parts(manifest: &[u8], members: &[&str]) -> Vec<Part> {
    let manifest: Value = serde_json::from_slice(manifest).unwrap();
    let named = members.iter().flat_map(|member| match &manifest[*member] {
        Value::Array(list) => list.clone(),
        Value::Null => Vec::new(),
        one => vec![one.clone()],
    });
    let part = |named: Value| Part {
        digest: named["digest"].as_str().unwrap().to_owned(),
        bytes: named["size"].as_u64().unwrap(),
    };
    named.map(part).collect()
}
