//! The HTTP clients and the twins in memory answer the same questions alike: what a simulated world proves holds for the
//! real services.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use crate::double::{bodhi, client, koji, quay, samples};
use flatbus_base::{Remediable, Secret};
use flatbus_upstream::{
    Error,
    bodhi::{Bodhi, BodhiApi, BodhiLimits, Update, UpdateQuery},
    koji::{Build, BuildRef, Koji, KojiHub, KojiLimits},
    memory::{MemoryBodhi, MemoryKoji, MemoryQuay},
    quay::{Quay, QuayApi, Visibility},
};
use serde_json::{Value, json};

/// Two errors are alike when they are of one kind and have one remedy; their words may differ.
fn alike<T: PartialEq + std::fmt::Debug>(question: &str, http: &Result<T, Error>, twin: &Result<T, Error>) {
    match (http, twin) {
        (Err(http), Err(twin)) => {
            assert_eq!(
                std::mem::discriminant(http),
                std::mem::discriminant(twin),
                "{question}: {http} / {twin}"
            );
            assert_eq!(http.remedy(), twin.remedy(), "{question}");
        }
        _ => assert_eq!(http, twin, "{question}"),
    }
}

fn koji_records() -> Vec<Value> {
    let mut records = samples("koji/builds");
    let mut deleted = records[3].clone();
    deleted["state"] = json!(2);
    deleted["build_id"] = json!(5_000_000_000_i64);
    deleted["nvr"] = json!("gone-1-1");
    let mut rpm = records[4].clone();
    rpm["extra"] = Value::Null;
    rpm["build_id"] = json!(77);
    rpm["nvr"] = json!("rpm-1-1");
    records.extend([deleted, rpm]);
    records
}

#[tokio::test]
async fn koji_and_its_twin_answer_alike() {
    let records = koji_records();
    let twin = MemoryKoji::new();
    records.iter().for_each(|record| drop(twin.load(record).unwrap()));
    let served = koji::hub(Arc::new(Mutex::new(records.clone()))).await;
    let limits = KojiLimits { builds_per_page: 3, ..KojiLimits::default() };
    let hub = KojiHub::new(client(), served.url.clone()).with_limits(limits);

    let mut refs: Vec<BuildRef> = ["unknown-1-1", "../x-1-1", "no nvr", "", "-1-1", "eog"].map(nvr).to_vec();
    refs.extend([BuildRef::Id(0), BuildRef::Id(-1), BuildRef::Id(i64::MAX), BuildRef::Id(5_000_000_000)]);
    for record in &records {
        refs.push(nvr(record["nvr"].as_str().unwrap()));
        refs.push(BuildRef::Id(record["build_id"].as_i64().unwrap()));
    }
    for build in &refs {
        alike(&build.to_string(), &hub.build(build).await, &twin.build(build).await);
    }
    let (many, twins) = (hub.builds(&refs).await.unwrap(), twin.builds(&refs).await.unwrap());
    assert_eq!(many.len(), refs.len());
    for ((build, http), twin) in refs.iter().zip(&many).zip(&twins) {
        alike(&format!("{build} among many"), http, twin);
    }
    for since in
        ["1970-01-01T00:00:00Z", "2021-10-04T00:00:00Z", "2022-09-05T05:19:54Z", "2030-01-01T00:00:00Z"]
    {
        let since = since.parse().unwrap();
        alike("listing", &hub.image_builds_since(since).await, &twin.image_builds_since(since).await);
    }
    alike(
        "too many",
        &hub.builds(&vec![nvr("a-1-1"); 101]).await,
        &twin.builds(&vec![nvr("a-1-1"); 101]).await,
    );
    alike("none", &hub.builds(&[]).await, &twin.builds(&[]).await);
    alike("ping", &hub.ping().await, &twin.ping().await);
}

fn nvr(nvr: &str) -> BuildRef {
    BuildRef::Nvr(nvr.to_owned())
}

/// The captured updates, rpm updates among them, one Flatpak update that lost its builds, one unknown to `modified_since`.
fn bodhi_records() -> Vec<Value> {
    let mut records = samples("bodhi/updates");
    let mut emptied = records[0].clone();
    emptied["alias"] = json!("FEDORA-FLATPAK-2022-00emptied0");
    emptied["updateid"] = emptied["alias"].clone();
    emptied["content_type"] = Value::Null;
    emptied["builds"] = json!([]);
    emptied["status"] = json!("unpushed");
    records.push(emptied);
    records
}

#[tokio::test]
async fn bodhi_and_its_twin_answer_alike() {
    let records = bodhi_records();
    let twin = MemoryBodhi::new();
    records.iter().for_each(|record| drop(twin.load(record).unwrap()));
    let mut both = records.clone();
    both.extend(samples("bodhi/rpm-updates"));
    let shared = Arc::new(Mutex::new(bodhi::Bodhi { updates: both, ..Default::default() }));
    let served = bodhi::rest(shared.clone()).await;
    let limits = BodhiLimits { rows_per_page: 4, names_per_request: 2, ..BodhiLimits::default() };
    let api = BodhiApi::new(client(), served.url.clone()).with_limits(limits);

    for alias in records.iter().map(|record| record["alias"].as_str().unwrap()).chain([
        "FEDORA-2020-0000000000",
        "eog",
        "../x",
        "",
    ]) {
        alike(alias, &api.update(alias).await, &twin.update(alias).await);
    }
    for query in queries() {
        for rows_repeat in [false, true] {
            shared.lock().unwrap().rows_repeat =
                rows_repeat && !(query.builds.is_empty() && query.packages.is_empty());
            alike(&format!("{query:?}"), &api.updates(&query).await, &twin.updates(&query).await);
        }
    }
    shared.lock().unwrap().rows_repeat = false;
    let all = api.updates(&UpdateQuery::default()).await.unwrap();
    assert_eq!(all.len(), records.len(), "the one without builds is listed, no rpm update is");
    alike("composes", &api.composes().await, &twin.composes().await);
    alike("ping", &api.ping().await, &twin.ping().await);
}

fn queries() -> Vec<UpdateQuery> {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let query = |builds: &[&str], packages: &[&str], since: Option<&str>| UpdateQuery {
        builds: names(builds),
        packages: names(packages),
        modified_since: since.map(|since| since.parse().unwrap()),
    };
    vec![
        query(&[], &[], None),
        query(&[], &["eog"], None),
        query(&[], &["eog", "baobab", "quadrapassel", "nobody", "gnome-chess"], None),
        query(&["eog-stable-3620220905044417.1"], &[], None),
        query(
            &["eog-stable-3620220905044417.1", "baobab-stable-3620220517102805.1", "nobody-1-1"],
            &["eog"],
            None,
        ),
        query(&[], &[], Some("2022-05-27T01:21:41Z")),
        query(&[], &[], Some("2022-05-27T01:21:42Z")),
        query(&[], &["eog"], Some("2021-10-06T17:37:51.9Z")),
        query(&["not an nvr"], &[], None),
        query(&[], &["eog&status=stable"], None),
        query(&[], &[""; 1001], None),
    ]
}

#[tokio::test]
async fn quay_and_its_twin_answer_alike() {
    let repositories = Arc::new(Mutex::new(BTreeMap::from([("fedora/private".to_owned(), false)])));
    let served = quay::api(repositories).await;
    let api = QuayApi::new(client(), served.url.clone(), Secret::new(quay::TOKEN));
    let twin = MemoryQuay::new();
    twin.set("fedora/private", Visibility::Private);
    for name in [
        "fedora/eog",
        "fedora/f41/flatpak-runtime",
        "fedora/private",
        "eog",
        "fedora/../x",
        "Fedora/eog",
        "fedora/eog?x",
    ] {
        alike(name, &api.visibility(name).await, &twin.visibility(name).await);
        alike(name, &api.make_public(name).await, &twin.make_public(name).await);
        alike(name, &api.create_public(name).await, &twin.create_public(name).await);
        alike(name, &api.create_public(name).await, &twin.create_public(name).await);
        alike(name, &api.visibility(name).await, &twin.visibility(name).await);
    }
}

#[test]
fn every_captured_record_is_read() {
    let builds: Vec<Build> =
        samples("koji/builds").iter().map(|record| Build::from_json(record).unwrap()).collect();
    assert!(
        builds
            .iter()
            .all(|build| build.image.as_ref().is_some_and(|image| image.flatpak && !image.pull.is_empty()))
    );
    let updates: Vec<Update> =
        samples("bodhi/updates").iter().map(|record| Update::from_json(record).unwrap()).collect();
    assert!(updates.iter().all(Update::is_flatpak));
    assert!(
        samples("bodhi/rpm-updates").iter().all(|record| !Update::from_json(record).unwrap().is_flatpak())
    );
}
