//! A fault looks the same on a wire as on sockets: what holds in the simulated world holds outside.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use flatbus_base::{Random, SystemClock};
use flatbus_embedded::{
    Fault, Wire, koji,
    registry::{self, Digest, Registry},
};
use flatbus_http::{Body, Client, Error, HostList, Method, Request, Settings, StatusCode, Url, header};
use futures::{StreamExt as _, stream};

const NAME: &str = "registry.test";
static BLOB: [u8; 100_000] = [7; 100_000];

/// A registry that holds one blob, and a client that tries once.
struct Stage {
    registry: Registry,
    client: Client,
}

impl Stage {
    async fn on_sockets() -> Self {
        let registry = registry::start(registry::Settings::default()).await.unwrap();
        let client = Client::new(settings(&registry.host()), Random::from_seed(1)).unwrap();
        Self::with(registry, client)
    }

    fn on_a_wire() -> Self {
        let wire = Wire::new();
        let registry = registry::start_on(&wire, NAME, registry::Settings::default());
        let client = wire.client(settings(NAME), Random::from_seed(1), Arc::new(SystemClock)).unwrap();
        Self::with(registry, client)
    }

    fn with(registry: Registry, client: Client) -> Self {
        registry.content.put_blob("eog", &BLOB).unwrap();
        Self { registry, client }
    }

    fn url(&self, path: &str) -> Url {
        format!("{}{path}", self.registry.url()).parse().unwrap()
    }

    fn blob(&self, method: Method) -> Request {
        Request::new(method, self.url(&format!("/v2/eog/blobs/{}", Digest::of(&BLOB))))
    }

    fn post(&self, body: impl Into<Body>) -> Request {
        Request::post(self.url(&format!("/v2/eog/blobs/uploads/?digest={}", Digest::of(b"0123456789"))), body)
    }

    /// What becomes of a request, without the host's name.
    async fn outcome(&self, request: Request) -> String {
        let ended = async {
            let answer = self.client.send(request).await?;
            let (status, told) = (answer.status, answer.content_length());
            Ok((status, told, answer.bytes(1 << 20).await?))
        };
        match ended.await {
            Ok((status, told, body)) => {
                format!("{status}, {told:?} told, {} came, {:?}", body.len(), body.first())
            }
            Err(error) => kind(&error),
        }
    }
}

fn settings(host: &str) -> Settings {
    Settings {
        hosts: HostList::new([host]),
        attempts_max: 1,
        read_timeout: Duration::from_millis(500),
        ..Settings::default()
    }
}

/// An error without what only sockets or only wires say.
fn kind(error: &Error) -> String {
    let told = match error {
        Error::Timeout { phase, after, .. } => format!("{phase} {after:?}"),
        Error::Status { status, .. } => status.to_string(),
        Error::Source { why, .. } => why.clone(),
        Error::Limited { wait, .. } => format!("{wait:?}"),
        _ => String::new(),
    };
    let variant = format!("{error:?}");
    format!("{} {told}", variant.split([' ', '(']).next().unwrap())
}

fn on_sockets<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// No driver of sockets is there, and time runs by itself.
fn on_a_wire<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(work)
}

fn faults(base: String) -> Vec<Fault> {
    vec![
        Fault::None,
        Fault::status(StatusCode::SERVICE_UNAVAILABLE),
        Fault::status(StatusCode::NO_CONTENT),
        Fault::retry_after(StatusCode::TOO_MANY_REQUESTS, Duration::from_secs(9)),
        Fault::rpc_fault(1000, "no"),
        Fault::HangUp,
        Fault::HangUpAfter,
        Fault::Stall,
        Fault::Late(Duration::from_millis(100)),
        Fault::Late(Duration::from_secs(2)),
        Fault::CutAnswer { after: 0 },
        Fault::CutAnswer { after: 50_000 },
        Fault::StallAnswer { after: 50_000 },
        Fault::Corrupt,
        Fault::Length(10),
        Fault::Length(200_000),
        Fault::edit(|body| body.slice(..body.len().min(10))),
        Fault::edit(|_| Bytes::new()),
        Fault::DropHeader(header::CONTENT_LENGTH),
        Fault::SetHeader(header::ETAG, header::HeaderValue::from_static("x")),
        Fault::Redirect { base },
        Fault::Redirect { base: "http://elsewhere.test".to_owned() },
        Fault::Instead { target: "/v2/".to_owned() },
        Fault::By(koji::answering(Arc::default())),
    ]
}

async fn reads(stage: Stage) -> Vec<String> {
    let mut seen = Vec::new();
    for method in [Method::GET, Method::HEAD] {
        for fault in faults(stage.registry.url()) {
            let name = format!("{method} {fault:?}").replace(&stage.registry.host(), NAME);
            stage.registry.faults.set(move |_| fault.clone());
            seen.push(format!("{name}: {}", stage.outcome(stage.blob(method.clone())).await));
        }
    }
    seen
}

/// Bodies to send, by what is wrong with them.
fn bodies() -> Vec<(&'static str, Body)> {
    let pieces = |pieces: Vec<Result<&'static str, &'static str>>| {
        let pieces = pieces.into_iter().map(|piece| piece.map(Bytes::from).map_err(str::to_owned));
        stream::iter(pieces.collect::<Vec<_>>())
    };
    let whole = || pieces(vec![Ok("01234"), Ok("56789")]);
    vec![
        ("whole", Body::from("0123456789".to_owned())),
        ("other", Body::from("xxxxxxxxxx".to_owned())),
        ("none", Body::default()),
        ("stream", Body::stream(Some(10), whole().boxed())),
        ("of no length", Body::stream(None, whole().boxed())),
        ("shorter than told", Body::stream(Some(12), whole().boxed())),
        ("gives out", Body::stream(Some(10), pieces(vec![Ok("01234"), Err("gone")]).boxed())),
        ("stands still", Body::stream(Some(10), pieces(vec![Ok("01234")]).chain(stream::pending()).boxed())),
    ]
}

async fn writes(stage: Stage) -> Vec<String> {
    let faults = [
        Fault::None,
        Fault::CutRequest { after: 5 },
        Fault::HangUpAfter,
        Fault::status(StatusCode::CONFLICT),
    ];
    let mut seen = Vec::new();
    for fault in faults {
        // A server that answers early and a body that gives out race on sockets.
        let early = matches!(fault, Fault::CutRequest { .. } | Fault::Answer { .. });
        for (name, body) in bodies().into_iter().take(if early { 5 } else { usize::MAX }) {
            let told = fault.clone();
            stage.registry.faults.set(move |_| told.clone());
            seen.push(format!("{fault:?}, {name}: {}", stage.outcome(stage.post(body)).await));
        }
    }
    seen
}

fn same(sockets: &[String], wire: &[String]) {
    let different: Vec<_> = sockets.iter().zip(wire).filter(|(sockets, wire)| sockets != wire).collect();
    assert!(different.is_empty() && sockets.len() == wire.len(), "{different:#?}");
}

#[test]
fn a_read_ends_on_a_wire_as_on_sockets() {
    let sockets = on_sockets(async { reads(Stage::on_sockets().await).await });
    same(&sockets, &on_a_wire(async { reads(Stage::on_a_wire()).await }));
}

#[test]
fn a_write_ends_on_a_wire_as_on_sockets() {
    let sockets = on_sockets(async { writes(Stage::on_sockets().await).await });
    same(&sockets, &on_a_wire(async { writes(Stage::on_a_wire()).await }));
}

#[test]
fn a_server_sees_the_same_request_on_a_wire_as_on_sockets() {
    let seen = async |stage: Stage| {
        for request in
            [stage.blob(Method::GET), stage.post("0123456789".to_owned()), stage.post(Body::default())]
        {
            stage.outcome(request.header(header::AUTHORIZATION, "x")).await;
        }
        let host = stage.registry.host();
        let seen = stage.registry.faults.seen().into_iter().map(|seen| {
            let mut headers: Vec<_> =
                seen.headers.iter().map(|(name, value)| format!("{name}: {value:?}")).collect();
            headers.sort();
            format!("{} {seen} {headers:?}", seen.number).replace(&host, NAME)
        });
        seen.collect::<Vec<_>>()
    };
    let sockets = on_sockets(async { seen(Stage::on_sockets().await).await });
    same(&sockets, &on_a_wire(async { seen(Stage::on_a_wire()).await }));
}
