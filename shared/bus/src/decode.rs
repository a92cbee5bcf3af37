//! What becomes of a delivery's bytes: a message, or an undecodable one with what is needed to park it.

use flatbus_schemas::{Limits, Message, Received, Refused};
use tracing::debug;

use crate::Undecodable;

/// The message without its oddities, which are worth a line for whoever looks for them.
pub(crate) fn told(outcome: Result<Received, Refused>, limits: &Limits) -> Result<Message, Undecodable> {
    match outcome {
        Ok(Received { message, oddities }) => {
            if !oddities.is_empty() {
                let odd: Vec<String> = oddities.iter().map(ToString::to_string).collect();
                debug!(message.topic = %message.topic, message.id = %message.id, "Odd message: {}", odd.join(", "));
            }
            Ok(message)
        }
        Err(Refused { malformed, body }) => {
            Err(undecodable(malformed.topic, malformed.id, malformed.reason, body, limits))
        }
    }
}

/// An undecodable delivery, its body cut to what one may weigh.
pub(crate) fn undecodable(
    topic: String,
    id: String,
    mut reason: String,
    mut body: Vec<u8>,
    limits: &Limits,
) -> Undecodable {
    if body.len() > limits.body_bytes_max {
        reason.push_str("; only its beginning is kept");
        body.truncate(limits.body_bytes_max);
        body.shrink_to_fit();
    }
    Undecodable { topic, id, reason, body }
}
