//! Renders the configuration with which Apache httpd 2.4 serves a published folder as the site server does.
//!
//! Pure. The text itself stands in `httpd.conf` beside this file, with its reasons.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use flatbus_oci::Location;

use crate::serve::{EMPTY_INDEX, Route, Routes, Settings};

const TEMPLATE: &str = include_str!("httpd.conf");

/// What is published beside indexes.
const OTHERS: [&str; 5] = ["by-digest", "deltas", "icons", "lists", "site.json"];

/// The path of a folder that can't stand in a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "httpd can't be told to serve {path:?}: it must be a whole path of letters, digits and any of /._+@:,=~-"
)]
pub struct BadFolder {
    path: PathBuf,
}

/// The configuration, to be included in a `<VirtualHost>`.
///
/// # Errors
/// When the folder's path would mean something else to httpd.
pub fn config(site: &Settings) -> Result<String, BadFolder> {
    let folder = folder(&site.site_dir)?;
    let indexes: BTreeSet<&str> = site.routes.folders().collect();
    let ours: BTreeSet<&str> = indexes.iter().copied().chain(OTHERS).collect();
    let aliases = ours.iter().map(|name| format!("Alias \"/{name}\" \"{folder}/{name}\"\n"));
    let parts = [
        ("@ALIASES@", aliases.collect()),
        ("@FRONT@", site.front.as_ref().map(front).unwrap_or_default()),
        ("@ROUTES@", routes(&site.routes)),
        ("@ACCEPTED@", ["zstd", "gzip", "identity"].map(accepted).concat()),
        ("@EMPTY@", EMPTY_INDEX.to_owned()),
        ("@INDEXES@", alternatives(&indexes)),
        ("@OURS@", alternatives(&ours)),
        ("@SITE@", folder.to_owned()),
    ];
    Ok(parts.iter().fold(TEMPLATE.to_owned(), |text, (name, part)| text.replace(name, part)))
}

/// Nothing that httpd would expand, nor a pattern.
fn folder(path: &Path) -> Result<&str, BadFolder> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._+@:,=~-".contains(c);
    let text = path.to_str().map(|text| text.trim_end_matches('/'));
    text.filter(|text| text.starts_with('/') && text.chars().all(plain))
        .ok_or_else(|| BadFolder { path: path.to_owned() })
}

/// Names for a regular expression; the only letter of theirs that means something there is the dot.
fn alternatives(names: &BTreeSet<&str>) -> String {
    names.iter().map(|name| escaped(name)).collect::<Vec<_>>().join("|")
}

fn escaped(name: &str) -> String {
    name.replace('.', "\\.")
}

fn routes(routes: &Routes) -> String {
    let (own, all): (Vec<&Route>, Vec<&Route>) =
        routes.iter().partition(|route| route.architecture.is_some());
    own.into_iter().chain(all).map(rule).collect()
}

fn rule(route: &Route) -> String {
    let form = if route.annotations { "annotation" } else { "label" };
    let wanted = match &route.architecture {
        Some(architecture) => format!("={form}/linux/{}/{architecture}", route.tag),
        None => format!("^{form}/linux/{}/", escaped(route.tag.as_str())),
    };
    format!(
        "RewriteCond %{{ENV:FLATBUS_WANTED}} \"{wanted}\"\nRewriteRule \"^/index/static$\" \"/{}\"\n",
        route.path
    )
}

/// No `q` is as good as 1. [NV]: what varies is told below, for indexes only.
fn accepted(coding: &str) -> String {
    let variable = format!("FLATBUS_{}", coding.to_ascii_uppercase());
    format!(
        r#"RewriteCond %{{HTTP:Accept-Encoding}} "(?:^|,)\s*{coding}\s*(?:,|$)" [NC,NV]
RewriteRule "^/(?:@INDEXES@)/" - [E={variable}:1]
RewriteCond %{{HTTP:Accept-Encoding}} "(?:^|,)\s*{coding}\s*;\s*q=(?:(1)(?:\.0{{0,3}})?|(0\.[0-9]{{0,2}}[1-9])0{{0,2}})\s*(?:,|$)" [NC,NV]
RewriteRule "^/(?:@INDEXES@)/" - [E={variable}:%1%2]
"#
    )
}

fn front(to: &Location) -> String {
    let namespace = if to.namespace.is_empty() { String::new() } else { format!("{}/", to.namespace) };
    let target = format!("{}v2/{namespace}$1", to.registry);
    format!(
        r#"
# --- The registry's front: images are elsewhere, below a namespace

# For now, and never kept: 302, with no Cache-Control. `/v2/` itself, which Flatpak never asks for, is left to you.
RewriteCond %{{REQUEST_METHOD}} !^(?:GET|HEAD)$
RewriteRule "^/v2/." - [R=405,L]
RewriteRule "^/v2/((?:[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*/)+(?:manifests|blobs|tags)/[A-Za-z0-9_][A-Za-z0-9._:-]*)$" "{target}" [R=302,L]
<LocationMatch "^/v2/.">
    Header always set Allow "GET, HEAD" "expr=%{{REQUEST_STATUS}} == 405"
    <IfModule mod_expires.c>
        ExpiresActive Off
    </IfModule>
</LocationMatch>
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(tag: &str, architecture: Option<&str>, annotations: bool, path: &str) -> Route {
        let architecture = architecture.map(str::to_owned);
        Route { tag: tag.parse().unwrap(), architecture, annotations, path: path.to_owned() }
    }

    fn rendered(front: Option<&str>) -> String {
        let routes = vec![
            route("latest", None, false, "index/flatpak-latest.json"),
            route("v1.0", Some("amd64"), true, "more.d/old.json"),
            route("v1.0", None, true, "index/all.json"),
        ];
        let site = Settings {
            site_dir: "/srv/site/".into(),
            routes: Routes::new(routes).unwrap(),
            empty: String::new(),
            front: front.map(|front| Location::parse(front).unwrap()),
        };
        config(&site).unwrap()
    }

    #[test]
    fn every_place_is_filled_and_every_quote_is_one() {
        let text = rendered(Some("https://quay.io/fedora"));
        assert!(text.is_ascii(), "httpd takes a curly quote for a part of the path");
        assert!(!text.contains('@'), "{text}");
        assert!(text.lines().all(|line| line.matches('"').count() % 2 == 0));
    }

    #[test]
    fn architectures_own_files_come_before_those_of_all() {
        let text = rendered(None);
        let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("{part} is not in\n{text}"));
        let own = at("RewriteCond %{ENV:FLATBUS_WANTED} \"=annotation/linux/v1.0/amd64\"\n");
        let latest = at(
            "RewriteCond %{ENV:FLATBUS_WANTED} \"^label/linux/latest/\"\nRewriteRule \"^/index/static$\" \"/index/flatpak-latest.json\"\n",
        );
        let all = at("RewriteCond %{ENV:FLATBUS_WANTED} \"^annotation/linux/v1\\.0/\"\n");
        assert!(own < latest && latest < all && all < at("\"/index/empty.json\""));
        at("Alias \"/more.d\" \"/srv/site/more.d\"\n");
        at(
            "RewriteRule \"^/(?:by-digest|deltas|icons|index|lists|more\\.d|site\\.json)(?:/|$)\" - [R=405,L]",
        );
    }

    #[test]
    fn a_front_is_rendered_only_where_there_is_one() {
        assert!(
            rendered(Some("https://quay.io/fedora")).contains("\"https://quay.io/v2/fedora/$1\" [R=302,L]")
        );
        assert!(
            rendered(Some("http://127.0.0.1:5000")).contains("\"http://127.0.0.1:5000/v2/$1\" [R=302,L]")
        );
        assert!(!rendered(None).contains("/v2/"));
    }

    #[test]
    fn a_folder_that_httpd_would_read_otherwise_is_refused() {
        for path in [
            "srv/site",
            "",
            "/srv/a b",
            "/srv/\"x",
            "/srv/${x}",
            "/srv/%{x}",
            "/srv/x*",
            "/srv/x\ny",
            "/srv/ü",
            "/srv\\x",
        ] {
            let site = Settings {
                site_dir: path.into(),
                routes: Routes::default(),
                empty: String::new(),
                front: None,
            };
            assert!(config(&site).is_err(), "{path}");
        }
    }
}
