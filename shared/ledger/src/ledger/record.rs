//! The small records beside the doubts: survey, memos, parked messages, deeds, session. Pure.

use jiff::Timestamp;

use super::types::{Deed, LedgerError, Owed, ParkedMessage, ParkedShown, SurveyState};
use crate::{
    FileName,
    codec::{Damage, Reader, VERSION, Writer},
    space::Space,
};

/// Says which record could not be read.
pub(super) fn refusal(space: Space) -> impl Fn(Damage) -> LedgerError {
    move |damage| match damage {
        Damage::Version(found) => LedgerError::Version { record: space.noun(), found, known: VERSION },
        Damage::Malformed => LedgerError::Damaged { record: space.noun() },
    }
}

/// A record that says only that it is there.
pub(super) fn present() -> Vec<u8> {
    Writer::new().done()
}

/// Reads what [`present`] wrote.
pub(super) fn check_present(record: &[u8]) -> Result<(), Damage> {
    Reader::new(record)?.end()
}

pub(super) fn session(clean: bool) -> Vec<u8> {
    let mut record = Writer::new();
    record.byte(u8::from(clean));
    record.done()
}

pub(super) fn read_session(record: &[u8]) -> Result<bool, Damage> {
    let mut fields = Reader::new(record)?;
    let clean = fields.flag()?;
    fields.end()?;
    Ok(clean)
}

/// A fact's value, or a replay's position.
pub(super) fn text(text: &str) -> Vec<u8> {
    let mut record = Writer::new();
    record.text(text);
    record.done()
}

pub(super) fn read_text(record: &[u8]) -> Result<String, Damage> {
    let mut fields = Reader::new(record)?;
    let text = fields.text()?.to_owned();
    fields.end()?;
    Ok(text)
}

/// An announcement.
pub(super) fn bytes(bytes: &[u8]) -> Vec<u8> {
    let mut record = Writer::new();
    record.bytes(bytes);
    record.done()
}

pub(super) fn read_bytes(record: &[u8]) -> Result<Vec<u8>, Damage> {
    let mut fields = Reader::new(record)?;
    let bytes = fields.bytes()?.to_owned();
    fields.end()?;
    Ok(bytes)
}

pub(super) fn survey(state: &SurveyState) -> Vec<u8> {
    let mut record = Writer::new();
    record.maybe(state.owed.as_ref(), |record, owed| {
        record.byte(u8::from(owed.full)).text(&owed.reason).time(owed.since);
    });
    record.maybe_time(state.last_started).maybe_time(state.last_complete).maybe_time(state.last_full);
    record.done()
}

pub(super) fn read_survey(record: &[u8]) -> Result<SurveyState, Damage> {
    let mut fields = Reader::new(record)?;
    let owed = fields.maybe(|fields| {
        Ok(Owed { full: fields.flag()?, reason: fields.text()?.to_owned(), since: fields.time()? })
    })?;
    let mut time = || fields.maybe(Reader::time);
    let state = SurveyState { owed, last_started: time()?, last_complete: time()?, last_full: time()? };
    fields.end()?;
    Ok(state)
}

/// Where the bytes of a memo or a body are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    /// In the record.
    Here(Vec<u8>),
    /// In a file.
    File(FileName),
    /// Nowhere: too large to keep.
    Gone,
}

impl Content {
    pub(super) fn file(&self) -> Option<FileName> {
        match self {
            Self::File(name) => Some(*name),
            Self::Here(_) | Self::Gone => None,
        }
    }

    fn write(&self, record: &mut Writer) {
        match self {
            Self::Here(bytes) => record.byte(0).bytes(bytes),
            Self::File(name) => record.byte(1).bytes(&name.0),
            Self::Gone => record.byte(2),
        };
    }

    fn read(fields: &mut Reader<'_>) -> Result<Self, Damage> {
        match fields.byte()? {
            0 => Ok(Self::Here(fields.bytes()?.to_owned())),
            1 => Ok(Self::File(FileName(fields.bytes()?.try_into().map_err(|_| Damage::Malformed)?))),
            2 => Ok(Self::Gone),
            _ => Err(Damage::Malformed),
        }
    }
}

pub(super) fn memo(content: &Content) -> Vec<u8> {
    let mut record = Writer::new();
    content.write(&mut record);
    record.done()
}

pub(super) fn read_memo(record: &[u8]) -> Result<Content, Damage> {
    let mut fields = Reader::new(record)?;
    let content = Content::read(&mut fields)?;
    fields.end()?;
    Ok(content)
}

pub(super) fn parked(message: &ParkedMessage, content: &Content) -> Vec<u8> {
    let mut record = Writer::new();
    record.text(&message.id).text(&message.topic).text(&message.reason).time(message.at);
    record.number(message.body.len() as u64);
    content.write(&mut record);
    record.done()
}

pub(super) fn read_parked(number: u64, record: &[u8]) -> Result<(ParkedShown, Content), Damage> {
    let mut fields = Reader::new(record)?;
    let shown = ParkedShown {
        number,
        id: fields.text()?.to_owned(),
        topic: fields.text()?.to_owned(),
        reason: fields.text()?.to_owned(),
        at: fields.time()?,
        body_bytes: fields.number()?,
    };
    let content = Content::read(&mut fields)?;
    fields.end()?;
    Ok((shown, content))
}

pub(super) fn deed(at: Timestamp, text: &str) -> Vec<u8> {
    let mut record = Writer::new();
    record.time(at).text(text);
    record.done()
}

pub(super) fn read_deed(record: &[u8]) -> Result<Deed, Damage> {
    let mut fields = Reader::new(record)?;
    let deed = Deed { at: fields.time()?, text: fields.text()?.to_owned() };
    fields.end()?;
    Ok(deed)
}
