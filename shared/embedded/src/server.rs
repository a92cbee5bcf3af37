//! One way to run every server here: on a port of 127.0.0.1, in a task that ends with its handle.
//!
//! Never listens on another interface: what these servers hold is for this machine.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use axum::{Router, response::Response};
use hyper::{body::Incoming, server::conn::http1, service::Service as _};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

/// Connections served at once; more wait to be accepted.
const CONNECTIONS_MAX: usize = 512;

/// How long a stop waits for requests that run.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// In an answer's extensions: the connection is closed instead of answering.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HangUp;

/// A running server. Dropping it ends the server and every connection at once; [`Handle::stop`] lets requests finish.
#[derive(Debug)]
pub struct Handle {
    /// Where it listens.
    pub address: SocketAddr,
    stop: CancellationToken,
    task: JoinSet<()>,
}

impl Handle {
    /// `127.0.0.1:5000`: the host as an image reference names it.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// `http://127.0.0.1:5000`, without a slash at its end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops accepting, lets running requests finish for a moment, then ends them.
    pub async fn stop(mut self) {
        self.stop.cancel();
        while self.task.join_next().await.is_some() {}
    }
}

/// Listens on `port` of 127.0.0.1 (0: a free one) and serves `make_router(address)` there.
pub(crate) async fn start(port: u16, make_router: impl FnOnce(SocketAddr) -> Router) -> io::Result<Handle> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    let address = listener.local_addr()?;
    let router = make_router(address);
    let stop = CancellationToken::new();
    let mut task = JoinSet::new();
    task.spawn(accept(listener, router, stop.clone()));
    Ok(Handle { address, stop, task })
}

async fn accept(listener: TcpListener, router: Router, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(stream, router.clone(), stop.clone()));
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

async fn serve(stream: TcpStream, router: Router, stop: CancellationToken) {
    let _ = stream.set_nodelay(true);
    let router = TowerToHyperService::new(router);
    let service = hyper::service::service_fn(move |request: http::Request<Incoming>| {
        let answer = router.call(request);
        async move {
            let answer: Response = answer.await.unwrap_or_else(|never| match never {});
            match answer.extensions().get::<HangUp>() {
                Some(HangUp) => Err(io::Error::other("hung up as told")),
                None => Ok(answer),
            }
        }
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
        let handle = start(0, |_| Router::new().route("/", get(|| async { "here" }))).await.unwrap();
        let address = handle.address;
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
        let handle = start(0, |_| Router::new().route("/", get(stall))).await.unwrap();
        let mut stream = TcpStream::connect(handle.address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        entered.notified().await;
        tokio::time::timeout(Duration::from_secs(10), handle.stop()).await.expect("the stop ends");
    }
}
