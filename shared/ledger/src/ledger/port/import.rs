//! In: lines into an empty store, a batch at a time. The format record comes last, so a store whose import was cut off
//! does not open.

use std::{collections::BTreeMap, io, sync::Arc};

use flatbus_base::Moment;
use serde::{Deserialize, Serialize};

use super::{
    super::{
        Ledger,
        entry::Entry,
        load::look,
        parked::BODY_INLINE_BYTES_MAX,
        record::{self, Content},
        state::MEMO_INLINE_BYTES_MAX,
        types::{LedgerError, Owed, ParkedMessage, SurveyState},
    },
    Line, Payload,
};
use crate::{Batch, FILE_BYTES_MAX, Files, Store, StoreError, codec::VERSION, space::Space};

/// Records imported in one commit.
const BATCH_RECORDS_MAX: usize = 512;

/// What an import took in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportReport {
    /// How many records of each kind.
    pub records: BTreeMap<String, u64>,
}

/// Why a line was not taken.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0}")]
    Line(String),
}

/// A record to write.
type NewRecord = (Space, Vec<u8>, Vec<u8>);

impl Ledger {
    /// Writes exported lines into an empty store. It is complete only when this answers `Ok`; the ledger then owes a
    /// full survey.
    ///
    /// # Errors
    /// When the store is not empty or fails, or a line is not what [`Self::export`] writes.
    pub async fn import(
        store: Arc<dyn Store>,
        files: Arc<dyn Files>,
        lines: impl Iterator<Item = io::Result<String>> + Send,
        now: Moment,
    ) -> Result<ImportReport, LedgerError> {
        match look(store.as_ref()) {
            Ok(opened) if opened.first => {}
            Ok(_) | Err(LedgerError::Unfinished) => return Err(LedgerError::NotEmpty),
            Err(error) => return Err(error),
        }
        let mut import = Import::new(store, files, now);
        for (text, line) in lines.zip(1..) {
            import.take_text(text).await.map_err(|refusal| match refusal {
                Refusal::Store(error) => LedgerError::Store(error),
                Refusal::Line(what) => LedgerError::Line { line, what },
            })?;
        }
        import.finish().await
    }
}

/// An import under way.
struct Import {
    store: Arc<dyn Store>,
    files: Arc<dyn Files>,
    now: Moment,
    batch: Batch,
    number: u64,
    survey: SurveyState,
    begun: bool,
    report: ImportReport,
}

impl Import {
    fn new(store: Arc<dyn Store>, files: Arc<dyn Files>, now: Moment) -> Self {
        Self {
            store,
            files,
            now,
            batch: Batch::default(),
            number: 0,
            survey: SurveyState::default(),
            begun: false,
            report: ImportReport::default(),
        }
    }

    async fn take_text(&mut self, text: io::Result<String>) -> Result<(), Refusal> {
        let text = text.map_err(refused)?;
        if text.trim().is_empty() {
            return Ok(());
        }
        let line = serde_json::from_str(&text).map_err(refused)?;
        if !self.begun {
            return self.begin(&line);
        }
        let Some((space, key, value)) = self.record(line).await? else { return Ok(()) };
        self.batch.0.push((key, Some(value)));
        *self.report.records.entry(space.noun().to_owned()).or_default() += 1;
        if self.batch.0.len() >= BATCH_RECORDS_MAX {
            self.store.commit(std::mem::take(&mut self.batch)).await?;
        }
        Ok(())
    }

    fn begin(&mut self, line: &Line) -> Result<(), Refusal> {
        match line {
            Line::Ledger { format: VERSION } => {
                self.begun = true;
                Ok(())
            }
            Line::Ledger { format } => {
                Err(Refusal::Line(format!("exported in format {format}, this program knows {VERSION}")))
            }
            Line::Position { .. }
            | Line::Survey(_)
            | Line::Doubt(_)
            | Line::Fact { .. }
            | Line::Memo { .. }
            | Line::Outbox { .. }
            | Line::ParkedMessage { .. }
            | Line::Deed(_) => Err(Refusal::Line("an export begins with its \"ledger\" record".to_owned())),
        }
    }

    async fn record(&mut self, line: Line) -> Result<Option<NewRecord>, Refusal> {
        self.number += 1;
        let number = self.number;
        let record = match line {
            Line::Ledger { .. } => return Err(Refusal::Line("a second export begins here".to_owned())),
            Line::Survey(survey) => {
                self.survey = survey;
                return Ok(None);
            }
            Line::Position { source, position } => named(Space::Position, &source, record::text(&position)),
            Line::Fact { subject, value } => named(Space::Fact, &subject, record::text(&value)),
            Line::Deed(deed) => numbered(Space::Deed, number, record::deed(deed.at, &deed.text)),
            Line::Doubt(shown) => {
                let entry = Entry::imported(&shown, number, self.now);
                named(Space::Doubt, &shown.key, entry.encode(usize::MAX))
            }
            Line::Outbox { announcement } => {
                numbered(Space::Outbox, number, record::bytes(&announcement.bytes().map_err(refused)?))
            }
            Line::Memo { name, content } => {
                let content = self.place(content, MEMO_INLINE_BYTES_MAX).await?.1;
                named(Space::Memo, &name, record::memo(&content))
            }
            Line::ParkedMessage { id, topic, reason, at, body } => {
                let (body, content) = self.place(body, BODY_INLINE_BYTES_MAX).await?;
                let message = ParkedMessage { id, topic, reason, at, body };
                numbered(Space::Parked, number, record::parked(&message, &content))
            }
        };
        Ok(Some(record))
    }

    async fn place(&self, payload: Payload, inline_bytes_max: usize) -> Result<(Vec<u8>, Content), Refusal> {
        let bytes = payload.bytes().map_err(refused)?;
        let content = match bytes.len() {
            length if length <= inline_bytes_max => Content::Here(bytes.clone()),
            length if length <= FILE_BYTES_MAX => Content::File(self.files.put(bytes.clone()).await?),
            _ => Content::Gone,
        };
        Ok((bytes, content))
    }

    async fn finish(mut self) -> Result<ImportReport, LedgerError> {
        if !self.begun {
            return Err(LedgerError::Line { line: 1, what: "there is nothing to import".to_owned() });
        }
        let reason = "the ledger was imported".to_owned();
        self.survey.owed = Some(Owed { full: true, reason, since: self.now.wall });
        self.batch.0.push((Space::Survey.only(), Some(record::survey(&self.survey))));
        self.batch.0.push((Space::Format.only(), Some(record::present())));
        self.store.commit(self.batch).await?;
        Ok(self.report)
    }
}

fn refused(error: impl std::error::Error) -> Refusal {
    Refusal::Line(error.to_string())
}

fn named(space: Space, name: &str, value: Vec<u8>) -> NewRecord {
    (space, space.named(name), value)
}

fn numbered(space: Space, number: u64, value: Vec<u8>) -> NewRecord {
    (space, space.numbered(number), value)
}
