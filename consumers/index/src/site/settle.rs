//! Finishes a publication that was decided and interrupted.

use jiff::Timestamp;
use tracing::{info, warn};

use super::{Error, Site, disk, listing::Listing};

impl Site {
    /// Finishes what was decided. A listing that isn't whole was not decided; one whose files are gone can't be finished,
    /// and the files that it was about are built anew, since they aren't as listed.
    pub(super) fn settle(&mut self, now: Timestamp) -> Result<(), Error> {
        if self.settled {
            return Ok(());
        }
        let decided = self.decided();
        match disk::read_listing(&decided)? {
            disk::Read::Nothing => {}
            disk::Read::Torn(_) => disk::remove(&decided)?,
            disk::Read::Whole(next) if self.can_finish(&next)? => {
                info!(serial = next.serial, "Finishing publication {}, which was interrupted", next.serial);
                self.carry_out(next, now)?;
            }
            disk::Read::Whole(next) => {
                warn!(
                    serial = next.serial,
                    "Publication {} was interrupted, and its files are gone", next.serial
                );
                disk::remove(&decided)?;
            }
        }
        self.settled = true;
        Ok(())
    }

    fn can_finish(&self, next: &Listing) -> Result<bool, Error> {
        for file in self.changed(next) {
            if !self.in_place(file)? && !disk::is(&self.waiting(file), file)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
