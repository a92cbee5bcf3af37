//! Out: an iterator of lines that reads a page at a time.

use std::collections::VecDeque;

use super::{
    super::{
        Ledger, record,
        types::{Deed, Filter},
    },
    Line, Payload,
};
use crate::{StoreError, codec::VERSION, space::Space};

/// Records exported from one look into the ledger.
const PAGE_RECORDS_MAX: usize = 64;

/// The lines of an export, without line ends.
pub struct Export {
    ledger: Ledger,
    stage: Option<Stage>,
    after: Option<Vec<u8>>,
    lines: VecDeque<Line>,
}

/// What is exported next. Positions before the keys they stand for, facts before their announcements.
#[derive(Debug, Clone, Copy)]
enum Stage {
    Head,
    Positions,
    Doubts,
    Facts,
    Memos,
    Outbox,
    Parked,
    Deeds,
}

impl Stage {
    fn next(self) -> Option<Self> {
        match self {
            Self::Head => Some(Self::Positions),
            Self::Positions => Some(Self::Doubts),
            Self::Doubts => Some(Self::Facts),
            Self::Facts => Some(Self::Memos),
            Self::Memos => Some(Self::Outbox),
            Self::Outbox => Some(Self::Parked),
            Self::Parked => Some(Self::Deeds),
            Self::Deeds => None,
        }
    }
}

impl Ledger {
    /// Everything, as JSON Lines.
    #[must_use]
    pub fn export(&self) -> Export {
        Export { ledger: self.clone(), stage: Some(Stage::Head), after: None, lines: VecDeque::new() }
    }
}

impl Iterator for Export {
    type Item = Result<String, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(line) = self.lines.pop_front() {
                return Some(serde_json::to_string(&line).map_err(|error| self.unwritable(&error)));
            }
            let stage = self.stage?;
            match self.page(stage) {
                Ok(lines) => self.lines = lines.into(),
                Err(error) => {
                    self.stage = None; // An export that failed is told once, and is over.
                    return Some(Err(error));
                }
            }
            if self.lines.is_empty() || matches!(stage, Stage::Head) {
                (self.stage, self.after) = (stage.next(), None);
            }
        }
    }
}

impl Export {
    fn page(&mut self, stage: Stage) -> Result<Vec<Line>, StoreError> {
        match stage {
            Stage::Head => Ok(vec![Line::Ledger { format: VERSION }, Line::Survey(self.ledger.survey())]),
            Stage::Doubts => Ok(self.doubts()),
            Stage::Positions => self.stored(Space::Position, position),
            Stage::Facts => self.stored(Space::Fact, fact),
            Stage::Memos => self.stored(Space::Memo, memo),
            Stage::Outbox => self.stored(Space::Outbox, announcement),
            Stage::Parked => self.stored(Space::Parked, parked_message),
            Stage::Deeds => self.stored(Space::Deed, deed),
        }
    }

    fn doubts(&mut self) -> Vec<Line> {
        let after = self.after.as_deref().and_then(|after| std::str::from_utf8(after).ok());
        let page = self.ledger.list(&Filter::default(), after, PAGE_RECORDS_MAX);
        self.after = page.last().map(|shown| shown.key.clone().into_bytes());
        page.into_iter().map(Line::Doubt).collect()
    }

    fn stored(
        &mut self,
        space: Space,
        line: fn(&Ledger, &str, &[u8]) -> Result<Line, StoreError>,
    ) -> Result<Vec<Line>, StoreError> {
        let page = self.ledger.scan(&space.only(), self.after.as_deref(), PAGE_RECORDS_MAX)?;
        self.after = page.last().map(|(key, _)| key.clone());
        let name = |key| space.name_of(key).unwrap_or_default();
        page.iter().map(|(key, stored)| line(&self.ledger, name(key), stored)).collect()
    }

    fn unwritable(&self, error: &serde_json::Error) -> StoreError {
        StoreError::Corrupt { path: self.ledger.0.store.path(), what: error.to_string() }
    }
}

fn position(ledger: &Ledger, source: &str, stored: &[u8]) -> Result<Line, StoreError> {
    let position = record::read_text(stored).map_err(ledger.unreadable(Space::Position))?;
    Ok(Line::Position { source: source.to_owned(), position })
}

fn fact(ledger: &Ledger, subject: &str, stored: &[u8]) -> Result<Line, StoreError> {
    let value = record::read_text(stored).map_err(ledger.unreadable(Space::Fact))?;
    Ok(Line::Fact { subject: subject.to_owned(), value })
}

fn memo(ledger: &Ledger, name: &str, stored: &[u8]) -> Result<Line, StoreError> {
    let content = record::read_memo(stored).map_err(ledger.unreadable(Space::Memo))?;
    let bytes = ledger.read_content(content)?.unwrap_or_default();
    Ok(Line::Memo { name: name.to_owned(), content: Payload::of(bytes) })
}

fn announcement(ledger: &Ledger, _: &str, stored: &[u8]) -> Result<Line, StoreError> {
    let bytes = record::read_bytes(stored).map_err(ledger.unreadable(Space::Outbox))?;
    Ok(Line::Outbox { announcement: Payload::of(bytes) })
}

fn parked_message(ledger: &Ledger, _: &str, stored: &[u8]) -> Result<Line, StoreError> {
    let (shown, content) = record::read_parked(0, stored).map_err(ledger.unreadable(Space::Parked))?;
    let body = Payload::of(ledger.read_content(content)?.unwrap_or_default());
    Ok(Line::ParkedMessage { id: shown.id, topic: shown.topic, reason: shown.reason, at: shown.at, body })
}

fn deed(ledger: &Ledger, _: &str, stored: &[u8]) -> Result<Line, StoreError> {
    let Deed { at, text } = record::read_deed(stored).map_err(ledger.unreadable(Space::Deed))?;
    Ok(Line::Deed(Deed { at, text }))
}
