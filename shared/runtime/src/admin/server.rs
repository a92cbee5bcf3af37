//! Where the router listens: a Unix socket for everything, TCP for reads.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::Path,
};

use axum::Router;
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

/// Who may use the socket: its owner and group.
const SOCKET_MODE: u32 = 0o660;

/// Serves on a Unix socket until told to stop, then removes it.
pub(crate) async fn serve_unix(path: &Path, router: Router, stop: CancellationToken) -> io::Result<()> {
    let listener = bind(path).await?;
    let served = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await;
    let _ = fs::remove_file(path); // A socket left behind is found dead and replaced.
    served
}

/// Binds the socket; one left behind by a killed process is replaced, one in use is not.
async fn bind(path: &Path) -> io::Result<UnixListener> {
    let named =
        |error: io::Error| io::Error::new(error.kind(), format!("socket {}: {error}", path.display()));
    if fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket()) {
        if UnixStream::connect(path).await.is_ok() {
            let error = io::Error::new(io::ErrorKind::AddrInUse, "another process answers on it");
            return Err(named(error));
        }
        fs::remove_file(path).map_err(named)?;
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(named)?;
    }
    let listener = UnixListener::bind(path).map_err(named)?;
    fs::set_permissions(path, fs::Permissions::from_mode(SOCKET_MODE)).map_err(named)?;
    Ok(listener)
}

/// Serves reads on TCP until told to stop.
pub(crate) async fn serve_tcp(
    listener: TcpListener,
    router: Router,
    stop: CancellationToken,
) -> io::Result<()> {
    axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await
}
