//! Reads a paged listing that may shift while it is read: all of it, or nothing.
//!
//! Bodhi counts each row once in `total`, but pages of a query that joins builds may repeat rows, so that more pages are
//! needed than `pages` says. Reading goes on until as many different rows as `total` were seen; an empty page before
//! that, or another `total`, means that the listing shifted, and it is read again.

use std::collections::BTreeMap;

use crate::Error;

/// A page of a listing, each row with the key that tells it from others.
pub(crate) struct Page<T> {
    pub total: usize,
    pub rows: Vec<(String, T)>,
}

/// Bounds of one listing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub rows_max: usize,
    pub pages_max: u32,
    pub readings_max: u32,
}

/// A listing being read: says which page is wanted, takes it, and hands out the rows once they are whole.
pub(crate) struct Listing<T> {
    name: String,
    bounds: Bounds,
    readings: u32,
    reading: Reading<T>,
}

impl<T> Listing<T> {
    pub fn new(name: &str, bounds: Bounds) -> Self {
        Self { name: name.to_owned(), bounds, readings: 1, reading: Reading::new(bounds) }
    }

    /// The page to fetch next.
    pub fn next_page(&self) -> u32 {
        self.reading.next_page
    }

    /// Takes a page. Some rows: that was all of them.
    pub fn take(&mut self, page: Page<T>) -> Result<Option<Vec<T>>, Error> {
        match self.reading.take(page) {
            Step::More => Ok(None),
            Step::Whole => Ok(Some(std::mem::take(&mut self.reading.rows).into_values().collect())),
            Step::TooLarge => Err(Error::TooLarge {
                what: self.name.clone(),
                limit: self.bounds.rows_max as u64,
                unit: "rows",
            }),
            Step::Shifted(problem) if self.readings >= self.bounds.readings_max => {
                Err(Error::Unsettled { listing: self.name.clone(), attempts: self.readings, problem })
            }
            Step::Shifted(_) => {
                self.readings += 1;
                self.reading = Reading::new(self.bounds);
                Ok(None)
            }
        }
    }
}

/// One pass over the pages.
struct Reading<T> {
    bounds: Bounds,
    next_page: u32,
    total: Option<usize>,
    rows: BTreeMap<String, T>,
}

#[derive(Debug, PartialEq, Eq)]
enum Step {
    More,
    Whole,
    Shifted(String),
    TooLarge,
}

impl<T> Reading<T> {
    fn new(bounds: Bounds) -> Self {
        Self { bounds, next_page: 1, total: None, rows: BTreeMap::new() }
    }

    fn take(&mut self, page: Page<T>) -> Step {
        let first = *self.total.get_or_insert(page.total);
        if page.total > self.bounds.rows_max {
            return Step::TooLarge;
        }
        if page.total != first {
            return Step::Shifted(format!("the total went from {first} to {}", page.total));
        }
        let empty = page.rows.is_empty();
        self.rows.extend(page.rows);
        let seen = self.rows.len();
        if seen == first {
            return Step::Whole;
        }
        if seen > first {
            return Step::Shifted(format!("{seen} rows where {first} were announced"));
        }
        if empty || self.next_page >= self.bounds.pages_max {
            return Step::Shifted(format!("{seen} of {first} rows in {} pages", self.next_page));
        }
        self.next_page += 1;
        Step::More
    }
}

#[cfg(test)]
mod tests;
