use super::*;

const BOUNDS: Bounds = Bounds { rows_max: 100, pages_max: 10, readings_max: 2 };

fn page(total: usize, keys: &[&str]) -> Page<String> {
    Page { total, rows: keys.iter().map(|key| ((*key).to_owned(), (*key).to_owned())).collect() }
}

/// Feeds the pages in turn; the rows where the listing was whole, and the pages it asked for.
fn read(pages: &[Page<String>]) -> (Result<Option<Vec<String>>, Error>, Vec<u32>) {
    let mut listing = Listing::new("a list", BOUNDS);
    let mut asked = Vec::new();
    for page in pages {
        asked.push(listing.next_page());
        let taken = listing.take(Page { total: page.total, rows: page.rows.clone() });
        if !matches!(taken, Ok(None)) {
            return (taken, asked);
        }
    }
    (Ok(None), asked)
}

#[test]
fn an_empty_listing_takes_one_page() {
    assert_eq!(read(&[page(0, &[])]), (Ok(Some(Vec::new())), vec![1]));
}

#[test]
fn reading_ends_with_the_last_row_and_not_with_a_number_of_pages() {
    let (rows, asked) = read(&[page(3, &["a"]), page(3, &["a", "b"]), page(3, &["b"]), page(3, &["c"])]);
    assert_eq!(rows.unwrap().unwrap(), ["a", "b", "c"]);
    assert_eq!(asked, [1, 2, 3, 4]);
}

#[test]
fn a_listing_that_shifts_is_read_again_from_the_start() {
    // While page 1 was read a row came in on top: page 2 repeats "b".
    let shifted = [page(3, &["a", "b"]), page(4, &["b", "c"]), page(4, &["n", "a"]), page(4, &["b", "c"])];
    let (rows, asked) = read(&shifted);
    assert_eq!(rows.unwrap().unwrap(), ["a", "b", "c", "n"]);
    assert_eq!(asked, [1, 2, 1, 2]);
}

#[test]
fn a_page_that_is_empty_too_early_is_a_shift_and_never_an_end() {
    let (rows, asked) = read(&[page(3, &["a", "b"]), page(3, &[]), page(3, &["a", "b"]), page(3, &[])]);
    let error = rows.unwrap_err();
    assert!(matches!(&error, Error::Unsettled { attempts: 2, .. }), "{error}");
    assert!(error.to_string().contains("2 of 3 rows"), "{error}");
    assert_eq!(asked, [1, 2, 1, 2]);
}

#[test]
fn more_rows_than_announced_are_no_answer() {
    assert!(matches!(read(&[page(1, &["a", "b"]), page(1, &["a", "b"])]).0, Err(Error::Unsettled { .. })));
}

#[test]
fn pages_that_repeat_for_ever_end_at_a_bound() {
    let pages: Vec<_> = (0..100).map(|_| page(3, &["a"])).collect();
    let (rows, asked) = read(&pages);
    assert!(matches!(rows, Err(Error::Unsettled { .. })));
    assert_eq!(asked.len(), 20);
}

#[test]
fn a_listing_beyond_its_bound_is_not_read() {
    assert!(matches!(read(&[page(101, &["a"])]).0, Err(Error::TooLarge { limit: 100, .. })));
}
