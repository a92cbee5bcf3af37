use std::{
    fs::{self, File},
    os::unix::fs::symlink,
    path::Path,
    time::{Duration, SystemTime},
};

use axum::body::Body;
use http::{HeaderMap, Request, header};
use http_body_util::BodyExt as _;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::*;

/// What flatpak 1.14 sends.
const QUERY: &str = "/index/static?label%3Aorg.flatpak.ref%3Aexists=1&architecture=amd64&os=linux&tag=latest";
const LATEST: &str = "index/flatpak-latest-amd64.json";
const EMPTY: &str = "{\"Registry\": \"https://registry.test/\", \"Results\": []}";

struct Folder {
    dir: TempDir,
}

impl Folder {
    fn new() -> Self {
        Self { dir: TempDir::new().unwrap() }
    }

    fn root(&self) -> &Path {
        self.dir.path()
    }

    /// At so many microseconds (and a bit) past a second in 2023.
    fn put(&self, path: &str, bytes: impl AsRef<[u8]>, micros: u64) -> &Self {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let new = path.with_extension("new");
        fs::write(&new, bytes).unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::new(1_700_000_000, 789) + Duration::from_micros(micros);
        File::options().write(true).open(&new).unwrap().set_modified(time).unwrap();
        fs::rename(new, path).unwrap();
        self
    }

    fn router(&self) -> Router {
        let route = Route {
            tag: "latest".parse().unwrap(),
            architecture: Some("amd64".to_owned()),
            annotations: false,
            path: LATEST.to_owned(),
        };
        router(Settings {
            site_dir: self.root().to_owned(),
            routes: Routes::new(vec![route]).unwrap(),
            empty: EMPTY.to_owned(),
            front: Some(Location::parse("https://quay.test/fedora").unwrap()),
        })
    }

    async fn ask(&self, method: Method, target: &str, headers: &[(&str, &str)]) -> Response {
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.router().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    async fn get(&self, target: &str, headers: &[(&str, &str)]) -> (u16, HeaderMap, String) {
        let (parts, body) = self.ask(Method::GET, target, headers).await.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (parts.status.as_u16(), parts.headers, String::from_utf8(body.to_vec()).unwrap())
    }
}

fn said(headers: &HeaderMap, name: header::HeaderName) -> &str {
    headers.get(name).map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn the_clients_own_request_is_answered_with_the_file_that_is_meant() {
    let folder = Folder::new();
    folder.put(LATEST, "{\"here\": 1}", 255);
    let (status, headers, body) = folder.get(QUERY, &[]).await;
    assert_eq!((status, &*body), (200, "{\"here\": 1}"));
    // Size, and microseconds since 1970, in hexadecimal digits: as Apache 2.4 answered for such a file.
    assert_eq!(said(&headers, header::ETAG), "\"b-60a24181e40ff\"");
    assert_eq!(said(&headers, header::LAST_MODIFIED), "Tue, 14 Nov 2023 22:13:20 GMT");
    assert_eq!(said(&headers, header::CACHE_CONTROL), "no-cache");
    assert_eq!(said(&headers, header::CONTENT_TYPE), "application/json");
    assert_eq!(said(&headers, header::VARY), "Accept-Encoding");
    let (status, headers, body) = folder.get(QUERY, &[("If-None-Match", "\"b-60a24181e40ff\"")]).await;
    assert_eq!((status, &*body), (304, ""));
    assert_eq!(said(&headers, header::CACHE_CONTROL), "no-cache");
}

#[tokio::test]
async fn a_compressed_file_is_sent_only_of_the_same_time() {
    let folder = Folder::new();
    let encoding = async |likes: &str| {
        let (status, headers, _) = folder.get(QUERY, &[("Accept-Encoding", likes)]).await;
        assert_eq!((status, said(&headers, header::CONTENT_TYPE)), (200, "application/json"));
        said(&headers, header::CONTENT_ENCODING).to_owned()
    };
    folder.put(LATEST, "plain", 5);
    assert_eq!(encoding("gzip, zstd").await, "");
    folder.put("index/flatpak-latest-amd64.json.gz", "gzip", 5);
    assert_eq!(encoding("gzip, zstd").await, "gzip");
    folder.put("index/flatpak-latest-amd64.json.zst", "zstd", 5);
    assert_eq!(encoding("gzip, zstd").await, "zstd");
    assert_eq!(encoding("gzip;q=0, zstd;q=0.1").await, "zstd");
    assert_eq!(encoding("br").await, "");
    folder.put(LATEST, "newer", 6);
    assert_eq!(encoding("gzip, zstd").await, "");
    folder.put("index/flatpak-latest-amd64.json.gz", "gzip", 6);
    assert_eq!(encoding("zstd, gzip;q=0.1").await, "gzip");
    folder.put(LATEST, "set back", 4);
    assert_eq!(encoding("gzip, zstd").await, "");
}

#[tokio::test]
async fn what_no_file_has_is_answered_with_an_empty_index() {
    let folder = Folder::new();
    let other = "/index/static?label:org.flatpak.ref:exists=1&architecture=s390x&os=linux&tag=latest";
    let (status, headers, body) = folder.get(other, &[]).await;
    assert_eq!((status, said(&headers, header::CACHE_CONTROL)), (200, "no-cache"));
    assert_eq!(body, EMPTY);
    let tag = said(&headers, header::ETAG).to_owned();
    assert_eq!(folder.get(other, &[("If-None-Match", &tag)]).await.0, 304);
    folder.put(EMPTY_INDEX, "{\"in a file\": 1}", 0);
    assert_eq!(folder.get(other, &[("If-None-Match", &tag)]).await.2, "{\"in a file\": 1}");
    assert_eq!(folder.get("/index/static?architecture=X", &[]).await.0, 400);
    assert_eq!(
        folder.get(QUERY, &[]).await.0,
        404,
        "a file that is meant and not written yet is no empty index"
    );
}

#[tokio::test]
async fn what_is_named_by_its_content_may_be_kept_and_nothing_else() {
    let folder = Folder::new();
    let icon = format!("icons/ab/{}.png", "c".repeat(62));
    folder.put(&icon, "png", 0).put("site.json", "{}", 0).put("deltas/wanted.json", "[]", 0);
    for (path, kept, kind) in [
        (&*icon, "public, max-age=31536000, immutable", "image/png"),
        ("site.json", "no-cache", "application/json"),
        ("deltas/wanted.json", "no-cache", "application/json"),
    ] {
        let (status, headers, _) = folder.get(&format!("/{path}"), &[("Accept-Encoding", "gzip")]).await;
        assert_eq!((status, said(&headers, header::CACHE_CONTROL)), (200, kept));
        assert_eq!((said(&headers, header::CONTENT_TYPE), said(&headers, header::VARY)), (kind, ""));
    }
    let (status, headers, _) = folder.get("/icons/ab/nothing.png", &[]).await;
    assert_eq!((status, said(&headers, header::CACHE_CONTROL)), (404, "max-age=60"));
}

#[tokio::test]
async fn parts_and_heads_are_of_the_same_file() {
    let folder = Folder::new();
    folder.put("site.json", "0123456789", 0);
    let (status, headers, body) = folder.get("/site.json", &[("Range", "bytes=3-5")]).await;
    assert_eq!((status, &*body, said(&headers, header::CONTENT_RANGE)), (206, "345", "bytes 3-5/10"));
    let (status, headers, _) = folder.get("/site.json", &[("Range", "bytes=10-")]).await;
    assert_eq!((status, said(&headers, header::CONTENT_RANGE)), (416, "bytes */10"));
    let head = folder.ask(Method::HEAD, "/site.json", &[("Range", "bytes=3-5")]).await;
    assert_eq!((head.status().as_u16(), said(head.headers(), header::CONTENT_LENGTH)), (200, "10"));
    assert!(head.into_body().collect().await.unwrap().to_bytes().is_empty());
}

#[tokio::test]
async fn it_is_only_read() {
    let folder = Folder::new();
    for target in [QUERY, "/site.json", "/v2/eog/blobs/uploads/"] {
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS] {
            let answer = folder.ask(method, target, &[]).await;
            assert_eq!((answer.status().as_u16(), said(answer.headers(), header::ALLOW)), (405, "GET, HEAD"));
        }
    }
    let answer = folder.ask(Method::GET, "/v2/eog/manifests/latest", &[]).await;
    let to = said(answer.headers(), header::LOCATION);
    assert_eq!((answer.status().as_u16(), to), (302, "https://quay.test/v2/fedora/eog/manifests/latest"));
}

#[tokio::test]
async fn no_link_pipe_or_folder_is_read() {
    let (folder, outside) = (Folder::new(), Folder::new());
    outside.put("secret.json", "secret", 0);
    folder.put("index/real.json", "{}", 0);
    symlink(outside.root(), folder.root().join("lists")).unwrap();
    symlink(outside.root().join("secret.json"), folder.root().join("index/out.json")).unwrap();
    symlink("real.json", folder.root().join("index/in.json")).unwrap();
    symlink("loop.json", folder.root().join("index/loop.json")).unwrap();
    fs::create_dir(folder.root().join("index/folder.json")).unwrap();
    let pipe = folder.root().join("index/pipe.json");
    rustix::fs::mknodat(rustix::fs::CWD, pipe, rustix::fs::FileType::Fifo, 0o644.into(), 0).unwrap();
    for path in [
        "/lists/secret.json",
        "/index/out.json",
        "/index/in.json",
        "/index/loop.json",
        "/index/folder.json",
        "/index/pipe.json",
        "/index/real.json/x",
        "/../secret.json",
        "/index/%2e%2e/x.json",
    ] {
        assert_eq!(folder.get(path, &[]).await.0, 404, "{path}");
    }
    assert_eq!(folder.get("/index/real.json", &[]).await.0, 200);
}

#[tokio::test]
async fn an_answer_that_has_begun_stays_of_one_generation() {
    let folder = Folder::new();
    folder.put(LATEST, "old", 1);
    let answer = folder.ask(Method::GET, QUERY, &[]).await;
    folder.put(LATEST, "another", 2);
    assert_eq!(said(answer.headers(), header::CONTENT_LENGTH), "3");
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "old");
}

#[test]
fn a_reader_never_sees_half_of_a_publication() {
    let folder = Folder::new();
    let gzip = format!("{LATEST}.gz");
    let publish = |n: u64| {
        folder.put(LATEST, "p".repeat(n as usize), n).put(&gzip, "g".repeat(1000 + n as usize), n);
    };
    publish(1);
    let router = folder.router();
    std::thread::scope(|threads| {
        let writer = threads.spawn(|| (2..400).for_each(publish));
        let reader = tokio::runtime::Builder::new_current_thread().build().unwrap();
        threads.spawn(move || {
            reader.block_on(async {
                while !writer.is_finished() {
                    let request =
                        Request::get(QUERY).header("Accept-Encoding", "gzip").body(Body::empty()).unwrap();
                    let (parts, body) = router.clone().oneshot(request).await.unwrap().into_parts();
                    let body = body.collect().await.unwrap().to_bytes();
                    let plain = body.iter().filter(|byte| **byte == b'p').count();
                    let zipped = body.iter().filter(|byte| **byte == b'g').count();
                    let generation = if plain > 0 { plain } else { zipped - 1000 };
                    let etag = format!("\"{:x}-{:x}\"", body.len(), 1_700_000_000_000_000 + generation);
                    assert_eq!((said(&parts.headers, header::ETAG), plain.min(zipped)), (&*etag, 0));
                    assert_eq!(
                        said(&parts.headers, header::CONTENT_ENCODING),
                        if plain > 0 { "" } else { "gzip" }
                    );
                }
            });
        });
    });
}

#[tokio::test]
async fn a_large_file_is_sent_in_small_pieces() {
    let folder = Folder::new();
    folder.put("deltas/ab/large.tardiff", vec![7; 3_000_000], 0);
    let mut body =
        folder.ask(Method::GET, "/deltas/ab/large.tardiff", &[("Range", "bytes=1-")]).await.into_body();
    let mut sizes = Vec::new();
    while let Some(frame) = body.frame().await {
        sizes.push(frame.unwrap().into_data().unwrap().len());
    }
    assert_eq!(sizes.iter().sum::<usize>(), 2_999_999);
    assert!(sizes.iter().all(|size| *size <= 64 << 10), "{:?}", sizes.iter().max());
}

#[tokio::test]
async fn the_folder_itself_may_be_a_link_that_is_turned() {
    let (links, first, second) = (Folder::new(), Folder::new(), Folder::new());
    first.put("site.json", "1", 0);
    second.put("site.json", "2", 0);
    let link = links.root().join("site");
    symlink(first.root(), &link).unwrap();
    let routes = Routes::default();
    let router = router(Settings { site_dir: link.clone(), routes, empty: EMPTY.to_owned(), front: None });
    let body = async || {
        let request = Request::builder().uri("/site.json").body(Body::empty()).unwrap();
        router.clone().oneshot(request).await.unwrap().into_body().collect().await.unwrap().to_bytes()
    };
    assert_eq!(body().await, "1");
    fs::remove_file(&link).unwrap();
    symlink(second.root(), &link).unwrap();
    assert_eq!(body().await, "2");
}

#[test]
fn clients_that_do_not_read_hold_no_thread() {
    let folder = Folder::new();
    folder.put("deltas/ab/large.tardiff", vec![7; 16 << 20], 0).put("site.json", "{}", 0);
    let one = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(1)
        .enable_all()
        .build();
    one.unwrap().block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, folder.router(), stop.clone()));
        let mut stalled = Vec::new();
        for _ in 0..8 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET /deltas/ab/large.tardiff HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
            stream.read_u8().await.unwrap(); // It has begun.
            stalled.push(stream);
        }
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /site.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("\r\n\r\n{}"), "{answer}");
        drop(stalled);
        stop.cancel();
        tasks.join_next().await.unwrap().unwrap();
    });
}
