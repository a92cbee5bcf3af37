use super::*;

fn releases() -> Vec<String> {
    vec!["F35F".to_owned(), "F36F".to_owned()]
}

fn written_out(params: &Params) -> String {
    params.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join("&")
}

#[test]
fn everything_is_one_listing_by_release() {
    let plan = plan(&UpdateQuery::default(), &releases(), 10);
    assert_eq!(plan.iter().map(written_out).collect::<Vec<_>>(), ["releases=F35F&releases=F36F"]);
}

#[test]
fn changes_are_three_listings_since_no_date_tells_all_of_them() {
    let since = Some("2022-05-27T01:21:41.9Z".parse().unwrap());
    let plan = plan(&UpdateQuery { modified_since: since, ..UpdateQuery::default() }, &releases()[..1], 10);
    let date = "2022-05-27T01:21:41+00:00";
    assert_eq!(
        plan.iter().map(written_out).collect::<Vec<_>>(),
        [
            format!("releases=F35F&submitted_since={date}"),
            format!("releases=F35F&modified_since={date}"),
            format!("releases=F35F&pushed_since={date}"),
        ]
    );
}

#[test]
fn many_names_are_asked_for_in_parts_and_builds_never_with_packages() {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let query = UpdateQuery {
        builds: names(&["a-1-1", "b-1-1", "c-1-1"]),
        packages: names(&["a"]),
        modified_since: None,
    };
    assert_eq!(
        plan(&query, &releases()[..1], 2).iter().map(written_out).collect::<Vec<_>>(),
        ["releases=F35F&builds=a-1-1&builds=b-1-1", "releases=F35F&builds=c-1-1"]
    );
}
