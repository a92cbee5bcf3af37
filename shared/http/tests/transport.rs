//! The client over another transport than sockets: all that it decides holds there too, on paused time.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use flatbus_base::{Clock as _, Random, SystemClock};
use flatbus_http::{
    Body, Chunks, Client, Error, HeaderMap, HostList, NotCarried, Request, Settings, StatusCode, Transport,
    Url, header,
};
use futures::{
    FutureExt as _, StreamExt as _, TryStreamExt as _,
    future::{BoxFuture, pending},
    stream,
};

/// What becomes of one request.
enum Turn {
    Answer(u16, Chunks),
    Not(NotCarried),
    Silence,
}

/// Takes its turns in order; past the last it answers 200.
#[derive(Default)]
struct Script {
    turns: Mutex<VecDeque<Turn>>,
    seen: Mutex<Vec<(HeaderMap, Bytes)>>,
}

struct Scripted(Arc<Script>);

impl Transport for Scripted {
    fn carry(
        &self,
        request: http::Request<Chunks>,
    ) -> BoxFuture<'static, Result<http::Response<Chunks>, NotCarried>> {
        let script = self.0.clone();
        async move {
            let (parts, body) = request.into_parts();
            let body: Vec<Bytes> =
                body.try_collect().await.map_err(|error| NotCarried::Cut(format!("not sent: {error}")))?;
            script.seen.lock().unwrap().push((parts.headers, body.concat().into()));
            let turn = script.turns.lock().unwrap().pop_front();
            match turn.unwrap_or_else(|| Turn::Answer(200, chunks(["said"]))) {
                Turn::Answer(status, body) => {
                    Ok(http::Response::builder().status(status).body(body).unwrap())
                }
                Turn::Not(why) => Err(why),
                Turn::Silence => pending().await,
            }
        }
        .boxed()
    }
}

fn chunks<const N: usize>(pieces: [&'static str; N]) -> Chunks {
    stream::iter(pieces.map(|piece| Ok(Bytes::from_static(piece.as_bytes())))).boxed()
}

fn refused() -> Turn {
    Turn::Not(NotCarried::Refused("connection refused".to_owned()))
}

fn cut() -> Turn {
    Turn::Not(NotCarried::Cut("reset".to_owned()))
}

fn scripted(turns: impl IntoIterator<Item = Turn>) -> (Client, Arc<Script>) {
    let script = Arc::new(Script { turns: Mutex::new(turns.into_iter().collect()), ..Script::default() });
    let settings = Settings { hosts: HostList::new(["there.test"]), ..Settings::default() };
    let transport = Arc::new(Scripted(script.clone()));
    (Client::over(settings, Random::from_seed(1), Arc::new(SystemClock), transport).unwrap(), script)
}

fn url() -> Url {
    "https://there.test/x".parse().unwrap()
}

fn times(script: &Script) -> usize {
    script.seen.lock().unwrap().len()
}

#[test]
fn no_driver_of_sockets_is_needed() {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let (client, _) = scripted([Turn::Answer(503, chunks([])), refused()]);
    let answer = runtime.block_on(async { client.send(Request::get(url())).await?.bytes(100).await });
    assert_eq!(answer, Ok(Bytes::from_static(b"said")));
}

#[tokio::test(start_paused = true)]
async fn only_what_was_not_sent_is_sent_twice_unless_that_is_harmless() {
    for (turn, tries) in [(refused as fn() -> Turn, 2), (cut, 1)] {
        let (client, script) = scripted([turn()]);
        let sent = client.send(Request::post(url(), Bytes::from_static(b"once"))).await;
        assert_eq!((sent.is_ok(), times(&script)), (tries == 2, tries));
        let (client, script) = scripted([turn()]);
        assert!(client.send(Request::get(url())).await.is_ok());
        assert_eq!(times(&script), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn failures_are_sorted_as_over_sockets() {
    let once = |turn: Turn| async {
        let (client, _) = scripted([turn]);
        let stream = stream::iter([Ok(Bytes::from_static(b"x"))]).boxed();
        let answer = client.send(Request::put(url(), Body::stream(Some(1), stream))).await?;
        answer.bytes(100).await
    };
    assert!(matches!(once(refused()).await, Err(Error::Connect { why, .. }) if why == "connection refused"));
    assert!(matches!(once(cut()).await, Err(Error::Cut { why, .. }) if why == "reset"));
    assert!(matches!(once(Turn::Silence).await, Err(Error::Timeout { .. })));
    let broken = stream::iter([Ok(Bytes::from_static(b"some")), Err("reset".into())]).boxed();
    assert!(matches!(once(Turn::Answer(200, broken)).await, Err(Error::Cut { .. })));
    assert!(matches!(once(Turn::Answer(200, stream::pending().boxed())).await, Err(Error::Timeout { .. })));
    assert!(matches!(once(Turn::Answer(200, chunks(["x"; 101]))).await, Err(Error::BodyTooLarge { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_gives_out_is_told_from_a_connection_that_breaks() {
    let (client, script) = scripted([]);
    let fails = stream::iter([Ok(Bytes::from_static(b"x")), Err("the source broke".to_owned())]);
    let sent = client.send(Request::put(url(), Body::stream(None, fails.boxed()))).await;
    assert!(matches!(sent, Err(Error::Source { why, .. }) if why == "the source broke"));
    assert_eq!(times(&script), 0);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_moves_is_not_silence_and_one_that_stands_still_is() {
    let drops = |wait: u64| {
        let drops = stream::iter(0..10).then(move |_| async move {
            tokio::time::sleep(Duration::from_secs(wait)).await;
            Ok(Bytes::from_static(b"x"))
        });
        Request::put(url(), Body::stream(Some(10), drops.boxed()))
    };
    let (client, _) = scripted([]);
    assert!(client.send(drops(50)).await.is_ok());
    let began = SystemClock.monotonic();
    assert!(matches!(client.send(drops(1000)).await, Err(Error::Timeout { .. })));
    assert_eq!(SystemClock.monotonic() - began, Settings::default().read_timeout);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_carried_to_a_host_that_is_not_allowed() {
    let (client, script) = scripted([]);
    let sent = client.send(Request::get("https://elsewhere.test/".parse().unwrap())).await;
    assert!(matches!(sent, Err(Error::ForbiddenHost { .. })));
    assert_eq!(times(&script), 0);
}

#[tokio::test(start_paused = true)]
async fn a_request_carries_what_it_carries_over_sockets() {
    let (client, script) = scripted([]);
    let request = Request::put(url(), vec![7; 600_000]).header(header::ACCEPT, "text/plain");
    assert_eq!(client.send(request).await.unwrap().status, StatusCode::OK);
    let (headers, body) = script.seen.lock().unwrap().remove(0);
    assert_eq!(body.len(), 600_000);
    assert_eq!(headers[header::CONTENT_LENGTH], "600000");
    assert_eq!(headers.get_all(header::ACCEPT).iter().collect::<Vec<_>>(), ["text/plain"]);
    assert!(headers[header::USER_AGENT].to_str().unwrap().starts_with("flatbus/"));
}

#[test]
fn a_user_agent_that_is_no_header_stops_the_start() {
    let settings = Settings { user_agent: "a\nb".to_owned(), ..Settings::default() };
    assert!(matches!(Client::new(settings, Random::from_seed(1)), Err(Error::Setup { .. })));
}
