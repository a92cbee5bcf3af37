//! What runs here, and where: on a port of 127.0.0.1, in a task that ends with its handle, or on a wire.
//!
//! Never listens on another interface: what these servers hold is for this machine.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use axum::{Router, body::Body, extract::Request, response::Response};
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::wire::Plug;

/// Connections served at once; more wait to be accepted.
const CONNECTIONS_MAX: usize = 512;

/// How long a stop waits for requests that run.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// In an answer's extensions: the connection is closed instead of answering.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HangUp;

/// Answers as one of the servers here does, wherever it is put.
#[derive(Clone)]
pub struct Server(Router);

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Server")
    }
}

impl Server {
    pub(crate) fn new(router: Router) -> Self {
        Self(router)
    }

    pub(crate) fn answer(&self, request: Request) -> impl Future<Output = Response> + Send + use<> {
        let answer = self.0.clone().oneshot(request);
        async move { answer.await.unwrap_or_else(|never| match never {}) }
    }
}

/// A running server. Dropping it ends the server and every connection at once; [`Handle::stop`] lets requests finish.
#[derive(Debug)]
pub struct Handle {
    host: String,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Socket { stop: CancellationToken, task: JoinSet<()> },
    Wire { _plug: Plug },
}

impl Handle {
    pub(crate) fn on_wire(host: String, plug: Plug) -> Self {
        Self { host, place: Place::Wire { _plug: plug } }
    }

    /// `127.0.0.1:5000`, or its name on a wire: the host as an image reference names it.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// `http://127.0.0.1:5000`, without a slash at its end.
    pub fn url(&self) -> String {
        format!("http://{}", self.host)
    }

    /// Stops accepting, lets running requests finish for a moment, then ends them. On a wire they end at once.
    pub async fn stop(self) {
        let Place::Socket { stop, mut task } = self.place else { return };
        stop.cancel();
        while task.join_next().await.is_some() {}
    }
}

/// A port that is had and not served yet.
pub(crate) struct Slot {
    listener: TcpListener,
    address: SocketAddr,
}

/// Listens on `port` of 127.0.0.1; 0 takes a free one.
pub(crate) async fn bind(port: u16) -> io::Result<Slot> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    let address = listener.local_addr()?;
    Ok(Slot { listener, address })
}

impl Slot {
    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn serve(self, router: Router) -> Handle {
        let (host, stop) = (self.host(), CancellationToken::new());
        let mut task = JoinSet::new();
        task.spawn(accept(self.listener, Server::new(router), stop.clone()));
        Handle { host, place: Place::Socket { stop, task } }
    }
}

async fn accept(listener: TcpListener, server: Server, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(stream, server.clone(), stop.clone()));
                }
                // Out of file descriptors, or a peer gone before it was accepted: the next one may do.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
        }
    }
    drop(listener);
    let finished = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(STOP_TIMEOUT, finished).await; // The rest is aborted with the set.
}

async fn serve(stream: TcpStream, server: Server, stop: CancellationToken) {
    let _ = stream.set_nodelay(true);
    let service = hyper::service::service_fn(move |request: http::Request<Incoming>| {
        let answer = server.answer(request.map(Body::new));
        async move { unless_hung_up(answer.await) }
    });
    let connection =
        http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        biased;
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
        _ = connection.as_mut() => return,             // A peer that went away is no news.
    }
    let _ = connection.await;
}

/// An answer that is not to be given is a connection that breaks.
pub(crate) fn unless_hung_up(answer: Response) -> io::Result<Response> {
    match answer.extensions().get::<HangUp>() {
        Some(HangUp) => Err(io::Error::other("hung up as told")),
        None => Ok(answer),
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn ask(address: SocketAddr) -> io::Result<String> {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    #[tokio::test]
    async fn a_server_answers_until_it_is_stopped() {
        let slot = bind(0).await.unwrap();
        let address = slot.address;
        let handle = slot.serve(Router::new().route("/", get(|| async { "here" })));
        assert!(ask(address).await.unwrap().ends_with("here"));
        handle.stop().await;
        assert!(ask(address).await.is_err());
    }

    #[tokio::test]
    async fn a_stalled_request_does_not_hold_up_a_stop_for_ever() {
        let entered = std::sync::Arc::new(tokio::sync::Notify::new());
        let enter = entered.clone();
        let stall = move || {
            enter.notify_one();
            std::future::pending::<()>()
        };
        let slot = bind(0).await.unwrap();
        let address = slot.address;
        let handle = slot.serve(Router::new().route("/", get(stall)));
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        entered.notified().await;
        tokio::time::timeout(Duration::from_secs(10), handle.stop()).await.expect("the stop ends");
    }
}
