//! A recording as a source: one message a line, in the format of `fedora-messaging record`. Reads plain text only, never
//! writes, and remembers nothing: where to go on is the caller's [`Cursor`].

use std::{
    io::SeekFrom,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    time::Duration,
};

use async_trait::async_trait;
use flatbus_schemas::{Limits, Message};
use sha2::{Digest as _, Sha256};
use tokio::{
    fs::File,
    io::{AsyncBufReadExt, AsyncReadExt, AsyncSeekExt, BufReader},
    time::sleep,
};

use crate::{Cursor, Delivery, Receipt, Source, SourceError, SourceEvent, Undecodable, decode};

/// First bytes of gzip, zstd, xz and bzip2.
const COMPRESSED: [&[u8]; 4] =
    [&[0x1f, 0x8b], &[0x28, 0xb5, 0x2f, 0xfd], &[0xfd, b'7', b'z', b'X', b'Z'], b"BZh"];
/// What a line may hold beside the headers and body that `Limits` allows.
const LINE_BYTES_BESIDE: usize = 4 << 10;
/// Bytes read at a time.
const READ_BYTES: usize = 256 << 10;
/// Wait before a read that failed is tried again.
const READ_RETRY_WAIT: Duration = Duration::from_secs(1);

/// Reads a JSONL file from a position to its end.
pub struct FileSource {
    reader: BufReader<File>,
    name: String,
    path: PathBuf,
    limits: Limits,
    line_bytes_max: usize,
    state: State,
    session: u64,
    /// End of the last line delivered.
    offset: u64,
    /// End of the last line acknowledged.
    acked: u64,
    line: Line,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The next event is that we read, from `acked` on.
    Starting,
    Reading,
    /// The last read failed, and that was told.
    Failed,
    Paused,
    Ended,
}

/// The line being read. Kept between calls, so that a dropped `next` loses nothing.
#[derive(Default)]
struct Line {
    kept: Vec<u8>,
    /// Its length in the file so far, line end included; more than `kept` where it is too long.
    read: u64,
}

impl FileSource {
    /// Opens a recording, to go on from `position` (bytes, as a [`Cursor`] of it says), or from its beginning.
    ///
    /// # Errors
    /// When the file can't be read, is compressed, or `position` is not the end of one of its lines.
    pub async fn open(path: &Path, position: Option<&str>, limits: Limits) -> Result<Self, SourceError> {
        let wrong = |what: String| SourceError::Config(format!("{}: {what}", path.display()));
        let failed = |error: std::io::Error| wrong(format!("cannot read it: {error}"));
        let acked = match position {
            None => 0,
            Some(text) => {
                text.parse().map_err(|_| wrong(format!("the position {text:?} is no number of bytes")))?
            }
        };
        let mut file = File::open(path).await.map_err(failed)?;
        let meta = file.metadata().await.map_err(failed)?;
        if meta.is_dir() {
            return Err(wrong("is a folder, not a file of one message a line".into()));
        }
        let start = first_bytes(&mut file).await.map_err(failed)?;
        if COMPRESSED.iter().any(|magic| start.starts_with(magic)) {
            return Err(wrong("is compressed: unpack it first".into()));
        }
        if !ends_a_line(&mut file, acked, meta.len()).await.map_err(failed)? {
            return Err(wrong(format!(
                "the position {acked} is not the end of a line of it: was it replaced? Start anew without a position"
            )));
        }
        let full = tokio::fs::canonicalize(path).await.map_err(failed)?;
        Ok(Self {
            reader: BufReader::with_capacity(READ_BYTES, file),
            name: source_name(&full),
            path: path.to_owned(),
            limits,
            line_bytes_max: limits.body_bytes_max + limits.header_bytes_max + LINE_BYTES_BESIDE,
            state: State::Starting,
            session: 0,
            offset: acked,
            acked,
            line: Line::default(),
        })
    }

    /// What [`Cursor::source`] says of deliveries from here: the digest of the file's full name.
    pub fn name(&self) -> &str {
        &self.name
    }

    async fn rewind(&mut self) -> std::io::Result<()> {
        self.line = Line::default();
        self.offset = self.acked;
        self.reader.seek(SeekFrom::Start(self.acked)).await?;
        self.session += 1;
        Ok(())
    }

    /// The next line without its end, or `None` at the end of the file. Cancel safe: `fill_buf` is, and what comes
    /// after it has no await.
    async fn read_line(&mut self) -> std::io::Result<Option<Line>> {
        loop {
            let chunk = self.reader.fill_buf().await?;
            let end = chunk.iter().position(|&byte| byte == b'\n');
            let length = end.unwrap_or(chunk.len());
            let room = self.line_bytes_max.saturating_sub(self.line.kept.len()) + 1;
            self.line.kept.extend_from_slice(&chunk[..length.min(room)]);
            let consumed = length + usize::from(end.is_some());
            let at_end_of_file = chunk.is_empty();
            self.reader.consume(consumed);
            self.line.read += consumed as u64;
            if end.is_some() || at_end_of_file {
                let line = std::mem::take(&mut self.line);
                return Ok((line.read > 0).then_some(line));
            }
        }
    }

    fn delivery(&mut self, line: Line) -> Option<Delivery> {
        self.offset += line.read;
        if line.kept.iter().all(u8::is_ascii_whitespace) {
            return None;
        }
        Some(Delivery {
            receipt: Receipt { session: self.session, tag: self.offset },
            redelivered: false,
            cursor: Some(Cursor { source: self.name.clone(), position: self.offset.to_string() }),
            message: self.decode(line),
        })
    }

    fn decode(&self, line: Line) -> Result<Message, Undecodable> {
        if line.kept.len() > self.line_bytes_max {
            let (bytes, max) = (line.read, self.line_bytes_max);
            let reason = format!("the line has {bytes} bytes, more than {max}");
            return Err(decode::undecodable(String::new(), String::new(), reason, line.kept, &self.limits));
        }
        decode::told(Message::from_record(&line.kept, &self.limits), &self.limits)
    }

    fn failed(&mut self, error: &std::io::Error) -> SourceEvent {
        self.state = State::Failed;
        SourceEvent::Disconnected { reason: format!("cannot read {}: {error}", self.path.display()) }
    }
}

#[async_trait]
impl Source for FileSource {
    async fn next(&mut self) -> SourceEvent {
        loop {
            match self.state {
                State::Starting => match self.rewind().await {
                    Ok(()) => {
                        self.state = State::Reading;
                        return SourceEvent::Connected { gap: false };
                    }
                    Err(error) => return self.failed(&error),
                },
                State::Reading => match self.read_line().await {
                    Ok(Some(line)) => {
                        if let Some(delivery) = self.delivery(line) {
                            return SourceEvent::Delivery(delivery);
                        }
                    }
                    Ok(None) => self.state = State::Ended,
                    Err(error) => return self.failed(&error),
                },
                State::Failed => {
                    sleep(READ_RETRY_WAIT).await;
                    self.state = State::Starting;
                }
                State::Paused => std::future::pending().await,
                State::Ended => return SourceEvent::Ended,
            }
        }
    }

    async fn ack(&mut self, through: Receipt) {
        if through.session == self.session {
            self.acked = self.acked.max(through.tag.min(self.offset));
        }
    }

    async fn pause(&mut self) {
        if self.state != State::Ended || self.acked < self.offset {
            self.state = State::Paused;
            self.session += 1; // What was delivered so far comes again.
        }
    }

    async fn resume(&mut self) {
        if self.state == State::Paused {
            self.state = State::Starting;
        }
    }

    async fn close(&mut self) {
        self.state = State::Ended;
    }
}

fn source_name(full: &Path) -> String {
    let digest = Sha256::digest(full.as_os_str().as_bytes());
    let short: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("file:{short}")
}

async fn first_bytes(file: &mut File) -> std::io::Result<Vec<u8>> {
    let mut start = Vec::new();
    file.take(8).read_to_end(&mut start).await?;
    Ok(start)
}

/// Whether a line ends at `position`, or the file does.
async fn ends_a_line(file: &mut File, position: u64, length: u64) -> std::io::Result<bool> {
    if position == 0 || position == length {
        return Ok(true);
    }
    if position > length {
        return Ok(false);
    }
    file.seek(SeekFrom::Start(position - 1)).await?;
    Ok(file.read_u8().await? == b'\n')
}

#[cfg(test)]
mod tests;
