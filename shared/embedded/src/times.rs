//! Times as Koji and Bodhi write them. Pure.

use jiff::{Timestamp, civil, tz::TimeZone};

/// Reads `2022-05-27 01:21:41`, with or without `T`, fraction, offset or time of day; UTC where no offset is told.
pub(crate) fn parse(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if let Ok(timestamp) = text.parse() {
        return Some(timestamp);
    }
    let civil: civil::DateTime = text.parse().ok()?;
    civil.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

/// Writes a time as Bodhi does: `2022-05-27 01:21:41`, which is UTC.
pub(crate) fn bodhi(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_one_time_is_that_time() {
        let time = parse("2022-05-27T01:21:41Z");
        assert_eq!(time.map(Timestamp::as_second), Some(1_653_614_501));
        for text in [
            "2022-05-27 01:21:41",
            "2022-05-27T01:21:41",
            "2022-05-27 01:21:41+00:00",
            "2022-05-27 03:21:41.000000+02:00",
        ] {
            assert_eq!(parse(text), time, "{text}");
        }
        assert_eq!(parse("2022-05-27"), parse("2022-05-27 00:00:00"));
        assert_eq!(parse("soon"), None);
        assert_eq!(time.map(bodhi).as_deref(), Some("2022-05-27 01:21:41"));
    }
}
