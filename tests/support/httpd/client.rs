//! A client that shows everything of an answer, and what of it must be the same from every server.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use flatbus_oci::Digest;

/// Compared where an answer is what was asked for.
const COMPARED: [&str; 11] = [
    "etag",
    "cache-control",
    "content-encoding",
    "content-type",
    "vary",
    "last-modified",
    "accept-ranges",
    "content-range",
    "content-length",
    "location",
    "expires",
];
/// Compared where it is not: the page itself is httpd's own, and it tells no size with 416.
const COMPARED_OF_ERRORS: [&str; 3] = ["cache-control", "allow", "expires"];

/// What is sent.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: &'static str,
    pub target: String,
    pub headers: Vec<(&'static str, String)>,
}

/// A GET without headers.
pub fn get(target: impl Into<String>) -> Request {
    Request { method: "GET", target: target.into(), headers: Vec::new() }
}

impl Request {
    /// With another method.
    pub fn by(self, method: &'static str) -> Self {
        Self { method, ..self }
    }

    /// With one header more.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// What came back.
pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Answer {
    /// Empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// Status, headers, and the digest of the body.
    pub fn compared(&self) -> (u16, Vec<(&str, &str)>, String) {
        let (names, body) = match self.status {
            302 => (&["location", "cache-control", "expires"][..], &[][..]),
            400.. => (&COMPARED_OF_ERRORS[..], &[][..]),
            _ => (&COMPARED[..], &*self.body),
        };
        // httpd tells no length of an empty file to HEAD.
        let header = |name| Some(self.header(name)).filter(|value| (name, *value) != ("content-length", "0"));
        let headers = names.iter().map(|name| (*name, header(name).unwrap_or_default()));
        (self.status, headers.collect(), Digest::of(body).hex())
    }
}

/// Asks over a connection of its own.
pub fn ask(host: &str, request: &Request) -> Answer {
    let mut text = format!(
        "{} {} HTTP/1.1\r\nHost: registry.test\r\nConnection: close\r\n",
        request.method, request.target
    );
    for (name, value) in &request.headers {
        text += &format!("{name}: {value}\r\n");
    }
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all((text + "\r\n").as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap_or_else(|| panic!("no answer to {request:?}"));
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    let mut headers = BTreeMap::new();
    for line in head.lines().skip(1) {
        let (name, value) = line.split_once(':').unwrap();
        let all: &mut String = headers.entry(name.to_ascii_lowercase()).or_default();
        let sep = if all.is_empty() || value.trim().is_empty() { "" } else { ", " };
        *all = format!("{all}{sep}{}", value.trim()); // httpd adds an empty Allow to that which it is told.
    }
    assert!(!headers.contains_key("transfer-encoding"), "each tells the length that it sends: {head}");
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, headers, body: answer[end + 4..].to_vec() }
}
