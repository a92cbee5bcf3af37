//! `amqp_url`, with the meaning pika gives it. No error and no `Debug` shows the URL: it may hold a password.

use std::{fmt, time::Duration};

use flatbus_base::Secret;
use url::{Host, Url};

use super::error::nearest;

const AMQP_PORT: u16 = 5672;
const AMQPS_PORT: u16 = 5671;
/// Seconds for the TCP connection where the URL says nothing. Together with the longest wait between two attempts it stays
/// well under the ten seconds within which a broker that is well again is to be consumed.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Seconds for the TLS and for the AMQP handshake, each, where the URL says nothing: as above. (Pika's 15 are for all of
/// them together.)
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// First wait after a failed connection where the URL says nothing.
const RETRY_DELAY: Duration = Duration::from_secs(1);
/// Heartbeats asked for where the URL says nothing: without them a silent broker is never noticed. One goes out every half
/// of it, and a host that is back after a power cut refuses it at once.
const HEARTBEAT_S: u16 = 10;
/// Longest wait that the URL may ask for.
const WAIT_S_MAX: f64 = 3600.0;
/// Parameters that mean something here.
const USED: [&str; 4] = ["heartbeat", "retry_delay", "socket_timeout", "stack_timeout"];
/// Parameters of pika that are accepted and change nothing here: it never gives up connecting, and lapin negotiates.
const UNUSED: [&str; 7] = [
    "blocked_connection_timeout",
    "channel_max",
    "client_properties",
    "connection_attempts",
    "frame_max",
    "locale",
    "tcp_options",
];

/// Where the broker is and who we say we are.
#[derive(Clone, PartialEq)]
pub struct Broker {
    /// `amqps`.
    pub secure: bool,
    /// Name or address; an IPv6 address without brackets.
    pub host: String,
    /// 5672 or 5671 where none is given.
    pub port: u16,
    /// Decoded: `/%2Fpubsub` is `/pubsub`; none is `/`.
    pub vhost: String,
    /// `guest` where no user is given.
    pub username: String,
    /// Not used with EXTERNAL.
    pub password: Secret,
    /// Heartbeat interval asked for; the lower of ours and the broker's counts, 0 follows the broker.
    pub heartbeat_s: u16,
    /// First wait after a failed connection.
    pub retry_delay: Duration,
    /// Time-out of the TCP connection, name look-up included.
    pub connect_timeout: Duration,
    /// Time-out of each handshake: TLS, AMQP, and declaring and binding.
    pub handshake_timeout: Duration,
}

/// What fedora-messaging's default URL says: a broker on this machine.
impl Default for Broker {
    fn default() -> Self {
        Self {
            secure: false,
            host: "localhost".into(),
            port: AMQP_PORT,
            vhost: "/".into(),
            username: "guest".into(),
            password: Secret::new("guest"),
            heartbeat_s: HEARTBEAT_S,
            retry_delay: RETRY_DELAY,
            connect_timeout: CONNECT_TIMEOUT,
            handshake_timeout: HANDSHAKE_TIMEOUT,
        }
    }
}

impl Broker {
    /// Reads the URL; what is wrong comes back as a sentence that doesn't show it.
    pub(super) fn from_url(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| format!("not a URL: {error}"))?;
        let secure = match url.scheme() {
            "amqp" => false,
            "amqps" => true,
            _ => return Err("must start with amqp:// or amqps://".into()),
        };
        let (username, password) = credentials(&url)?;
        let mut broker = Self {
            secure,
            host: host(&url)?,
            port: url.port().unwrap_or(if secure { AMQPS_PORT } else { AMQP_PORT }),
            vhost: vhost(&url)?,
            username,
            password,
            ..Self::default()
        };
        for (name, value) in url.query_pairs() {
            broker.set(&name, &value)?;
        }
        Ok(broker)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "heartbeat" => {
                self.heartbeat_s =
                    value.parse().map_err(|_| "heartbeat must be seconds from 0 to 65535".to_owned())?;
            }
            "retry_delay" => self.retry_delay = seconds(name, value)?,
            "socket_timeout" => self.connect_timeout = seconds(name, value)?,
            "stack_timeout" => self.handshake_timeout = seconds(name, value)?,
            "ssl_options" => return Err("ssl_options are not read from the URL: use the table [tls]".into()),
            name if UNUSED.contains(&name) => {}
            name => return Err(unknown_parameter(name)),
        }
        Ok(())
    }

    /// `host:port`, for messages.
    pub fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker")
            .field("address", &self.address())
            .field("secure", &self.secure)
            .field("vhost", &self.vhost)
            .finish_non_exhaustive()
    }
}

fn host(url: &Url) -> Result<String, String> {
    match url.host() {
        None => Ok("localhost".into()),
        Some(Host::Domain("")) => Ok("localhost".into()),
        Some(Host::Domain(name)) => decoded(name, "host"),
        Some(Host::Ipv4(address)) => Ok(address.to_string()),
        Some(Host::Ipv6(address)) => Ok(address.to_string()),
    }
}

/// The first path segment; an empty one is the default vhost, as in pika (lapin would make it the vhost "").
fn vhost(url: &Url) -> Result<String, String> {
    match url.path().split('/').nth(1) {
        None | Some("") => Ok("/".into()),
        Some(segment) => decoded(segment, "virtual host"),
    }
}

fn credentials(url: &Url) -> Result<(String, Secret), String> {
    if url.username().is_empty() && url.password().is_none() {
        return Ok(("guest".into(), Secret::new("guest")));
    }
    let username = decoded(url.username(), "user name")?;
    let password = decoded(url.password().unwrap_or_default(), "password")?;
    Ok((username, Secret::new(password)))
}

/// Undoes percent-encoding.
fn decoded(text: &str, what: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = [rest.next(), rest.next()].map(|digit| digit.and_then(|d| (d as char).to_digit(16)));
        let [Some(high), Some(low)] = digits else {
            return Err(format!("the {what} has a % without two hexadecimal digits; a % itself is %25"));
        };
        bytes.extend(u8::try_from(high * 16 + low));
    }
    String::from_utf8(bytes).map_err(|_| format!("the {what} is not UTF-8 once decoded"))
}

fn seconds(name: &str, value: &str) -> Result<Duration, String> {
    match value.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= WAIT_S_MAX => Ok(Duration::from_secs_f64(seconds)),
        Ok(_) | Err(_) => Err(format!("{name} must be seconds above 0 and at most {WAIT_S_MAX}")),
    }
}

fn unknown_parameter(name: &str) -> String {
    let allowed: Vec<String> = USED.iter().chain(&UNUSED).map(|&known| known.to_owned()).collect();
    let hint = nearest(name, &allowed).map(|known| format!("; did you mean {known}?")).unwrap_or_default();
    // The name is the URL's text too: cut, in case a password with an unescaped `?` landed here.
    format!("unknown parameter in the query; allowed: {}{hint}", allowed.join(", "))
}
