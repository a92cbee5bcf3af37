//! The HTTP adapter and the copy engine against registries that break the rules.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod support;

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{body::Body, response::Response};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use flatbus_base::{Remediable as _, Remedy, Secret};
use flatbus_http::{HostList, Method};
use flatbus_oci::{
    Copied, Copier, CopySettings, Credentials, Destination, Digest, Error, HttpRegistry, Mounted, NoProgress,
    Reference, Registry, Repository, Source, Tag, TagDeleted, UploadMode,
    conformance::{self, Expect},
    testing::{Recipe, Sample, noise},
};
use futures::{StreamExt as _, stream};
use support::{Double, Seen, client_for, json, remote, status, with_header, without};

const LAYER: usize = 6 << 20;

fn repository() -> Repository {
    "fedora/eog".parse().unwrap()
}

fn latest() -> Tag {
    "latest".parse().unwrap()
}

fn image(source: &Double) -> Sample {
    let image = Recipe { layer_bytes: LAYER, ..Recipe::plain(1) }.make();
    image.put(&source.memory, &repository(), &[latest()]);
    image
}

fn robot() -> Option<Credentials> {
    Some(Credentials::Password { user: "fedora+robot".into(), password: Secret::new("hunter2") })
}

async fn copy_with(
    from: HttpRegistry,
    to: HttpRegistry,
    image: &Sample,
    upload: UploadMode,
) -> Result<Copied, Error> {
    let settings =
        CopySettings { upload, resume_wait_max: Duration::from_secs(1), ..CopySettings::default() };
    let from = Source { registry: Arc::new(from), repository: repository(), digest: image.digest() };
    let to = Destination { registry: Arc::new(to), repository: repository(), mount_from: Vec::new() };
    Copier::new(settings).copy(from, to, &[latest()], &NoProgress).await
}

async fn copy(source: &Double, destination: &Double, image: &Sample) -> Result<Copied, Error> {
    copy_with(source.remote(), destination.remote(), image, UploadMode::Stream).await
}

fn expect_whole(destination: &Double, image: &Sample) {
    let blobs: BTreeSet<_> = image.blobs.iter().map(|bytes| Digest::of(bytes)).collect();
    assert_eq!(destination.memory.blobs_of(&repository()), blobs);
    assert_eq!(destination.memory.tags_of(&repository())[&latest()], image.digest());
}

/// The first so many requests that fit are answered by `answer`.
fn first(
    times: usize,
    fits: impl Fn(&Seen) -> bool + Send + Sync,
    answer: impl Fn() -> Response + Send + Sync,
) -> impl Fn(&Seen) -> Option<Response> + Send + Sync {
    let left = AtomicUsize::new(times);
    move |seen| {
        let hit =
            fits(seen) && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok();
        hit.then(&answer)
    }
}

#[tokio::test]
async fn the_adapter_passes_the_suite() {
    let double = Double::good().await;
    conformance::all(Arc::new(double.remote()), &repository(), Expect { tag_delete: true, resume: false })
        .await;
    let other = Double::good().await;
    conformance::copies(Arc::new(double.remote()), Arc::new(other.remote()), &repository()).await;
}

#[tokio::test]
async fn every_request_for_a_manifest_accepts_every_type() {
    let double = Double::good().await;
    let image = image(&double);
    double.remote().manifest_get(&repository(), &image.digest().into()).await.unwrap();
    double.remote().manifest_head(&repository(), &latest().into()).await.unwrap();
    for seen in double.seen() {
        let accept = seen.headers["accept"].to_str().unwrap();
        assert!(flatbus_oci::manifest::MANIFEST_TYPES.iter().all(|kind| accept.contains(kind)));
    }
}

#[tokio::test]
async fn a_yes_of_somebody_who_did_nothing_is_no_answer_and_tried_again() {
    for code in [200, 202, 204] {
        let double = Double::start(move |seen| {
            let wrong = seen.method != Method::GET || code != 200;
            wrong.then(|| with_header(code, "x-served-by", "a proxy"))
        })
        .await;
        let (remote, image) = (double.remote(), image(&Double::good().await));
        let mut failed = vec![remote.manifest_put(&repository(), &latest().into(), &image.index).await];
        if code != 200 {
            failed.push(remote.manifest_get(&repository(), &latest().into()).await.map(drop));
        }
        if code != 202 {
            failed.push(remote.upload_begin(&repository()).await.map(drop));
        }
        for failed in failed {
            let error = failed.unwrap_err();
            assert!(matches!(error, Error::Protocol { .. }), "{code}: {error}");
            assert_eq!(error.remedy(), Remedy::Retry);
        }
    }
}

#[tokio::test]
async fn a_put_without_a_digest_is_believed_once_it_is_seen() {
    let double = Double::changing(
        |_| None,
        |seen, answer| {
            if seen.method == Method::PUT { without(answer, "docker-content-digest") } else { answer }
        },
    )
    .await;
    let image = image(&double);
    double.remote().manifest_put(&repository(), &latest().into(), &image.index).await.unwrap();
    assert_eq!(double.count(&Method::HEAD, "/manifests/latest"), 1);
}

#[tokio::test]
async fn a_token_server_that_is_not_there_says_nothing_of_what_was_asked_for() {
    let double = Double::start(|seen| {
        let host = seen.headers["host"].to_str().unwrap();
        let challenge = format!(r#"Bearer realm="http://{host}/token",service="registry",scope="x""#);
        let token = seen.path == "/token";
        Some(if token { status(404) } else { with_header(401, "www-authenticate", &challenge) })
    })
    .await;
    let error = double.remote().manifest_head(&repository(), &latest().into()).await.unwrap_err();
    assert!(matches!(&error, Error::Protocol { .. }), "{error}");
    assert_eq!(error.remedy(), Remedy::Retry);
}

#[tokio::test]
async fn a_head_without_a_digest_becomes_a_get() {
    let double = Double::changing(|_| None, |_, answer| without(answer, "docker-content-digest")).await;
    let image = image(&double);
    let head = double.remote().manifest_head(&repository(), &latest().into()).await.unwrap().unwrap();
    assert_eq!((head.digest, head.media_type), (image.digest(), image.index.media_type));
}

#[tokio::test]
async fn a_digest_that_lies_is_found_out() {
    let other = Digest::of(b"other").to_string();
    let double = Double::changing(
        |_| None,
        move |_, mut answer| {
            answer.headers_mut().insert("docker-content-digest", other.parse().unwrap());
            answer
        },
    )
    .await;
    let image = image(&double);
    for reference in [Reference::from(latest()), image.digest().into()] {
        let got = double.remote().manifest_get(&repository(), &reference).await;
        assert!(matches!(got, Err(Error::WrongDigest { .. })));
    }
    let put = double.remote().manifest_put(&repository(), &latest().into(), &image.index).await;
    assert!(matches!(put, Err(Error::WrongDigest { .. })));
}

#[tokio::test]
async fn passing_faults_of_either_side_cost_only_time() {
    for code in [429, 500, 502, 503, 504] {
        let source =
            Double::start(first(2, |seen| seen.is(&Method::GET, "/blobs/"), move || status(code))).await;
        let destination =
            Double::start(first(2, |seen| seen.is(&Method::PATCH, ""), move || status(code))).await;
        let image = image(&source);
        copy(&source, &destination, &image).await.unwrap();
        expect_whole(&destination, &image);
    }
}

#[tokio::test]
async fn a_registry_that_asks_for_minutes_gets_them() {
    let source = Double::good().await;
    let destination = Double::start(first(
        99,
        |seen| seen.is(&Method::PATCH, ""),
        || with_header(429, "retry-after", "300"),
    ))
    .await;
    let image = image(&source);
    let error = copy(&source, &destination, &image).await.unwrap_err();
    assert_eq!(error.remedy(), Remedy::RetryAfter(Duration::from_secs(300)));
    assert!(destination.memory.tags_of(&repository()).is_empty());
}

/// A blob's answer whose body ends, stands still or is wrong.
fn spoiled(blob: &Bytes, how: &str) -> Response {
    let half = stream::iter([Ok::<_, std::io::Error>(blob.slice(..blob.len() / 2))]);
    let pause = async || tokio::time::sleep(Duration::from_millis(50)).await;
    let body = match how {
        "cut" => Body::from_stream(half.chain(stream::once(async move {
            pause().await;
            Err(std::io::Error::other("cut"))
        }))),
        "stalled" => Body::from_stream(half.chain(stream::pending())),
        "short" => Body::from_stream(half.chain(stream::once(async move {
            pause().await;
            Ok(Bytes::new())
        }))),
        _ => unreachable!("{how}"),
    };
    Response::builder().header("content-length", blob.len()).body(body).unwrap()
}

#[tokio::test]
async fn bodies_that_break_stand_still_or_end_early_are_taken_up() {
    for how in ["cut", "stalled", "short"] {
        for upload in [UploadMode::Stream, UploadMode::Chunks { bytes: 1 << 20 }] {
            let blob = Recipe { layer_bytes: LAYER, ..Recipe::plain(1) }.make().blobs[1].clone();
            let digest = Digest::of(&blob).to_string();
            let fits =
                move |seen: &Seen| seen.is(&Method::GET, &digest) && !seen.headers.contains_key("range");
            let source = Double::start(first(1, fits, move || spoiled(&blob, how))).await;
            let destination = Double::good().await;
            let image = image(&source);
            copy_with(source.remote(), destination.remote(), &image, upload).await.unwrap();
            expect_whole(&destination, &image);
            assert!(
                source.seen().iter().any(|seen| seen.headers.contains_key("range")),
                "{how}: not resumed"
            );
        }
    }
}

#[tokio::test]
async fn a_registry_that_ignores_ranges_is_read_from_the_start() {
    let blob = Recipe { layer_bytes: LAYER, ..Recipe::plain(1) }.make().blobs[1].clone();
    let digest = Digest::of(&blob).to_string();
    let reads = AtomicUsize::new(0);
    let source = Double::start(move |seen| {
        let hit = seen.is(&Method::GET, &digest);
        hit.then(|| match reads.fetch_add(1, Ordering::SeqCst) {
            0 => spoiled(&blob, "cut"),
            _ => Response::new(Body::from(blob.clone())),
        })
    })
    .await;
    let destination = Double::good().await;
    let image = image(&source);
    copy(&source, &destination, &image).await.unwrap();
    expect_whole(&destination, &image);
}

#[tokio::test]
async fn wrong_bytes_and_wrong_lengths_are_refused_and_nothing_is_tagged() {
    for upload in [UploadMode::Stream, UploadMode::Chunks { bytes: 1 << 20 }] {
        for (bytes, lie) in [(LAYER, None), (LAYER - 1, None), (LAYER + 1, None), (LAYER, Some(LAYER + 7))] {
            let wrong =
                Digest::of(&Recipe { layer_bytes: LAYER, ..Recipe::plain(1) }.make().blobs[1]).to_string();
            let source = Double::start(move |seen| {
                seen.is(&Method::GET, &wrong).then(|| {
                    let wrong = stream::iter([Ok::<_, std::io::Error>(noise(bytes, 99, "wrong"))]);
                    let answer = Response::builder().header("content-length", lie.unwrap_or(bytes));
                    answer.body(Body::from_stream(wrong)).unwrap()
                })
            })
            .await;
            let destination = Double::good().await;
            let image = image(&source);
            let error = copy_with(source.remote(), destination.remote(), &image, upload).await.unwrap_err();
            let fits = matches!(error, Error::WrongDigest { .. } | Error::WrongSize { .. });
            assert!(fits && error.remedy() == Remedy::Retry, "{bytes} {lie:?}: {error}");
            assert!(destination.memory.tags_of(&repository()).is_empty());
            assert!(destination.memory.manifests_of(&repository()).is_empty());
        }
    }
}

#[tokio::test]
async fn a_mount_that_is_answered_202_goes_on_as_an_upload() {
    let double = Double::good().await;
    let missing = Digest::of(b"nobody has this");
    let from: Repository = "staging/eog".parse().unwrap();
    let Mounted::Upload(upload) = double.remote().mount(&repository(), &missing, &from).await.unwrap() else {
        panic!("mounted what isn't there")
    };
    let last = Some((0, Bytes::from_static(b"nobody has this")));
    double.remote().upload_put(&repository(), upload, &missing, last).await.unwrap();
    assert_eq!(double.count(&Method::POST, "/uploads/"), 1);
}

#[tokio::test]
async fn a_mount_that_is_refused_begins_an_upload() {
    for code in [400, 403, 404, 405] {
        let double = Double::start(move |seen| seen.query.contains("mount=").then(|| status(code))).await;
        let mounted = double.remote().mount(&repository(), &Digest::of(b"x"), &repository()).await.unwrap();
        assert!(matches!(mounted, Mounted::Upload(_)), "{code}");
    }
}

#[tokio::test]
async fn missing_locations_are_tolerated_where_nothing_depends_on_them() {
    // An answer to a manifest's PUT and to a PATCH may lack it; the beginning of an upload may not.
    let lacks =
        |seen: &Seen, answer| if seen.method == Method::POST { answer } else { without(answer, "location") };
    let destination = Double::changing(|_| None, lacks).await;
    let source = Double::good().await;
    let image = image(&source);
    copy(&source, &destination, &image).await.unwrap();
    expect_whole(&destination, &image);

    let double = Double::changing(|_| None, |_, answer| without(answer, "location")).await;
    let error = double.remote().upload_begin(&repository()).await.unwrap_err();
    assert!(matches!(&error, Error::Protocol { .. }), "{error}");
}

#[tokio::test]
async fn an_upload_may_live_on_an_allowed_host_and_gets_no_credentials_there() {
    let elsewhere = Double::good().await;
    let to = elsewhere.url("/v2/fedora/eog/blobs/uploads/fedora~eog~uploads~1");
    let registry = Double::start(move |seen| match seen.authorization() {
        None => Some(with_header(401, "www-authenticate", "Basic realm=\"x\"")),
        Some(_) if seen.method == Method::POST => Some(with_header(202, "location", &to)),
        Some(_) => None,
    })
    .await;
    elsewhere.memory.upload_begin(&repository()).await.unwrap();
    let remote_ = registry.remote_as(robot());
    let upload = remote_.upload_begin(&repository()).await.unwrap();
    let digest = Digest::of(b"x");
    remote_.upload_put(&repository(), upload, &digest, Some((0, Bytes::from_static(b"x")))).await.unwrap();
    assert!(elsewhere.seen().iter().all(|seen| seen.authorization().is_none()));

    let only_registry = client_for(HostList::new([registry.host()]));
    let error =
        remote(&registry.host(), robot(), only_registry).upload_begin(&repository()).await.unwrap_err();
    assert!(matches!(error, Error::Http(flatbus_http::Error::ForbiddenHost { .. })), "{error}");
}

#[tokio::test]
async fn blobs_come_from_a_cdn_without_credentials_and_only_from_allowed_ones() {
    let cdn = Double::good().await;
    let image = image(&cdn);
    let to = cdn.url("");
    let registry = Double::start(move |seen| match seen.authorization() {
        None => Some(with_header(401, "www-authenticate", "Basic realm=\"x\"")),
        Some(_) if seen.is(&Method::GET, "/blobs/") => {
            Some(with_header(307, "location", &format!("{to}{}?Signature=hunter3", seen.path)))
        }
        Some(_) => None,
    })
    .await;
    image.put(&registry.memory, &repository(), &[]);
    let destination = Double::good().await;
    let from = registry.remote_as(robot());
    copy_with(from, destination.remote(), &image, UploadMode::Stream).await.unwrap();
    expect_whole(&destination, &image);
    assert!(cdn.count(&Method::GET, "/blobs/") >= 4);
    assert!(cdn.seen().iter().all(|seen| seen.authorization().is_none()));

    let without_cdn = client_for(HostList::new([registry.host()]));
    let blob = Digest::of(&image.blobs[0]);
    let error = match remote(&registry.host(), robot(), without_cdn).blob_get(&repository(), &blob, 0).await {
        Ok(_) => panic!("followed to a host that isn't allowed"),
        Err(error) => error,
    };
    assert_eq!(error.remedy(), Remedy::Park);
    assert!(!error.to_string().contains("hunter"));
}

#[tokio::test]
async fn a_redirect_loop_ends() {
    let double = Double::start(|seen| Some(with_header(307, "location", &seen.path))).await;
    let error = double.remote().blob_head(&repository(), &Digest::of(b"x")).await.unwrap_err();
    assert!(matches!(error, Error::Http(flatbus_http::Error::RedirectLoop { .. })), "{error}");
}

#[tokio::test]
async fn an_upload_session_that_expires_is_begun_anew() {
    for upload in [UploadMode::Stream, UploadMode::Chunks { bytes: 1 << 20 }] {
        let source = Double::good().await;
        let destination = Double::start(first(2, |seen| seen.is(&Method::PATCH, ""), || status(404))).await;
        let image = image(&source);
        copy_with(source.remote(), destination.remote(), &image, upload).await.unwrap();
        expect_whole(&destination, &image);
    }
}

#[tokio::test]
async fn an_upload_that_stands_elsewhere_is_taken_up_there() {
    for code in [416, 400] {
        let body = r#"{"errors":[{"code":"BLOB_UPLOAD_INVALID","message":"wrong offset"}]}"#;
        let source = Double::good().await;
        let destination =
            Double::start(first(1, |seen| seen.is(&Method::PATCH, ""), move || json(code, body))).await;
        let image = image(&source);
        copy(&source, &destination, &image).await.unwrap();
        expect_whole(&destination, &image);
    }
}

#[tokio::test]
async fn a_destination_that_takes_no_streams_gets_chunks() {
    for code in [307, 411, 413] {
        let large = |seen: &Seen| seen.is(&Method::PATCH, "") && !seen.headers.contains_key("content-range");
        let source = Double::good().await;
        let destination = Double::start(move |seen| large(seen).then(|| status(code))).await;
        let image = image(&source);
        copy(&source, &destination, &image).await.unwrap();
        expect_whole(&destination, &image);
    }
}

#[tokio::test]
async fn a_refused_manifest_is_not_tagged_and_says_why() {
    let body = r#"{"errors":[{"code":"MANIFEST_INVALID","message":"manifest invalid"}]}"#;
    let source = Double::good().await;
    let destination =
        Double::start(move |seen| seen.is(&Method::PUT, "/manifests/").then(|| json(400, body))).await;
    let image = image(&source);
    let error = copy(&source, &destination, &image).await.unwrap_err();
    assert!(matches!(&error, Error::Refused { why, .. } if why.contains("MANIFEST_INVALID")), "{error}");
    assert!(destination.memory.tags_of(&repository()).is_empty());
}

#[tokio::test]
async fn tags_are_read_over_all_pages_and_pages_end() {
    let double = Double::start(|seen| {
        let page = |tags: &str, next: &str| {
            let mut answer = json(200, format!(r#"{{"name":"x","tags":{tags}}}"#));
            if !next.is_empty() {
                answer.headers_mut().insert("link", format!("<{next}>; rel=\"next\"").parse().unwrap());
            }
            answer
        };
        Some(match seen.query.as_str() {
            "n=1000" => page(r#"["a","not a tag"]"#, "/v2/fedora/eog/tags/list?n=1000&last=a"),
            "n=1000&last=a" => page(r#"["b"]"#, ""),
            _ => page("null", &format!("/v2/fedora/eog/tags/list?{}x", seen.query)),
        })
    })
    .await;
    let tags = double.remote().tags(&repository()).await.unwrap();
    assert_eq!(tags, ["a".parse().unwrap(), "b".parse().unwrap()]);

    let endless = Double::start(|seen| {
        let mut answer = json(200, r#"{"tags":["a"]}"#);
        answer
            .headers_mut()
            .insert("link", format!("<{}?{}x>; rel=\"next\"", seen.path, seen.query).parse().unwrap());
        Some(answer)
    })
    .await;
    assert!(matches!(endless.remote().tags(&repository()).await, Err(Error::TooLarge { .. })));
    let away = Double::start(|_| Some(with_header(200, "link", "<http://127.0.0.1:1/>; rel=\"next\""))).await;
    assert!(away.remote().tags(&repository()).await.is_err());
}

#[tokio::test]
async fn a_registry_that_cannot_delete_a_tag_says_so_and_nothing_else_is_deleted() {
    let unsupported = r#"{"errors":[{"code":"UNSUPPORTED","message":"The operation is unsupported."}]}"#;
    for answer in [400, 405] {
        let double =
            Double::start(move |seen| (seen.method == Method::DELETE).then(|| json(answer, unsupported)))
                .await;
        assert_eq!(double.remote().tag_delete(&repository(), &latest()).await, Ok(TagDeleted::Unsupported));
        assert_eq!(double.seen().len(), 1);
    }
}

#[tokio::test]
async fn a_compressed_blob_is_refused() {
    let double = Double::changing(
        |_| None,
        |_, mut answer| {
            answer.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
            answer
        },
    )
    .await;
    let digest = double.memory.put_blob(&repository(), "x");
    assert!(matches!(double.remote().blob_get(&repository(), &digest, 0).await, Err(Error::Protocol { .. })));
}

/// A registry with a token server: tokens are `token-<n>`, or of the given shape.
struct Tokens {
    registry: Double,
    given: Arc<AtomicU64>,
    /// Whether tokens end with the first thing they begin.
    dying: Arc<AtomicBool>,
}

impl Tokens {
    /// `public`: whether anybody may read. `answer` makes a token's answer from its number and its scopes.
    async fn start(public: bool, answer: impl Fn(u64, &str) -> Response + Send + Sync + 'static) -> Self {
        let (given, dying) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (counter, valid_from, dies) = (given.clone(), AtomicU64::new(0), dying.clone());
        let registry = Double::start(move |seen| {
            if seen.path == "/token" {
                return Some(answer(counter.fetch_add(1, Ordering::SeqCst) + 1, &seen.query));
            }
            let reads = matches!(seen.method, Method::GET | Method::HEAD);
            let admitted = match seen.authorization() {
                None => public && reads && !seen.path.contains("/uploads/"),
                Some(text) => {
                    let number =
                        text.strip_prefix("Bearer token-").and_then(|number| number.parse::<u64>().ok());
                    number.is_some_and(|number| number > valid_from.load(Ordering::SeqCst))
                }
            };
            let host = seen.headers["host"].to_str().unwrap();
            let challenge = format!(r#"Bearer realm="http://{host}/token",service="registry",scope="x""#);
            let begins = seen.method == Method::POST || seen.is(&Method::GET, "/manifests/");
            if admitted && begins && dies.load(Ordering::SeqCst) {
                valid_from.store(counter.load(Ordering::SeqCst), Ordering::SeqCst);
            }
            (!admitted).then(|| with_header(401, "www-authenticate", &challenge))
        })
        .await;
        Self { registry, given, dying }
    }

    async fn plain(public: bool) -> Self {
        Self::start(public, |number, _| {
            json(200, format!(r#"{{"token":"token-{number}","expires_in":300}}"#))
        })
        .await
    }

    fn given(&self) -> u64 {
        self.given.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn what_anybody_may_read_is_read_as_nobody() {
    let tokens = Tokens::plain(true).await;
    let image = image(&tokens.registry);
    let remote = tokens.registry.remote_as(robot());
    for _ in 0..3 {
        remote.manifest_head(&repository(), &image.digest().into()).await.unwrap().unwrap();
    }
    assert_eq!((tokens.given(), tokens.registry.seen().len()), (0, 3));
}

#[tokio::test]
async fn a_token_is_fetched_once_for_all_who_wait() {
    let tokens = Tokens::plain(false).await;
    let image = image(&tokens.registry);
    let remote = tokens.registry.remote_as(robot());
    let (repository, blob) = (repository(), Digest::of(b"x"));
    let reads = (0..20).map(|_| remote.blob_head(&repository, &blob));
    for read in futures::future::join_all(reads).await {
        read.unwrap();
    }
    assert_eq!(tokens.given(), 1);
    let asked = tokens.registry.seen().into_iter().find(|seen| seen.path == "/token").unwrap();
    assert_eq!(asked.query, "service=registry&scope=repository%3Afedora%2Feog%3Apull");
    assert!(asked.authorization().unwrap().starts_with("Basic "));
    // Known to be closed: no more asking as nobody first.
    let before = tokens.registry.seen().len();
    remote.manifest_head(&repository, &image.digest().into()).await.unwrap();
    assert_eq!(tokens.registry.seen().len(), before + 1);
}

/// Each token dies right after it began something, so that what follows is refused once.
#[tokio::test]
async fn tokens_that_end_in_mid_copy_are_replaced() {
    for upload in [UploadMode::Stream, UploadMode::Chunks { bytes: 1 << 20 }] {
        let (source, destination) = (Tokens::plain(false).await, Tokens::plain(false).await);
        for tokens in [&source, &destination] {
            tokens.dying.store(true, Ordering::SeqCst);
        }
        let image = image(&source.registry);
        let (from, to) = (source.registry.remote_as(robot()), destination.registry.remote_as(robot()));
        copy_with(from, to, &image, upload).await.unwrap();
        expect_whole(&destination.registry, &image);
        assert!(source.given() > 3 && destination.given() > 3);
    }
}

#[tokio::test]
async fn a_refused_token_is_replaced_once_and_then_given_up() {
    let tokens = Tokens::start(false, |_, _| json(200, r#"{"access_token":"never-good"}"#)).await;
    let error = tokens.registry.remote_as(robot()).upload_begin(&repository()).await.unwrap_err();
    assert!(matches!(error, Error::Unauthorized { .. }), "{error}");
    assert!(tokens.given() <= 2 && tokens.registry.seen().len() <= 5, "{:?}", tokens.registry.seen().len());
    assert_eq!(error.remedy(), Remedy::Retry);
}

#[tokio::test]
async fn a_token_is_used_until_shortly_before_its_end() {
    for (expires_in, fetched) in [(1, 2), (300, 1)] {
        let answer = move |number, _: &str| {
            json(200, format!(r#"{{"token":"token-{number}","expires_in":{expires_in}}}"#))
        };
        let tokens = Tokens::start(false, answer).await;
        let remote = tokens.registry.remote_as(robot());
        remote.upload_begin(&repository()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(900)).await;
        remote.upload_begin(&repository()).await.unwrap();
        assert_eq!(tokens.given(), fetched);
        let refused = tokens.registry.seen().iter().filter(|seen| seen.is(&Method::POST, "")).count();
        assert_eq!(refused, 3, "only the first was sent without a token");
    }
}

#[tokio::test]
async fn a_mount_asks_for_one_token_with_two_scopes() {
    let tokens = Tokens::plain(false).await;
    let remote = tokens.registry.remote_as(robot());
    remote.mount(&repository(), &Digest::of(b"x"), &"staging/eog".parse().unwrap()).await.unwrap();
    let asked = tokens.registry.seen().into_iter().find(|seen| seen.path == "/token").unwrap();
    assert!(
        asked.query.ends_with(
            "scope=repository%3Afedora%2Feog%3Apull%2Cpush&scope=repository%3Astaging%2Feog%3Apull"
        )
    );
}

#[tokio::test]
async fn less_granted_than_asked_is_said_before_anything_is_sent() {
    let tokens = Tokens::start(false, |_, _| {
        let claims = URL_SAFE_NO_PAD
            .encode(r#"{"access":[{"type":"repository","name":"fedora/eog","actions":["pull"]}]}"#);
        json(200, format!(r#"{{"token":"e30.{claims}.x"}}"#))
    })
    .await;
    let error = tokens.registry.remote_as(robot()).upload_begin(&repository()).await.unwrap_err();
    assert!(matches!(&error, Error::Denied { why, .. } if why.contains("grants pull")), "{error}");
    assert_eq!(error.remedy(), Remedy::Park);
    assert_eq!(tokens.registry.count(&Method::POST, "/uploads/"), 1);
}

#[tokio::test]
async fn bad_credentials_are_told_without_being_shown() {
    let tokens = Tokens::start(false, |_, _| {
        json(401, r#"{"errors":[{"code":"UNAUTHORIZED","message":"bad robot"}]}"#)
    })
    .await;
    for who in [robot(), None] {
        let error = tokens.registry.remote_as(who.clone()).upload_begin(&repository()).await.unwrap_err();
        assert!(matches!(&error, Error::Unauthorized { .. }), "{error}");
        assert_eq!(error.to_string().contains("no credentials are configured"), who.is_none(), "{error}");
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
}

#[tokio::test]
async fn a_token_server_elsewhere_must_be_allowed() {
    let elsewhere = Double::start(|_| Some(json(200, r#"{"token":"t"}"#))).await;
    let challenge = format!(r#"Bearer realm="{}""#, elsewhere.url("/token"));
    let registry = Double::start(move |_| Some(with_header(401, "www-authenticate", &challenge))).await;
    let only_registry = client_for(HostList::new([registry.host()]));
    let error =
        remote(&registry.host(), robot(), only_registry).upload_begin(&repository()).await.unwrap_err();
    assert!(matches!(error, Error::Http(flatbus_http::Error::ForbiddenHost { .. })), "{error}");
    assert!(elsewhere.seen().is_empty());
}

#[tokio::test]
async fn an_identity_token_is_exchanged() {
    let tokens = Tokens::plain(false).await;
    let who = Some(Credentials::IdentityToken(Secret::new("refresh-me")));
    tokens.registry.remote_as(who).upload_begin(&repository()).await.unwrap();
    let asked = tokens.registry.seen().into_iter().find(|seen| seen.path == "/token").unwrap();
    assert_eq!(asked.method, Method::POST);
    let form = String::from_utf8(asked.body.to_vec()).unwrap();
    assert!(form.contains("grant_type=refresh_token") && form.contains("refresh_token=refresh-me"), "{form}");
}

#[tokio::test]
async fn a_repository_that_becomes_public_is_read_though_our_credentials_are_dead() {
    let public = Arc::new(Mutex::new(false));
    let opened = public.clone();
    let double = Double::start(move |seen| match seen.authorization() {
        None if *opened.lock().unwrap() => None,
        Some(_) if !*opened.lock().unwrap() => None,
        _ => Some(with_header(401, "www-authenticate", "Basic realm=\"x\"")),
    })
    .await;
    let image = image(&double);
    let remote = double.remote_as(robot());
    let read = async || remote.manifest_head(&repository(), &image.digest().into()).await;
    assert!(read().await.unwrap().is_some());
    *public.lock().unwrap() = true;
    assert!(read().await.unwrap().is_some());
}

#[tokio::test]
async fn a_401_behind_a_redirect_gets_no_credentials() {
    let elsewhere = Double::start(|_| Some(with_header(401, "www-authenticate", "Basic realm=\"x\""))).await;
    let to = elsewhere.url("/v2/");
    let registry = Double::start(move |_| Some(with_header(302, "location", &to))).await;
    let error = registry.remote_as(robot()).blob_head(&repository(), &Digest::of(b"x")).await.unwrap_err();
    assert!(matches!(error, Error::Unauthorized { .. }), "{error}");
    assert!(elsewhere.seen().iter().all(|seen| seen.authorization().is_none()));
}

#[tokio::test]
async fn a_manifest_that_never_ends_is_not_read_to_its_end() {
    let double = Double::start(|_| {
        let endless = stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[b' '; 65_536])));
        Some(Response::new(Body::from_stream(endless)))
    })
    .await;
    let error = double.remote().manifest_get(&repository(), &latest().into()).await.unwrap_err();
    assert!(matches!(error, Error::Http(flatbus_http::Error::BodyTooLarge { .. })), "{error}");
}
