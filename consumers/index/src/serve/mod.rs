//! The site server: answers Flatpak's request for the index, and serves the published folder.
//!
//! A file is opened once, and all of an answer comes from that handle: size, ETag and bytes are of one generation even
//! while another is renamed into place. Answers equal those of Apache httpd under the configuration that
//! [`crate::httpd`] renders, ETags included, so that a client may ask either. Never writes, never lists a folder, never
//! leaves its own.

mod answer;
mod condition;
mod encoding;
mod file;
mod front;
mod listen;
mod path;
mod query;
mod route;

#[cfg(test)]
mod tests;

use std::{io, path::PathBuf, sync::Arc};

use axum::{
    Router,
    extract::{Request, State},
    response::Response,
};
use bytes::Bytes;
use flatbus_oci::{Digest, Location};
use http::{Method, StatusCode, Uri, request::Parts};
use tracing::{debug, warn};

use self::{
    answer::{Content, moved, refused, unsupported},
    file::Tree,
    path::Place,
    query::Wanted,
};
pub use self::{
    listen::serve,
    route::{BadRoute, Route, Routes},
};

/// Where the index stands that names nothing, below the site's folder: what is answered where no file is meant. It is
/// published like any other, compressed ones beside it, or httpd has none.
pub const EMPTY_INDEX: &str = "index/empty.json";

/// Most of a request's address that is logged, in characters.
const SHOWN_CHARS_MAX: usize = 300;

/// What is served.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The published folder. May be a symlink; in it none is followed.
    pub site_dir: PathBuf,
    /// Which file answers which request for the index.
    pub routes: Routes,
    /// An index that names nothing, for as long as there is no [`EMPTY_INDEX`].
    pub empty: String,
    /// Where `/v2/<repository>/…` is sent, if clients are told that the registry is here.
    pub front: Option<Location>,
}

/// Answers for a published folder. Serve it with [`serve`], which bounds how many ask at once.
pub fn router(settings: Settings) -> Router {
    Router::new().fallback(answer).with_state(Arc::new(Site::new(settings)))
}

struct Site {
    tree: Tree,
    routes: Routes,
    empty: Bytes,
    empty_tag: String,
    front: Option<Location>,
}

async fn answer(State(site): State<Arc<Site>>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let answer = site.answer(&parts).await.unwrap_or_else(|error| {
        warn!(%error, "Could not read {} for an answer: {error}", shown(&parts.uri));
        refused(StatusCode::INTERNAL_SERVER_ERROR, "This could not be read here. Please ask again later.")
    });
    let status = answer.status().as_u16();
    debug!(http.status = status, "Answered {status} to {} {}", parts.method, shown(&parts.uri));
    answer
}

fn shown(uri: &Uri) -> String {
    uri.to_string().chars().take(SHOWN_CHARS_MAX).collect()
}

impl Site {
    fn new(settings: Settings) -> Self {
        Self {
            tree: Tree::new(settings.site_dir),
            routes: settings.routes,
            empty_tag: format!("\"{}\"", Digest::of(settings.empty.as_bytes()).hex()),
            empty: settings.empty.into(),
            front: settings.front,
        }
    }

    async fn answer(&self, asked: &Parts) -> io::Result<Response> {
        let front = self.front.as_ref().filter(|_| asked.uri.path().starts_with("/v2/"));
        let place = Place::read(asked.uri.path(), &self.routes);
        if place.is_none() && front.is_none() {
            return Ok(answer::missing());
        }
        if !matches!(asked.method, Method::GET | Method::HEAD) {
            return Ok(unsupported());
        }
        match (place, front) {
            (Some(Place::Static), _) => self.index(asked).await,
            (Some(Place::File { path, kind }), _) => self.file(asked, path, kind).await,
            (None, Some(front)) => {
                Ok(front::target(front, &asked.uri).map_or_else(answer::missing, |to| moved(&to)))
            }
            (None, None) => Ok(answer::missing()),
        }
    }

    /// `/index/static`
    async fn index(&self, asked: &Parts) -> io::Result<Response> {
        let wanted = match Wanted::read(asked.uri.query().unwrap_or_default()) {
            Ok(wanted) => wanted,
            Err(bad) => return Ok(refused(StatusCode::BAD_REQUEST, &bad.to_string())),
        };
        if let Some(path) = self.routes.pick(&wanted) {
            return self.file(asked, path.to_owned(), path::Kind::Index).await;
        }
        let answer = self.file(asked, EMPTY_INDEX.to_owned(), path::Kind::Index).await?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Content::index(self.empty.clone(), self.empty_tag.clone()).answer(asked).await;
        }
        Ok(answer)
    }

    async fn file(&self, asked: &Parts, path: String, kind: path::Kind) -> io::Result<Response> {
        let encodings = match kind {
            path::Kind::Index => encoding::accepted(&asked.headers),
            path::Kind::Lasting | path::Kind::Fleeting => Vec::new(),
        };
        let name = path.clone();
        match self.tree.open(path, encodings).await? {
            Some(found) => Content::file(found, &name, kind).answer(asked).await,
            None => Ok(answer::missing()),
        }
    }
}
