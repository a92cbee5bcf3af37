//! Doors to the parsers of Bodhi's answers, for fuzzing alone. Nothing here decides.

use super::{Composes, OneUpdate, RawCompose, Updates, decode, updates_page};
use crate::{
    Error,
    bodhi::{
        Compose, Update,
        listing::{Bounds, Listing},
    },
};

const WHAT: &str = "an answer";
const BOUNDS: Bounds = Bounds { rows_max: 1000, pages_max: 4, readings_max: 2 };

/// The answer about one update.
///
/// # Errors
/// When it is none.
pub fn bodhi_update(body: &[u8]) -> Result<Update, Error> {
    decode::<OneUpdate>(WHAT, body)?.update.read()
}

/// The updates of a listing, whose page 1, 2, … are `pages`, and empty ones after them. `None` where it wants more pages
/// than it may, which it never does.
///
/// # Errors
/// When a page is none, or they don't make a listing.
pub fn bodhi_listing(pages: &[&[u8]]) -> Result<Option<Vec<Update>>, Error> {
    let mut listing = Listing::new(WHAT, BOUNDS);
    for _ in 0..BOUNDS.pages_max * BOUNDS.readings_max {
        let number = usize::try_from(listing.next_page()).unwrap_or(usize::MAX);
        let body = pages.get(number - 1).copied().unwrap_or(br#"{"updates": [], "total": 0}"#);
        if let Some(rows) = listing.take(updates_page(decode::<Updates>(WHAT, body)?)?)? {
            let flatpaks = rows.iter().filter(|update| update.is_flatpak());
            return flatpaks.map(super::RawUpdate::read).collect::<Result<_, _>>().map(Some);
        }
    }
    Ok(None)
}

/// The composes under way.
///
/// # Errors
/// When the answer is none.
pub fn bodhi_composes(body: &[u8]) -> Result<Vec<Compose>, Error> {
    let composes = decode::<Composes>(WHAT, body)?.composes;
    composes.iter().filter(|compose| compose.is_flatpak()).map(RawCompose::read).collect()
}
