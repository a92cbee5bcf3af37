//! What every [`Source`] must do. Plain functions over the trait: the source in memory, the file and a real broker all
//! pass the same; where they can't be alike, [`Expect`] says so and the suite looks for what it says.
//!
//! Each check has a place of its own.

#![expect(clippy::missing_panics_doc, reason = "a check that fails panics: that is what it is for")]

use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt as _;
use tokio::time::timeout;

use crate::{Cursor, Delivery, Source, SourceEvent};

/// Longest wait for what must come.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long nothing must come for it to count as nothing.
const QUIET: Duration = Duration::from_millis(200);
/// More than any source reads ahead without being asked to.
const MANY: usize = 60;

/// What a source can and cannot do, where sources differ.
#[derive(Debug, Clone, Copy)]
pub struct Expect {
    /// Whether what comes again is marked as perhaps seen before.
    pub tells_redelivered: bool,
    /// Whether it has a connection that can be cut; it then comes back by itself.
    pub connection: bool,
    /// How many deliveries may be unacknowledged before it gives no more; none sets no bound.
    pub window: Option<usize>,
    /// Whether it ends after the last message; otherwise it waits for more.
    pub ends: bool,
    /// Whether its deliveries say where to go on after them. A source that doesn't say leaves that to the place.
    pub cursors: bool,
}

/// What is put into a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A message with this id.
    Message(String),
    /// Bytes that are no message, nor text.
    Bytes(Vec<u8>),
}

/// Where a source reads: a queue, a file. New and empty.
#[async_trait]
pub trait Place: Send {
    /// A source on it: the first, or another one after a restart. `after` is the cursor of what was last acknowledged.
    async fn source(&mut self, after: Option<&Cursor>) -> Box<dyn Source>;
    /// Puts these behind what is there.
    async fn put(&mut self, items: &[Item]);
    /// Cuts the connection of its source, once the place knows that all but `left` messages are acknowledged. Asked only
    /// of a place whose source has a connection.
    async fn cut(&mut self, left: u64);
}

/// Runs every check, each in a new place. Panics at the first that fails, as a test does.
pub async fn all<P: Place>(make: impl AsyncFn() -> P, expect: Expect) {
    everything_comes_once_and_in_order(make().await, expect).await;
    an_acknowledgement_covers_all_before_it(make().await, expect).await;
    an_acknowledgement_given_twice_is_one(make().await, expect).await;
    a_pause_hands_back_what_is_not_acknowledged(make().await, expect).await;
    a_pause_may_come_first_and_be_said_twice(make().await).await;
    a_receipt_of_before_the_pause_is_void(make().await, expect).await;
    if expect.connection {
        a_cut_brings_back_what_is_not_acknowledged(make().await, expect).await;
    }
    a_dropped_next_loses_nothing(make().await).await;
    what_is_no_message_comes_with_its_bytes(make().await, expect).await;
    a_closed_source_has_ended_and_keeps_nothing(make().await, expect).await;
    no_more_than_the_window_is_given(make().await, expect).await;
    if !expect.ends {
        what_comes_later_comes_too(make().await, expect).await;
    }
}

/// Receipts grow; nothing is said to have been seen; then the end, or silence.
pub async fn everything_comes_once_and_in_order(mut place: impl Place, expect: Expect) {
    place.put(&messages(0..5)).await;
    let mut source = begun(&mut place, None).await;
    let mut last: Option<Delivery> = None;
    for number in 0..5 {
        let delivery = message(source.as_mut(), number).await;
        assert!(!delivery.redelivered, "{number} was never delivered before");
        assert_eq!(delivery.cursor.is_some(), expect.cursors, "a cursor: {:?}", delivery.cursor);
        if let Some(last) = last {
            assert!(delivery.receipt > last.receipt, "{:?} after {:?}", delivery.receipt, last.receipt);
            let sources = [&last, &delivery].map(|delivery| delivery.cursor.as_ref().map(|at| &at.source));
            assert_eq!(sources[0], sources[1], "a source has one name");
        }
        source.ack(delivery.receipt).await;
        last = Some(delivery);
    }
    nothing_is_left(source.as_mut(), expect).await;
}

/// The next source is given the rest.
pub async fn an_acknowledgement_covers_all_before_it(mut place: impl Place, expect: Expect) {
    place.put(&messages(0..5)).await;
    let mut source = begun(&mut place, None).await;
    let read = several(source.as_mut(), 0..4).await;
    source.ack(read[2].receipt).await;
    source.close().await;
    let mut source = begun(&mut place, read[2].cursor.as_ref()).await;
    comes_again(source.as_mut(), 3, expect).await;
    let last = message(source.as_mut(), 4).await;
    source.ack(last.receipt).await;
    nothing_is_left(source.as_mut(), expect).await;
}

/// Said twice, or once more for an earlier one: neither goes back, and the source goes on.
pub async fn an_acknowledgement_given_twice_is_one(mut place: impl Place, expect: Expect) {
    place.put(&messages(0..4)).await;
    let mut source = begun(&mut place, None).await;
    let read = several(source.as_mut(), 0..3).await;
    for number in [1, 1, 0] {
        source.ack(read[number].receipt).await;
    }
    let last = message(source.as_mut(), 3).await;
    pause_and_resume(source.as_mut()).await;
    comes_again(source.as_mut(), 2, expect).await;
    let again = comes_again(source.as_mut(), 3, expect).await;
    assert!(again.receipt > last.receipt, "receipts grow over a pause");
    source.ack(again.receipt).await;
    nothing_is_left(source.as_mut(), expect).await;
}

/// Nothing comes while it is paused; then what was given and not acknowledged, and then the rest.
pub async fn a_pause_hands_back_what_is_not_acknowledged(mut place: impl Place, expect: Expect) {
    place.put(&messages(0..5)).await;
    let mut source = begun(&mut place, None).await;
    let read = several(source.as_mut(), 0..3).await;
    source.ack(read[0].receipt).await;
    source.pause().await;
    is_quiet(source.as_mut()).await;
    source.resume().await;
    is_connected(source.as_mut()).await;
    comes_again(source.as_mut(), 1, expect).await;
    comes_again(source.as_mut(), 2, expect).await;
    message(source.as_mut(), 3).await;
    let last = message(source.as_mut(), 4).await;
    source.ack(last.receipt).await;
    nothing_is_left(source.as_mut(), expect).await;
}

/// Before anything was read, and once more while it is paused already; so with going on.
pub async fn a_pause_may_come_first_and_be_said_twice(mut place: impl Place) {
    place.put(&messages(0..1)).await;
    let mut source = place.source(None).await;
    for _ in 0..2 {
        source.pause().await;
        is_quiet(source.as_mut()).await;
    }
    for _ in 0..2 {
        source.resume().await;
    }
    is_connected(source.as_mut()).await;
    source.resume().await;
    message(source.as_mut(), 0).await;
}

/// What it was for has been handed back: another may have it.
pub async fn a_receipt_of_before_the_pause_is_void(mut place: impl Place, expect: Expect) {
    place.put(&messages(0..3)).await;
    let mut source = begun(&mut place, None).await;
    let old = several(source.as_mut(), 0..2).await;
    pause_and_resume(source.as_mut()).await;
    source.ack(old[1].receipt).await;
    comes_again(source.as_mut(), 0, expect).await;
    source.ack(old[1].receipt).await;
    pause_and_resume(source.as_mut()).await;
    for number in 0..2 {
        comes_again(source.as_mut(), number, expect).await;
    }
    message(source.as_mut(), 2).await;
}

/// It says so with a reason, comes back without being told to, and owes no survey for it.
pub async fn a_cut_brings_back_what_is_not_acknowledged(mut place: impl Place, expect: Expect) {
    place.put(&messages(0..4)).await;
    let mut source = begun(&mut place, None).await;
    let read = several(source.as_mut(), 0..3).await;
    source.ack(read[0].receipt).await;
    place.cut(3).await;
    is_cut_and_comes_back(source.as_mut()).await;
    source.ack(read[2].receipt).await; // Void: of the connection that was cut.
    comes_again(source.as_mut(), 1, expect).await;
    comes_again(source.as_mut(), 2, expect).await;
    let last = message(source.as_mut(), 3).await;
    assert!(last.receipt > read[2].receipt, "receipts grow over a cut");
    source.ack(last.receipt).await;
    nothing_is_left(source.as_mut(), expect).await;
}

/// The loop asks beside other things, and drops the question when another is answered first.
pub async fn a_dropped_next_loses_nothing(mut place: impl Place) {
    place.put(&messages(0..20)).await;
    let mut source = place.source(None).await;
    let mut number = 0;
    while number < 20 {
        match timeout(PATIENCE, hasty(source.as_mut())).await.expect("an event in time") {
            SourceEvent::Connected { .. } => assert_eq!(number, 0, "connected once, before all"),
            SourceEvent::Delivery(delivery) => {
                assert_eq!(id(&delivery), number.to_string());
                source.ack(delivery.receipt).await;
                number += 1;
            }
            other @ (SourceEvent::Disconnected { .. } | SourceEvent::Ended) => panic!("{other:?}"),
        }
    }
}

/// Asks, and drops the question again and again: once without waiting at all, once with hardly any.
async fn hasty(source: &mut dyn Source) -> SourceEvent {
    loop {
        if let Some(event) = source.next().now_or_never() {
            return event;
        }
        if let Ok(event) = timeout(Duration::from_millis(1), source.next()).await {
            return event;
        }
    }
}

/// It is acknowledged as any other, and the next one comes.
pub async fn what_is_no_message_comes_with_its_bytes(mut place: impl Place, expect: Expect) {
    let bytes = b"\xff\xfe is no text".to_vec();
    let [first, last] = [0, 1].map(|number| Item::Message(number.to_string()));
    place.put(&[first, Item::Bytes(bytes.clone()), last]).await;
    let mut source = begun(&mut place, None).await;
    message(source.as_mut(), 0).await;
    let wrong = delivery(source.as_mut()).await.message.expect_err("that is no message");
    assert_eq!(wrong.body, bytes);
    assert!(!wrong.reason.is_empty(), "{wrong:?}");
    let last = message(source.as_mut(), 1).await;
    source.ack(last.receipt).await;
    nothing_is_left(source.as_mut(), expect).await;
}

/// Whatever is asked of it afterwards; what it held is another's.
pub async fn a_closed_source_has_ended_and_keeps_nothing(mut place: impl Place, expect: Expect) {
    place.put(&messages(0..2)).await;
    let mut source = begun(&mut place, None).await;
    let held = message(source.as_mut(), 0).await;
    source.close().await;
    has_ended(source.as_mut()).await;
    source.ack(held.receipt).await;
    source.pause().await;
    source.resume().await;
    source.close().await;
    has_ended(source.as_mut()).await;
    let mut other = begun(&mut place, None).await;
    comes_again(other.as_mut(), 0, expect).await;
    message(other.as_mut(), 1).await;
}

/// One acknowledgement makes room for as many as it covers.
pub async fn no_more_than_the_window_is_given(mut place: impl Place, expect: Expect) {
    let window = expect.window.unwrap_or(MANY);
    place.put(&messages(0..window + 2)).await;
    let mut source = begun(&mut place, None).await;
    assert_eq!(source.window(), expect.window.unwrap_or(usize::MAX));
    let read = several(source.as_mut(), 0..window).await;
    if expect.window.is_some() {
        is_quiet(source.as_mut()).await;
        source.ack(read[1].receipt).await;
    }
    several(source.as_mut(), window..window + 2).await;
    if expect.window.is_some() {
        is_quiet(source.as_mut()).await;
    }
}

/// A source that waits is not asleep.
pub async fn what_comes_later_comes_too(mut place: impl Place, expect: Expect) {
    let mut source = begun(&mut place, None).await;
    nothing_is_left(source.as_mut(), expect).await;
    for number in 0..2 {
        place.put(&messages(number..number + 1)).await;
        message(source.as_mut(), number).await;
    }
}

fn messages(numbers: std::ops::Range<usize>) -> Vec<Item> {
    numbers.map(|number| Item::Message(number.to_string())).collect()
}

/// A source that said that it is connected.
async fn begun(place: &mut impl Place, after: Option<&Cursor>) -> Box<dyn Source> {
    let mut source = place.source(after).await;
    is_connected(source.as_mut()).await;
    source
}

async fn event(source: &mut dyn Source) -> SourceEvent {
    timeout(PATIENCE, source.next()).await.expect("an event in time")
}

async fn is_connected(source: &mut dyn Source) {
    let told = event(source).await;
    assert!(matches!(told, SourceEvent::Connected { gap: false }), "{told:?}");
}

async fn is_cut_and_comes_back(source: &mut dyn Source) {
    let mut cut = false;
    loop {
        match event(source).await {
            SourceEvent::Disconnected { reason } => {
                assert!(!reason.is_empty(), "a reason for the status page");
                cut = true;
            }
            // Read before the cut was noticed.
            SourceEvent::Delivery(_) if !cut => {}
            SourceEvent::Connected { gap } => return assert!(cut && !gap, "cut, and nothing was missed"),
            other @ (SourceEvent::Delivery(_) | SourceEvent::Ended) => panic!("{other:?}"),
        }
    }
}

async fn delivery(source: &mut dyn Source) -> Delivery {
    match event(source).await {
        SourceEvent::Delivery(delivery) => delivery,
        other @ (SourceEvent::Connected { .. } | SourceEvent::Disconnected { .. } | SourceEvent::Ended) => {
            panic!("{other:?}")
        }
    }
}

async fn message(source: &mut dyn Source, number: usize) -> Delivery {
    let delivery = delivery(source).await;
    assert_eq!(id(&delivery), number.to_string());
    delivery
}

async fn several(source: &mut dyn Source, numbers: std::ops::Range<usize>) -> Vec<Delivery> {
    let mut read = Vec::new();
    for number in numbers {
        read.push(message(source, number).await);
    }
    read
}

async fn comes_again(source: &mut dyn Source, number: usize, expect: Expect) -> Delivery {
    let delivery = message(source, number).await;
    assert_eq!(delivery.redelivered, expect.tells_redelivered, "{number} comes again");
    delivery
}

async fn pause_and_resume(source: &mut dyn Source) {
    source.pause().await;
    source.resume().await;
    is_connected(source).await;
}

async fn is_quiet(source: &mut dyn Source) {
    if let Ok(event) = timeout(QUIET, source.next()).await {
        panic!("nothing was to come: {event:?}");
    }
}

async fn has_ended(source: &mut dyn Source) {
    for _ in 0..2 {
        let told = event(source).await;
        assert!(matches!(told, SourceEvent::Ended), "{told:?}");
    }
}

async fn nothing_is_left(source: &mut dyn Source, expect: Expect) {
    if expect.ends { has_ended(source).await } else { is_quiet(source).await }
}

fn id(delivery: &Delivery) -> &str {
    match &delivery.message {
        Ok(message) => &message.id,
        Err(wrong) => panic!("{wrong}"),
    }
}
