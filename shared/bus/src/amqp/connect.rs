//! From a configuration to an AMQP connection: TCP, TLS, AMQP, each within its time. lapin has no time-outs of its own,
//! so the stream is made here and handed over ready; a socket that stays silent is shut down, which ends lapin's thread.

use std::{
    io,
    net::{Shutdown, TcpStream as Socket},
    os::fd::AsFd,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_rs::{Tokio, traits::Reactor};
use lapin::{
    AsyncTcpStream, Channel, Connection, ConnectionProperties, ErrorKind,
    auth::AuthProvider,
    protocol::AMQPHardError,
    types::ShortString,
    uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo},
};
use tokio::{net::lookup_host, time::timeout};
use tracing::debug;

use super::{
    screened::{self, Bare, Screened, Screening},
    tls,
    trouble::{self, Trouble},
};
use crate::Config;

/// Time for a polite good-bye.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection, and the socket under it. Dropping it shuts the socket: nothing of it lives on.
pub(super) struct Link {
    connection: Connection,
    socket: Socket,
}

impl Link {
    /// Connects as `app`. `frame_bytes_max`: what lapin's buffers are cut to; none leaves it to the broker. A message's
    /// headers must fit one frame, so only who knows what comes may say less.
    pub async fn open(config: &Config, app: &str, frame_bytes_max: Option<u32>) -> Result<Self, Trouble> {
        let (stream, socket) = tcp(config).await?;
        let link = Guard(Some(socket));
        let stream = if config.broker.secure { handshake(config, stream).await? } else { stream };
        let connection = amqp(config, app, frame_bytes_max, stream).await?;
        debug!(broker = %config.broker.address(), vhost = %config.broker.vhost, "Connected to the broker");
        Ok(Self { connection, socket: link.keep()? })
    }

    /// A channel on it.
    pub async fn channel(&self) -> lapin::Result<Channel> {
        self.connection.create_channel().await
    }

    /// Whether it still is one.
    pub fn connected(&self) -> bool {
        self.connection.status().connected()
    }

    /// Whether the broker takes no messages on it: it is short of memory or of disk space, and says so only to who
    /// publishes.
    pub fn blocked(&self) -> bool {
        self.connection.status().blocked()
    }

    /// Says good-bye, so that the broker's log shows no abrupt end.
    pub async fn close(self) {
        let ok = ShortString::try_new("closing").unwrap_or_default();
        // Whatever comes of it, the socket is shut after.
        let _ = timeout(CLOSE_TIMEOUT, self.connection.close(200, ok)).await;
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // Fails only where it is shut already.
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

/// Shuts the socket if the handshake is given up, whoever gives it up.
struct Guard(Option<Socket>);

impl Guard {
    fn keep(mut self) -> Result<Socket, Trouble> {
        self.0.take().ok_or_else(|| Trouble::Lost { address: String::new(), said: "no socket".into() })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(socket) = &self.0 {
            let _ = socket.shutdown(Shutdown::Both); // As above.
        }
    }
}

/// The stream, and the same socket once more to shut it by.
async fn tcp(config: &Config) -> Result<(Bare, Socket), Trouble> {
    let broker = &config.broker;
    let unreachable = |source| Trouble::Unreachable { address: broker.address(), source };
    let stream =
        timeout(broker.connect_timeout, any_address(&broker.host, broker.port, broker.connect_timeout))
            .await
            .map_err(|_| Trouble::Silent {
                address: broker.address(),
                phase: "the TCP connection",
                after: broker.connect_timeout,
                hint: "",
            })?
            .map_err(unreachable)?;
    let socket = stream.get_ref().as_fd().try_clone_to_owned().map(Socket::from).map_err(unreachable)?;
    Ok((AsyncTcpStream::Plain(stream), socket))
}

/// Each address has its share of the time, so that one that is never answered hides no other.
async fn any_address(host: &str, port: u16, within: Duration) -> io::Result<<Tokio as Reactor>::TcpStream> {
    let addresses: Vec<_> = lookup_host((host, port)).await?.collect();
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for (tried, address) in addresses.iter().enumerate() {
        let connecting = Tokio::current().tcp_connect_addr(*address);
        if tried + 1 == addresses.len() {
            return connecting.await;
        }
        match timeout(within.div_f64(addresses.len() as f64), connecting).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failed = error,
            Err(_) => failed = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(failed)
}

async fn handshake(config: &Config, stream: Bare) -> Result<Bare, Trouble> {
    let broker = &config.broker;
    let connector = tls::connector(&config.tls)?;
    timeout(broker.handshake_timeout, stream.into_rustls(&connector, &broker.host))
        .await
        .map_err(|_| Trouble::Silent {
            address: broker.address(),
            phase: "the TLS handshake",
            after: broker.handshake_timeout,
            hint: ": is this its TLS port?",
        })?
        .map_err(|error| Trouble::Tls {
            address: broker.address(),
            reason: tls::handshake_failed(&error, &config.tls, &broker.host),
        })
}

async fn amqp(
    config: &Config,
    app: &str,
    frame_bytes_max: Option<u32>,
    stream: Bare,
) -> Result<Connection, Trouble> {
    let broker = &config.broker;
    let runtime = screened::runtime();
    let stream = AsyncTcpStream::Plain(Screened::new(stream));
    // lapin may ask for a stream again; there is one, and another connection is ours to make.
    let stream = Arc::new(Mutex::new(Some(stream)));
    let hand_over = async move |_: AMQPUri, _: async_rs::Runtime<Screening>| {
        let stream = stream.lock().unwrap_or_else(PoisonError::into_inner).take();
        stream.ok_or_else(|| lapin::Error::from(io::Error::from(io::ErrorKind::ConnectionAborted)))
    };
    let connecting =
        Connection::connector(uri(config, frame_bytes_max), runtime, hand_over, properties(config, app));
    timeout(broker.handshake_timeout, connecting)
        .await
        .map_err(|_| Trouble::Silent {
            address: broker.address(),
            phase: "the AMQP handshake",
            after: broker.handshake_timeout,
            hint: if broker.secure { "" } else { ": is this a TLS port? Then amqp_url starts with amqps://" },
        })?
        .map_err(|error| refused(config, &error))
}

fn refused(config: &Config, error: &lapin::Error) -> Trouble {
    let address = config.broker.address();
    let said = trouble::said(error);
    match (trouble::hard(error), error.kind()) {
        (Some(AMQPHardError::NOTALLOWED), _) => {
            Trouble::Login { address, what: format!("the virtual host {}", config.broker.vhost), said }
        }
        (Some(_), _) => Trouble::Login { address, what: "the connection".into(), said },
        (None, ErrorKind::ProtocolError(_)) => Trouble::Login { address, what: identity(config), said },
        (None, ErrorKind::IOError(_)) if config.external_auth() => Trouble::CertificateRefused { address },
        (None, _) => Trouble::Lost { address, said },
    }
}

fn identity(config: &Config) -> String {
    match &config.tls.client {
        Some(client) if config.external_auth() => {
            format!("the user of the certificate {}", client.certfile.display())
        }
        Some(_) | None => format!("the user {} or its password", config.broker.username),
    }
}

/// For lapin's handshake alone; it is never shown.
fn uri(config: &Config, frame_bytes_max: Option<u32>) -> AMQPUri {
    let broker = &config.broker;
    AMQPUri {
        scheme: if broker.secure { AMQPScheme::AMQPS } else { AMQPScheme::AMQP },
        authority: AMQPAuthority {
            userinfo: AMQPUserInfo {
                username: broker.username.clone(),
                password: broker.password.expose().to_owned(),
            },
            host: broker.host.clone(),
            port: broker.port,
        },
        vhost: broker.vhost.clone(),
        query: AMQPQueryString {
            heartbeat: Some(broker.heartbeat_s),
            frame_max: frame_bytes_max,
            ..AMQPQueryString::default()
        },
    }
}

/// SASL EXTERNAL: the broker takes our name from the certificate.
struct External;

impl AuthProvider for External {}

fn properties(config: &Config, app: &str) -> ConnectionProperties {
    let mut properties = ConnectionProperties::default().with_connection_name(app.into());
    for (name, value) in &config.client_properties {
        if let Ok(name) = ShortString::try_new(name.as_str()) {
            properties = properties.with_client_property(name, value.as_str().into());
        }
    }
    if config.external_auth() { properties.with_auth_provider(External) } else { properties }
}
