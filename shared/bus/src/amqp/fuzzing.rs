//! The door to the decoding of deliveries, for fuzzing alone. Nothing here decides.

use flatbus_schemas::{Limits, Message};
use lapin::{message::Delivery, protocol::basic, types::ShortString};

use super::wire;
use crate::{Undecodable, decode};

/// What becomes of a delivery whose content is its properties, as they stand in a content header, and after them its
/// body. `None` where it begins with no properties, so that the connection would end.
pub fn delivery(routing_key: &str, content: &[u8], limits: &Limits) -> Option<Result<Message, Undecodable>> {
    let routing_key = ShortString::try_new(routing_key).ok()?;
    let (body, properties) = basic::parse_properties(content).ok()?;
    let mut delivery = Delivery::mock(1, ShortString::default(), routing_key, false, body.to_vec());
    delivery.properties = properties;
    Some(decode::told(Message::from_parts(wire::parts(delivery), limits), limits))
}

/// The properties that a message is published with, as they stand in a content header.
///
/// # Errors
/// In words, when it can't be published.
pub fn properties(message: &Message) -> Result<Vec<u8>, String> {
    let properties = wire::properties(message).map_err(|error| error.to_string())?;
    let written = basic::gen_properties(&properties)(Vec::new().into());
    written.map(|written| written.into_inner().0).map_err(|error| error.to_string())
}
