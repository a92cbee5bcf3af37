//! Who serves the index of Flatpaks: the one thing that tests of other servers exchange. [`StaticIndex`] is the plainest:
//! it writes down what it is told, from the labels of the images.

use std::sync::{Arc, Mutex, PoisonError};

use axum::{
    Router,
    extract::{Query, State},
    http::HeaderMap,
    response::{IntoResponse as _, Response},
    routing::get,
};
use flatbus_oci::Digest;
use http::{StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Served,
    images::{Child, Image, oci_architecture},
};

/// Who serves the index.
pub trait Index {
    /// Where a client finds it: `http://127.0.0.1:8080`, to which it adds `/index/static?…`.
    fn url(&self) -> String;

    /// Makes these images, which the registry has under their names and the tag `latest`, all that the index names, and
    /// returns once it does.
    fn publish(&mut self, images: &[&Image]);
}

/// An index written by hand and served by this process: with an ETag, and to be asked for each time unless told otherwise.
pub struct StaticIndex {
    shelf: Arc<Shelf>,
    served: Served,
}

struct Shelf {
    cache_control: String,
    entries: Mutex<Vec<Entry>>,
    registry: String,
}

/// A child in its repository.
#[derive(Clone)]
struct Entry {
    repository: String,
    architecture: String,
    image: Value,
}

#[derive(Deserialize)]
struct Wanted {
    architecture: String,
}

impl StaticIndex {
    /// `registry` (`127.0.0.1:5000`) has the images.
    pub fn start(registry: &str) -> Self {
        Self::start_cached(registry, "no-cache")
    }

    /// With another `Cache-Control`.
    pub fn start_cached(registry: &str, cache_control: &str) -> Self {
        let shelf = Shelf {
            cache_control: cache_control.to_owned(),
            entries: Mutex::default(),
            registry: format!("http://{registry}/"),
        };
        let shelf = Arc::new(shelf);
        let router = Router::new().route("/index/static", get(serve)).with_state(Arc::clone(&shelf));
        Self { shelf, served: Served::start(router) }
    }
}

impl Index for StaticIndex {
    fn url(&self) -> String {
        format!("http://{}", self.served.address)
    }

    fn publish(&mut self, images: &[&Image]) {
        let entries = images.iter().flat_map(|image| image.children.iter().map(|child| entry(image, child)));
        *self.shelf.entries.lock().unwrap_or_else(PoisonError::into_inner) = entries.collect();
    }
}

/// As flatpak-indexer writes them. From 1.17.1 on, a client that misses one of the members reads nothing at all.
fn entry(image: &Image, child: &Child) -> Entry {
    let architecture = oci_architecture(child.architecture);
    let listed = json!({
        "Digest": child.digest(),
        "MediaType": child.manifest.media_type,
        "OS": "linux",
        "Architecture": architecture,
        "Tags": ["latest"],
        "Annotations": {},
        "Labels": child.labels,
    });
    Entry { repository: image.repository.clone(), architecture: architecture.to_owned(), image: listed }
}

async fn serve(
    State(shelf): State<Arc<Shelf>>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Response {
    let body = shelf.body(&wanted.architecture);
    let etag = format!("\"{}\"", Digest::of(body.as_bytes()).hex());
    let known = headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == etag.as_bytes());
    let told = [(header::ETAG, etag), (header::CACHE_CONTROL, shelf.cache_control.clone())];
    if known {
        return (StatusCode::NOT_MODIFIED, told).into_response();
    }
    (told, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

impl Shelf {
    fn body(&self, architecture: &str) -> String {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let wanted = entries.into_iter().filter(|entry| entry.architecture == architecture);
        let results: Vec<Value> = wanted
            .map(|entry| json!({"Name": entry.repository, "Images": [entry.image], "Lists": []}))
            .collect();
        json!({"Registry": self.registry, "Results": results}).to_string()
    }
}
