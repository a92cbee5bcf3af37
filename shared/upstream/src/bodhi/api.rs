//! Bodhi over REST. Only reads.
//!
//! Updates are asked for by release, not by `content_type=flatpak`: that filter loses updates whose builds were all
//! removed, repeats rows, is slow, and joins the same table as `packages` and `builds` do. Each kind of content has
//! releases of its own, so nothing is missed; what is no Flatpak is left out here.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use flatbus_http::{Client, Request, StatusCode, Url, header};
use jiff::Timestamp;
use serde::{Deserialize, de::DeserializeOwned};
use tokio::time::timeout;

use super::{
    Bodhi, Compose, Release, Update, UpdateQuery,
    listing::{Bounds, Listing, Page},
    parse::{RawCompose, RawRelease, RawUpdate},
};
use crate::{
    Error, fetch,
    koji::nvr_problem,
    shape::{clip, wrong},
};

/// What is read at most, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct BodhiLimits {
    /// Largest answer, in bytes. One update can have 350 kB.
    pub answer_bytes_max: usize,
    /// Updates asked for in one page. Bodhi gives up to 1000, but so slowly that a proxy may give up first.
    pub rows_per_page: u16,
    /// Most updates in a listing.
    pub rows_max: usize,
    /// Most pages in a listing.
    pub pages_max: u32,
    /// How often a listing that shifts is read before it is given up.
    pub readings_max: u32,
    /// Builds or packages named in one request.
    pub names_per_request: usize,
    /// Longest time for a listing with all its pages.
    pub listing_timeout: Duration,
}

impl Default for BodhiLimits {
    fn default() -> Self {
        Self {
            answer_bytes_max: 64 << 20,
            rows_per_page: 50,
            rows_max: 100_000,
            pages_max: 10_000,
            readings_max: 3,
            names_per_request: 10,
            listing_timeout: Duration::from_secs(900),
        }
    }
}

/// Rows asked for in one page of the releases: there are a hundred, and a single page cannot shift.
const RELEASES_PER_PAGE: u16 = 1000;

/// Longest alias that is asked for.
const ALIAS_BYTES_MAX: usize = 128;

/// Builds or packages named in one query.
const NAMES_MAX: usize = 1000;

/// Parameters of one listing.
type Params = Vec<(&'static str, String)>;

/// Bodhi's REST API.
#[derive(Debug, Clone)]
pub struct BodhiApi {
    http: Client,
    base: Url,
    limits: BodhiLimits,
}

impl BodhiApi {
    /// The Bodhi at `base` (`https://bodhi.fedoraproject.org/`), which the client must be allowed to contact.
    pub fn new(http: Client, base: Url) -> Self {
        Self { http, base, limits: BodhiLimits::default() }
    }

    /// The same Bodhi with other limits.
    #[must_use]
    pub fn with_limits(mut self, limits: BodhiLimits) -> Self {
        self.limits = limits;
        self
    }

    /// The Flatpak releases, past ones included.
    ///
    /// # Errors
    /// When Bodhi doesn't answer, or not as we know it.
    pub async fn releases(&self) -> Result<Vec<Release>, Error> {
        let params = vec![("name", "%F".to_owned())];
        let rows: Vec<RawRelease> =
            self.listing("releases", &params, RELEASES_PER_PAGE, releases_page).await?;
        let flatpak = rows.iter().filter(|release| release.is_flatpak());
        flatpak.map(|release| release.read("a release", "")).collect()
    }

    async fn listing<T, P: DeserializeOwned>(
        &self,
        name: &str,
        params: &Params,
        rows_per_page: u16,
        page_of: fn(P) -> Result<Page<T>, Error>,
    ) -> Result<Vec<T>, Error> {
        let what = format!("bodhi's list of {name}");
        let BodhiLimits { rows_max, pages_max, readings_max, .. } = self.limits;
        let mut listing = Listing::new(&what, Bounds { rows_max, pages_max, readings_max });
        loop {
            let mut url = self.url(&[name, ""])?;
            url.query_pairs_mut()
                .extend_pairs(params)
                .append_pair("rows_per_page", &rows_per_page.to_string())
                .append_pair("page", &listing.next_page().to_string());
            if let Some(rows) = listing.take(page_of(self.json(url, &what).await?)?)? {
                return Ok(rows);
            }
        }
    }

    async fn json<T: DeserializeOwned>(&self, url: Url, what: &str) -> Result<T, Error> {
        let body = fetch::success(&self.http, get(url), what, self.limits.answer_bytes_max).await?;
        decode(what, &body)
    }

    fn url(&self, path: &[&str]) -> Result<Url, Error> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| Error::BadQuestion {
                what: path.join("/"),
                problem: "bodhi's URL has no path".to_owned(),
            })?
            .pop_if_empty()
            .extend(path);
        Ok(url)
    }

    /// Without a release every listing would be empty. Believed only where the other way of asking says the same.
    async fn prove_that_none_is_there(&self) -> Result<Vec<Update>, Error> {
        let mut url = self.url(&["updates", ""])?;
        url.query_pairs_mut().append_pair("content_type", "flatpak").append_pair("rows_per_page", "1");
        let page: Updates = self.json(url, "bodhi's list of updates").await?;
        if page.total == 0 {
            return Ok(Vec::new());
        }
        Err(wrong(
            "bodhi's list of releases",
            "releases",
            &format!("none is for Flatpaks, but {} updates are", page.total),
        ))
    }

    async fn read_updates(&self, query: &UpdateQuery) -> Result<Vec<Update>, Error> {
        let releases: Vec<String> = self.releases().await?.into_iter().map(|release| release.name).collect();
        if releases.is_empty() {
            return self.prove_that_none_is_there().await;
        }
        let mut updates = BTreeMap::new();
        for params in plan(query, &releases, self.limits.names_per_request) {
            let rows: Vec<RawUpdate> =
                self.listing("updates", &params, self.limits.rows_per_page, updates_page).await?;
            for update in rows.iter().filter(|update| update.is_flatpak()) {
                let update = update.read()?;
                updates.insert(update.alias.clone(), update);
            }
        }
        let mut updates: Vec<Update> = updates.into_values().filter(|update| query.admits(update)).collect();
        newest_first(&mut updates);
        Ok(updates)
    }
}

#[async_trait]
impl Bodhi for BodhiApi {
    async fn update(&self, alias: &str) -> Result<Option<Update>, Error> {
        check_alias(alias)?;
        let what = format!("update {alias}");
        let response = self.http.send(get(self.url(&["updates", alias])?)).await?;
        // A redirect is how Bodhi answers for the name of a package: it leads to a list, which is not what was asked for.
        if response.status == StatusCode::NOT_FOUND || response.status.is_redirection() {
            return Ok(None);
        }
        if !response.status.is_success() {
            return Err(fetch::unexpected(
                response,
                &what,
                "nobody should have to log in to read this: check the URL",
            )
            .await);
        }
        let body = response.bytes(self.limits.answer_bytes_max).await?;
        let update = decode::<OneUpdate>(&what, &body)?.update.read()?;
        if update.alias != alias {
            return Err(wrong(&what, "alias", &format!("{} was answered instead", update.alias)));
        }
        Ok(Some(update))
    }

    async fn updates(&self, query: &UpdateQuery) -> Result<Vec<Update>, Error> {
        check_names(query)?;
        let limit = self.limits.listing_timeout;
        let slow = |_| Error::Slow { what: "bodhi's list of updates".to_owned(), limit };
        timeout(limit, self.read_updates(query)).await.map_err(slow)?
    }

    async fn composes(&self) -> Result<Vec<Compose>, Error> {
        let composes: Composes = self.json(self.url(&["composes", ""])?, "bodhi's composes").await?;
        composes.composes.iter().filter(|compose| compose.is_flatpak()).map(RawCompose::read).collect()
    }

    async fn ping(&self) -> Result<(), Error> {
        let mut url = self.url(&["releases", ""])?;
        url.query_pairs_mut().append_pair("rows_per_page", "1");
        self.json::<Releases>(url, "bodhi's releases").await.map(|_| ())
    }
}

#[derive(Deserialize)]
struct OneUpdate {
    update: RawUpdate,
}

#[derive(Deserialize)]
struct Updates {
    updates: Vec<RawUpdate>,
    total: usize,
}

#[derive(Deserialize)]
struct Releases {
    releases: Vec<RawRelease>,
    total: usize,
}

#[derive(Deserialize)]
struct Composes {
    composes: Vec<RawCompose>,
}

fn updates_page(page: Updates) -> Result<Page<RawUpdate>, Error> {
    let key = |update: &RawUpdate| update.alias().map(str::to_owned);
    keyed(page.total, page.updates, "alias", key)
}

fn releases_page(page: Releases) -> Result<Page<RawRelease>, Error> {
    let key = |release: &RawRelease| release.name().map(str::to_owned);
    keyed(page.total, page.releases, "name", key)
}

fn keyed<T>(
    total: usize,
    rows: Vec<T>,
    place: &str,
    key: impl Fn(&T) -> Option<String>,
) -> Result<Page<T>, Error> {
    let keyed = |row| match key(&row) {
        Some(key) => Ok((key, row)),
        None => Err(wrong("a row of bodhi's", place, "it has none")),
    };
    Ok(Page { total, rows: rows.into_iter().map(keyed).collect::<Result<_, _>>()? })
}

fn get(url: Url) -> Request {
    Request::get(url).header(header::ACCEPT, "application/json").no_redirects()
}

fn decode<T: DeserializeOwned>(what: &str, body: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|error| wrong(what, "body", &error.to_string()))
}

/// The listings that together hold everything the query asks for. Builds and packages are never asked for in one
/// request, since Bodhi would join their table twice; the narrower goes out, the other is checked here.
fn plan(query: &UpdateQuery, releases: &[String], names_per_request: usize) -> Vec<Params> {
    let (name, names) =
        if query.builds.is_empty() { ("packages", &query.packages) } else { ("builds", &query.builds) };
    let mut named: Vec<Params> = names
        .chunks(names_per_request.max(1))
        .map(|chunk| chunk.iter().map(|value| (name, value.clone())).collect())
        .collect();
    if named.is_empty() {
        named.push(Vec::new());
    }
    let since: Vec<Params> = match query.modified_since {
        None => vec![Vec::new()],
        Some(since) => ["submitted_since", "modified_since", "pushed_since"]
            .map(|key| vec![(key, written(since))])
            .to_vec(),
    };
    let releases: Params = releases.iter().map(|release| ("releases", release.clone())).collect();
    named
        .iter()
        .flat_map(|names| since.iter().map(|since| [releases.as_slice(), names, since].concat()))
        .collect()
}

/// A time as Bodhi reads it, rounded down to the second.
fn written(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string()
}

/// Newest first, equal dates by alias: the order is ours, so that it never depends on pages.
pub(crate) fn newest_first(updates: &mut [Update]) {
    updates.sort_by(|a, b| b.date_submitted.cmp(&a.date_submitted).then_with(|| a.alias.cmp(&b.alias)));
}

/// An alias comes from a message and goes into a path: only what an alias can hold.
pub(crate) fn check_alias(alias: &str) -> Result<(), Error> {
    let fits = (1..=ALIAS_BYTES_MAX).contains(&alias.len())
        && alias.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if fits { Ok(()) } else { Err(bad(&format!("update {alias}"), "not an alias")) }
}

/// Names come from messages, too, and each costs a part of a request.
pub(crate) fn check_names(query: &UpdateQuery) -> Result<(), Error> {
    if query.builds.len() > NAMES_MAX || query.packages.len() > NAMES_MAX {
        return Err(Error::TooLarge {
            what: "one query for updates".to_owned(),
            limit: NAMES_MAX as u64,
            unit: "names",
        });
    }
    if let Some((nvr, problem)) = query.builds.iter().find_map(|nvr| Some((nvr, nvr_problem(nvr)?))) {
        return Err(bad(&format!("updates of build {nvr}"), problem));
    }
    let is_name = |name: &&String| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._+~".contains(&b))
    };
    match query.packages.iter().find(|name| !is_name(name)) {
        Some(name) => Err(bad(&format!("updates of package {name}"), "not the name of a package")),
        None => Ok(()),
    }
}

fn bad(what: &str, problem: &str) -> Error {
    Error::BadQuestion { what: clip(what), problem: problem.to_owned() }
}

#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
#[cfg(test)]
mod tests;
