//! Announcements to a broker that does not take them, with a toy consumer on paused time.

mod toy;

use std::time::Duration;

use flatbus_base::Clock as _;
use flatbus_bus::Fault;
use toy::{
    Toy, changed,
    running::{Running, settings},
};

/// After an outage this long, the wait between two attempts no longer grows.
const ATTEMPTS: u32 = 50;

#[tokio::test(start_paused = true)]
async fn after_an_outage_of_any_length_an_announcement_is_seconds_late() {
    let unit = Running::start(Toy::default()).await;
    unit.quiet().await;
    unit.bus.take_announced();
    unit.toy.truth("eog", "1");
    unit.bus.fail_publishing((0..ATTEMPTS).map(|_| Fault::Unreachable("down".into())));
    let began = unit.clock.monotonic();
    unit.bus.publish(changed("m1", &["eog"]));
    unit.quiet().await;
    assert_eq!(unit.bus.take_announced().len(), 1);
    let took = unit.clock.monotonic() - began;
    assert!(took < ATTEMPTS * Duration::from_secs(3), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_announced_before_it_is_durable_that_it_was() {
    let unit = Running::start(Toy::default()).await;
    unit.quiet().await;
    unit.toy.truth("eog", "1");
    unit.store.set_slow(Some(Duration::from_secs(1)));
    unit.bus.publish(changed("m1", &["eog"]));
    unit.until("announced", |unit| !unit.bus.take_announced().is_empty()).await;
    let (store, bus, clock, toy) = unit.kill().await;
    let again = Running::start_on(store, bus, clock, toy, settings()).await;
    assert_eq!(again.ledger.fact("toy:eog").unwrap().as_deref(), Some("1"));
}
