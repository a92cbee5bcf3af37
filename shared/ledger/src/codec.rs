//! Small records as few bytes: a version byte, then fields in a fixed order. Never panics on what it reads.

use jiff::Timestamp;

/// The version every record is written with. A record of another version is refused, never guessed at.
pub(crate) const VERSION: u8 = 1;

/// Why a record can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Damage {
    /// Written by another release of the program.
    #[error("its format version is {0}, this program knows {VERSION}")]
    Version(u8),
    /// Not what this version writes.
    #[error("it is cut off or holds what can't be")]
    Malformed,
}

/// Writes a record's fields one after the other.
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn new() -> Self {
        Self(vec![VERSION])
    }

    pub(crate) fn done(self) -> Vec<u8> {
        self.0
    }

    pub(crate) fn byte(&mut self, byte: u8) -> &mut Self {
        self.0.push(byte);
        self
    }

    /// Seven bits a byte, lowest first.
    pub(crate) fn number(&mut self, mut number: u64) -> &mut Self {
        while number > 0x7f {
            self.0.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.byte(number as u8)
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    /// Nanoseconds since 1970, which 64 bits hold until 2262.
    pub(crate) fn time(&mut self, time: Timestamp) -> &mut Self {
        let nanoseconds = i64::try_from(time.as_nanosecond()).unwrap_or(i64::MAX);
        self.0.extend_from_slice(&nanoseconds.to_le_bytes());
        self
    }

    pub(crate) fn maybe<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) -> &mut Self {
        self.byte(u8::from(value.is_some()));
        if let Some(value) = value {
            write(self, value);
        }
        self
    }

    pub(crate) fn maybe_time(&mut self, time: Option<Timestamp>) -> &mut Self {
        self.maybe(time, |record, time| {
            record.time(time);
        })
    }
}

/// Reads a record's fields in the order they were written.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Checks the version.
    pub(crate) fn new(record: &'a [u8]) -> Result<Self, Damage> {
        match record.split_first() {
            Some((&VERSION, fields)) => Ok(Self(fields)),
            Some((&other, _)) => Err(Damage::Version(other)),
            None => Err(Damage::Malformed),
        }
    }

    /// Nothing may be left over.
    pub(crate) fn end(self) -> Result<(), Damage> {
        if self.0.is_empty() { Ok(()) } else { Err(Damage::Malformed) }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Damage> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Damage::Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Damage> {
        self.take(1).map(|byte| byte[0])
    }

    pub(crate) fn flag(&mut self) -> Result<bool, Damage> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Damage::Malformed),
        }
    }

    pub(crate) fn number(&mut self) -> Result<u64, Damage> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Damage::Malformed)
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Damage> {
        let length = usize::try_from(self.number()?).map_err(|_| Damage::Malformed)?;
        self.take(length)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, Damage> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Damage::Malformed)
    }

    pub(crate) fn time(&mut self) -> Result<Timestamp, Damage> {
        let bytes: [u8; 8] = self.take(8)?.try_into().map_err(|_| Damage::Malformed)?;
        Timestamp::from_nanosecond(i64::from_le_bytes(bytes).into()).map_err(|_| Damage::Malformed)
    }

    pub(crate) fn maybe<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Damage>,
    ) -> Result<Option<T>, Damage> {
        if self.flag()? { read(self).map(Some) } else { Ok(None) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back_as_written() {
        let time = Timestamp::from_second(1_800_000_000).unwrap();
        let mut record = Writer::new();
        record
            .byte(9)
            .number(u64::MAX)
            .number(0)
            .number(300)
            .text("añ")
            .time(time)
            .maybe_time(None)
            .maybe_time(Some(time));
        let record = record.done();
        let mut fields = Reader::new(&record).unwrap();
        assert_eq!(fields.byte(), Ok(9));
        assert_eq!((fields.number(), fields.number(), fields.number()), (Ok(u64::MAX), Ok(0), Ok(300)));
        assert_eq!(fields.text(), Ok("añ"));
        assert_eq!(fields.time(), Ok(time));
        assert_eq!(fields.maybe(Reader::time), Ok(None));
        assert_eq!(fields.maybe(Reader::time), Ok(Some(time)));
        assert_eq!(fields.end(), Ok(()));
    }

    #[test]
    fn numbers_take_the_fewest_bytes() {
        for (number, bytes) in [(0, &[0][..]), (0x7f, &[0x7f]), (0x80, &[0x80, 1]), (300, &[0xac, 2])] {
            let mut record = Writer::new();
            record.number(number);
            assert_eq!(record.done()[1..], *bytes, "{number}");
        }
    }

    #[test]
    fn bytes_left_over_are_an_error() {
        let mut record = Writer::new();
        record.byte(1).byte(2);
        let record = record.done();
        let mut reader = Reader::new(&record).unwrap();
        reader.byte().unwrap();
        assert_eq!(reader.end(), Err(Damage::Malformed));
    }

    #[test]
    fn another_version_is_refused_by_name() {
        assert_eq!(Reader::new(&[VERSION + 1, 0]).err(), Some(Damage::Version(VERSION + 1)));
        assert!(Damage::Version(7).to_string().contains("version is 7"));
    }

    #[test]
    fn damaged_bytes_are_an_error_wherever_they_are_cut() {
        let mut record = Writer::new();
        record.text("some text").number(70_000).time(Timestamp::UNIX_EPOCH);
        let record = record.done();
        for cut in 0..record.len() {
            let read = || -> Result<(), Damage> {
                let mut fields = Reader::new(&record[..cut])?;
                fields.text()?;
                fields.number()?;
                fields.time()?;
                fields.end()
            };
            assert!(read().is_err(), "cut at {cut}");
        }
        assert_eq!(Reader::new(&[VERSION, 0xff, 0xff]).unwrap().bytes(), Err(Damage::Malformed));
        assert_eq!(
            Reader::new(&[[VERSION].as_slice(), &[0xff; 10]].concat()).unwrap().number(),
            Err(Damage::Malformed)
        );
    }
}
