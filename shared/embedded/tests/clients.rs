//! The real clients of Koji and Bodhi against the embedded ones on a wire: what each fault of an answer looks like to them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{sync::Arc, time::Duration};

use flatbus_base::{Random, SimClock};
use flatbus_embedded::{Fault, Samples, Wire, bodhi, koji};
use flatbus_http::{HostList, Settings, StatusCode};
use flatbus_upstream::{
    Error,
    bodhi::{Bodhi as _, BodhiApi, BodhiLimits, UpdateQuery},
    koji::{BuildRef, Koji as _, KojiHub},
};
use jiff::Timestamp;
use serde_json::{Value, json};

const BUILD: &str = "eog-stable-3620220905044417.1";
const UPDATE: &str = "FEDORA-FLATPAK-2022-efcca6b48a";

struct World {
    koji: koji::Koji,
    bodhi: bodhi::Bodhi,
    hub: KojiHub,
    api: BodhiApi,
}

impl World {
    fn new() -> Self {
        let wire = Wire::new();
        let clock = Arc::new(SimClock::starting_at(Timestamp::UNIX_EPOCH));
        let koji = koji::start_on(&wire, "koji.test", koji::Settings::default());
        let bodhi = bodhi::start_on(&wire, "bodhi.test", bodhi::Settings::default());
        let samples = Samples::built_in().unwrap();
        for build in samples.builds.into_values() {
            koji.builds.set(build).unwrap();
        }
        for update in samples.updates.into_values() {
            bodhi.updates.set_update(update).unwrap();
        }
        let hosts = HostList::new(["koji.test", "bodhi.test"]);
        let http =
            wire.client(Settings { hosts, ..Settings::default() }, Random::from_seed(1), clock).unwrap();
        let hub = KojiHub::new(http.clone(), koji.url().parse().unwrap());
        let limits = BodhiLimits { rows_per_page: 4, ..BodhiLimits::default() };
        let api = BodhiApi::new(http, bodhi.url().parse().unwrap()).with_limits(limits);
        Self { koji, bodhi, hub, api }
    }

    async fn build(&self) -> Result<bool, Error> {
        self.hub.build(&BuildRef::Nvr(BUILD.to_owned())).await.map(|build| build.is_some())
    }

    async fn update(&self) -> Result<bool, Error> {
        self.api.update(UPDATE).await.map(|update| update.is_some())
    }

    async fn updates(&self) -> Result<usize, Error> {
        self.api.updates(&UpdateQuery::default()).await.map(|updates| updates.len())
    }
}

fn without(name: &'static str) -> impl Fn(&mut Value) + Send + Sync + 'static {
    move |answer| {
        // Bodhi wraps what it tells.
        let record = if answer.get("update").is_some() { &mut answer["update"] } else { answer };
        record.as_object_mut().unwrap().remove(name);
    }
}

#[tokio::test(start_paused = true)]
async fn a_bad_answer_of_koji_is_an_error_and_never_a_build() {
    let world = World::new();
    assert_eq!(world.build().await, Ok(true));
    let shapes = [
        Fault::rpc(without("nvr")),
        Fault::rpc(|build| build["state"] = "complete".into()),
        Fault::rpc(|build| *build = json!([])),
        Fault::edit(|bytes| bytes.slice(..bytes.len() / 2)),
    ];
    for fault in shapes {
        world.koji.faults.set(move |_| fault.clone());
        assert!(matches!(world.build().await, Err(Error::WrongShape { .. })));
    }
    world.koji.faults.set(|_| Fault::rpc_fault(1000, "as told"));
    assert!(matches!(world.build().await, Err(Error::Fault { code: 1000, .. })));
    world.koji.faults.set(|_| Fault::Stall);
    assert!(matches!(world.build().await, Err(Error::Http(flatbus_http::Error::Timeout { .. }))));
    world.koji.faults.set(|_| Fault::status(StatusCode::BAD_GATEWAY));
    assert!(matches!(world.build().await, Err(Error::Http(flatbus_http::Error::Status { .. }))));
}

#[tokio::test(start_paused = true)]
async fn a_hook_tells_calls_of_koji_apart() {
    let world = World::new();
    world.koji.faults.set(|seen| match seen.mentions(BUILD) {
        true => Fault::rpc_fault(1, "only this one"),
        false => Fault::None,
    });
    assert!(world.build().await.is_err());
    assert!(world.hub.ping().await.is_ok());
    let seen = world.koji.faults.seen();
    assert!(seen[0].mentions("getBuild") && seen[1].mentions("getAPIVersion"));
}

#[tokio::test(start_paused = true)]
async fn a_bad_answer_of_bodhi_is_an_error_and_never_an_update() {
    let world = World::new();
    assert_eq!(world.update().await, Ok(true));
    let shapes = [
        Fault::json(without("status")),
        Fault::json(|answer| answer["update"]["builds"] = "none".into()),
        Fault::json(|answer| *answer = json!([])),
        Fault::Length(100),
    ];
    for fault in shapes {
        world.bodhi.faults.set(move |_| fault.clone());
        assert!(matches!(world.update().await, Err(Error::WrongShape { .. })));
    }
    world.bodhi.faults.set(|_| Fault::Late(Duration::from_secs(1000)));
    assert!(matches!(world.update().await, Err(Error::Http(flatbus_http::Error::Timeout { .. }))));
}

#[tokio::test(start_paused = true)]
async fn a_listing_of_bodhi_that_shifts_or_has_an_empty_page_is_read_again() {
    let world = World::new();
    let all = world.updates().await.unwrap();
    assert!(all > 4, "several pages");
    let mut times = 1;
    world.bodhi.faults.set(move |seen| {
        let second = seen.query.ends_with("&page=2") && times > 0;
        times -= i32::from(second);
        if second { Fault::json(|page| page["updates"] = json!([])) } else { Fault::None }
    });
    assert_eq!(world.updates().await, Ok(all));
    let known = world.bodhi.updates.clone();
    let mut newer = known.update(UPDATE).unwrap();
    newer["alias"] = "FEDORA-FLATPAK-2022-0000000000".into();
    newer["date_submitted"] = "2023-01-01 00:00:00".into();
    let mut newer = Some(newer);
    world.bodhi.faults.set(move |seen| {
        if seen.query.ends_with("&page=2")
            && seen.path == "/updates/"
            && let Some(newer) = newer.take()
        {
            known.set_update(newer).unwrap();
        }
        Fault::None
    });
    assert_eq!(world.updates().await, Ok(all + 1));
}

#[tokio::test(start_paused = true)]
async fn an_answer_can_be_of_the_past() {
    let world = World::new();
    let (builds, updates) = (world.koji.builds.snapshot(), world.bodhi.updates.snapshot());
    let id = world.koji.builds.by_nvr(BUILD).unwrap()["build_id"].as_i64().unwrap();
    world.koji.builds.remove(id);
    world.bodhi.updates.remove_update(UPDATE);
    assert_eq!((world.build().await, world.update().await), (Ok(false), Ok(false)));
    world.koji.faults.set(move |_| Fault::By(koji::answering(builds.clone())));
    world.bodhi.faults.set(move |_| Fault::By(bodhi::answering(updates.clone())));
    assert_eq!((world.build().await, world.update().await), (Ok(true), Ok(true)));
    world.bodhi.faults.set(|_| Fault::By(bodhi::answering(Arc::default())));
    assert_eq!(world.update().await, Ok(false), "a Bodhi that knows nothing");
    let other = "FEDORA-FLATPAK-2022-6e191c5e67";
    world.bodhi.faults.set(move |_| Fault::Instead { target: format!("/updates/{other}") });
    assert!(world.update().await.is_err(), "another update than the one asked for");
}
