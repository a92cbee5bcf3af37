//! Whether lapin can read the properties of a message, without having it read them. Looks and keeps nothing.

/// Tables and lists within each other that are let through: they take less than half of lapin's stack where
/// nothing is optimised. What federation adds to a message has two.
pub(super) const DEPTH_MAX: usize = 64;

/// What is wrong with properties.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Flaw {
    #[error("they nest deeper than {DEPTH_MAX}")]
    Deep,
    #[error("a name or a text in them is not UTF-8")]
    NotText,
    #[error("they break off, or hold what AMQP does not know")]
    Broken,
}

/// Whether lapin can read these properties, all of them.
pub(super) fn check(properties: &[u8]) -> Result<(), Flaw> {
    let (_, after) = split(properties)?;
    if after.is_empty() { Ok(()) } else { Err(Flaw::Broken) }
}

/// Properties that lapin can read, and what stands after them.
pub(super) fn split(content: &[u8]) -> Result<(&[u8], &[u8]), Flaw> {
    let mut reader = Reader(content);
    reader.properties()?;
    Ok(content.split_at(content.len() - reader.0.len()))
}

/// What is left to be read.
struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    /// Those whose flags are set, in the order of their flags.
    fn properties(&mut self) -> Result<(), Flaw> {
        let flags = u16::from_be_bytes(self.number()?);
        let set = (0..16).rev().filter(|bit| flags >> bit & 1 == 1);
        for bit in set {
            match bit {
                13 => self.table(0)?,
                11 | 12 => self.skip(1)?,
                6 => self.skip(8)?,
                2..=15 => self.name()?,
                _ => {} // They mean nothing to lapin.
            }
        }
        Ok(())
    }

    fn table(&mut self, depth: usize) -> Result<(), Flaw> {
        let mut entries = self.nested(depth)?;
        while !entries.0.is_empty() {
            entries.name()?;
            entries.value(depth + 1)?;
        }
        Ok(())
    }

    fn list(&mut self, depth: usize) -> Result<(), Flaw> {
        let mut items = self.nested(depth)?;
        while !items.0.is_empty() {
            items.value(depth + 1)?;
        }
        Ok(())
    }

    fn value(&mut self, depth: usize) -> Result<(), Flaw> {
        let [kind] = self.number()?;
        match kind {
            b'V' => Ok(()),
            b't' | b'b' | b'B' => self.skip(1),
            b's' | b'U' | b'u' => self.skip(2),
            b'I' | b'i' | b'f' => self.skip(4),
            b'D' => self.skip(5),
            b'L' | b'l' | b'T' | b'd' => self.skip(8),
            b'S' | b'x' => self.long().map(drop),
            b'A' => self.list(depth),
            b'F' => self.table(depth),
            _ => Err(Flaw::Broken),
        }
    }

    fn nested(&mut self, depth: usize) -> Result<Self, Flaw> {
        if depth > DEPTH_MAX { Err(Flaw::Deep) } else { self.long().map(Reader) }
    }

    fn name(&mut self) -> Result<(), Flaw> {
        let [length] = self.number()?;
        str::from_utf8(self.bytes(length.into())?).map(drop).map_err(|_| Flaw::NotText)
    }

    fn long(&mut self) -> Result<&'b [u8], Flaw> {
        let length = u32::from_be_bytes(self.number()?);
        self.bytes(usize::try_from(length).unwrap_or(usize::MAX))
    }

    fn number<const N: usize>(&mut self) -> Result<[u8; N], Flaw> {
        let (number, rest) = self.0.split_first_chunk().ok_or(Flaw::Broken)?;
        self.0 = rest;
        Ok(*number)
    }

    fn skip(&mut self, count: usize) -> Result<(), Flaw> {
        self.bytes(count).map(drop)
    }

    fn bytes(&mut self, count: usize) -> Result<&'b [u8], Flaw> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Flaw::Broken)?;
        self.0 = rest;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use lapin::protocol::basic;

    use super::*;

    /// Every flag, every kind of value, every byte of a length: lapin is asked about each.
    #[test]
    fn what_is_let_through_is_what_lapin_reads() {
        let tables = (0..=255).map(|kind| [&[0x20, 0, 0, 0, 0, 11, 1, b'x', kind][..], &[0; 8]].concat());
        let flags = (0..16).map(|bit| [&(1_u16 << bit).to_be_bytes()[..], &[0; 8]].concat());
        for properties in tables.chain(flags) {
            for end in 0..=properties.len() {
                for length in 0..=12 {
                    let mut properties = properties[..end].to_vec();
                    if let Some(byte) = properties.get_mut(5) {
                        *byte = length;
                    }
                    let read = basic::parse_properties(&properties[..]);
                    let read = read.map(|(after, _)| after).map_err(drop);
                    let ours = split(&properties).map(|(_, after)| after).map_err(drop);
                    assert_eq!(ours, read, "{properties:?}");
                    assert_eq!(check(&properties).is_ok(), read == Ok(&[]), "{properties:?}");
                }
            }
        }
    }
}
