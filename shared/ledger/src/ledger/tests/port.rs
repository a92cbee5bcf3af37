//! What is exported can be imported, into an empty store, whole or not at all.

use super::*;
use crate::{FileName, Files, Store};

async fn filled() -> Desk {
    let desk = Desk::new().await;
    desk.mark_for("parked", Origin::Event, &["one", "two"]).await;
    desk.fail(&desk.take_one(), Next::Park).await;
    for n in 0..200 {
        desk.mark(&format!("key {n}"), Origin::Survey).await;
    }
    desk.mark("settled", Origin::Event).await;
    let taken = desk.take().remove(0);
    let settlement = Settlement {
        facts: vec![("s".to_owned(), Some("v".to_owned()))],
        outbox: vec![b"text".to_vec(), vec![0xff, 0]],
        memos: vec![("m".to_owned(), Some(b"memo".to_vec())), ("large".to_owned(), Some(vec![0; 100_000]))],
        deeds: vec!["would have".to_owned()],
        ..Settlement::default()
    };
    desk.settle(&taken, settlement).await;
    let position = Some(Position { source: "file".to_owned(), position: "7".to_owned() });
    let message = ParkedMessage {
        id: "id".to_owned(),
        topic: "t".to_owned(),
        reason: "r".to_owned(),
        at: desk.now().wall,
        body: vec![0xfe; 9],
    };
    desk.ledger.park_message(message, position, desk.now()).await.unwrap();
    desk
}

fn lines(ledger: &Ledger) -> Vec<String> {
    ledger.export().map(Result::unwrap).collect()
}

async fn import(desk: &Desk, store: &MemoryStore, lines: &[String]) -> Result<ImportReport, LedgerError> {
    let lines = lines.iter().map(|line| Ok(line.clone()));
    Ledger::import(Arc::new(store.clone()), Arc::new(desk.files.clone()), lines, desk.now()).await
}

#[tokio::test(start_paused = true)]
async fn an_import_holds_what_was_exported_and_owes_a_survey() {
    let desk = filled().await;
    let exported = lines(&desk.ledger);
    let (store, other) = (MemoryStore::new(), Desk::new().await);
    let report = import(&other, &store, &exported).await.unwrap();
    assert_eq!(report.records["doubt"], 201);
    assert_eq!(other.files.list().unwrap(), [FileName::of(&[0; 100_000])], "the large memo alone is a file");
    let imported = other.open(&store).await.unwrap();
    assert_eq!(imported.opened(), Opened { first: false, clean: false });
    assert!(imported.survey().owed.unwrap().full);
    let counts = |ledger: &Ledger| {
        let counts = ledger.counts();
        (counts.doubtful, counts.parked, counts.outbox, counts.memos, counts.deeds, counts.parked_bytes)
    };
    assert_eq!(counts(&imported), counts(&desk.ledger));
    assert_eq!(
        imported.take(desk.now(), usize::MAX, &mut |_| true).len(),
        200,
        "all but what is parked is due"
    );
    let same = |lines: Vec<String>| -> Vec<String> {
        let lines = lines.into_iter().filter(|line| !line.contains("\"record\":\"survey\""));
        lines.map(|line| line.replace("in_flight", "due")).collect()
    };
    assert_eq!(same(lines(&imported)), same(exported));
}

#[tokio::test(start_paused = true)]
async fn an_import_goes_into_an_empty_store_only() {
    let desk = filled().await;
    let exported = lines(&desk.ledger);
    assert!(matches!(import(&desk, &desk.store, &exported).await, Err(LedgerError::NotEmpty)));
}

#[tokio::test(start_paused = true)]
async fn an_import_that_was_cut_off_does_not_open() {
    let desk = filled().await;
    let mut exported = lines(&desk.ledger);
    for n in 0..600 {
        exported.insert(2, format!("{{\"record\":\"fact\",\"subject\":\"{n}\",\"value\":\"v\"}}"));
    }
    exported.push("{\"record\":\"no such\"}".to_owned());
    let store = MemoryStore::new();
    let error = import(&desk, &store, &exported).await.unwrap_err();
    assert!(error.to_string().starts_with(&format!("line {}: unknown variant", exported.len())), "{error}");
    assert!(!store.scan(&[], None, 1).unwrap().is_empty());
    assert!(matches!(desk.open(&store).await, Err(LedgerError::Unfinished)));
    assert!(matches!(import(&desk, &store, &exported).await, Err(LedgerError::NotEmpty)));
}

#[tokio::test(start_paused = true)]
async fn lines_that_are_no_export_are_refused_with_their_number() {
    let desk = Desk::new().await;
    for (lines, expected) in [
        (vec![], "line 1: there is nothing"),
        (vec!["", "not JSON"], "line 2: expected"),
        (vec!["{\"record\":\"fact\",\"subject\":\"s\",\"value\":\"v\"}"], "line 1: an export begins"),
        (vec!["{\"record\":\"ledger\",\"format\":9}"], "line 1: exported in format 9"),
        (
            vec!["{\"record\":\"ledger\",\"format\":1}", "{\"record\":\"ledger\",\"format\":1}"],
            "line 2: a second",
        ),
        (
            vec![
                "{\"record\":\"ledger\",\"format\":1}",
                "{\"record\":\"outbox\",\"announcement\":{\"base64\":\"!\"}}",
            ],
            "line 2: Invalid",
        ),
    ] {
        let lines: Vec<String> = lines.into_iter().map(str::to_owned).collect();
        let error = import(&desk, &MemoryStore::new(), &lines).await.unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}
