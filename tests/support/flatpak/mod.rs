//! Debian's real flatpak client at the end of the line: Flatpaks made with its own tools, pushed to a registry as Fedora's
//! are, and a user who installs, runs and updates them. Who serves the index is left to the test: see [`Index`].
//!
//! Everything blocks, so that it serves any test; what must be served in this process has threads of its own. No process
//! outlives its command, and nothing is fetched from another machine.
#![allow(dead_code, reason = "each test binary that includes this uses its part of it")]

mod build;
mod client;
mod home;
mod images;
mod index;
mod tap;

use std::{
    future::Future,
    net::{SocketAddr, TcpListener},
    thread,
};

use axum::Router;
use tokio::runtime::{Builder, Runtime};

#[allow(unused_imports, reason = "as above")]
pub use self::{
    build::{HELLO, PLATFORM, PLATFORM_BRANCH, icon},
    client::{FlatpakClient, Offer, REMOTE},
    home::Said,
    images::{Child, Image, host_architecture, oci_architecture, withdraw},
    index::{Index, StaticIndex},
    tap::Asked,
};

/// A server of this process, with a thread of its own. Ends with the value.
struct Served {
    address: SocketAddr,
    runtime: Option<Runtime>,
}

impl Served {
    fn start(router: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a socket can be asked not to block");
        let address = listener.local_addr().expect("its address");
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("inside of a runtime");
            axum::serve(listener, router).await
        });
        Self { address, runtime: Some(runtime) }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background(); // Waiting for it is forbidden where the test itself is async.
        }
    }
}

/// Runs a future to its end, also where the caller is inside of a runtime.
fn block_on<T: Send>(future: impl Future<Output = T> + Send) -> T {
    let run = || Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future);
    thread::scope(|scope| scope.spawn(run).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
