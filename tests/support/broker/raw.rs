//! A publisher that writes its frames by hand, and so what no library would write.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

const METHOD: u8 = 1;
const CONTENT_HEADER: u8 = 2;
const BODY: u8 = 3;
const FRAME_END: u8 = 0xce;
const BASIC_ACK: [u8; 4] = [0, 60, 0, 80];

/// One channel of a connection as `guest`, with confirms.
pub struct Raw(TcpStream);

impl Raw {
    pub async fn connect(port: u16, vhost: &str) -> Self {
        let mut raw = Self(TcpStream::connect(("127.0.0.1", port)).await.unwrap());
        raw.0.write_all(b"AMQP\0\0\x09\x01").await.unwrap();
        raw.hear().await;
        let login = [&long(b""), &short(b"PLAIN")[..], &long(b"\0guest\0guest"), &short(b"en_US")];
        raw.say(METHOD, 0, &[&[0, 10, 0, 11], &login.concat()[..]]).await;
        raw.hear().await;
        raw.say(METHOD, 0, &[&[0, 10, 0, 31, 0, 1, 0, 2, 0, 0, 0, 0]]).await; // One channel, frames of 128 KiB.
        raw.say(METHOD, 0, &[&[0, 10, 0, 40], &short(vhost.as_bytes())[..], &[0, 0]]).await;
        raw.hear().await;
        for open_and_confirm in [[0, 20, 0, 10, 0], [0, 85, 0, 10, 0]] {
            raw.say(METHOD, 1, &[&open_and_confirm]).await;
            raw.hear().await;
        }
        raw
    }

    /// Publishes a message with these properties, as they stand in a content header; the broker has confirmed it.
    pub async fn publish(&mut self, exchange: &str, key: &[u8], properties: &[u8], body: &[u8]) {
        let (exchange, key) = (short(exchange.as_bytes()), short(key));
        self.say(METHOD, 1, &[&[0, 60, 0, 40, 0, 0], &exchange, &key, &[0]]).await;
        let body_bytes = u64::try_from(body.len()).unwrap().to_be_bytes();
        self.say(CONTENT_HEADER, 1, &[&[0, 60, 0, 0], &body_bytes, properties]).await;
        self.say(BODY, 1, &[body]).await;
        let confirmed = self.hear().await;
        assert!(confirmed.starts_with(&BASIC_ACK), "{}", String::from_utf8_lossy(&confirmed));
    }

    async fn say(&mut self, kind: u8, channel: u8, content: &[&[u8]]) {
        let frame = [&[kind, 0, channel], &long(&content.concat())[..], &[FRAME_END]].concat();
        self.0.write_all(&frame).await.unwrap();
    }

    /// The content of the next frame.
    async fn hear(&mut self) -> Vec<u8> {
        let mut head = [0; 3];
        self.0.read_exact(&mut head).await.expect("the broker goes on");
        let mut content = vec![0; usize::try_from(self.0.read_u32().await.unwrap()).unwrap()];
        self.0.read_exact(&mut content).await.unwrap();
        assert_eq!(self.0.read_u8().await.unwrap(), FRAME_END);
        content
    }
}

/// The property `headers` alone, its table of these entries.
pub fn headers(entries: &[u8]) -> Vec<u8> {
    [&[0x20, 0], &long(entries)[..]].concat()
}

/// The property `message_id` alone.
pub fn message_id(id: &[u8]) -> Vec<u8> {
    [&[0, 0x80], &short(id)[..]].concat()
}

/// An entry of a table: a list in a list in a list.
pub fn nested(lists: usize) -> Vec<u8> {
    let list = (0..lists).fold(b"V".to_vec(), |list, _| [b"A", &long(&list)[..]].concat());
    [&short(b"x"), &list[..]].concat()
}

fn short(text: &[u8]) -> Vec<u8> {
    [&[u8::try_from(text.len()).unwrap()], text].concat()
}

fn long(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}
