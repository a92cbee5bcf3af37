//! Which file answers which request for the index.

use flatbus_oci::Tag;

use super::{EMPTY_INDEX, query::Wanted};

/// A file that `/index/static` may be answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The tag that is asked for.
    pub tag: Tag,
    /// The architecture, in OCI's spelling; `None`: the file of all architectures.
    pub architecture: Option<String>,
    /// For clients before 1.6, which read annotations.
    pub annotations: bool,
    /// Below the site's folder: `index/flatpak-latest-amd64.json`.
    pub path: String,
}

impl Route {
    /// Checks that it can be served.
    ///
    /// # Errors
    /// When its path or architecture is not plain.
    pub fn check(&self) -> Result<(), BadRoute> {
        if !is_index(&self.path) {
            return Err(BadRoute::Path { path: self.path.clone() });
        }
        match self.architecture.as_ref().filter(|text| !is_architecture(text)) {
            Some(odd) => Err(BadRoute::Architecture { architecture: odd.clone() }),
            None => Ok(()),
        }
    }
}

/// Every route, each known to be plain: its parts may stand in a path and in httpd's configuration as they are. Of two
/// for the same request the first answers it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Routes(Vec<Route>);

/// A route that could not be served, or not by httpd.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRoute {
    /// Nothing else is served as an index.
    #[error("{path:?} is no file of an index: write folder/name.json, of letters, digits, '.', '_' and '-'")]
    Path {
        /// As it was given.
        path: String,
    },
    /// No client can ask for it.
    #[error("{architecture:?} is no architecture: write amd64, arm64, ppc64le, …")]
    Architecture {
        /// As it was given.
        architecture: String,
    },
}

/// Folders that hold something else.
const TAKEN: [&str; 4] = ["by-digest", "deltas", "icons", "lists"];

/// Longest architecture that is understood, in bytes.
pub(crate) const ARCHITECTURE_BYTES_MAX: usize = 32;

impl Routes {
    /// Checks what is given.
    ///
    /// # Errors
    /// When a path or an architecture is not plain.
    pub fn new(routes: Vec<Route>) -> Result<Self, BadRoute> {
        routes.iter().try_for_each(Route::check)?;
        Ok(Self(routes))
    }

    /// The file that is meant: the architecture's own, else that of all. `None`: no file has such images.
    pub(crate) fn pick(&self, wanted: &Wanted) -> Option<&str> {
        if wanted.os != "linux" {
            return None;
        }
        let fits = |route: &&Route| route.tag == wanted.tag && route.annotations == wanted.annotations;
        let own = |route: &&Route| route.architecture.is_some() && route.architecture == wanted.architecture;
        let all = |route: &&Route| route.architecture.is_none();
        let fitting = || self.0.iter().filter(fits);
        fitting().find(own).or_else(|| fitting().find(all)).map(|route| &*route.path)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Route> {
        self.0.iter()
    }

    /// Folders that hold indexes.
    pub(crate) fn folders(&self) -> impl Iterator<Item = &str> {
        let given = self.0.iter().filter_map(|route| route.path.split_once('/'));
        given.map(|(folder, _)| folder).chain(["index"])
    }
}

/// `x86_64`, `amd64`
pub(crate) fn is_architecture(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    (1..=ARCHITECTURE_BYTES_MAX).contains(&text.len()) && text.bytes().all(word)
}

/// A name that is the same in a URL, on disk and in a configuration, and that no folder listing hides.
pub(crate) fn is_plain(name: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    !name.is_empty() && !name.starts_with('.') && name.bytes().all(word)
}

fn is_index(path: &str) -> bool {
    path.split_once('/').is_some_and(|(folder, file)| {
        let named = file.strip_suffix(".json").is_some_and(is_plain);
        is_plain(folder)
            && !TAKEN.contains(&folder)
            && named
            && !["index/static", EMPTY_INDEX].contains(&path)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(tag: &str, architecture: Option<&str>, annotations: bool, path: &str) -> Route {
        let architecture = architecture.map(str::to_owned);
        Route { tag: tag.parse().unwrap(), architecture, annotations, path: path.to_owned() }
    }

    fn picked(query: &str) -> Option<String> {
        let routes = Routes::new(vec![
            route("latest", Some("amd64"), false, "index/amd64.json"),
            route("latest", None, false, "index/all.json"),
            route("latest", Some("amd64"), true, "index/old.json"),
            route("latest", None, false, "index/second.json"),
        ]);
        routes.unwrap().pick(&Wanted::read(query).unwrap()).map(str::to_owned)
    }

    #[test]
    fn an_architectures_own_file_wins_over_that_of_all() {
        assert_eq!(picked("tag=latest&architecture=amd64").unwrap(), "index/amd64.json");
        assert_eq!(picked("tag=latest&architecture=riscv64").unwrap(), "index/all.json");
        assert_eq!(picked("tag=latest").unwrap(), "index/all.json");
    }

    #[test]
    fn what_no_file_has_is_no_file() {
        assert_eq!(picked("tag=f41&architecture=amd64"), None);
        assert_eq!(picked("tag=latest&architecture=amd64&os=windows"), None);
        assert_eq!(picked("annotation:org.flatpak.ref:exists=1&architecture=arm64"), None);
    }

    #[test]
    fn what_is_not_plain_is_refused_with_its_reason() {
        for path in [
            "x.json",
            "index/x",
            "index/../x.json",
            "icons/x.json",
            ".x/y.json",
            "index/a b.json",
            "a/b/c.json",
        ] {
            let error = Routes::new(vec![route("latest", None, false, path)]).unwrap_err();
            assert_eq!(error, BadRoute::Path { path: path.to_owned() });
        }
        let error = Routes::new(vec![route("latest", Some("AMD64"), false, "index/x.json")]).unwrap_err();
        assert!(error.to_string().contains("is no architecture"), "{error}");
    }
}
