//! The doors to what deliveries go through, for fuzzing alone. Nothing here decides.

use std::num::NonZeroUsize;

use flatbus_schemas::{Limits, Message};
use lapin::{message::Delivery, protocol::basic, types::ShortString};

use super::{properties, screen::Screen, wire};
use crate::{Undecodable, decode};

/// What becomes of a delivery whose content is its properties, as they stand in a content header, and after them its
/// body. `None` where it begins with none that the screen lets through.
pub fn delivery(routing_key: &str, content: &[u8], limits: &Limits) -> Option<Result<Message, Undecodable>> {
    let routing_key = ShortString::try_new(routing_key).ok()?;
    let (properties, body) = properties::split(content).ok()?;
    let (_, properties) = basic::parse_properties(properties).ok()?;
    let mut delivery = Delivery::mock(1, ShortString::default(), routing_key, false, body.to_vec());
    delivery.properties = properties;
    Some(decode::told(wire::received(delivery, limits), limits))
}

/// What of a broker's stream may be read, where it comes in pieces of such a length.
pub fn screened(stream: &[u8], piece_bytes: NonZeroUsize) -> Vec<u8> {
    let (mut screen, mut passed) = (Screen::default(), Vec::new());
    stream.chunks(piece_bytes.get()).for_each(|piece| screen.take(piece, &mut passed));
    passed
}

/// Whether lapin can read these properties, all of them.
pub fn readable(properties: &[u8]) -> bool {
    basic::parse_properties(properties).is_ok_and(|(after, _)| after.is_empty())
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
