//! Bodhi's answers.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, RawQuery, State},
    response::{IntoResponse, Response},
};
use http::{StatusCode, header};
use serde_json::{Value, json};

use super::{
    filter::{Filter, Invalid, Page, Query},
    updates::Updates,
};

type Shared = State<Arc<Updates>>;

pub(crate) async fn list_updates(State(updates): Shared, RawQuery(query): RawQuery) -> Response {
    let query = Query::new(query.as_deref());
    let asked = query.page().and_then(|page| Ok((page, Filter::new(&query, &updates)?)));
    let (page, filter) = match asked {
        Ok(asked) => asked,
        Err(invalid) => return refuse(invalid),
    };
    let found = updates.select(|update| filter.passes(update));
    let mut answer = listing("updates", found, &page);
    let package = query.many("packages").and_then(|packages| packages.into_iter().next());
    answer["chrome"] = true.into();
    answer["display_user"] = true.into();
    answer["display_request"] = true.into();
    answer["package"] = package.into();
    Json(answer).into_response()
}

pub(crate) async fn one_update(State(updates): Shared, Path(alias): Path<String>) -> Response {
    if let Some(update) = updates.update(&alias) {
        return Json(json!({"update": update, "can_edit": false, "ci_allowed": false})).into_response();
    }
    if updates.has_package(&alias) {
        let list: String =
            url::form_urlencoded::Serializer::new(String::new()).append_pair("packages", &alias).finish();
        return (StatusCode::FOUND, [(header::LOCATION, format!("/updates/?{list}"))]).into_response();
    }
    error(StatusCode::NOT_FOUND, "url", "id", "Invalid update id")
}

pub(crate) async fn list_releases(State(updates): Shared, RawQuery(query): RawQuery) -> Response {
    let query = Query::new(query.as_deref());
    let page = match query.page() {
        Ok(page) => page,
        Err(invalid) => return refuse(invalid),
    };
    let mut found = updates.releases();
    if let Some(pattern) = query.one("name") {
        found.retain(|release| release["name"].as_str().is_some_and(|name| like(name, pattern)));
    }
    if matches!(query.one("exclude_archived"), Some("true" | "1")) {
        found.retain(|release| release["state"] != "archived");
    }
    Json(listing("releases", found, &page)).into_response()
}

pub(crate) async fn one_release(State(updates): Shared, Path(name): Path<String>) -> Response {
    match updates.releases().into_iter().find(|release| release["name"] == name.as_str()) {
        Some(release) => Json(release).into_response(),
        None => error(StatusCode::NOT_FOUND, "body", "name", "No such release"),
    }
}

pub(crate) async fn list_composes(State(updates): Shared) -> Response {
    Json(json!({"composes": updates.composes()})).into_response()
}

fn listing(name: &str, found: Vec<Value>, page: &Page) -> Value {
    let (total, pages) = (found.len(), found.len().div_ceil(page.rows));
    json!({name: page.of(found), "page": page.page, "pages": pages, "rows_per_page": page.rows, "total": total})
}

/// SQL's LIKE, as far as anybody uses it here: `%` stands for anything.
fn like(name: &str, pattern: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('%') else { return name == pattern };
    let Some(rest) = name.strip_prefix(head) else { return false };
    (0..=rest.len()).filter_map(|at| rest.get(at..)).any(|rest| like(rest, tail))
}

fn refuse((name, description): Invalid) -> Response {
    error(StatusCode::BAD_REQUEST, "querystring", &name, &description)
}

fn error(status: StatusCode, location: &str, name: &str, description: &str) -> Response {
    let error = json!({"location": location, "name": name, "description": description});
    (status, Json(json!({"status": "error", "errors": [error]}))).into_response()
}
