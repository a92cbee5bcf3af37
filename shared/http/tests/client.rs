//! The client against servers that fail in every way we could think of. Real sockets and real, short times.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod support;

use std::{
    io::Write as _,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use axum::{body::Body as AxumBody, response::Response as Answer};
use bytes::Bytes;
use flatbus_base::{Clock as _, Random, Remediable as _, Remedy, Secret, SystemClock};
use flatbus_http::{Body, Client, Error, HostList, Method, Request, Settings, Url, header};
use futures::{StreamExt as _, stream};
use support::{Double, client, settings, status, unfinished, with_header};

async fn time<T>(work: impl Future<Output = T>) -> (T, Duration) {
    let began = SystemClock.monotonic();
    let done = work.await;
    (done, SystemClock.monotonic() - began)
}

#[tokio::test]
async fn passing_faults_are_tried_again() {
    for code in [408, 429, 500, 502, 503, 504] {
        let server = Double::answering([status(code), status(code)]).await;
        let answer = client().send(Request::get(server.url("/"))).await.unwrap();
        assert_eq!((answer.status.as_u16(), server.seen().len()), (200, 3), "{code}");
    }
}

#[tokio::test]
async fn what_does_not_pass_is_given_up_with_what_was_said() {
    let server = Double::with(|_| status(503)).await;
    let error = client().send(Request::get(server.url("/x?token=hunter2"))).await.unwrap_err();
    assert_eq!(server.seen().len(), 3);
    assert!(matches!(&error, Error::Status { said, .. } if said == "said"), "{error}");
    assert_eq!(error.remedy(), Remedy::Retry);
    assert!(!error.to_string().contains("hunter2"));
}

#[tokio::test]
async fn answers_that_are_no_success_are_answers() {
    for code in [201, 204, 304, 400, 401, 403, 404, 416, 501] {
        let server = Double::with(move |_| status(code)).await;
        let answer = client().send(Request::get(server.url("/"))).await.unwrap();
        assert_eq!((answer.status.as_u16(), server.seen().len()), (code, 1));
    }
}

#[tokio::test]
async fn retry_after_is_obeyed_as_seconds_and_as_a_date() {
    let date = || {
        let soon = SystemClock.wall() + jiff::SignedDuration::from_secs(2);
        jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&soon).unwrap()
    };
    for value in [&(|| "1".to_owned()) as &dyn Fn() -> String, &date] {
        let value = value();
        let server = Double::answering([with_header(429, "retry-after", &value)]).await;
        let (answer, took) = time(client().send(Request::get(server.url("/")))).await;
        assert_eq!(answer.unwrap().status.as_u16(), 200);
        assert!(took >= Duration::from_millis(900), "{value}: {took:?}");
    }
}

#[tokio::test]
async fn a_long_retry_after_is_handed_over_at_once() {
    let server = Double::with(|_| with_header(503, "retry-after", "120")).await;
    let error = client().send(Request::get(server.url("/"))).await.unwrap_err();
    assert_eq!(server.seen().len(), 1);
    assert_eq!(error.remedy(), Remedy::RetryAfter(Duration::from_secs(120)));
}

#[tokio::test]
async fn what_may_have_been_done_is_not_done_twice() {
    let server = Double::with(|_| status(500)).await;
    let post = || Request::post(server.url("/"), Bytes::from_static(b"x"));
    assert!(client().send(post()).await.is_err());
    assert_eq!(server.seen().len(), 1);
    assert!(client().send(post().idempotent()).await.is_err());
    assert_eq!(server.seen().len(), 1 + 3);
    assert!(server.seen().iter().all(|seen| seen.body == "x"));
}

#[tokio::test]
async fn silence_is_ended() {
    let server =
        Double::with(
            |seen| {
                if seen.path == "/head" { unfinished(b"", false) } else { unfinished(b"some", false) }
            },
        )
        .await;
    let answer = client().send(Request::get(server.url("/body"))).await.unwrap();
    let error = answer.bytes(100).await.unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error}");

    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}/", silent.local_addr().unwrap())).unwrap();
    let (answer, took) = time(client().send(Request::get(url))).await;
    assert!(matches!(answer, Err(Error::Timeout { .. })));
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[tokio::test]
async fn the_whole_of_a_request_has_an_end() {
    let drip = || {
        let drops = stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            Some((Ok::<_, std::io::Error>(Bytes::from_static(b"x")), ()))
        });
        Answer::new(AxumBody::from_stream(drops))
    };
    let server = Double::with(move |_| drip()).await;
    let settings = Settings { total_timeout: Some(Duration::from_millis(700)), ..settings() };
    let client = Client::new(settings, Random::from_seed(1)).unwrap();
    let (read, took) =
        time(async { client.send(Request::get(server.url("/"))).await?.bytes(1000).await }).await;
    assert!(matches!(read, Err(Error::Timeout { .. })));
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[tokio::test]
async fn a_broken_body_is_told_from_a_short_one() {
    let server = Double::with(|_| unfinished(b"some", true)).await;
    let answer = client().send(Request::get(server.url("/"))).await.unwrap();
    let read: Vec<_> = answer.stream().collect().await;
    assert_eq!(read[0].as_ref().unwrap(), "some");
    assert!(matches!(read[1], Err(Error::Cut { .. })));
    assert_eq!(read.len(), 2);
}

#[tokio::test]
async fn a_content_length_that_lies_is_a_broken_body() {
    let server = Double::with(|_| {
        let short = stream::iter(["short", ""]).then(async |piece| {
            // Time for the first piece to leave.
            tokio::time::sleep(Duration::from_millis(50)).await;
            Ok::<_, std::io::Error>(Bytes::from(piece))
        });
        Answer::builder().header("content-length", "1000").body(AxumBody::from_stream(short)).unwrap()
    })
    .await;
    let answer = client().send(Request::get(server.url("/"))).await.unwrap();
    assert!(matches!(answer.bytes(2000).await, Err(Error::Cut { .. })));
}

#[tokio::test]
async fn bodies_larger_than_allowed_are_not_read() {
    let server = Double::with(|seen| match seen.path.as_str() {
        "/told" => Answer::new(AxumBody::from(vec![0; 5000])),
        _ => Answer::new(AxumBody::from_stream(stream::repeat_with(|| {
            Ok::<_, std::io::Error>(Bytes::from_static(&[0; 1000]))
        }))),
    })
    .await;
    for path in ["/told", "/endless"] {
        let answer = client().send(Request::get(server.url(path))).await.unwrap();
        assert!(
            matches!(answer.bytes(4096).await, Err(Error::BodyTooLarge { bytes_max: 4096, .. })),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_body_is_never_decoded() {
    let server = Double::with(|_| {
        Answer::builder().header("content-encoding", "gzip").body(AxumBody::from("not gzip at all")).unwrap()
    })
    .await;
    let answer = client().send(Request::get(server.url("/"))).await.unwrap();
    assert_eq!(answer.bytes(100).await.unwrap(), "not gzip at all");
    assert!(!server.seen()[0].headers.contains_key(header::ACCEPT_ENCODING));
}

#[tokio::test]
async fn nobody_but_the_listed_hosts_is_contacted() {
    let (listed, other) = (Double::with(|_| status(200)).await, Double::with(|_| status(200)).await);
    let settings = Settings { hosts: HostList::new([listed.address.to_string()]), ..settings() };
    let client = Client::new(settings, Random::from_seed(1)).unwrap();
    assert!(client.send(Request::get(listed.url("/"))).await.is_ok());
    let error = client.send(Request::get(other.url("/"))).await.unwrap_err();
    assert!(matches!(error, Error::ForbiddenHost { .. }));
    assert_eq!(error.remedy(), Remedy::Park);

    let to = other.url("/").to_string();
    let redirects = Double::with(move |_| with_header(302, "location", &to)).await;
    let settings = Settings { hosts: HostList::new([redirects.address.to_string()]), ..self::settings() };
    let client = Client::new(settings, Random::from_seed(1)).unwrap();
    assert!(matches!(client.send(Request::get(redirects.url("/"))).await, Err(Error::ForbiddenHost { .. })));
    assert!(other.seen().is_empty());
}

#[tokio::test]
async fn authorization_never_crosses_to_another_host() {
    let cdn = Double::with(|_| status(200)).await;
    let to = cdn.url("/signed?Signature=x").to_string();
    let registry = Double::with(move |seen| match seen.path.as_str() {
        "/here" => with_header(307, "location", "/there"),
        "/there" => status(200),
        _ => with_header(307, "location", &to),
    })
    .await;
    let get = |path| {
        let mut request = Request::get(registry.url(path)).basic("me", &Secret::new("hunter2"));
        request.redirects = flatbus_http::Redirects::Follow { drop_auth: false };
        request
    };
    let answer = client().send(get("/blob")).await.unwrap();
    assert_eq!(answer.url, cdn.url("/signed?Signature=x"));
    assert!(!cdn.seen()[0].headers.contains_key(header::AUTHORIZATION));
    client().send(get("/here")).await.unwrap();
    assert!(registry.seen().iter().all(|seen| seen.headers.contains_key(header::AUTHORIZATION)));
}

#[tokio::test]
async fn redirects_end_and_bad_ones_are_refused() {
    let server = Double::with(|seen| match seen.path.as_str() {
        "/nowhere" => status(302),
        "/user" => with_header(302, "location", "http://me:hunter2@127.0.0.1:1/"),
        "/file" => with_header(302, "location", "file:///etc/passwd"),
        _ => with_header(302, "location", "/loop"),
    })
    .await;
    let loops = client().send(Request::get(server.url("/"))).await;
    assert!(matches!(loops, Err(Error::RedirectLoop { .. })));
    assert_eq!(server.seen().len(), 6);
    for path in ["/nowhere", "/user", "/file"] {
        let error = client().send(Request::get(server.url(path))).await.unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
    let answer = client().send(Request::get(server.url("/")).no_redirects()).await.unwrap();
    assert_eq!(answer.status.as_u16(), 302);
    let answer = client().send(Request::post(server.url("/"), Bytes::new())).await.unwrap();
    assert_eq!(answer.status.as_u16(), 302, "a POST isn't made a GET");
}

#[tokio::test]
async fn a_307_gets_the_body_again() {
    let server = Double::answering([with_header(307, "location", "/there")]).await;
    client().send(Request::put(server.url("/"), Bytes::from_static(b"body"))).await.unwrap();
    let seen = server.seen();
    assert_eq!((seen[1].path.as_str(), &seen[1].method), ("/there", &Method::PUT));
    assert_eq!(seen[1].body, "body");
}

#[tokio::test]
async fn a_server_that_comes_up_late_is_reached() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let url = Url::parse(&format!("http://{address}/")).unwrap();
    let settings = Settings { attempts_max: 20, ..settings() };
    let client = Client::new(settings, Random::from_seed(1)).unwrap();
    let post = client.send(Request::post(url, Bytes::from_static(b"once")));
    let serve = async {
        tokio::time::sleep(Duration::from_millis(400)).await;
        Double::on(tokio::net::TcpListener::bind(address).await.unwrap(), |_| status(200))
    };
    let (answer, server) = futures::join!(post, serve);
    assert_eq!(answer.unwrap().status.as_u16(), 200);
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn a_slow_upload_that_moves_is_not_silence() {
    let server = Double::with(|_| status(200)).await;
    let drops = stream::iter(0..10).then(|_| async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        Ok(Bytes::from_static(b"0123456789"))
    });
    let body = Body::stream(Some(100), drops.boxed());
    let answer = client().send(Request::put(server.url("/"), body)).await.unwrap();
    assert_eq!(answer.status.as_u16(), 200);
    assert_eq!(server.seen()[0].headers[header::CONTENT_LENGTH], "100");
    assert_eq!(server.seen()[0].body.len(), 100);
}

#[tokio::test]
async fn an_upload_that_stands_still_is_ended_and_one_whose_source_fails_says_so() {
    let server = Double::with(|_| status(200)).await;
    let stuck = Body::stream(Some(100), stream::pending().boxed());
    assert!(matches!(client().send(Request::put(server.url("/"), stuck)).await, Err(Error::Timeout { .. })));
    let fails = Body::stream(
        None,
        stream::iter([Ok(Bytes::from_static(b"x")), Err("the source broke".to_owned())]).boxed(),
    );
    let error = client().send(Request::put(server.url("/"), fails)).await.unwrap_err();
    assert!(matches!(&error, Error::Source { why, .. } if why == "the source broke"), "{error}");
}

#[tokio::test]
async fn a_server_that_stores_what_it_got_may_take_its_time_where_told() {
    let server = Double::slow(Duration::from_millis(800)).await;
    for size in [10, 600_000] {
        let put = || Request::put(server.url("/"), vec![0; size]);
        let settings = Settings { attempts_max: 1, ..settings() };
        let client = Client::new(settings, Random::from_seed(1)).unwrap();
        assert!(matches!(client.send(put()).await, Err(Error::Timeout { .. })));
        assert!(client.send(put().patience(Duration::from_secs(10))).await.is_ok());
        let stuck = Body::stream(Some(100), stream::pending().boxed());
        let (ended, took) =
            time(client.send(Request::put(server.url("/"), stuck).patience(Duration::from_secs(60)))).await;
        assert!(ended.is_err() && took < Duration::from_secs(5), "patience is for after the body");
    }
}

#[tokio::test]
async fn pieces_of_a_body_arrive_in_order_and_again() {
    let server = Double::answering([status(503)]).await;
    let pieces = vec![Bytes::from(vec![1; 700_000]), Bytes::new(), Bytes::from(vec![2; 10])];
    client().send(Request::put(server.url("/"), Body::pieces(pieces))).await.unwrap();
    for seen in server.seen() {
        assert_eq!((seen.body.len(), seen.body[0], seen.body[700_009]), (700_010, 1, 2));
        assert_eq!(seen.headers[header::CONTENT_LENGTH], "700010");
    }
}

#[tokio::test]
async fn credentials_in_an_address_are_refused_and_not_shown() {
    let url = Url::parse("http://me:hunter2@127.0.0.1:1/").unwrap();
    let error = client().send(Request::get(url)).await.unwrap_err();
    assert!(matches!(error, Error::Setup { .. }));
    assert!(!format!("{error} {error:?}").contains("hunter2"));
    let request = Request::get(Url::parse("http://127.0.0.1/").unwrap()).bearer(&Secret::new("hunter2"));
    assert!(!format!("{request:?}").contains("hunter2"));
    let error = client().send(request.bearer(&Secret::new("a\nb"))).await.unwrap_err();
    assert!(matches!(error, Error::Setup { .. }));
}

#[tokio::test]
async fn json_that_is_none_says_so() {
    let server = Double::with(|_| Answer::new(AxumBody::from("<html>"))).await;
    let read = client().send(Request::get(server.url("/"))).await.unwrap().json::<Vec<u8>>(100).await;
    assert!(matches!(read, Err(Error::Decode { .. })));
}

#[tokio::test]
async fn json_of_another_shape_is_quoted_short_and_on_one_line() {
    let long = || AxumBody::from(serde_json::Value::from("\u{9b}a\n".repeat(10_000)).to_string());
    let server = Double::with(move |_| Answer::new(long())).await;
    let response = client().send(Request::get(server.url("/"))).await.unwrap();
    let Err(Error::Decode { why, .. }) = response.json::<u32>(1 << 20).await else { panic!() };
    assert!(why.starts_with("invalid type: string") && why.len() <= 2048, "{} bytes: {why:.99}", why.len());
    assert!(!why.contains(char::is_control), "{why:?}");
}

#[tokio::test]
async fn usage_counts_each_try() {
    static TRIES: AtomicU32 = AtomicU32::new(0);
    let server =
        Double::with(|_| if TRIES.fetch_add(1, Ordering::Relaxed) == 0 { status(429) } else { status(200) })
            .await;
    let client = client();
    client.send(Request::get(server.url("/"))).await.unwrap();
    let usage = &client.usage()[0];
    assert_eq!(
        (usage.host.as_str(), usage.requests, usage.limited),
        (server.address.to_string().as_str(), 2, 1)
    );
}

#[test]
fn a_ca_file_that_is_none_stops_the_start() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    for text in ["", "not a certificate"] {
        file.write_all(text.as_bytes()).unwrap();
        let settings = Settings { ca_file: Some(file.path().to_owned()), ..settings() };
        let error = Client::new(settings, Random::from_seed(1)).unwrap_err();
        assert_eq!(error.remedy(), Remedy::Fatal, "{error}");
    }
}
