//! A message of our own, sent and expected back: proof that the whole way through the broker works when nobody else says
//! anything. "TCP is up" proves nothing.

use std::sync::Arc;

use flatbus_bus::{Outgoing, Publisher};
use flatbus_schemas::{Announcement, Severity};
use serde_json::json;
use tracing::debug;

use crate::{Consumer, engine::Engine};

/// The topic of a consumer's probes, less the prefix: bind it to the consumer's queue.
pub(crate) fn topic<C: Consumer>() -> String {
    format!("flatbus.probe.{}", C::NAME)
}

/// Whether a full topic is that of our own probes.
pub(crate) fn is_own<C: Consumer>(full: &str) -> bool {
    full.strip_suffix(C::NAME)
        .is_some_and(|rest| rest == "flatbus.probe." || rest.ends_with(".flatbus.probe."))
}

/// Sends a probe every `probe_every`, until told to stop; does nothing where none are asked for.
pub(crate) async fn run<C: Consumer>(engine: Arc<Engine<C>>, publisher: Arc<dyn Publisher>) {
    let every = engine.settings.probe_every;
    let stop = engine.world.stop.clone();
    while !every.is_zero() && !stop.is_cancelled() {
        let probe = Outgoing {
            id: engine.world.random.uuid().to_string(),
            sent_at: engine.now().wall,
            causes: Vec::new(),
            announcement: Announcement {
                topic: topic::<C>(),
                schema: "base.message".to_owned(),
                severity: Severity::Debug,
                body: json!({"consumer": C::NAME}),
            },
        };
        if let Err(error) = publisher.publish(&probe).await {
            debug!(%error, "A probe could not be sent"); // The outbox and the source tell of the broker.
        }
        tokio::select! { biased; () = stop.cancelled() => {}, () = tokio::time::sleep(every) => {} }
    }
}
