//! Bodhi over REST, with the paging quirks of the real one.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    extract::{Path, RawQuery, State},
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use serde_json::{Value, json};

use super::{Served, serve};

/// Changes the updates before the page with this number is answered.
pub type Shift = Box<dyn FnMut(&mut Vec<Value>, usize) + Send>;

#[derive(Default)]
pub struct Bodhi {
    pub updates: Vec<Value>,
    pub composes: Vec<Value>,
    /// A query that joins builds gives one row a build, cut into pages before repeated rows are dropped.
    pub rows_repeat: bool,
    /// Run before each page of updates, with the page's number: how a listing shifts.
    pub before_page: Option<Shift>,
}

pub type Shared = Arc<Mutex<Bodhi>>;

pub async fn rest(bodhi: Shared) -> Served {
    let router = Router::new()
        .route("/updates/", get(updates))
        .route("/updates/{alias}", get(update))
        .route("/releases/", get(releases))
        .route("/composes/", get(composes))
        .with_state(bodhi);
    serve(router).await
}

async fn update(State(bodhi): State<Shared>, Path(alias): Path<String>) -> Response {
    let bodhi = bodhi.lock().unwrap();
    if let Some(update) = bodhi.updates.iter().find(|update| update["alias"] == *alias) {
        return Json(json!({ "update": update, "can_edit": false, "ci_allowed": false })).into_response();
    }
    if bodhi.updates.iter().any(|update| packages(update).contains(&alias)) {
        return Redirect::to(&format!("/updates/?packages={alias}")).into_response();
    }
    (StatusCode::NOT_FOUND, Json(json!({ "status": "error", "errors": [] }))).into_response()
}

async fn updates(State(bodhi): State<Shared>, RawQuery(query): RawQuery) -> Json<Value> {
    let query = Query::new(query);
    let by_content = !query.all("content_type").is_empty();
    assert!(
        by_content == query.all("releases").is_empty(),
        "the filter that loses updates is only for a proof"
    );
    assert!(query.all("builds").is_empty() || query.all("packages").is_empty(), "would join twice");
    let mut bodhi = bodhi.lock().unwrap();
    let Bodhi { updates, before_page, rows_repeat, .. } = &mut *bodhi;
    if let Some(before_page) = before_page {
        before_page(updates, query.number("page", 1));
    }
    let mut listed: Vec<&Value> = updates.iter().filter(|update| query.admits(update)).collect();
    listed.sort_by(|a, b| b["date_submitted"].as_str().cmp(&a["date_submitted"].as_str()));
    let total = listed.len();
    if *rows_repeat {
        listed = listed
            .into_iter()
            .flat_map(|update| vec![update; update["builds"].as_array().unwrap().len()])
            .collect();
    }
    query.page("updates", &listed, total)
}

async fn releases(State(bodhi): State<Shared>, RawQuery(query): RawQuery) -> Json<Value> {
    let query = Query::new(query);
    let bodhi = bodhi.lock().unwrap();
    let mut seen = BTreeSet::new();
    let released = bodhi.updates.iter().map(|update| &update["release"]);
    let named_f =
        |release: &&Value| query.all("name").is_empty() || release["name"].as_str().unwrap().ends_with('F');
    let listed: Vec<&Value> =
        released.filter(named_f).filter(|release| seen.insert(release["name"].to_string())).collect();
    query.page("releases", &listed, listed.len())
}

async fn composes(State(bodhi): State<Shared>) -> Json<Value> {
    Json(json!({ "composes": bodhi.lock().unwrap().composes }))
}

struct Query(Vec<(String, String)>);

impl Query {
    fn new(query: Option<String>) -> Self {
        Self(url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect())
    }

    fn all(&self, key: &str) -> Vec<&str> {
        self.0.iter().filter(|(name, _)| name == key).map(|(_, value)| value.as_str()).collect()
    }

    fn number(&self, key: &str, default: usize) -> usize {
        self.all(key).first().map_or(default, |value| value.parse().unwrap())
    }

    fn page(&self, key: &str, rows: &[&Value], total: usize) -> Json<Value> {
        let (page, per_page) = (self.number("page", 1), self.number("rows_per_page", 20));
        assert!((1..=1000).contains(&per_page));
        let mut cut: Vec<&Value> = rows.iter().skip((page - 1) * per_page).take(per_page).copied().collect();
        cut.dedup();
        let pages = total.div_ceil(per_page);
        Json(json!({ key: cut, "page": page, "pages": pages, "rows_per_page": per_page, "total": total }))
    }

    fn admits(&self, update: &Value) -> bool {
        let any_of = |key: &str, found: &[String]| {
            let wanted = self.all(key);
            wanted.is_empty() || wanted.iter().any(|wanted| found.iter().any(|found| found == wanted))
        };
        let nvrs: Vec<String> = update["builds"]
            .as_array()
            .unwrap()
            .iter()
            .map(|build| build["nvr"].as_str().unwrap().to_owned())
            .collect();
        any_of("releases", &[update["release"]["name"].as_str().unwrap().to_owned()])
            && any_of("builds", &nvrs)
            && any_of("packages", &packages(update))
            && ["submitted", "modified", "pushed"].iter().all(|kind| self.since(kind, update))
    }

    fn since(&self, kind: &str, update: &Value) -> bool {
        let wanted = self.all(&format!("{kind}_since"));
        let Some(since) = wanted.first() else { return true };
        let since = since.strip_suffix("+00:00").unwrap().replace('T', " ");
        update[format!("date_{kind}")].as_str().is_some_and(|date| date >= since.as_str())
    }
}

fn packages(update: &Value) -> Vec<String> {
    let builds = update["builds"].as_array().unwrap();
    builds
        .iter()
        .map(|build| build["nvr"].as_str().unwrap().rsplitn(3, '-').nth(2).unwrap().to_owned())
        .collect()
}
