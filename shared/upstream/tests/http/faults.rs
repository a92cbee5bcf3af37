//! What the clients make of services that are slow, broken, shifting or refuse them: an error that says what helps, never
//! half an answer, never a panic.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::double::{Canned, bodhi, client, impatient, koji, quay, samples};
use flatbus_base::{Remediable, Remedy, Secret};
use flatbus_upstream::{
    Error,
    bodhi::{Bodhi, BodhiApi, BodhiLimits, UpdateQuery},
    koji::{BuildRef, Koji, KojiHub, KojiLimits},
    quay::{Quay, QuayApi},
};
use serde_json::{Value, json};

const ALIAS: &str = "FEDORA-FLATPAK-2022-efcca6b48a";

fn eog() -> BuildRef {
    BuildRef::Nvr("eog-stable-3620220905044417.1".to_owned())
}

fn xml(value: &str) -> Canned {
    let body =
        format!("<methodResponse><params><param><value>{value}</value></param></params></methodResponse>");
    Canned::Answer(200, body)
}

async fn hub() -> (crate::double::Served, koji::Records) {
    let records = Arc::new(Mutex::new(samples("koji/builds")));
    (koji::hub(records.clone()).await, records)
}

async fn rest() -> (crate::double::Served, bodhi::Shared) {
    let shared =
        Arc::new(Mutex::new(bodhi::Bodhi { updates: samples("bodhi/updates"), ..Default::default() }));
    (bodhi::rest(shared.clone()).await, shared)
}

#[tokio::test]
async fn a_koji_that_is_silent_is_given_up_and_asked_again_later() {
    let (served, _) = hub().await;
    served.script.then(Canned::Late(Duration::from_secs(20)));
    let hub = KojiHub::new(impatient(), served.url.clone());
    let error = hub.build(&eog()).await.unwrap_err();
    assert!(matches!(error, Error::Http(flatbus_http::Error::Timeout { .. })), "{error:?}");
    assert_eq!(error.remedy(), Remedy::Retry);
    assert!(hub.build(&eog()).await.unwrap().is_some());
}

#[tokio::test]
async fn koji_s_bad_answers_are_errors_that_name_the_build() {
    let (served, _) = hub().await;
    let hub = KojiHub::new(client(), served.url.clone());
    let odd = [
        xml("<int>3</int>"),
        xml("<struct></struct>"),
        xml("<struct><member><name>nvr</name><value>eog-stable-3620220905044417.1</value></member></struct>"),
        Canned::Answer(200, "<html>maintenance</html>".to_owned()),
        Canned::Answer(200, String::new()),
    ];
    for canned in odd {
        served.script.then(canned.clone());
        let error = hub.build(&eog()).await.unwrap_err();
        assert!(matches!(error, Error::WrongShape { .. }), "{canned:?}: {error:?}");
        assert!(error.to_string().contains("build eog-stable-3620220905044417.1"), "{error}");
        assert_eq!(error.remedy(), Remedy::Retry);
    }
    served.script.then(Canned::Answer(404, "no such page".to_owned()));
    let error = hub.build(&eog()).await.unwrap_err();
    assert!(matches!(error, Error::Unexpected { status: 404, .. }), "{error:?}");
    served.script.then(Canned::Redirect("https://elsewhere.example/".to_owned()));
    assert!(matches!(hub.build(&eog()).await, Err(Error::Unexpected { status: 302, .. })));
    served.script.then(Canned::Answer(503, "busy".to_owned()));
    assert_eq!(hub.build(&eog()).await.unwrap_err().remedy(), Remedy::Retry);
}

#[tokio::test]
async fn another_build_than_the_one_asked_for_is_no_answer() {
    let (served, records) = hub().await;
    records.lock().unwrap().retain(|record| record["nvr"] == "eog-stable-3620220905044417.1");
    records.lock().unwrap()[0]["build_id"] = json!(7);
    let hub = KojiHub::new(client(), served.url.clone());
    assert_eq!(hub.build(&BuildRef::Id(7)).await.unwrap().unwrap().id, 7);
    let other = "<struct><member><name>nvr</name><value>a-1-1</value></member><member><name>name</name><value>a</value></member>\
                 <member><name>version</name><value>1</value></member><member><name>release</name><value>1</value></member>\
                 <member><name>build_id</name><value><int>9</int></value></member><member><name>state</name><value><int>1</int></value></member></struct>";
    for asked in [BuildRef::Id(7), eog()] {
        served.script.then(xml(other));
        let error = hub.build(&asked).await.unwrap_err();
        assert!(error.to_string().contains("a-1-1 was answered instead"), "{error}");
    }
}

#[tokio::test]
async fn a_fault_that_asking_again_does_not_cure_is_parked_and_others_are_not() {
    let (served, _) = hub().await;
    let hub = KojiHub::new(client(), served.url.clone());
    let fault = |code: i32| {
        let value = format!("<member><name>faultCode</name><value><int>{code}</int></value></member>");
        let text = "<member><name>faultString</name><value><string>as told</string></value></member>";
        Canned::Answer(
            200,
            format!(
                "<methodResponse><fault><value><struct>{value}{text}</struct></value></fault></methodResponse>"
            ),
        )
    };
    for (code, remedy) in
        [(1000, Remedy::Park), (1019, Remedy::Park), (1014, Remedy::Retry), (1, Remedy::Retry)]
    {
        served.script.then(fault(code));
        let error = hub.build(&eog()).await.unwrap_err();
        assert_eq!(error.remedy(), remedy, "{error}");
        assert!(error.to_string().contains("as told"), "{error}");
    }
}

#[tokio::test]
async fn one_refused_build_hurts_no_other_of_the_same_call() {
    let (served, _) = hub().await;
    let hub = KojiHub::new(client(), served.url.clone());
    let asked =
        [eog(), BuildRef::Nvr("refused-1-1".to_owned()), BuildRef::Nvr("no nvr".to_owned()), BuildRef::Id(1)];
    let answers = hub.builds(&asked).await.unwrap();
    assert!(matches!(&answers[0], Ok(Some(build)) if build.nvr == "eog-stable-3620220905044417.1"));
    assert!(matches!(&answers[1], Err(Error::Fault { code: 1000, call, .. }) if call == "build refused-1-1"));
    assert!(matches!(&answers[2], Err(Error::BadQuestion { .. })));
    assert_eq!(answers[3], Ok(None));
    assert_eq!(served.script.requests().len(), 1, "all in one call");
}

#[tokio::test]
async fn an_answer_beyond_its_limit_is_not_read() {
    let (served, _) = hub().await;
    let limits = KojiLimits { answer_bytes_max: 1000, ..KojiLimits::default() };
    let hub = KojiHub::new(client(), served.url.clone()).with_limits(limits);
    let error = hub.build(&eog()).await.unwrap_err();
    assert!(matches!(error, Error::Http(flatbus_http::Error::BodyTooLarge { .. })), "{error:?}");
}

#[tokio::test]
async fn a_koji_listing_that_shifts_is_read_again_and_given_up_in_the_end() {
    let (served, records) = hub().await;
    let limits = KojiLimits { builds_per_page: 4, ..KojiLimits::default() };
    let hub = KojiHub::new(client(), served.url.clone()).with_limits(limits);
    let since = "1970-01-01T00:00:00Z".parse().unwrap();
    let all = hub.image_builds_since(since).await.unwrap();
    assert_eq!(all.len(), records.lock().unwrap().len());
    // An empty page in the middle, once: the next reading is whole.
    served.script.then(Canned::Real);
    served.script.then(xml("<array><data></data></array>"));
    assert_eq!(hub.image_builds_since(since).await.unwrap(), all);
    for _ in 0..3 {
        served.script.then(Canned::Real);
        served.script.then(xml("<array><data></data></array>"));
    }
    let error = hub.image_builds_since(since).await.unwrap_err();
    assert!(matches!(error, Error::Unsettled { attempts: 3, .. }), "{error:?}");
    served.script.then(xml("<nil/>"));
    assert!(matches!(hub.image_builds_since(since).await, Err(Error::WrongShape { .. })));
}

#[tokio::test]
async fn a_koji_listing_has_a_bound_in_builds() {
    let (served, _) = hub().await;
    let limits = KojiLimits { builds_per_page: 4, builds_max: 5, ..KojiLimits::default() };
    let hub = KojiHub::new(client(), served.url.clone()).with_limits(limits);
    let error = hub.image_builds_since("1970-01-01T00:00:00Z".parse().unwrap()).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { limit: 5, .. }), "{error:?}");
}

#[tokio::test]
async fn bodhi_s_bad_answers_are_errors_that_name_the_update() {
    let (served, _) = rest().await;
    let api = BodhiApi::new(client(), served.url.clone());
    let mut unknown = samples("bodhi/updates")[11].clone();
    assert_eq!(unknown["alias"], ALIAS);
    unknown["status"] = json!("sleeping");
    let mut other = unknown.clone();
    other["alias"] = json!("FEDORA-FLATPAK-2022-0000000000");
    other["status"] = json!("stable");
    let bodies = [
        json!({ "update": unknown }).to_string(),
        json!({ "update": other }).to_string(),
        json!({ "update": null }).to_string(),
        json!({}).to_string(),
        "<html>maintenance</html>".to_owned(),
        "[".repeat(100_000),
        String::new(),
    ];
    for body in bodies {
        served.script.then(Canned::Answer(200, body));
        let error = api.update(ALIAS).await.unwrap_err();
        assert!(matches!(error, Error::WrongShape { .. }), "{error:?}");
        assert!(error.to_string().contains(ALIAS), "{error}");
        assert_eq!(error.remedy(), Remedy::Retry);
    }
    served.script.then(Canned::Answer(403, String::new()));
    assert_eq!(api.update(ALIAS).await.unwrap_err().remedy(), Remedy::Park);
}

#[tokio::test]
async fn the_name_of_a_package_is_no_alias_and_its_redirect_is_not_followed() {
    let (served, _) = rest().await;
    let api = BodhiApi::new(client(), served.url.clone());
    assert_eq!(api.update("eog").await, Ok(None));
    assert_eq!(served.script.requests(), ["GET /updates/eog"]);
}

#[tokio::test]
async fn an_update_that_comes_in_while_pages_are_read_costs_a_second_reading_and_loses_nothing() {
    let (served, shared) = rest().await;
    let newer = {
        let mut newer = samples("bodhi/updates")[0].clone();
        newer["alias"] = json!("FEDORA-FLATPAK-2026-0000000000");
        newer["date_submitted"] = json!("2026-01-01 00:00:00");
        newer
    };
    let mut newer = Some(newer);
    shared.lock().unwrap().before_page = Some(Box::new(move |updates: &mut Vec<Value>, page| {
        if page == 2 {
            updates.extend(newer.take());
        }
    }));
    let limits = BodhiLimits { rows_per_page: 4, ..BodhiLimits::default() };
    let api = BodhiApi::new(client(), served.url.clone()).with_limits(limits);
    let updates = api.updates(&UpdateQuery::default()).await.unwrap();
    assert_eq!(updates.len(), 13);
    assert_eq!(updates[0].alias, "FEDORA-FLATPAK-2026-0000000000", "newest first");
    let pages = served.script.requests().iter().filter(|request| request.contains("/updates/")).count();
    assert_eq!(pages, 2 + 4);
}

#[tokio::test]
async fn a_listing_that_never_holds_still_is_an_error() {
    let (served, shared) = rest().await;
    let mut made = 0;
    shared.lock().unwrap().before_page = Some(Box::new(move |updates: &mut Vec<Value>, _| {
        let mut another = updates[0].clone();
        made += 1;
        another["alias"] = json!(format!("FEDORA-FLATPAK-2026-{made:010}"));
        updates.push(another);
    }));
    let limits = BodhiLimits { rows_per_page: 4, ..BodhiLimits::default() };
    let api = BodhiApi::new(client(), served.url.clone()).with_limits(limits);
    let error = api.updates(&UpdateQuery::default()).await.unwrap_err();
    assert!(matches!(error, Error::Unsettled { attempts: 3, .. }), "{error:?}");
    assert_eq!(error.remedy(), Remedy::Retry);
}

#[tokio::test]
async fn a_page_that_fails_or_lies_fails_the_whole_listing() {
    let (served, _) = rest().await;
    let limits = BodhiLimits { rows_per_page: 4, ..BodhiLimits::default() };
    let api = BodhiApi::new(client(), served.url.clone()).with_limits(limits);
    let listing = UpdateQuery::default();
    let second_page =
        |canned: Canned| [Canned::Real, Canned::Real, canned].into_iter().for_each(|c| served.script.then(c));
    second_page(Canned::Answer(500, "broken".to_owned()));
    assert!(matches!(api.updates(&listing).await, Err(Error::Http(_))));
    second_page(Canned::Answer(200, json!({ "updates": [] }).to_string()));
    assert!(matches!(api.updates(&listing).await, Err(Error::WrongShape { .. })), "no total");
    second_page(Canned::Answer(
        200,
        json!({ "updates": [{ "content_type": "flatpak" }], "total": 12 }).to_string(),
    ));
    assert!(matches!(api.updates(&listing).await, Err(Error::WrongShape { .. })), "no alias");
    second_page(Canned::Answer(200, json!({ "updates": [], "total": 12 }).to_string()));
    assert_eq!(api.updates(&listing).await.unwrap().len(), 12, "an empty page is read again");
    served.script.then(Canned::Answer(200, json!({ "releases": [], "total": 0 }).to_string()));
    assert!(
        matches!(api.updates(&listing).await, Err(Error::WrongShape { .. })),
        "without releases every list is empty"
    );
}

#[tokio::test]
async fn a_bodhi_without_flatpaks_is_believed_when_both_ways_of_asking_say_so() {
    let (served, shared) = rest().await;
    shared.lock().unwrap().updates.clear();
    let api = BodhiApi::new(client(), served.url.clone());
    assert_eq!(api.updates(&UpdateQuery::default()).await, Ok(Vec::new()));
    assert_eq!(served.script.requests().len(), 2);
}

#[tokio::test]
async fn a_strange_update_of_something_else_hurts_no_flatpak() {
    let (served, shared) = rest().await;
    let mut strange = samples("bodhi/rpm-updates")[0].clone();
    strange["status"] = json!("sleeping");
    strange["builds"] = Value::Null;
    strange["release"]["name"] = json!("F36F");
    shared.lock().unwrap().updates[0]["release"]["name"] = json!("F36F");
    let page = json!({ "updates": [strange], "total": 1 }).to_string();
    served.script.then(Canned::Real);
    served.script.then(Canned::Answer(200, page));
    let api = BodhiApi::new(client(), served.url.clone());
    assert_eq!(api.updates(&UpdateQuery::default()).await, Ok(Vec::new()));
}

#[tokio::test]
async fn a_push_that_nobody_edited_is_among_the_changes() {
    let (served, shared) = rest().await;
    let update = shared.lock().unwrap().updates[11].clone();
    assert!(update["date_modified"].is_null(), "the captured record must stay one that nobody edited");
    let api = BodhiApi::new(client(), served.url.clone());
    let since = Some("2022-09-14T02:00:00Z".parse().unwrap());
    let changed =
        api.updates(&UpdateQuery { modified_since: since, ..UpdateQuery::default() }).await.unwrap();
    assert_eq!(changed.iter().map(|update| update.alias.as_str()).collect::<Vec<_>>(), [ALIAS]);
}

#[tokio::test]
async fn a_listing_that_takes_too_long_is_given_up_as_a_whole() {
    let (served, _) = rest().await;
    for _ in 0..3 {
        served.script.then(Canned::Late(Duration::from_millis(200)));
    }
    let limits = BodhiLimits {
        rows_per_page: 4,
        listing_timeout: Duration::from_millis(300),
        ..BodhiLimits::default()
    };
    let api = BodhiApi::new(client(), served.url.clone()).with_limits(limits);
    let error = api.updates(&UpdateQuery::default()).await.unwrap_err();
    assert!(matches!(error, Error::Slow { .. }), "{error:?}");
}

#[tokio::test]
async fn composes_of_flatpaks_are_listed_and_others_left_alone() {
    let (served, shared) = rest().await;
    let release = shared.lock().unwrap().updates[11]["release"].clone();
    shared.lock().unwrap().composes = vec![
        json!({ "release": { "name": "F36", "id_prefix": "FEDORA" }, "request": "stable", "update_summary": null }),
        json!({ "release": release, "request": "testing", "update_summary": [{ "alias": ALIAS, "title": "eog" }] }),
    ];
    let composes = BodhiApi::new(client(), served.url.clone()).composes().await.unwrap();
    assert_eq!(composes.len(), 1);
    assert_eq!(
        (composes[0].request.as_str(), composes[0].updates.as_slice()),
        ("testing", &[ALIAS.to_owned()][..])
    );
}

#[tokio::test]
async fn a_token_that_quay_refuses_parks_with_what_a_person_must_do_and_is_never_shown() {
    let served = quay::api(Arc::new(Mutex::new(BTreeMap::new()))).await;
    let api = QuayApi::new(client(), served.url.clone(), Secret::new("wrong-token"));
    let errors = [
        api.create_public("fedora/eog").await.unwrap_err(),
        api.visibility("fedora/eog").await.unwrap_err(),
        api.make_public("fedora/eog").await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.remedy(), Remedy::Park);
        let said = error.to_string();
        assert!(said.contains("fedora/eog") && said.contains("repo:admin"), "{said}");
        assert!(!format!("{error:?}{said}").contains("wrong-token"));
    }
    assert!(!format!("{api:?}").contains("wrong-token"));
}

#[tokio::test]
async fn quay_s_bad_answers_are_errors() {
    let served = quay::api(Arc::new(Mutex::new(BTreeMap::new()))).await;
    let api = QuayApi::new(client(), served.url.clone(), Secret::new(quay::TOKEN));
    served
        .script
        .then(Canned::Answer(400, json!({ "error_message": "Invalid repository name" }).to_string()));
    let error = api.create_public("fedora/eog").await.unwrap_err();
    assert!(error.to_string().contains("Invalid repository name"), "{error}");
    assert_eq!(error.remedy(), Remedy::Park);
    served.script.then(Canned::Answer(200, json!({ "is_public": "yes" }).to_string()));
    assert!(matches!(api.visibility("fedora/eog").await, Err(Error::WrongShape { .. })));
    served.script.then(Canned::Answer(200, "null".to_owned()));
    assert!(
        matches!(api.make_public("fedora/eog").await, Err(Error::WrongShape { .. })),
        "200 and null: it isn't there"
    );
    served.script.then(Canned::Answer(502, String::new()));
    assert_eq!(api.make_public("fedora/eog").await.unwrap_err().remedy(), Remedy::Retry);
}
