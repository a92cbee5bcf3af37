//! The service manager's side of a start: a socket, and how long until the process says on it that it is ready.

use std::{
    fs,
    io::ErrorKind,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    time::Duration,
};

use flatbus_base::{Clock as _, SystemClock};
use tokio::time::Instant;

const MESSAGE_BYTES_MAX: usize = 4096;

/// A service manager who starts one process. It listens until that is ready: what nobody reads would hold the process up.
pub struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
    begun: Instant,
}

impl Manager {
    /// Its time runs from now.
    pub fn listen(dir: &Path) -> Self {
        let path = dir.join("manager.sock");
        let _ = fs::remove_file(&path); // Of the process before.
        let socket = UnixDatagram::bind(&path).unwrap();
        Self { socket, path, begun: SystemClock.monotonic() }
    }

    /// What `$NOTIFY_SOCKET` is to be.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for `READY=1`, and says how long it took; `None` where it took longer than this.
    pub fn until_ready(self, longest: Duration) -> Option<Duration> {
        let mut message = [0; MESSAGE_BYTES_MAX];
        loop {
            let left = longest.checked_sub(self.begun.elapsed()).filter(|left| !left.is_zero())?;
            self.socket.set_read_timeout(Some(left)).unwrap();
            match self.socket.recv(&mut message) {
                Ok(bytes) if says_ready(&message[..bytes]) => return Some(self.begun.elapsed()),
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => panic!("the service manager's socket: {error}"),
            }
        }
    }
}

fn says_ready(message: &[u8]) -> bool {
    message.split(|byte| *byte == b'\n').any(|line| line == b"READY=1")
}
