//! Decides which parts of a file are copied and which are new. Pure.

use std::{
    collections::{BTreeMap, btree_map},
    iter::Peekable,
    ops::Range,
};

use super::{
    layout::{Entry, Layout},
    packed::Piece,
};

/// Pieces that stand together in the new file.
#[derive(Debug)]
pub(super) enum Strand<'a> {
    /// These of the last one, as they are.
    Kept(Range<usize>),
    /// Another one.
    New(&'a Piece),
}

/// What changes make of a file.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    pub strands: Vec<Strand<'a>>,
    /// The pieces of the new file.
    pub entries: Vec<Entry>,
    /// Whether the file's text is another.
    pub changed: bool,
    /// Whether what is noted of it is another.
    pub noted: bool,
}

impl<'a> Plan<'a> {
    /// Both sides are in the order of the names. Fails with the name of a piece that is too large for any file.
    pub(super) fn new(
        layout: &Layout,
        changes: &'a BTreeMap<String, Option<Piece>>,
    ) -> Result<Self, &'a str> {
        let entries = Vec::with_capacity(layout.entries.len() + changes.len());
        let mut plan = Self { strands: Vec::new(), entries, changed: layout.files.is_none(), noted: false };
        let mut changes = changes.iter().peekable();
        for (at, old) in layout.entries.iter().enumerate() {
            plan.add_before(&mut changes, Some(old))?;
            match changes.next_if(|(name, _)| **name == *old.name) {
                None => plan.keep(at, old.clone()),
                Some((_, None)) => plan.changed = true,
                Some((name, Some(piece))) => plan.replace(at, old, name, piece)?,
            }
        }
        plan.add_before(&mut changes, None)?;
        Ok(plan)
    }

    /// Takes in what comes before the next of the old pieces.
    fn add_before(
        &mut self,
        changes: &mut Peekable<btree_map::Iter<'a, String, Option<Piece>>>,
        next: Option<&Entry>,
    ) -> Result<(), &'a str> {
        while let Some((name, piece)) =
            changes.next_if(|(name, _)| next.is_none_or(|next| ***name < *next.name))
        {
            if let Some(piece) = piece {
                self.add(Entry::of(name, piece).ok_or(name.as_str())?, piece);
            }
        }
        Ok(())
    }

    fn replace(&mut self, at: usize, old: &Entry, name: &'a str, piece: &'a Piece) -> Result<(), &'a str> {
        if old.sha256 != piece.sha256() {
            self.add(Entry::of(name, piece).ok_or(name)?, piece);
            return Ok(());
        }
        self.noted |= old.note != piece.note;
        self.keep(at, Entry { note: piece.note.clone(), ..old.clone() });
        Ok(())
    }

    fn add(&mut self, entry: Entry, piece: &'a Piece) {
        self.changed = true;
        self.entries.push(entry);
        self.strands.push(Strand::New(piece));
    }

    fn keep(&mut self, at: usize, entry: Entry) {
        self.entries.push(entry);
        match self.strands.last_mut() {
            Some(Strand::Kept(range)) if range.end == at => range.end += 1,
            _ => self.strands.push(Strand::Kept(at..at + 1)),
        }
    }
}
