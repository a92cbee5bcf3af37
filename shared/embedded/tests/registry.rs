//! The embedded registry over HTTP, one rule of the distribution specification or of docker-registry a test.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use flatbus_base::Secret;
use flatbus_embedded::{
    Fault,
    registry::{self, Access, Content, Digest, Limits, Registry, Settings},
};
use http::{HeaderValue, Method, StatusCode, header};
use reqwest::{RequestBuilder, Response};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

async fn open() -> Registry {
    registry::start(Settings::default()).await.unwrap()
}

fn ask(method: Method, registry: &Registry, path: &str) -> RequestBuilder {
    let url = if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", registry.url()) };
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap()
        .request(method, url)
}

async fn get(registry: &Registry, path: &str) -> Response {
    ask(Method::GET, registry, path)
        .header(header::ACCEPT, format!("{INDEX}, {MANIFEST}"))
        .send()
        .await
        .unwrap()
}

fn text<'a>(answer: &'a Response, name: &str) -> &'a str {
    answer.headers().get(name).unwrap_or_else(|| panic!("no {name}")).to_str().unwrap()
}

/// An image of one layer, put without requests.
fn put_image(content: &Content, repository: &str, tag: Option<&str>, layer: &[u8]) -> Digest {
    let config = content.put_blob(repository, b"{}").unwrap();
    let layer_digest = content.put_blob(repository, layer).unwrap();
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config.as_str(), "size": 2},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": layer_digest.as_str(), "size": layer.len()}],
    });
    content.put_manifest(repository, tag, MANIFEST, manifest.to_string().into()).unwrap()
}

async fn begin(registry: &Registry, repository: &str) -> String {
    let answer =
        ask(Method::POST, registry, &format!("/v2/{repository}/blobs/uploads/")).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    text(&answer, "location").to_owned()
}

async fn error_code(answer: Response) -> String {
    let body: serde_json::Value = answer.json().await.unwrap();
    body["errors"][0]["code"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_blob_sent_in_chunks_comes_back_whole_and_in_parts() {
    let registry = open().await;
    let blob: Vec<u8> = (0..3_000_000_u32).map(|i| i.to_le_bytes()[0]).collect();
    let digest = Digest::of(&blob);
    let mut location = begin(&registry, "f41/app").await;
    for (start, chunk) in [(0, &blob[..1_500_000]), (1_500_000, &blob[1_500_000..])] {
        let range = format!("{start}-{}", start + chunk.len() - 1);
        let answer = ask(Method::PATCH, &registry, &location)
            .header(header::CONTENT_RANGE, range)
            .body(chunk.to_vec())
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), StatusCode::ACCEPTED);
        assert_eq!(text(&answer, "range"), format!("0-{}", start + chunk.len() - 1));
        location = text(&answer, "location").to_owned();
    }
    let answer = ask(Method::PUT, &registry, &format!("{location}&digest={digest}")).send().await.unwrap();
    assert_eq!(
        (answer.status(), text(&answer, "docker-content-digest")),
        (StatusCode::CREATED, digest.as_str())
    );
    let path = format!("/v2/f41/app/blobs/{digest}");
    assert_eq!(get(&registry, &path).await.bytes().await.unwrap(), blob);
    let part =
        ask(Method::GET, &registry, &path).header(header::RANGE, "bytes=2999990-").send().await.unwrap();
    assert_eq!(
        (part.status(), text(&part, "content-range")),
        (StatusCode::PARTIAL_CONTENT, "bytes 2999990-2999999/3000000")
    );
    assert_eq!(part.bytes().await.unwrap(), blob[2_999_990..]);
    let head = ask(Method::HEAD, &registry, &path).send().await.unwrap();
    assert_eq!((head.status(), text(&head, "content-length")), (StatusCode::OK, "3000000"));
    let past =
        ask(Method::GET, &registry, &path).header(header::RANGE, "bytes=3000000-").send().await.unwrap();
    assert_eq!(past.status(), StatusCode::RANGE_NOT_SATISFIABLE);
}

#[tokio::test]
async fn a_chunk_out_of_step_is_told_where_the_upload_ends() {
    let registry = open().await;
    let location = begin(&registry, "eog").await;
    let answer = ask(Method::PATCH, &registry, &location)
        .header(header::CONTENT_RANGE, "5-9")
        .body("56789")
        .send()
        .await
        .unwrap();
    assert_eq!((answer.status(), text(&answer, "range")), (StatusCode::RANGE_NOT_SATISFIABLE, "0-0"));
    let location = text(&answer, "location").to_owned();
    let answer = ask(Method::PATCH, &registry, &location).body("01234").send().await.unwrap();
    assert_eq!((answer.status(), text(&answer, "range")), (StatusCode::ACCEPTED, "0-4"));
    let answer = ask(Method::GET, &registry, text(&answer, "location")).send().await.unwrap();
    assert_eq!((answer.status(), text(&answer, "range")), (StatusCode::NO_CONTENT, "0-4"));
    let digest = Digest::of(b"0123456789");
    let end = format!("{}&digest={digest}", text(&answer, "location"));
    let answer = ask(Method::PUT, &registry, &end)
        .header(header::CONTENT_RANGE, "5-9")
        .body("56789")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
}

#[tokio::test]
async fn a_body_that_breaks_off_keeps_what_came() {
    let registry = open().await;
    let location = begin(&registry, "eog").await;
    registry.faults.set(|seen| match seen.method {
        Method::PATCH => Fault::CutRequest { after: 1_000_000 },
        _ => Fault::None,
    });
    let _ = ask(Method::PATCH, &registry, &location).body(vec![7; 3_000_000]).send().await;
    let status = ask(Method::GET, &registry, &location).send().await.unwrap();
    assert_eq!(text(&status, "range"), "0-999999");
}

#[tokio::test]
async fn who_asks_while_a_broken_writer_is_still_at_work_is_told_where_it_ended() {
    let registry = open().await;
    let location = begin(&registry, "eog").await;
    for round in 0_u64..20 {
        let held = received(&registry, &location).await;
        let chunks =
            futures::stream::iter((0..30).map(|n| if n < 29 { Ok(vec![7; 100_000]) } else { Err("gone") }));
        let body = reqwest::Body::wrap_stream(chunks);
        let broken =
            ask(Method::PATCH, &registry, &location).header(header::CONTENT_LENGTH, 9_000_000).body(body);
        assert!(broken.send().await.is_err());
        let told = received(&registry, &location).await;
        let rest = format!("{told}-{}", told + 4);
        let answer =
            ask(Method::PATCH, &registry, &location).header(header::CONTENT_RANGE, rest).body("01234");
        assert_eq!(
            answer.send().await.unwrap().status(),
            StatusCode::ACCEPTED,
            "round {round}, {held} to {told}"
        );
    }
}

/// Bytes that an upload holds, as its status tells. Nothing and one byte look alike.
async fn received(registry: &Registry, location: &str) -> u64 {
    let status = ask(Method::GET, registry, location).send().await.unwrap();
    let last: u64 = text(&status, "range").strip_prefix("0-").unwrap().parse().unwrap();
    if last == 0 { 0 } else { last + 1 }
}

#[tokio::test]
async fn a_wrong_digest_ends_the_upload_and_stores_nothing() {
    let registry = open().await;
    let location = begin(&registry, "eog").await;
    let wrong = Digest::of(b"other");
    let answer = ask(Method::PUT, &registry, &format!("{location}&digest={wrong}"))
        .body("bytes")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    assert_eq!(error_code(answer).await, "DIGEST_INVALID");
    assert_eq!(get(&registry, &format!("/v2/eog/blobs/{wrong}")).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(ask(Method::GET, &registry, &location).send().await.unwrap().status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_whole_blob_in_one_post_and_a_mount_from_another_repository() {
    let registry = open().await;
    let digest = Digest::of(b"layer");
    let answer = ask(Method::POST, &registry, &format!("/v2/a/blobs/uploads/?digest={digest}"))
        .body("layer")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
    let answer = ask(Method::POST, &registry, &format!("/v2/b/blobs/uploads/?mount={digest}&from=a"))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
    assert!(registry.content.has_blob("b", &digest));
    for elsewhere in ["&from=c", ""] {
        let path = format!("/v2/d/blobs/uploads/?mount={digest}{elsewhere}");
        let answer = ask(Method::POST, &registry, &path).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::ACCEPTED, "an upload is begun instead");
    }
}

#[tokio::test]
async fn a_blob_too_large_is_refused_and_an_idle_upload_forgotten() {
    let limits = Limits { blob_bytes_max: 10, upload_idle_max: Duration::ZERO, ..Limits::default() };
    let registry = registry::start(Settings { limits, ..Settings::default() }).await.unwrap();
    let path = format!("/v2/eog/blobs/uploads/?digest={}", Digest::of(b"x"));
    let answer = ask(Method::POST, &registry, &path).body("01234567890").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let location = begin(&registry, "eog").await;
    tokio::time::sleep(Duration::from_millis(2)).await;
    let answer = ask(Method::PATCH, &registry, &location).body("x").send().await.unwrap();
    assert_eq!(error_code(answer).await, "BLOB_UPLOAD_UNKNOWN");
}

#[tokio::test]
async fn a_manifest_waits_for_its_blobs_and_an_index_for_its_manifests() {
    let registry = open().await;
    let missing = Digest::of(b"missing");
    let index = serde_json::json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [{"mediaType": MANIFEST, "digest": missing.as_str(), "size": 1}]});
    let put = |kind: &'static str, body: String| {
        ask(Method::PUT, &registry, "/v2/eog/manifests/latest")
            .header(header::CONTENT_TYPE, kind)
            .body(body)
            .send()
    };
    let answer = put(INDEX, index.to_string()).await.unwrap();
    assert_eq!(error_code(answer).await, "MANIFEST_BLOB_UNKNOWN");
    let manifest = index
        .to_string()
        .replace(INDEX, MANIFEST)
        .replace(r#""manifests":[{"#, r#""layers":[],"config":{"#)
        .replace("}]", "}");
    let answer = put(MANIFEST, manifest).await.unwrap();
    assert_eq!(error_code(answer).await, "MANIFEST_BLOB_UNKNOWN");
    let answer = put(MANIFEST, "{".repeat(5 << 20)).await.unwrap();
    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(get(&registry, "/v2/eog/manifests/latest").await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_index_is_shown_to_who_names_its_type_and_304_to_who_has_it() {
    let registry = open().await;
    let child = put_image(&registry.content, "eog", None, b"layer");
    let index = serde_json::json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [{"mediaType": MANIFEST, "digest": child.as_str(), "size": 1}]});
    let body = index.to_string();
    let digest = Digest::of(body.as_bytes());
    let answer = ask(Method::PUT, &registry, "/v2/eog/manifests/latest")
        .header(header::CONTENT_TYPE, INDEX)
        .body(body.clone())
        .send()
        .await
        .unwrap();
    assert_eq!(
        (answer.status(), text(&answer, "docker-content-digest")),
        (StatusCode::CREATED, digest.as_str())
    );
    for accept in ["*/*", MANIFEST] {
        let answer = ask(Method::HEAD, &registry, "/v2/eog/manifests/latest")
            .header(header::ACCEPT, accept)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{accept}");
    }
    let answer = get(&registry, "/v2/eog/manifests/latest").await;
    assert_eq!(
        (text(&answer, "content-type"), text(&answer, "etag")),
        (INDEX, format!("\"{digest}\"").as_str())
    );
    assert_eq!(answer.text().await.unwrap(), body);
    let again = ask(Method::GET, &registry, "/v2/eog/manifests/latest").header(header::ACCEPT, INDEX);
    let again = again.header(header::IF_NONE_MATCH, format!("\"{digest}\"")).send().await.unwrap();
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
}

#[tokio::test]
async fn tags_and_repositories_are_listed_in_pages() {
    let registry = open().await;
    for tag in ["a", "b", "c"] {
        put_image(&registry.content, "f41/runtime", Some(tag), b"layer");
    }
    put_image(&registry.content, "eog", Some("latest"), b"layer");
    let first = get(&registry, "/v2/f41/runtime/tags/list?n=2").await;
    assert_eq!(text(&first, "link"), r#"</v2/f41/runtime/tags/list?last=b&n=2>; rel="next""#);
    let body: serde_json::Value = first.json().await.unwrap();
    assert_eq!(body, serde_json::json!({"name": "f41/runtime", "tags": ["a", "b"]}));
    let last = get(&registry, "/v2/f41/runtime/tags/list?last=b&n=2").await;
    assert!(!last.headers().contains_key(header::LINK));
    assert_eq!(last.json::<serde_json::Value>().await.unwrap()["tags"], serde_json::json!(["c"]));
    let all = get(&registry, "/v2/_catalog").await;
    assert_eq!(
        all.json::<serde_json::Value>().await.unwrap(),
        serde_json::json!({"repositories": ["eog", "f41/runtime"]})
    );
    assert_eq!(error_code(get(&registry, "/v2/nothing/tags/list").await).await, "NAME_UNKNOWN");
    assert_eq!(get(&registry, "/v2/eog/tags/list?n=x").await.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn deleting_a_tag_leaves_the_manifest_and_deleting_a_manifest_takes_its_tags() {
    let registry = open().await;
    let digest = put_image(&registry.content, "eog", Some("latest"), b"layer");
    put_image(&registry.content, "eog", Some("testing"), b"layer");
    let delete = |path: String| ask(Method::DELETE, &registry, &path).send();
    assert_eq!(delete("/v2/eog/manifests/latest".into()).await.unwrap().status(), StatusCode::ACCEPTED);
    assert!(registry.content.manifest("eog", &digest).is_some());
    assert_eq!(delete("/v2/eog/manifests/latest".into()).await.unwrap().status(), StatusCode::NOT_FOUND);
    assert_eq!(delete(format!("/v2/eog/manifests/{digest}")).await.unwrap().status(), StatusCode::ACCEPTED);
    assert_eq!(registry.content.tags("eog").unwrap().len(), 0);
    let strict = Settings { content: registry.content.clone(), tag_delete: false, ..Settings::default() };
    let strict = registry::start(strict).await.unwrap();
    put_image(&strict.content, "eog", Some("latest"), b"layer");
    let answer = ask(Method::DELETE, &strict, "/v2/eog/manifests/latest").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
}

fn with_tokens(lifetime: Duration) -> Access {
    Access::Token { user: "mirror".into(), password: Secret::new("word"), lifetime }
}

async fn token(registry: &Registry, scopes: &[&str], user: bool) -> String {
    let scopes: String = scopes.iter().map(|scope| format!("&scope={scope}")).collect();
    let request = ask(Method::GET, registry, &format!("/token?service=x{scopes}"));
    let request = if user { request.basic_auth("mirror", Some("word")) } else { request };
    let body: serde_json::Value = request.send().await.unwrap().json().await.unwrap();
    body["token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn tokens_let_in_who_may_and_say_how_to_ask() {
    let registry =
        registry::start(Settings { access: with_tokens(Duration::from_secs(60)), ..Settings::default() })
            .await
            .unwrap();
    put_image(&registry.content, "public", Some("latest"), b"layer");
    put_image(&registry.content, "private", Some("latest"), b"layer");
    registry.content.set_private("private", true);
    let refused = ask(Method::POST, &registry, "/v2/public/blobs/uploads/").send().await.unwrap();
    let wanted = format!(
        r#"Bearer realm="{0}/token",service="{1}",scope="repository:public:pull,push""#,
        registry.url(),
        registry.host()
    );
    assert_eq!((refused.status(), text(&refused, "www-authenticate")), (StatusCode::UNAUTHORIZED, &*wanted));
    let reads = |repository: &'static str, bearer: String| {
        let path = format!("/v2/{repository}/tags/list");
        let request = ask(Method::GET, &registry, &path).bearer_auth(bearer);
        async move { request.send().await.unwrap().status() }
    };
    let scope = ["repository:public:pull,push", "repository:private:pull"];
    let anonymous = token(&registry, &scope, false).await;
    assert_eq!(reads("public", anonymous.clone()).await, StatusCode::OK);
    assert_eq!(reads("private", anonymous.clone()).await, StatusCode::UNAUTHORIZED);
    let pushes = ask(Method::POST, &registry, "/v2/public/blobs/uploads/")
        .bearer_auth(anonymous)
        .send()
        .await
        .unwrap();
    assert_eq!(pushes.status(), StatusCode::UNAUTHORIZED);
    let user = token(&registry, &scope, true).await;
    assert_eq!(reads("private", user.clone()).await, StatusCode::OK);
    registry.expire_tokens();
    assert_eq!(reads("public", user).await, StatusCode::UNAUTHORIZED);
    let wrong =
        ask(Method::GET, &registry, "/token").basic_auth("mirror", Some("guess")).send().await.unwrap();
    assert_eq!(wrong.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_mount_without_the_right_to_read_there_is_an_upload() {
    let registry =
        registry::start(Settings { access: with_tokens(Duration::from_secs(60)), ..Settings::default() })
            .await
            .unwrap();
    let digest = registry.content.put_blob("source", b"layer").unwrap();
    let mount = |bearer: String| {
        let path = format!("/v2/target/blobs/uploads/?mount={digest}&from=source");
        ask(Method::POST, &registry, &path).bearer_auth(bearer).send()
    };
    let one = token(&registry, &["repository:target:pull,push"], true).await;
    assert_eq!(mount(one).await.unwrap().status(), StatusCode::ACCEPTED);
    let both = token(&registry, &["repository:target:pull,push", "repository:source:pull"], true).await;
    assert_eq!(mount(both).await.unwrap().status(), StatusCode::CREATED);
}

#[tokio::test]
async fn with_passwords_anybody_reads_and_one_user_writes() {
    let access = Access::Basic { user: "mirror".into(), password: Secret::new("word") };
    let registry = registry::start(Settings { access, ..Settings::default() }).await.unwrap();
    put_image(&registry.content, "eog", Some("latest"), b"layer");
    assert_eq!(get(&registry, "/v2/eog/manifests/latest").await.status(), StatusCode::OK);
    assert_eq!(
        get(&registry, "/v2/").await.status(),
        StatusCode::UNAUTHORIZED,
        "or clients never try their password"
    );
    let push = |word: &'static str| {
        ask(Method::POST, &registry, "/v2/eog/blobs/uploads/").basic_auth("mirror", Some(word)).send()
    };
    assert_eq!(push("word").await.unwrap().status(), StatusCode::ACCEPTED);
    assert_eq!(push("guess").await.unwrap().status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn faults_are_what_they_say() {
    let registry = open().await;
    let digest = put_image(&registry.content, "eog", Some("latest"), &[7; 100_000]);
    let blob = format!("/v2/eog/blobs/{}", Digest::of(&[7; 100_000]));
    let cdn =
        registry::start(Settings { content: registry.content.clone(), ..Settings::default() }).await.unwrap();
    let faults = [
        Fault::Answer {
            status: StatusCode::TOO_MANY_REQUESTS,
            headers: vec![(header::RETRY_AFTER, HeaderValue::from_static("1"))],
            body: String::new(),
        },
        Fault::CutAnswer { after: 50_000 },
        Fault::Corrupt,
        Fault::HangUp,
        Fault::Redirect { base: cdn.url() },
        Fault::DropHeader(header::ETAG),
    ];
    let turn = AtomicUsize::new(0);
    registry
        .faults
        .set(move |_| faults.get(turn.fetch_add(1, Ordering::Relaxed)).cloned().unwrap_or_default());
    let limited = get(&registry, &blob).await;
    assert_eq!((limited.status(), text(&limited, "retry-after")), (StatusCode::TOO_MANY_REQUESTS, "1"));
    let cut = get(&registry, &blob).await;
    assert_eq!(text(&cut, "content-length"), "100000");
    assert!(cut.bytes().await.is_err());
    assert_eq!(get(&registry, &blob).await.bytes().await.unwrap()[..2], [6, 7]);
    assert!(ask(Method::GET, &registry, &blob).send().await.is_err());
    let moved = get(&registry, &blob).await;
    assert_eq!(moved.status(), StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(get(&registry, text(&moved, "location")).await.bytes().await.unwrap().len(), 100_000);
    let bare = get(&registry, &format!("/v2/eog/manifests/{digest}")).await;
    assert!(bare.status().is_success() && !bare.headers().contains_key(header::ETAG));
    assert_eq!(registry.faults.seen().len(), 6);
}

#[tokio::test]
async fn a_directory_holds_blobs_by_content_and_leaves_no_drafts() {
    let directory = tempfile::tempdir().unwrap();
    let content = Content::in_directory(directory.path()).unwrap();
    let registry = registry::start(Settings { content, ..Settings::default() }).await.unwrap();
    let blob = vec![3; 64 << 20];
    let digest = Digest::of(&blob);
    let answer = ask(Method::POST, &registry, &format!("/v2/big/blobs/uploads/?digest={digest}"))
        .body(blob.clone())
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
    let location = begin(&registry, "big").await;
    ask(Method::PATCH, &registry, &location).body("half").send().await.unwrap();
    ask(Method::DELETE, &registry, &location).send().await.unwrap();
    assert!(get(&registry, &format!("/v2/big/blobs/{digest}")).await.bytes().await.unwrap() == blob);
    registry.stop().await;
    let names = |folder: &str| {
        std::fs::read_dir(directory.path().join(folder))
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect::<Vec<_>>()
    };
    assert_eq!(names("blobs"), [digest.hex()]);
    assert!(names("uploads").is_empty());
}
