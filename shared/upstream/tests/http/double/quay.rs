//! quay's own API.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Value, json};

use super::{Served, serve};

pub const TOKEN: &str = "oauth-token-of-tests";

/// Repositories, and whether each is public.
pub type Repositories = Arc<Mutex<BTreeMap<String, bool>>>;

pub async fn api(repositories: Repositories) -> Served {
    let router = Router::new()
        .route("/api/v1/repository", post(create))
        .route("/api/v1/repository/{*path}", get(look).post(change))
        .with_state(repositories);
    serve(router).await
}

fn refused(headers: &HeaderMap) -> Option<Response> {
    let token = headers.get("authorization").and_then(|value| value.to_str().ok());
    let allowed = token == Some(&format!("Bearer {TOKEN}"));
    (!allowed)
        .then(|| (StatusCode::FORBIDDEN, Json(json!({ "error_type": "insufficient_scope" }))).into_response())
}

async fn create(State(known): State<Repositories>, headers: HeaderMap, body: Bytes) -> Response {
    if let Some(refused) = refused(&headers) {
        return refused;
    }
    let body: Value = serde_json::from_slice(&body).unwrap();
    let name = format!("{}/{}", body["namespace"].as_str().unwrap(), body["repository"].as_str().unwrap());
    let mut known = known.lock().unwrap();
    if known.contains_key(&name) {
        return (StatusCode::BAD_REQUEST, Json(json!({ "error_message": "Repository already exists" })))
            .into_response();
    }
    known.insert(name, body["visibility"] == "public");
    (StatusCode::CREATED, Json(json!({ "kind": "image" }))).into_response()
}

async fn look(State(known): State<Repositories>, Path(path): Path<String>, headers: HeaderMap) -> Response {
    if let Some(refused) = refused(&headers) {
        return refused;
    }
    match known.lock().unwrap().get(&path) {
        Some(public) => Json(json!({ "is_public": public })).into_response(),
        None => (StatusCode::NOT_FOUND, Json(json!({ "error_type": "not_found" }))).into_response(),
    }
}

async fn change(State(known): State<Repositories>, Path(path): Path<String>, headers: HeaderMap) -> Response {
    if let Some(refused) = refused(&headers) {
        return refused;
    }
    match known.lock().unwrap().get_mut(path.strip_suffix("/changevisibility").unwrap()) {
        Some(public) => {
            *public = true;
            Json(json!({ "success": true })).into_response()
        }
        None => Json(Value::Null).into_response(),
    }
}
