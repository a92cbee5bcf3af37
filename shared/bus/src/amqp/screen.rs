//! Screens what the broker sends before lapin reads it. RabbitMQ hands properties and routing keys on as a publisher
//! wrote them; lapin follows nested tables without bound, on a small stack, and ends the connection over a name that
//! isn't UTF-8. Nothing of that is acknowledged, so it would come again for ever: one message stops a unit for good.
//!
//! Properties that lapin could not read are replaced by a word on why, and the letters of a name that are none by one that
//! no topic may have: the message arrives with its body, and is parked. All else passes as it is, and bodies unseen.

use super::properties;

/// Largest content header that is looked at. RabbitMQ's have 128 KiB at most; what is larger can't be a message.
const HEADER_BYTES_MAX: usize = 1 << 20;
/// Largest `basic.deliver` that AMQP can say: three names, a number, a flag.
const DELIVER_BYTES_MAX: usize = FRAME_HEAD_BYTES + DELIVER.len() + 3 * 256 + DELIVER_NUMBERS_BYTES + 1;

/// Type, channel and length of what follows.
const FRAME_HEAD_BYTES: usize = 7;
const FRAME_END: u8 = 0xce;
const METHOD: u8 = 1;
const CONTENT_HEADER: u8 = 2;
const BODY: u8 = 3;
const HEARTBEAT: u8 = 8;
/// Class and method of `basic.deliver`.
const DELIVER: [u8; 4] = [0, 60, 0, 60];
/// The delivery's number and whether it came before: they stand between its first and its second name.
const DELIVER_NUMBERS_BYTES: usize = 9;
/// Class, weight and length of the body stand before the properties.
const PROPERTIES_AT: usize = FRAME_HEAD_BYTES + 12;

/// ASCII's own mark for a letter that could not be said.
const SUBSTITUTE: u8 = 0x1a;
/// How the encoding of a message begins whose properties were replaced: no message has such an encoding.
const UNREADABLE: &str = "its properties can't be read, and aren't kept: ";

/// One direction of a connection, from its first byte on. Whatever comes, it holds one content header at most.
#[derive(Debug, Default)]
pub(super) struct Screen {
    /// The beginning of a frame, until it can be decided on.
    held: Vec<u8>,
    /// Bytes of the frame that was decided on which are still to come.
    rest: usize,
    /// Whether they are passed on.
    passes: bool,
}

impl Screen {
    /// Takes what came, and adds to `out` what may be read.
    pub(super) fn take(&mut self, mut came: &[u8], out: &mut Vec<u8>) {
        while !came.is_empty() {
            let (taken, later) = came.split_at(self.wanted().min(came.len()));
            came = later;
            if self.rest == 0 {
                self.held.extend_from_slice(taken);
                self.decide(out);
            } else {
                self.rest -= taken.len();
                if self.passes {
                    out.extend_from_slice(taken);
                }
            }
        }
    }

    /// Bytes until there is something to decide: never none.
    fn wanted(&self) -> usize {
        match frame_bytes(&self.held) {
            _ if self.rest > 0 => self.rest,
            None => FRAME_HEAD_BYTES - self.held.len(),
            Some(whole) => whole.min(HEADER_BYTES_MAX) - self.held.len(),
        }
    }

    fn decide(&mut self, out: &mut Vec<u8>) {
        let (Some(whole), Some(&kind)) = (frame_bytes(&self.held), self.held.first()) else { return };
        let looked_at = kind == CONTENT_HEADER || kind == METHOD && whole <= DELIVER_BYTES_MAX;
        if looked_at && self.held.len() < whole.min(HEADER_BYTES_MAX) {
            return;
        }
        self.rest = match kind {
            METHOD | CONTENT_HEADER | BODY | HEARTBEAT => whole - self.held.len(),
            _ => usize::MAX, // It isn't AMQP, nor will it be: lapin says so.
        };
        self.passes = !looked_at;
        if looked_at {
            screen(&mut self.held, self.rest == 0);
        }
        out.append(&mut self.held);
    }
}

/// Why the properties are gone that a message came with, where `encoding` is that of a message without.
pub(super) fn replaced(encoding: Option<&str>) -> Option<&str> {
    encoding.filter(|encoding| encoding.starts_with(UNREADABLE))
}

/// A frame's length with its head and its end, once its head is there.
fn frame_bytes(frame: &[u8]) -> Option<usize> {
    let content = u32::from_be_bytes(*frame.get(3..FRAME_HEAD_BYTES)?.first_chunk()?);
    Some(usize::try_from(content).unwrap_or(usize::MAX).saturating_add(FRAME_HEAD_BYTES + 1))
}

/// A method or a content header, as it may be read.
fn screen(frame: &mut Vec<u8>, whole: bool) {
    let (content, end) = (FRAME_HEAD_BYTES, frame.len() - 1);
    if frame[0] == METHOD {
        mend_names(&mut frame[content..end]);
    } else if !whole {
        replace_properties(frame, &format!("they have more than {HEADER_BYTES_MAX} bytes"));
    } else if let Some(Err(flaw)) = frame.get(PROPERTIES_AT..end).map(properties::check) {
        replace_properties(frame, &flaw.to_string());
    }
}

/// Nothing but an encoding that no message has.
fn replace_properties(header: &mut Vec<u8>, flaw: &str) {
    const ENCODING_ALONE: [u8; 2] = [0x40, 0];
    let why = [UNREADABLE, flaw].concat();
    header.truncate(PROPERTIES_AT);
    header.extend(ENCODING_ALONE);
    header.push(u8::try_from(why.len()).unwrap_or_default());
    header.extend_from_slice(why.as_bytes());
    let content = u32::try_from(header.len() - FRAME_HEAD_BYTES).unwrap_or_default();
    header[3..FRAME_HEAD_BYTES].copy_from_slice(&content.to_be_bytes());
    header.push(FRAME_END);
}

/// The exchange and the routing key of a delivery; the consumer's tag before them is our own. `None` where there are none.
fn mend_names(method: &mut [u8]) -> Option<()> {
    let tag_at = DELIVER.len();
    let tag_bytes = usize::from(*method.strip_prefix(&DELIVER)?.first()?);
    let mut names = method.get_mut(tag_at + 1 + tag_bytes + DELIVER_NUMBERS_BYTES..)?;
    while let Some((length, rest)) = names.split_first_mut() {
        let (name, later) = rest.split_at_mut_checked(usize::from(*length))?;
        if str::from_utf8(name).is_err() {
            name.iter_mut().filter(|byte| !byte.is_ascii()).for_each(|byte| *byte = SUBSTITUTE);
        }
        names = later;
    }
    Some(())
}

#[cfg(test)]
mod tests;
