//! A made-up site on disk: Fedora's sixteen indexes, compressed too, and a file of each other kind.

use std::{
    fs,
    io::Write as _,
    path::Path,
    time::{Duration, SystemTime},
};

use flatbus_index::{
    entry,
    serve::{EMPTY_INDEX, Route, Routes, Settings},
};
use flatbus_oci::Location;
use flate2::{Compression, write::GzEncoder};

/// What clients are told that the registry is.
pub const REGISTRY: &str = "https://registry.test/";

/// So many of a digit.
pub fn hex(digit: char, digits: usize) -> String {
    digit.to_string().repeat(digits)
}

/// What the folder holds beside indexes.
pub fn others() -> Vec<(String, Vec<u8>)> {
    vec![
        ("site.json".to_owned(), b"{\"files\": []}".to_vec()),
        ("deltas/wanted.json".to_owned(), b"[]".to_vec()),
        (format!("icons/ab/{}.png", hex('1', 62)), b"\x89PNG\r\n".repeat(100)),
        (format!("deltas/cd/{}.tardiff", hex('2', 62)), b"tardf1\n\0".repeat(50_000)),
        (format!("deltas/cd/{}.json", hex('3', 62)), b"{}".to_vec()),
        (format!("lists/{}.json", hex('4', 64)), b"{\"icons\": []}".to_vec()),
        (format!("by-digest/sha256/ef/{}", hex('5', 62)), b"anything".to_vec()),
        (format!("by-digest/sha256/ef/{}", hex('6', 62)), Vec::new()),
        ("index/.flatpak-latest.json.tmp".to_owned(), b"secret".to_vec()),
        ("notes.txt".to_owned(), b"secret".to_vec()),
    ]
}

/// Its file is named as Fedora names it, and says that name.
pub fn route(tag: &str, architecture: Option<&str>, annotations: bool) -> Route {
    let ending = architecture.map(|text| format!("-{text}")).unwrap_or_default();
    let form = if annotations { "-annotations" } else { "" };
    let path = format!("index/flatpak-{tag}{ending}{form}.json");
    Route { tag: tag.parse().unwrap(), architecture: architecture.map(str::to_owned), annotations, path }
}

/// Fedora's sixteen, and a tag without a file of all architectures.
pub fn routes() -> Vec<Route> {
    let mut routes = vec![route("f41.x", Some("amd64"), false)];
    for tag in ["latest", "testing"] {
        for architecture in [None, Some("amd64"), Some("arm64"), Some("ppc64le")] {
            routes.extend([false, true].map(|annotations| route(tag, architecture, annotations)));
        }
    }
    routes
}

/// Writes a file as it is published: with a time that is past and its own, to the microsecond and beyond.
pub fn publish(root: &Path, path: &str, bytes: &[u8], age_ns: u64) {
    let file = root.join(path);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, bytes).unwrap();
    let time = SystemTime::UNIX_EPOCH + Duration::new(1_700_000_000, 0) + Duration::from_nanos(age_ns);
    fs::File::options().write(true).open(&file).unwrap().set_modified(time).unwrap();
}

/// An index and its compressed forms, of one time.
pub fn publish_index(root: &Path, path: &str, body: &str, age_ns: u64) {
    publish(root, path, body.as_bytes(), age_ns);
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(body.as_bytes()).unwrap();
    publish(root, &format!("{path}.gz"), &gzip.finish().unwrap(), age_ns);
    publish(root, &format!("{path}.zst"), &zstd::encode_all(body.as_bytes(), 0).unwrap(), age_ns);
}

/// Everything.
pub fn publish_site(root: &Path) {
    for (n, route) in routes().iter().enumerate() {
        let body =
            format!("{{\"Registry\": {REGISTRY:?}, \"Results\": [], \"x\": {:?}}}", route.path.repeat(20));
        publish_index(root, &route.path, &body, n as u64 * 1_234_567_891);
    }
    publish_index(root, EMPTY_INDEX, &entry::empty(REGISTRY), 999);
    for (n, (path, bytes)) in others().iter().enumerate() {
        publish(root, path, bytes, n as u64 * 987_654_321);
    }
}

/// As both servers are told.
pub fn settings(root: &Path) -> Settings {
    Settings {
        site_dir: root.to_owned(),
        routes: Routes::new(routes()).unwrap(),
        empty: entry::empty(REGISTRY),
        front: Some(Location::parse("https://quay.test/fedora").unwrap()),
    }
}
