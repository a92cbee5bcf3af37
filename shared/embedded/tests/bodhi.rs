//! The embedded Bodhi over HTTP: its pages, its filters, its quirks.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use flatbus_embedded::bodhi::{self, Bodhi, Settings, Updates};
use http::StatusCode;
use serde_json::{Value, json};

fn update(alias: &str, nvr: &str, submitted: &str, status: &str) -> Value {
    json!({
        "alias": alias, "updateid": alias, "title": nvr, "status": status, "request": null, "locked": false, "pushed": true,
        "date_submitted": submitted, "date_modified": null, "date_pushed": submitted, "content_type": "flatpak",
        "release": {"name": "F36F", "id_prefix": "FEDORA-FLATPAK", "state": "current"},
        "builds": [{"nvr": nvr, "type": "flatpak", "signed": true, "release_id": 1}],
    })
}

async fn started(updates: impl IntoIterator<Item = Value>) -> Bodhi {
    let known = Updates::default();
    for update in updates {
        known.set_update(update).unwrap();
    }
    bodhi::start(Settings { updates: known.into(), ..Settings::default() }).await.unwrap()
}

async fn get(bodhi: &Bodhi, path: &str) -> (StatusCode, Value) {
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let answer = client.get(format!("{}{path}", bodhi.url())).send().await.unwrap();
    (answer.status(), answer.json().await.unwrap_or_default())
}

fn aliases(answer: &Value) -> Vec<&str> {
    answer["updates"].as_array().unwrap().iter().map(|update| update["alias"].as_str().unwrap()).collect()
}

async fn listed(bodhi: &Bodhi, query: &str) -> Vec<String> {
    let (status, answer) = get(bodhi, &format!("/updates/?{query}")).await;
    assert_eq!(status, StatusCode::OK, "{query}: {answer}");
    aliases(&answer).into_iter().map(str::to_owned).collect()
}

fn three() -> [Value; 3] {
    let mut edited = update("U-2", "baobab-stable-2.1", "2022-02-01 00:00:00", "testing");
    edited["date_modified"] = "2022-06-01 12:00:00".into();
    let mut emptied = update("U-3", "eog-stable-3.1", "2022-03-01 00:00:00", "obsolete");
    emptied["builds"] = json!([]);
    [update("U-1", "eog-stable-1.1", "2022-01-01 00:00:00", "stable"), edited, emptied]
}

#[tokio::test]
async fn pages_come_newest_first_and_past_the_end_are_empty() {
    let bodhi = started((0..45).map(|i| {
        update(&format!("U-{i:02}"), "eog-stable-1.1", &format!("2022-01-01 00:00:{i:02}"), "stable")
    }))
    .await;
    let (_, first) = get(&bodhi, "/updates/").await;
    assert_eq!((aliases(&first).len(), aliases(&first)[0]), (20, "U-44"));
    for (key, value) in [("page", 1), ("pages", 3), ("rows_per_page", 20), ("total", 45)] {
        assert_eq!(first[key], value, "{key}");
    }
    let (_, last) = get(&bodhi, "/updates/?page=3").await;
    assert_eq!((aliases(&last).len(), aliases(&last)[4]), (5, "U-00"));
    let (_, past) = get(&bodhi, "/updates/?page=4&rows_per_page=20").await;
    assert_eq!((aliases(&past).len(), &past["total"]), (0, &json!(45)));
    for query in ["rows_per_page=1001", "rows_per_page=0", "page=0", "page=x"] {
        let (status, answer) = get(&bodhi, &format!("/updates/?{query}")).await;
        assert_eq!(
            (status, &answer["errors"][0]["location"]),
            (StatusCode::BAD_REQUEST, &json!("querystring")),
            "{query}"
        );
    }
}

#[tokio::test]
async fn filters_mean_what_bodhi_means_by_them() {
    let bodhi = started(three()).await;
    for (query, expected) in [
        ("packages=eog", &["U-1"][..]),
        ("packages=eog&packages=baobab", &["U-2", "U-1"]),
        ("packages=eog,baobab", &["U-2", "U-1"]),
        ("packages=unknown", &[]),
        ("builds=baobab-stable-2.1", &["U-2"]),
        ("content_type=flatpak", &["U-2", "U-1"]),
        ("releases=F36F", &["U-3", "U-2", "U-1"]),
        ("status=testing&status=obsolete", &["U-3", "U-2"]),
        ("modified_since=2022-06-01T12:00:00%2B00:00", &["U-2"]),
        ("modified_since=2022-06-01+12:00:01", &[]),
        ("submitted_since=2022-02-01", &["U-3", "U-2"]),
        ("pushed_before=2022-02-01", &["U-1"]),
        ("locked=true", &[]),
        ("alias=U-1", &["U-1"]),
        ("search=BAOBAB", &["U-2"]),
    ] {
        assert_eq!(listed(&bodhi, query).await, expected, "{query}");
    }
    for query in ["releases=F99F", "status=done", "content_type=snap", "locked=maybe", "modified_since=soon"]
    {
        let (status, answer) = get(&bodhi, &format!("/updates/?{query}")).await;
        assert_eq!((status, &answer["status"]), (StatusCode::BAD_REQUEST, &json!("error")), "{query}");
    }
}

#[tokio::test]
async fn one_update_a_package_and_nothing() {
    let bodhi = started(three()).await;
    let (status, answer) = get(&bodhi, "/updates/U-1").await;
    assert_eq!(
        (status, &answer["update"]["release"]["name"], &answer["can_edit"]),
        (StatusCode::OK, &json!("F36F"), &json!(false))
    );
    assert_eq!(get(&bodhi, "/updates/eog").await.0, StatusCode::FOUND);
    let (status, answer) = get(&bodhi, "/updates/U-9").await;
    assert_eq!(
        (status, &answer["errors"][0]["description"]),
        (StatusCode::NOT_FOUND, &json!("Invalid update id"))
    );
}

#[tokio::test]
async fn a_release_has_one_state_for_all_its_updates() {
    let bodhi = started(three()).await;
    bodhi
        .updates
        .set_release(json!({"name": "F36F", "id_prefix": "FEDORA-FLATPAK", "state": "archived"}))
        .unwrap();
    bodhi.updates.set_release(json!({"name": "F36", "id_prefix": "FEDORA", "state": "current"})).unwrap();
    let (_, answer) = get(&bodhi, "/updates/U-2").await;
    assert_eq!(answer["update"]["release"]["state"], "archived");
    let (_, answer) = get(&bodhi, "/releases/?name=%25F&rows_per_page=1000").await;
    assert_eq!((&answer["total"], &answer["releases"][0]["name"]), (&json!(1), &json!("F36F")));
    assert_eq!(get(&bodhi, "/releases/F36").await.1["id_prefix"], "FEDORA");
    assert_eq!(get(&bodhi, "/releases/F35").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_compose_locks_its_updates_while_it_runs() {
    let bodhi = started(three()).await;
    bodhi.updates.begin_compose(
        "F36F",
        "testing",
        &["U-2".to_owned()],
        "2022-06-01T12:00:00Z".parse().unwrap(),
    );
    let (_, answer) = get(&bodhi, "/composes/").await;
    let compose = &answer["composes"][0];
    assert_eq!((&compose["release"]["name"], &compose["request"]), (&json!("F36F"), &json!("testing")));
    assert_eq!(compose["update_summary"], json!([{"alias": "U-2", "title": "baobab-stable-2.1"}]));
    assert_eq!(listed(&bodhi, "locked=1").await, ["U-2"]);
    bodhi.updates.end_compose("F36F", "testing");
    assert_eq!(get(&bodhi, "/composes/").await.1, json!({"composes": []}));
    assert_eq!(listed(&bodhi, "locked=1").await, Vec::<String>::new());
}
