//! What the real run is made of: the world that is played, the people at its ends, the unit in its middle, and the rule
//! that it is judged by.

pub mod encore;
pub mod python;
pub mod rule;
pub mod skopeo;
pub mod unit;
pub mod world;

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use flatbus_base::{Clock as _, SystemClock};
use serde_json::Value;

const POLL: Duration = Duration::from_millis(100);
const START_TIMEOUT: Duration = Duration::from_secs(30);
const HTTP_TIMEOUT: Duration = Duration::from_secs(10);

/// Waits until something is there. `told` says what is there instead when it takes too long.
#[track_caller]
pub fn until<T>(
    what: &str,
    patience: Duration,
    told: impl Fn() -> String,
    mut look: impl FnMut() -> Option<T>,
) -> T {
    let end = SystemClock.monotonic() + patience;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(SystemClock.monotonic() < end, "{what}: not within {patience:?}\n{}", told());
        std::thread::sleep(POLL);
    }
}

/// What a host (`127.0.0.1:5000`) answers to a GET; `None` while nobody answers JSON there.
pub fn get(host: &str, path: &str) -> Option<Value> {
    let mut stream = TcpStream::connect(host).ok()?;
    stream.set_read_timeout(Some(HTTP_TIMEOUT)).ok()?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n").as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (_, body) = answer.split_once("\r\n\r\n")?;
    serde_json::from_str(body).ok()
}

/// Waits until `/ready` says that messages are being consumed: ours and fedora-messaging's say it alike.
#[track_caller]
pub fn until_consuming(who: &str, port: u16, log: impl Fn() -> String) {
    let consumes = || get(&format!("127.0.0.1:{port}"), "/ready").filter(|ready| ready["consuming"] == true);
    until(&format!("{who} consumes"), START_TIMEOUT, log, consumes);
}
