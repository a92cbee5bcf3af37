//! Apache httpd under the rendered configuration and the site server answer alike, and one host like another.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "support/httpd/client.rs"]
mod client;
#[path = "support/httpd.rs"]
mod httpd;
#[path = "support/httpd/site.rs"]
mod site;

use std::{collections::BTreeSet, fs, net::SocketAddr, os::unix::fs::symlink, path::Path, process::Command};

use client::{Answer, Request, ask, get};
use flatbus_index::{
    httpd::config,
    serve::{router, serve},
};
use httpd::{Httpd, open_to_all};
use site::{hex, others, publish, publish_site, route, routes, settings};
use tempfile::TempDir;
use tokio::{net::TcpListener, runtime::Runtime};
use tokio_util::sync::CancellationToken;

const CLIENTS_QUERY: &str = "label%3Aorg.flatpak.ref%3Aexists=1&architecture=amd64&os=linux&tag=latest";

/// Two hosts with httpd, each on its own copy of the folder, and the site server on the first one's.
struct Hosts {
    first: Httpd,
    second: Httpd,
    server: SocketAddr,
    root: TempDir,
    _runtime: Runtime,
}

impl Hosts {
    fn start() -> Self {
        let root = TempDir::with_prefix("site-").unwrap();
        open_to_all(root.path(), 0o755);
        let [first, second] = ["first", "second"].map(|name| root.path().join(name));
        publish_site(&first);
        symlink("/etc", first.join("icons/ee")).unwrap();
        symlink("/etc/passwd", first.join("index/flatpak-link.json")).unwrap();
        // As rsync -a and edge do: with the same times, and under a symlink that names the one in use.
        let real = root.path().join("second-1");
        assert!(Command::new("cp").arg("-a").args([&first, &real]).status().unwrap().success());
        symlink(&real, &second).unwrap();
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let server = listener.local_addr().unwrap();
        runtime.spawn(serve(listener, router(settings(&first)), CancellationToken::new()));
        let httpd = |root: &Path| Httpd::start(&config(&settings(root)).unwrap());
        Self { first: httpd(&first), second: httpd(&second), server, root, _runtime: runtime }
    }

    fn hosts(&self) -> [String; 3] {
        [self.server.to_string(), self.first.host(), self.second.host()]
    }

    /// All three answer alike. Gives that answer.
    fn alike(&self, request: &Request) -> Answer {
        let [server, first, second] = self.hosts().map(|host| ask(&host, request));
        assert_eq!(server.compared(), first.compared(), "the site server and httpd differ on {request:?}");
        assert_eq!(first.compared(), second.compared(), "two httpds differ on {request:?}");
        server
    }
}

fn queries() -> Vec<String> {
    let mut queries = vec![
        String::new(),
        "?".to_owned(),
        "?tag=latest".to_owned(),
        "?tag=&architecture=".to_owned(),
        "?architecture=amd64&tag=testing&more=x&tag=latest".to_owned(),
        "?tag=la%74est&architecture=a%6dd64&os=linu%78".to_owned(),
        "?xtag=testing&tag=f41.x&architecture=amd64".to_owned(),
        "?tag=f41-x&architecture=amd64".to_owned(),
        "?tag=latest&os=windows&architecture=amd64".to_owned(),
    ];
    for form in [
        "label%3Aorg.flatpak.ref%3Aexists=1",
        "label:org.flatpak.ref:exists=1",
        "annotation%3Aorg.flatpak.ref%3Aexists=1",
        "annotation:org.flatpak.ref%3aexists=1",
    ] {
        for architecture in ["amd64", "arm64", "ppc64le", "riscv64", "386"] {
            for tag in ["latest", "testing", "f41.x", "nothing"] {
                queries.push(format!("?{form}&architecture={architecture}&os=linux&tag={tag}"));
                queries.push(format!("?tag={tag}&os=linux&architecture={architecture}&{form}"));
            }
        }
    }
    let label = "label%3Aorg.flatpak.ref%3Aexists=1";
    queries.push(format!("?annotation:org.flatpak.ref:exists=1&{label}&tag=latest"));
    queries.push("?annotation:org.flatpak.ref:exists=0&tag=latest".to_owned());
    queries
}

// --- Facts

#[test]
fn every_request_for_the_index_is_answered_alike() {
    let hosts = Hosts::start();
    let mut tags = BTreeSet::new();
    for query in queries() {
        for encoding in ["", "gzip", "zstd", "gzip, zstd"] {
            let target = format!("/index/static{query}");
            let request = get(target).with("Accept-Encoding", encoding);
            let answer = hosts.alike(&request);
            assert_eq!((answer.status, answer.header("cache-control")), (200, "no-cache"), "{request:?}");
            assert_eq!(answer.header("content-encoding"), encoding.split(", ").last().unwrap());
            assert_eq!(answer.header("vary"), "Accept-Encoding");
            assert!(answer.header("etag").starts_with('"'), "{}", answer.header("etag"));
            let again = hosts.alike(&request.with("If-None-Match", answer.header("etag")));
            assert_eq!((again.status, again.body.len()), (304, 0));
            tags.insert(answer.header("etag").to_owned());
        }
    }
    assert_eq!(tags.len(), 3 * 18, "each file has a tag of its own in each encoding");
}

#[test]
fn each_request_is_answered_with_the_file_that_is_meant() {
    let hosts = Hosts::start();
    for (query, file) in [
        (CLIENTS_QUERY, "index/flatpak-latest-amd64.json"),
        (
            "label:org.flatpak.ref:exists=1&architecture=arm64&os=linux&tag=testing",
            "index/flatpak-testing-arm64.json",
        ),
        ("architecture=riscv64&tag=testing", "index/flatpak-testing.json"),
        ("annotation%3Aorg.flatpak.ref%3Aexists=1&tag=latest", "index/flatpak-latest-annotations.json"),
        ("tag=f41.x&architecture=amd64", "index/flatpak-f41.x-amd64.json"),
        ("tag=f41.x&architecture=arm64", "index/empty.json"),
        ("tag=f41-x&architecture=amd64", "index/empty.json"),
        ("tag=latest&os=windows", "index/empty.json"),
    ] {
        let meant = fs::read(hosts.root.path().join("first").join(file)).unwrap();
        assert_eq!(hosts.alike(&get(format!("/index/static?{query}"))).body, meant, "{query}");
    }
}

#[test]
fn what_is_malformed_is_refused_alike() {
    let hosts = Hosts::start();
    for query in [
        "tag=la+test",
        "tag=.x",
        "tag=latest%0A",
        "tag=..%2Fx",
        "tag=%00",
        "tag=%zz",
        "architecture=AMD64",
        "architecture=a-b",
        "architecture=012345678901234567890123456789012",
        "os=../linux",
        "os=l%20x",
        "tag=latest&os=linux%0d%0aX:%20y",
    ] {
        assert_eq!(hosts.alike(&get(format!("/index/static?{query}"))).status, 400, "{query}");
    }
    let long = "x".repeat(129);
    assert_eq!(hosts.alike(&get(format!("/index/static?tag={long}"))).status, 400);
    assert_eq!(hosts.alike(&get(format!("/index/static?tag={}", &long[1..]))).status, 200);
}

#[test]
fn every_file_is_served_alike_and_kept_as_long_as_it_may() {
    let hosts = Hosts::start();
    let mut files: Vec<String> = others().into_iter().map(|(path, _)| path).collect();
    for ending in ["", ".gz", ".zst"] {
        files.push(format!("{}{ending}", routes()[3].path));
    }
    for path in files.iter().filter(|path| !path.contains("tmp") && !path.contains("notes")) {
        let answer = hosts.alike(&get(format!("/{path}")).with("Accept-Encoding", "identity"));
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.body, fs::read(hosts.root.path().join("first").join(path)).unwrap());
        let lasting = answer.header("cache-control") == "public, max-age=31536000, immutable";
        let named_by_content = path.ends_with("tardiff")
            || ["icons", "lists", "by-digest"].iter().any(|name| path.starts_with(name));
        assert_eq!(lasting, named_by_content, "{path}");
        let head = hosts.alike(&get(format!("/{path}")).by("HEAD").with("Accept-Encoding", "identity"));
        assert_eq!(
            (head.status, head.body.len(), head.headers["etag"].clone()),
            (200, 0, answer.headers["etag"].clone())
        );
        let compressible = hosts.alike(&get(format!("/{path}")).with("Accept-Encoding", "gzip"));
        assert_eq!(
            compressible.header("content-encoding") == "gzip",
            path.starts_with("index") && path.ends_with("json"),
            "{path}"
        );
    }
}

#[test]
fn what_a_client_likes_best_is_chosen_alike() {
    let hosts = Hosts::start();
    for (likes, sent) in [
        ("deflate, gzip, br, zstd", "zstd"),
        ("gzip;q=0", ""),
        ("gzip;q=0.000, zstd;q=0", ""),
        ("zstd;q=0.5, gzip;q=0.75", "gzip"),
        ("zstd;q=0.50,gzip;q=0.5", "zstd"),
        ("GZIP", "gzip"),
        ("identity, gzip;q=0.5", ""),
        ("identity;q=0.5, gzip ; q=0.6", "gzip"),
        ("gzip;q=1.000, zstd;q=0.999", "gzip"),
        ("*", ""),
        ("identity;q=0", ""),
        ("x-gzip", ""),
        ("br", ""),
        ("gzip;q=2", ""),
        ("gzip;x=1", ""),
        ("gzip;q=0.001", "gzip"),
        ("gzip;q=1.", "gzip"),
        ("bgzip", ""),
    ] {
        let answer =
            hosts.alike(&get(format!("/index/static?{CLIENTS_QUERY}")).with("Accept-Encoding", likes));
        assert_eq!(answer.header("content-encoding"), sent, "{likes}");
    }
    let lines = get("/index/static").with("Accept-Encoding", "gzip").with("Accept-Encoding", "zstd;q=0.1");
    assert_eq!(hosts.alike(&lines).header("content-encoding"), "gzip");
}

#[test]
fn who_has_it_is_told_so_alike() {
    let hosts = Hosts::start();
    let asked = get(format!("/index/static?{CLIENTS_QUERY}"));
    let plain = hosts.alike(&asked);
    let (tag, date) = (plain.header("etag"), plain.header("last-modified"));
    let conditions = [
        ("If-None-Match", tag.to_owned(), 304),
        ("If-None-Match", format!("W/{tag}"), 304),
        ("If-None-Match", format!("\"x\", {tag}"), 304),
        ("If-None-Match", "*".to_owned(), 304),
        ("If-None-Match", "\"x\"".to_owned(), 200),
        ("If-None-Match", tag.trim_matches('"').to_owned(), 200),
        ("If-Modified-Since", date.to_owned(), 304),
        ("If-Modified-Since", "Tue, 14 Nov 2000 22:13:20 GMT".to_owned(), 200),
        ("If-Modified-Since", "yesterday".to_owned(), 200),
        ("If-Match", tag.to_owned(), 200),
        ("If-Match", "*".to_owned(), 200),
        ("If-Match", format!("W/{tag}"), 412),
        ("If-Match", "\"x\"".to_owned(), 412),
        ("If-Unmodified-Since", date.to_owned(), 200),
        ("If-Unmodified-Since", "Tue, 14 Nov 2000 22:13:20 GMT".to_owned(), 412),
    ];
    for (name, value, status) in conditions {
        for method in ["GET", "HEAD"] {
            let request = asked.clone().by(method).with(name, value.clone());
            assert_eq!(hosts.alike(&request).status, status, "{request:?}");
        }
    }
    let both = asked.clone().with("If-None-Match", "\"x\"").with("If-Modified-Since", date);
    assert_eq!(hosts.alike(&both).status, 200, "a date counts only without a tag");
    let other = asked.with("Accept-Encoding", "gzip").with("If-None-Match", tag);
    assert_eq!(hosts.alike(&other).status, 200, "the plain file's tag is not the compressed one's");
}

#[test]
fn parts_are_served_alike() {
    let hosts = Hosts::start();
    let asked = get(format!("/deltas/cd/{}.tardiff", hex('2', 62)));
    let whole = hosts.alike(&asked);
    for (range, status) in [
        ("bytes=0-0", 206),
        ("bytes=100000-", 206),
        ("bytes=-8", 206),
        ("bytes=-900000", 206),
        ("bytes=399999-500000", 206),
        ("bytes=70000-270000", 206),
        ("bytes=400000-", 416),
        ("bytes=-0", 200),
        ("bytes=5-4", 200),
        ("bytes=x-1", 200),
        ("lines=0-1", 200),
        ("bytes=0-1,5-6", 200),
        ("bytes=-", 200),
    ] {
        let part = hosts.alike(&asked.clone().with("Range", range));
        assert_eq!(part.status, status, "{range}");
    }
    for (validator, status) in
        [(whole.header("etag"), 206), ("\"x\"", 200), (&*format!("W/{}", whole.header("etag")), 200)]
    {
        let request = asked.clone().with("Range", "bytes=1-2").with("If-Range", validator);
        assert_eq!(hosts.alike(&request).status, status, "{validator}");
    }
    let unchanged = asked.clone().with("Range", "bytes=1-2").with("If-None-Match", whole.header("etag"));
    assert_eq!(hosts.alike(&unchanged).status, 304);
    // A range is for GET. httpd gives HEAD one too, which nobody asks for.
    let head = ask(&hosts.server.to_string(), &asked.by("HEAD").with("Range", "bytes=1-2"));
    assert_eq!((head.status, head.header("content-length")), (200, "400000"));
    let index = get("/index/static").with("Range", "bytes=1-2").with("Accept-Encoding", "gzip");
    assert_eq!(hosts.alike(&index).status, 206);
    let empty = get(format!("/by-digest/sha256/ef/{}", hex('6', 62))).with("Range", "bytes=0-0");
    assert_eq!(hosts.alike(&empty).status, 200);
}

#[test]
fn what_is_not_published_is_missing_alike_and_not_for_long() {
    let hosts = Hosts::start();
    let deep = format!("/icons/ab/{}.png", hex('9', 62));
    for path in [
        "/index/nothing.json",
        "/index/nothing.json.gz",
        "/icons/ff/x.png",
        "/deltas/x/y/z",
        "/lists/",
        "/index",
        "/index/",
        "/icons/ab",
        "/icons/ab/",
        "/index/.flatpak-latest.json.tmp",
        "/index/%2eflatpak-latest.json.tmp",
        "/index/flatpak-latest.json/",
        "/index/flatpak-latest.json/x",
        "/site.json/",
        "/index/flatpak-link.json",
        &deep,
    ] {
        let answer = hosts.alike(&get(path));
        assert_eq!((answer.status, answer.header("cache-control")), (404, "max-age=60"), "{path}");
        assert_eq!(hosts.alike(&get(path).by("HEAD")).status, 404);
    }
}

/// Which refusal it is differs: httpd tells those that are malformed (400) and forbidden (403) apart.
#[test]
fn nothing_leads_out_of_the_site() {
    let hosts = Hosts::start();
    for path in [
        "/notes.txt",
        "/index/../notes.txt",
        "/index/%2e%2e/notes.txt",
        "/index/..%2fnotes.txt",
        "/icons/../../../../../etc/passwd",
        "/index/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/icons/ee/passwd",
        "/index/flatpak-link.json",
        "/index/flatpak-latest.json%00.png",
        "/index/%zz",
        "/index//../../etc/passwd",
        "//etc/passwd",
        "/index/flatpak-latest.json%2f..%2f..%2fnotes.txt",
        "/",
    ] {
        for host in hosts.hosts() {
            let answer = ask(&host, &get(path));
            assert!((400..500).contains(&answer.status), "{host} answers {} to {path}", answer.status);
            let body = String::from_utf8_lossy(&answer.body);
            assert!(!body.contains("root:") && !body.contains("secret"), "{host} tells {path}");
        }
    }
}

#[test]
fn it_is_only_read() {
    let hosts = Hosts::start();
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"] {
        for path in [
            "/index/static",
            "/site.json",
            "/index/flatpak-latest.json",
            "/icons/x/nothing.png",
            "/v2/eog/manifests/latest",
        ] {
            let answer = hosts.alike(&get(path).by(method).with("Content-Length", "0"));
            assert_eq!((answer.status, answer.header("allow")), (405, "GET, HEAD"), "{method} {path}");
        }
    }
}

#[test]
fn the_registrys_front_sends_clients_on() {
    let hosts = Hosts::start();
    let digest = format!("sha256:{}", hex('a', 64));
    for path in [
        "f41/flatpak-runtime/manifests/latest".to_owned(),
        format!("eog/blobs/{digest}"),
        "eog/tags/list?n=2&last=x".to_owned(),
        "eog/manifests/_deltaindex".to_owned(),
    ] {
        for method in ["GET", "HEAD"] {
            let answer = hosts.alike(&get(format!("/v2/{path}")).by(method));
            assert_eq!(
                (answer.status, answer.header("location")),
                (302, &*format!("https://quay.test/v2/fedora/{path}"))
            );
            assert_eq!(answer.header("cache-control"), "", "a redirect is never kept");
        }
    }
    for path in ["/v2/EOG/manifests/latest", "/v2/eog/blobs/uploads/x", "/v2/eog/", "/v2/../v2/x"] {
        for host in hosts.hosts() {
            let answer = ask(&host, &get(path));
            assert!((400..500).contains(&answer.status), "{host} answers {} to {path}", answer.status);
        }
    }
}

/// httpd can't compare times, so it sends a compressed file as long as it is there.
#[test]
fn the_site_server_sends_no_compressed_file_of_another_time() {
    let hosts = Hosts::start();
    let first = hosts.root.path().join("first");
    let path = &route("testing", Some("amd64"), false).path;
    let asked = get(format!("/{path}")).with("Accept-Encoding", "gzip");
    let sent = || ask(&hosts.server.to_string(), &asked);
    assert_eq!(sent().header("content-encoding"), "gzip");
    publish(&first, path, b"{\"new\": 1}", 7_000_000_000_000);
    assert_eq!((sent().header("content-encoding"), &*sent().body), ("", &b"{\"new\": 1}"[..]));
    fs::remove_file(first.join(format!("{path}.gz"))).unwrap();
    for host in [hosts.server.to_string(), hosts.first.host()] {
        assert_eq!(ask(&host, &asked).header("content-encoding"), "", "{host}");
    }
}

/// With curl, as a person would look.
#[test]
fn curl_reads_it_compressed_or_not_from_each() {
    let hosts = Hosts::start();
    let path = route("latest", Some("amd64"), false).path;
    let body = fs::read(hosts.root.path().join("first").join(path)).unwrap();
    for host in hosts.hosts() {
        let url = format!("http://{host}/index/static?{CLIENTS_QUERY}");
        assert_eq!(curl(&[&url]), body);
        assert_eq!(curl(&["--compressed", &url]), body);
        assert_eq!(curl(&["--header", "Accept-Encoding: gzip", "--compressed", &url]), body);
        let dir = TempDir::new().unwrap();
        let (tag, output) =
            (dir.path().join("etag").display().to_string(), dir.path().join("body").display().to_string());
        let arguments = [
            "--compressed",
            "--etag-save",
            &tag,
            "--etag-compare",
            &tag,
            "--output",
            &output,
            "--write-out",
            "%{http_code}",
            &url,
        ];
        assert_eq!(curl(&arguments), b"200");
        assert_eq!(curl(&arguments), b"304");
        assert_eq!(fs::read(&output).unwrap(), body);
    }
}

fn curl(arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--fail", "--max-time", "60"])
        .args(arguments)
        .output();
    let output = output.expect("curl is missing: install the package curl");
    assert!(output.status.success(), "curl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}
